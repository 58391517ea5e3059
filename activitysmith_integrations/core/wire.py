"""A call becomes a request; a response becomes an answer or an error. Nothing here sends or waits."""

import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr, ValidationError

from activitysmith_integrations import __version__
from activitysmith_integrations.core.config import Endpoint
from activitysmith_integrations.core.errors import (
    ActivitySmithError,
    APIConnectionError,
    APITimeoutError,
    InvalidResponseError,
    on_one_line,
    status_error,
)
from activitysmith_integrations.core.keys import check_stream_key
from activitysmith_integrations.core.models.requests import EndStreamRequest, StreamRequest
from activitysmith_integrations.core.models.responses import EndStreamResponse, StreamResponse
from activitysmith_integrations.core.retry import parse_retry_after

MAX_RESPONSE_BYTES = 1024 * 1024
# A shorter key, as in a test, may well be a part of a word.
_MIN_KEY_LENGTH = 8
# Documented answers have three.
_MAX_LEVELS = 32
_MAX_QUOTED = 60
# What OpenSSL says of a certificate that nobody known has signed.
_UNTRUSTED = ("self-signed certificate", "unable to get local issuer certificate")
_TRUST_ADVICE = "If your network signs certificates itself, name the file of its own in SSL_CERT_FILE."
_ENCODINGS = frozenset({"identity", "gzip", "x-gzip", "compress", "deflate", "br", "zstd"})


@dataclass(frozen=True)
class WireRequest:
    """What is sent.

    Args:
        method: ``PUT`` or ``DELETE``.
        url: The whole URL.
        headers: The headers, the API key among them, which is why the repr shows none.
        content: The body.
    """

    method: str
    url: str
    headers: list[tuple[str, str]] = field(repr=False)
    content: bytes


@dataclass(frozen=True)
class WireResponse:
    """What came back.

    Args:
        status: The HTTP status.
        headers: The headers by lower-case name.
        content: The whole body, as it came over the wire.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes


def build_request(endpoint: Endpoint, stream_key: str, request: EndStreamRequest | StreamRequest) -> WireRequest:
    """The request that ends, starts or updates a stream; one that ends it without a member has no body.

    Args:
        endpoint: Where it goes.
        stream_key: The stream.
        request: The body.

    Raises:
        InvalidRequestError: The key breaks a rule of the API, or the body cannot be written as JSON.
    """
    url = f"{endpoint.base_url}/live-activity/stream/{check_stream_key(stream_key)}"
    content = request.encode() if request.model_fields_set else b""
    headers = [
        ("Host", url.split("/", 3)[2]),
        ("Authorization", f"Bearer {endpoint.api_key.get_secret_value()}"),
        ("Accept", "application/json"),
        ("Accept-Encoding", "identity"),
        ("User-Agent", f"activitysmith-integrations/{__version__}"),
    ]
    if content:
        headers += [("Content-Type", "application/json"), ("Content-Length", str(len(content)))]
    return WireRequest("DELETE" if isinstance(request, EndStreamRequest) else "PUT", url, headers, content)


def read_answer(
    endpoint: Endpoint, request: EndStreamRequest | StreamRequest, response: WireResponse
) -> EndStreamResponse | StreamResponse:
    """The answer of a success, or the error that the response stands for.

    Args:
        endpoint: Where the call went; its key is cut out of all that came back.
        request: What was asked.
        response: The response.

    Raises:
        APIStatusError: The status is not a success.
        InvalidResponseError: It is, but the body is not the documented answer.
    """
    text = response.content.decode("utf-8", "replace")
    try:
        body = json.loads(text) if text.strip() else None
        decoded = True
    except (ValueError, RecursionError):
        body, decoded = text, False
    if not 200 <= response.status < 300:
        raise _status_error(endpoint, request, response, body)
    if not decoded or not isinstance(body, dict):
        content_type = _without(endpoint.api_key, response.headers.get("content-type", "no content type"))
        kind = " ".join(content_type[:_MAX_QUOTED].split())
        raise InvalidResponseError(
            f"ActivitySmith answered {response.status} with a body that is not a JSON object ({kind}); "
            "check base_url, and whether a proxy answers in its place."
        )
    try:
        answer = EndStreamResponse if isinstance(request, EndStreamRequest) else StreamResponse
        return answer(**_without(endpoint.api_key, _tidy(body), at_least=_MIN_KEY_LENGTH))
    except ValidationError as error:
        details = error.errors(include_url=False, include_context=False, include_input=False)
        members = dict.fromkeys(str(detail["loc"][0]) for detail in details)
        raise InvalidResponseError(
            f"ActivitySmith answered {response.status}, but not as documented: look at {', '.join(members)}."
        ) from None


def _status_error(
    endpoint: Endpoint, request: EndStreamRequest | StreamRequest, response: WireResponse, body: Any
) -> ActivitySmithError:
    if 300 <= response.status < 400 and "location" in response.headers:
        body = (
            "a redirect, which is not followed because it would carry the API key elsewhere; "
            "check that base_url is the address of the API itself"
        )
    retry_after = parse_retry_after(response.headers.get("retry-after"))
    is_about_end = isinstance(request, EndStreamRequest)
    body = _without(endpoint.api_key, _tidy(body))
    return status_error(response.status, body, retry_after, is_about_end=is_about_end)


def _tidy(value: Any, levels: int = _MAX_LEVELS) -> Any:
    """A decoded value that can be logged, pickled and written as JSON again, without NaN or too many levels."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, (dict, list)) and levels == 0:
        return "…"
    if isinstance(value, dict):
        return {_tidy(name): _tidy(member, levels - 1) for name, member in value.items()}
    if isinstance(value, list):
        return [_tidy(member, levels - 1) for member in value]
    return value


def _without(api_key: SecretStr, body: Any, *, at_least: int = 1) -> Any:
    """A decoded body without the key, should the service repeat it; one that is shorter than that stays."""
    key = api_key.get_secret_value()
    return _cut_out(key, body) if len(key) >= at_least else body


def _cut_out(key: str, body: Any) -> Any:
    if isinstance(body, str):
        return body.replace(key, "***")
    if isinstance(body, dict):
        return {_cut_out(key, name): _cut_out(key, member) for name, member in body.items()}
    if isinstance(body, list):
        return [_cut_out(key, member) for member in body]
    return body


class BodyReader:
    """A response's body as it comes in: counted as it comes over the wire, and never decoded.

    A success in an encoding that was not asked for, or larger than any documented answer, is refused: decoded, a few
    kilobytes can become gigabytes. Of an error's body only as much is kept as fits; its status counts in any case.

    Args:
        status: The HTTP status.
        headers: The headers by lower-case name.
        deadline: The moment on ``time.monotonic()``'s clock at which the call's time ends.

    Raises:
        InvalidResponseError: A success is encoded, or announced as too large.
    """

    def __init__(self, status: int, headers: Mapping[str, str], deadline: float) -> None:
        self._status = status
        self._headers = headers
        self._deadline = deadline
        self._content = bytearray()
        encoding = headers.get("content-encoding", "").strip().lower()
        self.is_wanted = encoding in ("", "identity")
        """Whether the body is to be read at all."""
        if not self.is_wanted and self._is_success:
            # A hostile peer could name the API key.
            parts = [part.strip() for part in encoding.split(",")]
            named = ", ".join(parts[:3]) if _ENCODINGS.issuperset(parts) else "in some way"
            raise InvalidResponseError(
                f"ActivitySmith's answer is encoded ({named}), which was not asked for, and was not read; "
                "check base_url, and whether a proxy answers in its place."
            )
        announced = headers.get("content-length", "")
        if announced.isascii() and announced.isdigit():
            self._fits(int(announced) if len(announced) < 20 else MAX_RESPONSE_BYTES + 1)

    @property
    def _is_success(self) -> bool:
        return 200 <= self._status < 300

    def _fits(self, size: int) -> bool:
        if size <= MAX_RESPONSE_BYTES:
            return True
        if self._is_success:
            raise InvalidResponseError(
                f"ActivitySmith's answer is larger than {MAX_RESPONSE_BYTES} bytes and was not read; check base_url."
            )
        return False

    def add(self, chunk: bytes) -> bool:
        """Take a part of the body; whether to read on.

        Raises:
            InvalidResponseError: A success is too large.
            TimeoutError: The call's time is up.
        """
        if time.monotonic() > self._deadline:
            raise TimeoutError("the call's time is up")
        if not self._fits(len(self._content) + len(chunk)):
            return False
        self._content += chunk
        return True

    def response(self) -> WireResponse:
        """The response with what was read."""
        return WireResponse(self._status, self._headers, bytes(self._content))


def forget_frames(error: BaseException, *, until: BaseException | None) -> None:
    """Take the frames off a failure and its causes: httpcore's hold what was written, the API key among it.

    What reports errors together with local variables would show it.

    Args:
        error: The failure.
        until: What the caller was handling already when the call began, which keeps its frames.
    """
    waiting: list[BaseException | None] = [error]
    done = {id(None), id(until)}
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in done:
            done.add(id(one))
            one.__traceback__ = None
            waiting += [one.__cause__, one.__context__]


def connection_error(
    endpoint: Endpoint, error: Exception, *, is_timeout: bool, through: str | None
) -> tuple[APIConnectionError, Exception | None]:
    """The error for a failed connection, and what to raise it from.

    Args:
        endpoint: Where the call went; its key is cut out of anything quoted.
        error: The failure. A peer that speaks no HTTP is quoted in it, so it is not handed on if it holds the key.
        is_timeout: Whether the time was up.
        through: The proxy in between, None where there is none.
    """
    text = str(error) or type(error).__name__
    reason = _without(endpoint.api_key, text)
    cause = error if reason == text else None
    reason = on_one_line(reason)
    where = endpoint.base_url if through is None else f"{endpoint.base_url} through {through}"
    if is_timeout:
        return APITimeoutError(f"No answer from {where} in time ({reason})."), cause
    advice = f" {_TRUST_ADVICE}" if any(words in reason for words in _UNTRUSTED) else ""
    return APIConnectionError(f"No answer from {where}: {reason}.{advice}"), cause
