"""Both clients behind one face."""

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import httpx
import pytest
from support.peer import Peer
from support.service import KEY, QUICK, Service

from activitysmith_integrations.core import ActivitySmithClient, AsyncActivitySmithClient


class Call(Protocol):
    """``call("end_stream", "key", ...)`` through one of the two clients, each made for the call."""

    def __call__(self, method: str, *args: Any, **kwargs: Any) -> Any: ...


def sync_call(options: dict[str, Any], method: str, *args: Any, **kwargs: Any) -> Any:
    with ActivitySmithClient(**options) as client:
        return getattr(client, method)(*args, **kwargs)


def async_call(options: dict[str, Any], method: str, *args: Any, **kwargs: Any) -> Any:
    async def run() -> Any:
        async with AsyncActivitySmithClient(**options) as client:
            return await getattr(client, method)(*args, **kwargs)

    return asyncio.run(run())


@pytest.fixture(params=["sync", "async"])
def flavor(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def over_the_wire(flavor: str) -> Callable[..., Any]:
    """A call with its client's options first, over real connections."""
    return sync_call if flavor == "sync" else async_call


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def call(flavor: str, service: Service) -> Call:
    """A call to the stand-in service, with short waits between attempts."""

    def through(method: str, *args: Any, client: dict[str, Any] | None = None, **kwargs: Any) -> Any:
        options: dict[str, Any] = {"api_key": KEY, "retry": QUICK, **(client or {})}
        transport = httpx.MockTransport(service)
        if flavor == "sync":
            with httpx.Client(transport=transport) as http_client:
                return sync_call({**options, "http_client": http_client}, method, *args, **kwargs)
        return async_call({**options, "http_client": httpx.AsyncClient(transport=transport)}, method, *args, **kwargs)

    return through


@pytest.fixture
def peer() -> Iterator[Callable[[Callable[[socket.socket], None]], Peer]]:
    peers: list[Peer] = []

    def start(behave: Callable[[socket.socket], None]) -> Peer:
        peers.append(Peer(behave))
        return peers[-1]

    yield start
    for one in peers:
        one.close()
