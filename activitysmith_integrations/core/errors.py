"""Everything that can go wrong, as one tree.

ActivitySmithError
├── InvalidRequestError            refused here, nothing was sent (also a ValueError)
├── APIConnectionError             no answer arrived
│   └── APITimeoutError            ... within the time allowed
├── APIStatusError                 the service answered with an error status
│   ├── BadRequestError            400
│   ├── AuthenticationError        401
│   ├── BillingError               402
│   ├── PermissionDeniedError      403
│   ├── NotFoundError              404
│   ├── RateLimitError             429
│   └── ServerError                5xx
└── InvalidResponseError           a success status whose body makes no sense

All of them survive pickling, which both engines do to exceptions on their way between processes.
"""

from collections.abc import Mapping
from typing import Any

_RETRYABLE_STATUSES = frozenset({429, 500, 502, 503, 504})
_MAX_QUOTED = 300
_MAX_KEPT = 2000


class ActivitySmithError(Exception):
    """Root of every error this package raises on purpose.

    Attributes:
        retryable: Whether the same call may succeed later without anybody changing anything.
        retry_after: Seconds the service asked to wait before the next call; None where it did not say.
    """

    retryable: bool = False
    retry_after: float | None = None


class InvalidRequestError(ActivitySmithError, ValueError):
    """The call breaks a rule of the API and was refused before anything was sent.

    Args:
        problems: One ``(member, rule)`` pair for each broken rule. The member is a dotted path such
            as ``content_state.metrics.0.label``; it is empty where the rule concerns the whole.
    """

    def __init__(self, *problems: tuple[str, str]) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        return "; ".join(f"{member}: {rule}" if member else rule for member, rule in self.problems)

    def within(self, prefix: str) -> "InvalidRequestError":
        """The same problems, seen from an enclosing member.

        Args:
            prefix: The path of the enclosing member.
        """
        return InvalidRequestError(*((join_path(prefix, member), rule) for member, rule in self.problems))


class APIConnectionError(ActivitySmithError):
    """No answer arrived: the connection failed or broke off."""

    retryable = True


class APITimeoutError(APIConnectionError):
    """No complete answer arrived within the time allowed."""


class APIStatusError(ActivitySmithError):
    """The service answered with an error status.

    Args:
        status_code: The HTTP status.
        body: The decoded JSON body, the beginning of the text where it was not JSON, None where it was empty.
        retry_after: Seconds the service asked to wait; None where it did not say.
    """

    hint = ""

    def __init__(self, status_code: int, body: Any = None, retry_after: float | None = None) -> None:
        body = body[:_MAX_KEPT] if isinstance(body, str) else body
        super().__init__(status_code, body, retry_after)
        self.status_code = status_code
        self.body = body
        self.retry_after = retry_after
        self.retryable = status_code in _RETRYABLE_STATUSES

    def __str__(self) -> str:
        parts = [f"ActivitySmith answered {self.status_code}"]
        said = _said(self.body)
        if said:
            parts[0] += f" ({said})"
        if self.hint:
            parts.append(self.hint)
        if isinstance(self.body, Mapping) and isinstance(self.body.get("upgrade_url"), str):
            parts.append(f"See {self.body['upgrade_url']}")
        if self.retry_after is not None:
            parts.append(f"The service asks to wait {self.retry_after:.0f} s")
        return ". ".join(part.rstrip(".") for part in parts) + "."


class BadRequestError(APIStatusError):
    """400: the service refused the stream key, the payload or an action."""

    hint = "The request was not accepted; repeating it unchanged will not help"


class AuthenticationError(APIStatusError):
    """401: the API key is missing or invalid."""

    hint = "Check the API key"


class BillingError(APIStatusError):
    """402: the account's plan or trial does not allow the call."""

    hint = "The account's billing blocks the call"


class PermissionDeniedError(APIStatusError):
    """403: the key's scope or channel assignment does not allow the call."""

    hint = "Check the API key's scope and channels"


# The member by which the service's "no recipients" differs from its "no such stream" (API contract).
_RECIPIENTS = "effective_channel_slugs"


class NotFoundError(APIStatusError):
    """404: no such stream (ending) or no recipients (starting or updating).

    Attributes:
        from_service: Whether the answer reads like the service's own. Another one comes from a wrong address,
            and says nothing of a stream.
    """

    hint = "Check the stream key, and that the API key's account is the one that started the stream"

    def __init__(self, status_code: int = 404, body: Any = None, retry_after: float | None = None) -> None:
        super().__init__(status_code, body, retry_after)
        self.from_service = isinstance(self.body, Mapping) and not {"error", "message"}.isdisjoint(self.body)
        if not self.from_service:
            self.hint = "That is not how ActivitySmith says it; check that base_url is the address of its API"
        elif _RECIPIENTS in self.body:
            self.hint = "Pair an iPhone with the account and let the app show Live Activities, or check the channels"


class RateLimitError(APIStatusError):
    """429: too many requests a minute, or too many concurrent Live Activities."""


class ServerError(APIStatusError):
    """5xx: the service failed; the fault is not in the request."""


class InvalidResponseError(ActivitySmithError):
    """A success status whose body is not the documented answer."""


_BY_STATUS: dict[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: BillingError,
    403: PermissionDeniedError,
    404: NotFoundError,
    429: RateLimitError,
}


def status_error(status_code: int, body: Any, retry_after: float | None) -> APIStatusError:
    """The error class for a status, filled in."""
    default = ServerError if 500 <= status_code <= 599 else APIStatusError
    return _BY_STATUS.get(status_code, default)(status_code, body, retry_after)


def join_path(*members: str) -> str:
    """One dotted path from members of which some may be empty."""
    return ".".join(member for member in members if member)


def _said(body: Any) -> str:
    """What the service said, on one line and no longer than a log line should be."""
    if isinstance(body, Mapping):
        said = ": ".join(
            value for value in (body.get("error"), body.get("message")) if isinstance(value, str) and value
        )
    else:
        said = body if isinstance(body, str) else ""
    said = " ".join(said.split())
    return said if len(said) <= _MAX_QUOTED else said[: _MAX_QUOTED - 1] + "…"
