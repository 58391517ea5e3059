"""Sending through an httpx client of the user's own, as its users expect: what it is set up with counts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from activitysmith_integrations.core.errors import ActivitySmithError, ConfigurationError, error_text
from activitysmith_integrations.core.wire import BodyReader, WireRequest, WireResponse

_SETTING = "http_client"


class GivenClient:
    """Sends through an ``httpx.Client``.

    Args:
        client: The client, which stays its owner's to close.

    Raises:
        ConfigurationError: It is something else.
    """

    def __init__(self, client: httpx.Client) -> None:
        _check_kind(client, httpx.Client)
        self._client = client

    def send(self, request: WireRequest, step_timeout: float, deadline: float) -> WireResponse:
        """Send a request and read its response.

        Args:
            request: The request.
            step_timeout: Seconds for each step.
            deadline: The moment on ``time.monotonic()``'s clock after which reading ends.

        Raises:
            ConfigurationError: The client is closed, or one of its event hooks raised.
            InvalidResponseError: The response is too large, or encoded in a way that was not asked for.
            httpx.TransportError: The connection failed.
        """
        with _errors_of_hooks(request):
            try:
                response = self._client.send(_build(self._client, request, step_timeout), **_SEND_OPTIONS)
            except httpx.HTTPStatusError as error:  # a hook that raises for a status
                response = error.response
            try:
                body = BodyReader(response.status_code, response.headers, deadline)
                if response.is_closed or response.is_stream_consumed:
                    return _read_by_hook(response, body)
                if body.is_wanted:
                    for chunk in response.iter_raw():
                        if not body.add(chunk):
                            break
                return body.response()
            finally:
                response.close()


class AsyncGivenClient:
    """Sends through an ``httpx.AsyncClient``.

    Args:
        client: The client, which stays its owner's to close.

    Raises:
        ConfigurationError: It is something else.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        _check_kind(client, httpx.AsyncClient)
        self._client = client

    async def send(self, request: WireRequest, step_timeout: float, deadline: float) -> WireResponse:
        """Send a request and read its response; arguments and errors are those of :meth:`GivenClient.send`."""
        with _errors_of_hooks(request):
            try:
                response = await self._client.send(_build(self._client, request, step_timeout), **_SEND_OPTIONS)
            except httpx.HTTPStatusError as error:
                response = error.response
            try:
                body = BodyReader(response.status_code, response.headers, deadline)
                if response.is_closed or response.is_stream_consumed:
                    return _read_by_hook(response, body)
                if body.is_wanted:
                    async for chunk in response.aiter_raw():
                        if not body.add(chunk):
                            break
                return body.response()
            finally:
                await response.aclose()


# The Authorization header is ours, and a redirect would carry it elsewhere.
_SEND_OPTIONS: dict[str, Any] = {"stream": True, "auth": None, "follow_redirects": False}


def _build(client: httpx.Client | httpx.AsyncClient, request: WireRequest, timeout: float) -> httpx.Request:
    return client.build_request(
        request.method, request.url, headers=request.headers, content=request.content or None, timeout=timeout
    )


def _check_kind(client: Any, kind: type[httpx.Client | httpx.AsyncClient]) -> None:
    if not isinstance(client, kind):
        raise ConfigurationError((_SETTING, f"must be an httpx.{kind.__name__}, not {type(client).__name__}"))
    if client.is_closed:
        raise ConfigurationError((_SETTING, "is closed already"))


def _read_by_hook(response: httpx.Response, body: BodyReader) -> WireResponse:
    """The response whose body an event hook has read, or whose connection was closed, as httpx does when one raises."""
    try:
        body.add(response.content)
    except httpx.ResponseNotRead:
        if response.is_success:
            raise ConfigurationError((_SETTING, "an event hook closed the response before it was read")) from None
    return body.response()


@contextmanager
def _errors_of_hooks(request: WireRequest) -> Iterator[None]:
    """Whatever the client's event hooks raise becomes an error of ours, which does not quote the API key."""
    try:
        yield
    except (ActivitySmithError, httpx.TransportError, TimeoutError, OSError):
        raise
    except Exception as error:
        text, quotes_key = _without_key(error_text(error), request)
        raise ConfigurationError((_SETTING, f"cannot send: {text}")) from None if quotes_key else error


def _without_key(text: str, request: WireRequest) -> tuple[str, bool]:
    """A text without the request's API key, and whether it had it; no frame that raises is to hold the key."""
    key = dict(request.headers)["Authorization"].removeprefix("Bearer ")
    return text.replace(key, "***"), key in text
