"""The sandbox's server: uvicorn, with connections that a fault can close."""

import asyncio
import socket
from collections.abc import Callable

from activitysmith_integrations.sandbox import needs_sandbox

with needs_sandbox():
    import uvicorn
    from starlette.applications import Starlette
    from uvicorn.protocols.http.h11_impl import H11Protocol

from activitysmith_integrations.sandbox.connection import CLOSE_CONNECTION


class SandboxServer(uvicorn.Server):
    """A server on which every fault of the sandbox can be injected.

    Args:
        app: What :func:`~activitysmith_integrations.sandbox.app.create_app` made.
        listener: A socket that listens already.
        on_started: Called once connections are accepted.
    """

    def __init__(self, app: Starlette, listener: socket.socket, on_started: Callable[[], None] = lambda: None) -> None:
        super().__init__(uvicorn.Config(app, http=_ClosableProtocol, ws="none", lifespan="off", log_level="warning"))
        self._listener = listener
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections on the listener, then report that."""
        await super().startup([self._listener])
        self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop at once: a fault may delay an answer by an hour, and a viewer stays connected for ever."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await super().shutdown([self._listener])


class _ClosableProtocol(H11Protocol):
    """Hands the app a function that closes its connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.app_state = {**self.app_state, CLOSE_CONNECTION: transport.close}


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Args:
        host: A name or an address of this machine.
        port: A port; 0 takes a free one.

    Raises:
        OSError: The address or port cannot be used.
    """
    listener = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    # asyncio sets it only on sockets of its own making. Without it an answer waits 40 ms for the client's ACK.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
