"""Connections: one shared TLS context, and a deadline that no peer can stretch.

httpx bounds each single read, so a peer that sends one byte a second keeps a call for ever, and nothing
bounds a synchronous look-up of a host name. Below our clients every step therefore asks how much is left
of the call's time. Ending an asynchronous call by cancelling it from outside would do too, but httpcore
leaves a connection open that is cancelled within its TLS handshake.
"""

import functools
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpx

_deadline: ContextVar[float | None] = ContextVar("activitysmith_deadline", default=None)


@functools.cache
def shared_ssl_context() -> ssl.SSLContext:
    """The TLS context that httpx would make, made once: loading the certificates takes some 20 ms each time."""
    return httpx.create_ssl_context()


@contextmanager
def deadline(at: float) -> Iterator[None]:
    """Bound the steps that connections take within this block.

    Args:
        at: The moment on ``time.monotonic()``'s clock after which every step times out.
    """
    token = _deadline.set(at)
    try:
        yield
    finally:
        _deadline.reset(token)


def sync_client(*, local: bool = False) -> httpx.Client:
    """An httpx client whose connections keep to :func:`deadline`.

    Args:
        local: Whether its calls go by plain ``http://`` to this machine: past the environment's proxies, and
            without the certificates, which take longer to load than such a call takes.
    """
    client = httpx.Client(verify=_ssl_context(local), trust_env=not local)
    _bound((client._transport, *client._mounts.values()), _Backend)
    return client


def async_client(*, local: bool = False) -> httpx.AsyncClient:
    """The same for asyncio."""
    client = httpx.AsyncClient(verify=_ssl_context(local), trust_env=not local)
    _bound((client._transport, *client._mounts.values()), _AsyncBackend)
    return client


def _ssl_context(local: bool) -> ssl.SSLContext:
    # One without certificates trusts nobody, so should it ever be used, the call fails.
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if local else shared_ssl_context()


def _bound(transports: Iterable[object], backend: "type[_Backend | _AsyncBackend]") -> None:
    # httpx has no option for httpcore's network backend, so it is put in place here. A mount without a
    # transport is a host that the environment excepts from its proxy.
    for transport in transports:
        if isinstance(transport, (httpx.HTTPTransport, httpx.AsyncHTTPTransport)):
            pool: Any = transport._pool
            pool._network_backend = backend(pool._network_backend)


def _left(timeout: float | None) -> float | None:
    """The given timeout, or what is left of the call's time if that is less.

    Raises:
        TimeoutError: Nothing is left. A step with the shortest of timeouts would go on for as long as a peer
            floods it, with interim responses for example.
    """
    at = _deadline.get()
    if at is None:
        return timeout
    left = at - time.monotonic()
    if left <= 0:
        raise TimeoutError("the call's time is up")
    return left if timeout is None else min(timeout, left)


def _connect_in_thread(connect: Callable[[], "_Stream"], timeout: float | None) -> "_Stream":
    """Run a connect that its own timeout cannot bound.

    Looking up a host name takes no timeout, and each of its addresses is tried for the whole of it. A
    connection is made once for many calls, so the thread costs nothing that matters; being a daemon, one
    that hangs does not keep the process from ending.
    """
    import httpcore  # loaded by httpx only once a client is built

    future: Future[_Stream] = Future()

    def run() -> None:
        try:
            future.set_result(connect())
        except Exception as error:
            future.set_exception(error)

    try:
        threading.Thread(target=run, name="activitysmith-connect", daemon=True).start()
    except RuntimeError as error:  # the interpreter is ending, or has no thread to give
        raise httpcore.ConnectError(str(error)) from None
    try:
        return future.result(timeout)
    except TimeoutError:
        future.add_done_callback(_close_late)
        raise httpcore.ConnectTimeout("timed out") from None


def _close_late(future: Future[Any]) -> None:
    if future.exception() is None:
        future.result().close()


class _Backend:
    """httpcore's network backend, with every step within the call's time."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> "_Stream":
        left = _left(timeout)

        def connect() -> _Stream:
            return _Stream(
                self._backend.connect_tcp(
                    host, port, timeout=left, local_address=local_address, socket_options=socket_options
                )
            )

        return _connect_in_thread(connect, left)


class _Wrapped:
    """What both colours of httpcore's network stream have in common."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _Stream(_Wrapped):
    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data: bytes = self._stream.read(max_bytes, timeout=_left(timeout))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, timeout=_left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> "_Stream":
        # CPython holds a whole handshake to one timeout, so a dripping peer cannot stretch it.
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, _left(timeout)))


class _AsyncBackend:
    """The same for asyncio, whose steps can be given up without a thread of ours.

    A name look-up that hangs is given up too, but asyncio waits for it when the event loop ends.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> "_AsyncStream":
        return _AsyncStream(
            await self._backend.connect_tcp(
                host, port, timeout=_left(timeout), local_address=local_address, socket_options=socket_options
            )
        )


class _AsyncStream(_Wrapped):
    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        data: bytes = await self._stream.read(max_bytes, timeout=_left(timeout))
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout=_left(timeout))

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> "_AsyncStream":
        return _AsyncStream(await self._stream.start_tls(ssl_context, server_hostname, _left(timeout)))
