"""Network steps that keep to a call's time: backends for httpcore's pools that know its deadline.

httpx and httpcore bound each single read, so a peer that sends one byte a second keeps a call for ever, and nothing
bounds a synchronous look-up of a host name. Here every step asks how much is left of the call's time. Cancelling an
asynchronous call from outside would do too, but httpcore leaves a connection open that is cancelled within its TLS
handshake.
"""

# Looking up a host name loads it. A process that is forked while another thread is still importing a module inherits
# that import's lock and hangs, so what threads need is imported before they start.
import encodings.idna  # noqa: F401
import ssl
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import httpcore

from activitysmith_integrations.core.threads import BackgroundThread

_SocketOptions = Iterable[httpcore.SOCKET_OPTION] | None

# The moment on time.monotonic()'s clock at which the call that goes on in this context times out.
_deadline: ContextVar[float] = ContextVar("activitysmith_deadline")


@contextmanager
def until(deadline: float) -> Iterator[None]:
    """Bound the steps that connections take within this block.

    Args:
        deadline: The moment on ``time.monotonic()``'s clock after which every step times out.
    """
    token = _deadline.set(deadline)
    try:
        yield
    finally:
        _deadline.reset(token)


def _left(timeout: float | None) -> float:
    """The given timeout, or what is left of the call's time if that is less.

    Raises:
        TimeoutError: Nothing is left. A step with the shortest of timeouts would go on for as long as a peer
            floods it, with interim responses for example.
    """
    left = _deadline.get() - time.monotonic()
    if left <= 0:
        raise TimeoutError("the call's time is up")
    return left if timeout is None else min(timeout, left)


def _connect_in_thread(connect: Callable[[], "_Stream"], timeout: float) -> "_Stream":
    """Run a connect that its own timeout cannot bound.

    Looking up a host name takes no timeout, and each of its addresses is tried for the whole of it. A
    connection is made once for many calls, so the thread costs nothing that matters; being a daemon, one
    that hangs does not keep the process from ending.
    """
    future: Future[_Stream] = Future()

    def run() -> None:
        try:
            future.set_result(connect())
        except Exception as error:
            future.set_exception(error)

    thread = BackgroundThread(run, "activitysmith-connect")
    try:
        try:
            thread.start()
        except RuntimeError:  # the interpreter is ending, or has no thread to give: only the look-up is unbounded then
            return connect()
        return future.result(timeout)
    except BaseException as error:  # Ctrl-C as well
        future.add_done_callback(_close_late)
        if isinstance(error, TimeoutError):
            raise httpcore.ConnectTimeout("timed out") from None
        raise


def _close_late(future: Future["_Stream"]) -> None:
    if future.exception() is None:
        future.result().close()


class Backend(httpcore.NetworkBackend):
    """Makes connections whose every step is within the call's time."""

    def __init__(self) -> None:
        self._backend = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: _SocketOptions = None,
    ) -> "_Stream":
        """Connect, the look-up of the host's name included, within what is left of the call's time."""
        left = _left(timeout)

        def connect() -> _Stream:
            return _Stream(self._backend.connect_tcp(host, port, left, local_address, socket_options))

        return _connect_in_thread(connect, left)


class _Stream(httpcore.NetworkStream):
    def __init__(self, stream: httpcore.NetworkStream) -> None:
        self._stream = stream

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _left(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _left(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> "_Stream":
        # CPython holds a whole handshake to one timeout, so a dripping peer cannot stretch it.
        return _Stream(self._stream.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class AsyncBackend(httpcore.AsyncNetworkBackend):
    """:class:`Backend` for asyncio, whose steps can be given up without a thread.

    A name look-up that hangs is given up too, but asyncio waits for it when the event loop ends.
    """

    def __init__(self) -> None:
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: _SocketOptions = None,
    ) -> "_AsyncStream":
        """Connect within what is left of the call's time."""
        left = _left(timeout)
        try:
            return _AsyncStream(await self._backend.connect_tcp(host, port, left, local_address, socket_options))
        except RuntimeError as error:  # the interpreter is ending, and has no thread to look up a name with
            raise httpcore.ConnectError(str(error)) from error


class _AsyncStream(httpcore.AsyncNetworkStream):
    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._stream.read(max_bytes, _left(timeout))

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, _left(timeout))

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> "_AsyncStream":
        return _AsyncStream(await self._stream.start_tls(ssl_context, server_hostname, _left(timeout)))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
