"""Everything that can go wrong, as one tree.

ActivitySmithError
├── ConfigurationError             the client cannot be set up, nothing was sent (also a ValueError)
├── InvalidRequestError            the call breaks a rule of the API, nothing was sent (also a ValueError)
├── APIConnectionError             no answer arrived
│   └── APITimeoutError            ... within the time allowed
├── APIStatusError                 the service answered with an error status
│   ├── BadRequestError            400
│   ├── AuthenticationError        401
│   ├── BillingError               402
│   ├── PermissionDeniedError      403
│   ├── NotFoundError              404
│   │   └── NoRecipientsError      404 to a start or an update
│   ├── RateLimitError             429
│   └── ServerError                5xx
└── InvalidResponseError           a success status whose body makes no sense

All of them survive pickling: both engines hand exceptions from process to process.
"""

from collections.abc import Mapping
from typing import Any, Self

_RETRYABLE_STATUSES = frozenset({429, 500, 502, 503, 504})
_MAX_PROBLEMS = 10
_MAX_QUOTED = 300
_MAX_VALUE = 100
_MAX_PROBLEM = 1000
_MAX_KEPT = 2000


class ActivitySmithError(Exception):
    """Root of every error this package raises on purpose.

    Attributes:
        retryable: Whether the same call may succeed later without anybody changing anything.
        retry_after: Seconds the service asked to wait before the next call; None where it did not say.
    """

    retryable: bool = False
    retry_after: float | None = None


class _InvalidInputError(ActivitySmithError, ValueError):
    """What a caller gave cannot be used.

    Args:
        problems: One ``(name, problem)`` pair for each fault.
    """

    def __init__(self, *problems: tuple[str, str]) -> None:
        super().__init__(*problems)
        self.problems = problems

    def __str__(self) -> str:
        known = [(cut_short(name), cut_short(problem, _MAX_PROBLEM)) for name, problem in self.problems[:_MAX_PROBLEMS]]
        shown = [f"{name}: {problem}" if name else problem for name, problem in known]
        more = len(self.problems) - len(shown)
        return "; ".join([*shown, *([f"and {more} more"] if more else [])])

    def within(self, prefix: str) -> Self:
        """The same problems, seen from what encloses them.

        Args:
            prefix: The name of the enclosing member or setting.
        """
        return type(self)(*((join_path(prefix, name), problem) for name, problem in self.problems))


class ConfigurationError(_InvalidInputError):
    """A client cannot be set up with what the arguments and the environment say.

    Args:
        problems: One ``(setting, problem)`` pair for each fault. The setting is the argument, such as ``base_url``,
            or the environment variable, such as ``SSL_CERT_FILE``.
    """


class InvalidRequestError(_InvalidInputError):
    """The call breaks a rule of the API and was refused before anything was sent.

    Args:
        problems: One ``(member, rule)`` pair for each broken rule. The member is a dotted path such
            as ``content_state.metrics.0.label``; it is empty where the rule concerns the whole.
    """


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
        message = _message(self.body)
        if message:
            parts[0] += f" ({message})"
        if self.hint:
            parts.append(self.hint)
        if isinstance(self.body, Mapping) and isinstance(self.body.get("upgrade_url"), str):
            parts.append(f"See {on_one_line(self.body['upgrade_url'])}")
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


class NotFoundError(APIStatusError):
    """404: the service knows no such stream.

    Attributes:
        from_service: Whether the answer reads like the service's own. Another one comes from a wrong address,
            and says nothing of a stream.
    """

    hint = "Check the stream key, and that the API key's account is the one that started the stream"

    def __init__(self, status_code: int = 404, body: Any = None, retry_after: float | None = None) -> None:
        super().__init__(status_code, body, retry_after)
        self.from_service = isinstance(self.body, Mapping) and not {"error", "message"}.isdisjoint(self.body)
        if not self.from_service:
            self.hint = "The answer is not ActivitySmith's; check that base_url is the address of its API"


class NoRecipientsError(NotFoundError):
    """404 to a start or an update: nobody receives it (API contract)."""

    hint = "Pair an iPhone with the account and let the app show Live Activities, or check the channels"


class RateLimitError(APIStatusError):
    """429: too many requests a minute, or too many concurrent Live Activities.

    Attributes:
        is_activity_limit: Whether it is the number of Live Activities, which changes only once one of them ends.
    """

    def __init__(self, status_code: int = 429, body: Any = None, retry_after: float | None = None) -> None:
        super().__init__(status_code, body, retry_after)
        limit, active = (body.get("limit"), body.get("active")) if isinstance(body, Mapping) else (None, None)
        self.is_activity_limit = active is not None
        if self.is_activity_limit:
            places = f"{active} of its {limit}" if isinstance(active, int) and isinstance(limit, int) else "all of its"
            self.hint = f"The account shows {places} Live Activities already; there is a place once one of them ends"
        else:
            self.hint = "The account's requests of this minute are used up"


class ServerError(APIStatusError):
    """5xx: the service failed; the fault is not in the request."""


class InvalidResponseError(ActivitySmithError):
    """A success status without the documented answer of a success."""


_BY_STATUS: dict[int, type[APIStatusError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: BillingError,
    403: PermissionDeniedError,
    404: NotFoundError,
    429: RateLimitError,
}


def status_error(
    status_code: int, body: Any, retry_after: float | None, *, is_about_end: bool = True
) -> APIStatusError:
    """The error class for a status, filled in.

    Args:
        status_code: The HTTP status.
        body: The decoded body.
        retry_after: Seconds the service asked to wait.
        is_about_end: Whether a stream was to be ended, rather than started or updated.
    """
    if status_code == 404 and not is_about_end:
        return NoRecipientsError(status_code, body, retry_after)
    default = ServerError if 500 <= status_code <= 599 else APIStatusError
    return _BY_STATUS.get(status_code, default)(status_code, body, retry_after)


def may_have_arrived(error: BaseException | None) -> bool:
    """Whether the service may have done what it was asked although the call failed: no answer, or none to rely on."""
    return isinstance(error, (APIConnectionError, InvalidResponseError, ServerError))


def join_path(*members: str) -> str:
    """One dotted path from members of which some may be empty."""
    return ".".join(member for member in members if member)


def message_of(error: BaseException) -> str:
    """What an error says; nothing where it is one of the user's own that fails to say what it is."""
    try:
        return str(error)
    except Exception:
        return ""


def error_text(error: BaseException) -> str:
    """An error on one line; ours in its own words, others with their class in front."""
    text = " ".join(message_of(error).split())
    if isinstance(error, ActivitySmithError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def quoted(value: object) -> str:
    """A value as a message shows it: cut, and of an object of the user's own that cannot say what it is, its class."""
    try:
        text = repr(value)
    except Exception:
        text = f"<{type(value).__name__}>"
    return cut_short(text)


def cut_short(text: str, limit: int = _MAX_VALUE) -> str:
    """At most *limit* characters, the last an ellipsis if something is missing."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _message(body: Any) -> str:
    """The service's error text, on one line and no longer than a log line should be."""
    if isinstance(body, Mapping):
        text = ": ".join(
            value for value in (body.get("error"), body.get("message")) if isinstance(value, str) and value
        )
    else:
        text = body if isinstance(body, str) else ""
    return on_one_line(text)


def on_one_line(text: str) -> str:
    """A text as a log line quotes it: on one line, and cut."""
    return cut_short(" ".join(text.split()), _MAX_QUOTED)
