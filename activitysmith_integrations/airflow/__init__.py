"""ActivitySmith for Airflow. Airflow walks through this package when it starts, so it holds next to nothing."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def needs_airflow() -> Iterator[None]:
    """Around the imports of Airflow: where it is missing, say what to install.

    Raises:
        ModuleNotFoundError: Airflow is missing, or older than 3.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "airflow":
            raise
        text = f"{error}; this needs Apache Airflow: pip install 'activitysmith-integrations[airflow]'"
        raise ModuleNotFoundError(text, name=error.name) from error
