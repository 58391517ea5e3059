"""What the sandbox refuses, and with which answer."""

from collections.abc import Mapping
from typing import Any


class RefusedError(Exception):
    """The request is answered with an error status.

    Args:
        status: The HTTP status.
        error: The kind of error, the answer's member ``error``.
        message: What to tell a human, the answer's member ``message``.
        members: Further members of the answer.
        retry_after: Whole seconds after which the same request would be let in; None where waiting does not help.
    """

    def __init__(
        self,
        status: int,
        error: str,
        message: str,
        members: Mapping[str, Any] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(status, error, message)
        self.status = status
        self.body = {"error": error, "message": message, **(members or {})}
        self.retry_after = retry_after
