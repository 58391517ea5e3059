"""Connections that keep to a call's time: httpcore's pools over the steps of ``network``."""

import asyncio
import ssl
import threading
from collections.abc import Callable
from typing import Any

import httpcore

from activitysmith_integrations.core import config
from activitysmith_integrations.core.errors import ConfigurationError
from activitysmith_integrations.core.network import AsyncBackend, Backend, until
from activitysmith_integrations.core.wire import BodyReader, WireRequest, WireResponse

# The limits of httpx's own clients.
_POOL_LIMITS: dict[str, Any] = {"max_connections": 100, "max_keepalive_connections": 20, "keepalive_expiry": 5.0}


class _Calls:
    """The calls that use a pool. Once it is to be closed, the last of them closes it.

    A connection that is closed under a thread that reads from it can leave that thread waiting: its descriptor's
    number is the next one that another connection gets.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._running = 0
        self._is_retired = False

    def begin(self) -> None:
        """Count a call."""
        with self._lock:
            self._running += 1

    def end(self) -> bool:
        """Count a call that is over; whether to close the pool now."""
        with self._lock:
            self._running -= 1
            return self._is_retired and not self._running

    def retire(self) -> bool:
        """Close with the last call that is under way; whether to close the pool now."""
        with self._lock:
            self._is_retired = True
            return not self._running


class Transport:
    """Sends requests over connections of its own; safe to share between threads.

    Args:
        endpoint: Where requests go.

    Raises:
        ConfigurationError: The environment names a proxy or certificates that cannot be used.
    """

    def __init__(self, endpoint: config.Endpoint) -> None:
        self._pool = _pool(endpoint, httpcore.ConnectionPool, httpcore.HTTPProxy, httpcore.SOCKSProxy, Backend())
        self._calls = _Calls()

    def send(self, request: WireRequest, step_timeout: float, deadline: float) -> WireResponse:
        """Send a request and read its response.

        Args:
            request: The request.
            step_timeout: Seconds for each step.
            deadline: The moment on ``time.monotonic()``'s clock after which every step times out.

        Raises:
            InvalidResponseError: The response is too large, or encoded in a way that was not asked for.
            httpcore.NetworkError: The connection failed; so do the other errors of httpcore, and TimeoutError.
        """
        self._calls.begin()
        try:
            return self._send(request, step_timeout, deadline)
        finally:
            if self._calls.end():
                self._pool.close()

    def _send(self, request: WireRequest, step_timeout: float, deadline: float) -> WireResponse:
        with until(deadline):
            response = self._pool.handle_request(_to_httpcore(request, step_timeout))
            try:
                body = BodyReader(response.status, _headers_by_name(response), deadline)
                if body.is_wanted:
                    for chunk in response.iter_stream():
                        if not body.add(chunk):
                            break
                return body.response()
            finally:
                response.close()

    def close(self) -> None:
        """Close all connections, or have the last call that is under way close them."""
        if self._calls.retire():
            self._pool.close()


class AsyncTransport:
    """:class:`Transport` for asyncio; its connections belong to the event loop that opened them.

    Args:
        endpoint: Where requests go.

    Attributes:
        is_usable: Whether it takes other calls: not once one of them was cancelled, since httpcore's pool (1.0.9)
            can lose the place of a connection that was about to be opened, and has 100 of them.

    Raises:
        ConfigurationError: The environment names a proxy or certificates that cannot be used.
    """

    def __init__(self, endpoint: config.Endpoint) -> None:
        self._pool = _pool(
            endpoint, httpcore.AsyncConnectionPool, httpcore.AsyncHTTPProxy, httpcore.AsyncSOCKSProxy, AsyncBackend()
        )
        self._calls = _Calls()
        self.is_usable = True

    async def send(self, request: WireRequest, step_timeout: float, deadline: float) -> WireResponse:
        """Send a request and read its response; arguments and errors are those of :meth:`Transport.send`."""
        self._calls.begin()
        try:
            return await self._send(request, step_timeout, deadline)
        except asyncio.CancelledError:
            self.is_usable = False
            self._calls.retire()
            raise
        finally:
            if self._calls.end():
                await self._pool.aclose()

    async def _send(self, request: WireRequest, step_timeout: float, deadline: float) -> WireResponse:
        with until(deadline):
            response = await self._pool.handle_async_request(_to_httpcore(request, step_timeout))
            try:
                body = BodyReader(response.status, _headers_by_name(response), deadline)
                if body.is_wanted:
                    async for chunk in response.aiter_stream():
                        if not body.add(chunk):
                            break
                return body.response()
            finally:
                await response.aclose()

    async def aclose(self) -> None:
        """Close all connections, or have the last call that is under way close them."""
        if self._calls.retire():
            await self._pool.aclose()


def _pool(
    endpoint: config.Endpoint,
    direct: Callable[..., Any],
    http_proxy: Callable[..., Any],
    socks_proxy: Callable[..., Any],
    backend: Backend | AsyncBackend,
) -> Any:
    """The pool of connections to an endpoint, through the environment's proxy if it names one."""
    if endpoint.is_local:
        # No certificates, which take longer to load than a call takes, and no proxy, which is another machine. A
        # context without certificates trusts nobody, so should it ever be used, the call fails.
        return direct(ssl_context=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), network_backend=backend, **_POOL_LIMITS)
    options = {"ssl_context": config.ssl_context(), "network_backend": backend, **_POOL_LIMITS}
    proxy = config.proxy_for(endpoint.base_url)
    if proxy is None:
        return direct(**options)
    try:
        if proxy.url.startswith("socks"):
            return socks_proxy(proxy.url, proxy_auth=proxy.auth, **options)
        if proxy.url.startswith("https"):
            options["proxy_ssl_context"] = config.ssl_context()
        return http_proxy(proxy.url, proxy_auth=proxy.auth, **options)
    except (ImportError, RuntimeError) as error:  # a SOCKS proxy needs a package that httpx does not bring along
        raise ConfigurationError((proxy.variable, f"{proxy.url} cannot be used: {error}")) from None


def _to_httpcore(request: WireRequest, step_timeout: float) -> httpcore.Request:
    steps = dict.fromkeys(("connect", "read", "write", "pool"), step_timeout)
    return httpcore.Request(
        request.method, request.url, headers=request.headers, content=request.content, extensions={"timeout": steps}
    )


def _headers_by_name(response: httpcore.Response) -> dict[str, str]:
    """The response's headers by lower-case name; of several of one name the first."""
    headers: dict[str, str] = {}
    for name, value in response.headers:
        headers.setdefault(name.decode("latin-1").lower(), value.decode("latin-1"))
    return headers
