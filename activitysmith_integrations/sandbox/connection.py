"""A request's connection: whether the client is still there, and how to close it before the answer is complete."""

import asyncio
from collections.abc import Callable

from starlette.types import Receive, Scope

CLOSE_CONNECTION = "close_connection"
"""The key in a request's ``scope["state"]`` under which the server leaves a function that closes the connection,
after what has been sent so far. ASGI has no message for that, and faults such as ``drop`` need it."""


def can_close(scope: Scope) -> bool:
    """Whether the server has left a function that closes the connection."""
    return CLOSE_CONNECTION in scope.get("state", {})


async def close(scope: Scope, receive: Receive) -> None:
    """Close the connection and wait until it is closed: a server logs an error where an app returns before."""
    if can_close(scope):
        close_connection: Callable[[], None] = scope["state"][CLOSE_CONNECTION]
        close_connection()
        await _disconnected(receive)


async def still_connected_after(seconds: float, receive: Receive) -> bool:
    """Wait. False as soon as the client disconnects, since then nobody waits for the answer."""
    try:
        async with asyncio.timeout(seconds):
            await _disconnected(receive)
    except TimeoutError:
        return True
    return False


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
