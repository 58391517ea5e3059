"""A local ActivitySmith to develop and test against: ``activitysmith-sandbox``.

It imports nothing, so that a state can be drawn where Starlette and uvicorn are missing.
"""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs_sandbox() -> Iterator[None]:
    """Around the imports of Starlette and uvicorn: where one is missing, say what to install.

    Raises:
        ModuleNotFoundError: One is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        text = f"{error}; the sandbox needs it: pip install 'activitysmith-integrations[sandbox]'"
        raise ModuleNotFoundError(text, name=error.name) from error
