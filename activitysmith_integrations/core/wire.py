"""Pure: a call becomes a request; a response becomes an answer or an error."""

import ipaddress
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import httpx
from pydantic import SecretStr, ValidationError

from activitysmith_integrations import __version__
from activitysmith_integrations.core import keys
from activitysmith_integrations.core.errors import (
    APIConnectionError,
    APITimeoutError,
    InvalidRequestError,
    InvalidResponseError,
    status_error,
)
from activitysmith_integrations.core.models import (
    EndStreamRequest,
    EndStreamResponse,
    StreamRequest,
    StreamResponse,
    encode_json,
)
from activitysmith_integrations.core.retry import parse_retry_after

DEFAULT_BASE_URL = "https://activitysmith.com/api"
API_KEY_VARIABLE = "ACTIVITYSMITH_API_KEY"
BASE_URL_VARIABLE = "ACTIVITYSMITH_BASE_URL"
MAX_RESPONSE_BYTES = 1024 * 1024
# Documented answers have three.
_MAX_LEVELS = 32

AnswerT = TypeVar("AnswerT", EndStreamResponse, StreamResponse)


@dataclass(frozen=True)
class Endpoint:
    """Where calls go and the key they carry; its repr shows no key."""

    base_url: str
    api_key: SecretStr = field(repr=False)


def resolve_endpoint(api_key: str | SecretStr | None, base_url: str | None) -> Endpoint:
    """The endpoint from what was given and the environment.

    Args:
        api_key: The key; the environment variable ``ACTIVITYSMITH_API_KEY`` where None.
        base_url: The base URL; ``ACTIVITYSMITH_BASE_URL``, then the service's own, where None.

    Raises:
        InvalidRequestError: There is no key, or one of the two cannot be used. The message shows no key.
    """
    key = api_key if api_key is not None else os.environ.get(API_KEY_VARIABLE)
    url = base_url if base_url is not None else os.environ.get(BASE_URL_VARIABLE)
    return Endpoint(check_base_url(url or DEFAULT_BASE_URL), check_api_key(key))


def check_api_key(api_key: str | SecretStr | None) -> SecretStr:
    """The key, if it can stand in a header; no message shows it.

    Raises:
        InvalidRequestError: It is missing, or has characters that no key has.
    """
    if api_key is None:
        raise InvalidRequestError(("api_key", f"is missing; give it or set {API_KEY_VARIABLE}"))
    key = api_key.get_secret_value() if isinstance(api_key, SecretStr) else api_key
    if not isinstance(key, str):
        raise InvalidRequestError(("api_key", "must be a string"))
    if not key.strip():
        raise InvalidRequestError(("api_key", "is blank; an ActivitySmith key looks like ask_..."))
    if "\n" in key or "\r" in key:
        raise InvalidRequestError(("api_key", "has a line break; was it read from a file with its last newline?"))
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InvalidRequestError(("api_key", "has a space, control or non-ASCII character; was it copied whole?"))
    return SecretStr(key)


def check_base_url(base_url: str) -> str:
    """The base URL without a trailing slash, if the key may travel to it.

    Raises:
        InvalidRequestError: It is no http(s) URL, holds credentials, a query or a fragment, or is plain
            http to a host other than this machine.
    """
    try:
        url = httpx.URL(base_url.strip())
    except (httpx.InvalidURL, TypeError, AttributeError):
        url = httpx.URL("")
    if not 0 < (url.port or 443) < 65536:
        raise InvalidRequestError(("base_url", f"{url.port} is no port; they go from 1 to 65535"))
    if url.scheme not in ("https", "http") or not url.host:
        raise InvalidRequestError(("base_url", "is no URL of the form https://activitysmith.com/api"))
    if url.userinfo or "?" in base_url or "#" in base_url:
        raise InvalidRequestError(("base_url", "must hold no user name, password, query or fragment"))
    try:
        url.host.encode("idna")
    except UnicodeError:
        raise InvalidRequestError(("base_url", f"{url.host!r} is no host name")) from None
    if url.scheme == "http" and not _is_loopback(url.host):
        raise InvalidRequestError(
            ("base_url", f"plain http:// would show the API key to the network on the way to {url.host}; use https://")
        )
    return str(url).rstrip("/")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_stream_key(stream_key: str) -> str:
    """The stream key, if the service accepts it.

    Raises:
        InvalidRequestError: It does not.
    """
    if not isinstance(stream_key, str):
        raise InvalidRequestError(("stream_key", f"must be a string, not {type(stream_key).__name__}"))
    if not stream_key:
        raise InvalidRequestError(("stream_key", "is empty"))
    if "{{" in stream_key or "{%" in stream_key:
        raise InvalidRequestError(("stream_key", f"{stream_key!r} is a template that was not rendered"))
    if not keys.is_legal(stream_key):
        shown = stream_key if len(stream_key) <= 80 else stream_key[:79] + "…"
        raise InvalidRequestError(
            (
                "stream_key",
                f"{shown!r} is not 1 to {keys.MAX_KEY_LENGTH} letters, digits, _ and -; stream_key() makes such a key",
            )
        )
    return stream_key


def end_stream_request(endpoint: Endpoint, stream_key: str, members: Mapping[str, Any]) -> httpx.Request:
    """The request that ends a stream; without a body where no member is given.

    Raises:
        InvalidRequestError: The key or a member breaks a rule of the API.
    """
    key = check_stream_key(stream_key)
    body = EndStreamRequest(**_given(members)).to_wire()
    return _request(endpoint, "DELETE", key, body or None)


def stream_request(endpoint: Endpoint, stream_key: str, members: Mapping[str, Any]) -> httpx.Request:
    """The request that starts or updates a stream.

    Raises:
        InvalidRequestError: The key or a member breaks a rule of the API.
    """
    key = check_stream_key(stream_key)
    return _request(endpoint, "PUT", key, StreamRequest(**_given(members)).to_wire())


def _given(members: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}


def _request(
    endpoint: Endpoint, method: Literal["PUT", "DELETE"], stream_key: str, body: dict[str, Any] | None
) -> httpx.Request:
    # httpx.Headers hides the Authorization value in its repr, which a plain dict would not.
    headers = httpx.Headers(
        {
            "Authorization": f"Bearer {endpoint.api_key.get_secret_value()}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "User-Agent": f"activitysmith-integrations/{__version__}",
        }
    )
    content = None
    if body is not None:
        headers["Content-Type"] = "application/json"
        content = encode_json(body)
    url = f"{endpoint.base_url}/live-activity/stream/{stream_key}"
    return httpx.Request(method, url, headers=headers, content=content)


def read_answer(endpoint: Endpoint, response: httpx.Response, content: bytes, answer: type[AnswerT]) -> AnswerT:
    """The answer of a success, or the error that the response stands for.

    Args:
        endpoint: Where the call went; its key is cut out of anything quoted.
        response: Status and headers.
        content: The whole body.
        answer: The model of a success.

    Raises:
        APIStatusError: The status is not a success.
        InvalidResponseError: It is, but the body is not the documented answer.
    """
    text = content.decode("utf-8", "replace")
    try:
        body = _tidy(json.loads(text)) if text.strip() else None
        decoded = True
    except (ValueError, RecursionError):
        body, decoded = text, False
    if response.is_redirect:
        body = (
            "a redirect, which is not followed because it would carry the API key elsewhere; "
            "check that base_url is the address of the API itself"
        )
    if not response.is_success:
        retry_after = parse_retry_after(response.headers.get("Retry-After"))
        raise status_error(response.status_code, _without(endpoint.api_key, body), retry_after)
    if not decoded or not isinstance(body, dict):
        kind = _without(endpoint.api_key, response.headers.get("Content-Type", "no content type"))
        raise InvalidResponseError(
            f"ActivitySmith answered {response.status_code} with a body that is not a JSON object ({kind}); "
            "check base_url, and whether a proxy answers in its place."
        )
    try:
        return answer(**body)
    except ValidationError as error:
        members = ", ".join(".".join(map(str, detail["loc"])) for detail in error.errors(include_url=False))
        raise InvalidResponseError(
            f"ActivitySmith answered {response.status_code}, but not as documented: look at {members}."
        ) from None


def _tidy(value: Any, levels: int = _MAX_LEVELS) -> Any:
    """A decoded value that can be logged, pickled and written as JSON again: no half surrogates, few levels."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, (dict, list)) and levels == 0:
        return "…"
    if isinstance(value, dict):
        return {_tidy(name): _tidy(member, levels - 1) for name, member in value.items()}
    if isinstance(value, list):
        return [_tidy(member, levels - 1) for member in value]
    return value


def _without(api_key: SecretStr, body: Any) -> Any:
    """A decoded body without the key, should the service repeat it."""
    if isinstance(body, str):
        return body.replace(api_key.get_secret_value(), "***")
    if isinstance(body, dict):
        return {_without(api_key, name): _without(api_key, member) for name, member in body.items()}
    if isinstance(body, list):
        return [_without(api_key, member) for member in body]
    return body


def refuse_oversized(size: int) -> None:
    """Refuse an answer of more bytes than any documented one.

    Args:
        size: Bytes announced or read so far.

    Raises:
        InvalidResponseError: There are more than 1 MiB.
    """
    if size > MAX_RESPONSE_BYTES:
        raise InvalidResponseError(
            f"ActivitySmith's answer is larger than {MAX_RESPONSE_BYTES} bytes and was not read; check base_url."
        )


def refuse_late(deadline: float) -> None:
    """Refuse to go on reading after the call's time.

    Args:
        deadline: The moment on ``time.monotonic()``'s clock at which the call's time ends.

    Raises:
        TimeoutError: It has passed.
    """
    if time.monotonic() > deadline:
        raise TimeoutError("the call's time is up")


def announced_size(response: httpx.Response) -> int:
    """Bytes that the response says its body has; 0 where it does not say."""
    text = response.headers.get("Content-Length", "")
    return int(text) if text.isascii() and text.isdigit() else 0


def connection_error(endpoint: Endpoint, error: Exception) -> tuple[APIConnectionError, Exception | None]:
    """Our error for a failure of httpx or of the time budget, and what to raise it from.

    Args:
        endpoint: Where the call went; its key is cut out of anything quoted.
        error: The failure. A peer that speaks no HTTP is quoted in it, so it is not handed on if it holds the key.
    """
    text = str(error) or type(error).__name__
    what = _without(endpoint.api_key, text)
    cause = error if what == text else None
    if isinstance(error, (httpx.TimeoutException, TimeoutError)):
        return APITimeoutError(f"No answer from {endpoint.base_url} in time ({what})."), cause
    return APIConnectionError(f"No answer from {endpoint.base_url}: {what}."), cause
