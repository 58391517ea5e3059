"""A request's connection: whether somebody is still there, and how to break it off."""

import asyncio
from collections.abc import Callable

from starlette.types import Receive, Scope

CLOSE_CONNECTION = "close_connection"
"""Where in a request's ``scope["state"]`` the server leaves a function that closes the connection, after what
has been sent so far. ASGI has no message for that, and faults such as ``drop`` need it."""


def closer(scope: Scope) -> Callable[[], None] | None:
    """What closes the connection; None where the server has left nothing for it."""
    found: Callable[[], None] | None = scope.get("state", {}).get(CLOSE_CONNECTION)
    return found


async def close(scope: Scope, receive: Receive) -> None:
    """Close the connection, and wait until it is so: a server complains of an app that returns before."""
    close_now = closer(scope)
    if close_now is not None:
        close_now()
        await gone(receive)


async def gone(receive: Receive) -> None:
    """Wait until the client has gone away."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def stays(receive: Receive, seconds: float) -> bool:
    """Wait; at once False when the client goes away, since then nobody waits for the answer."""
    try:
        async with asyncio.timeout(seconds):
            await gone(receive)
    except TimeoutError:
        return True
    return False
