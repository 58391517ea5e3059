"""Sends what a generator decides to send, for sync and async alike: the generator decides, whoever drives it sends.

The answer to a request is sent back to the generator, and its error is thrown into it.
"""

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

_RequestT = TypeVar("_RequestT")
_ResultT = TypeVar("_ResultT")


def drive(flow: Generator[_RequestT, Any, _ResultT], send: Callable[[_RequestT], Any]) -> _ResultT:
    """Send one request after the other.

    Args:
        flow: Decides on them.
        send: Sends one of them.

    Returns:
        What the flow returns.
    """
    try:
        request = next(flow)
        while True:
            try:
                answer = send(request)
            except Exception as error:
                request = flow.throw(error)
            else:
                request = flow.send(answer)
    except StopIteration as done:
        result: _ResultT = done.value
        return result


async def async_drive(
    flow: Generator[_RequestT, Any, _ResultT], send: Callable[[_RequestT], Awaitable[Any]]
) -> _ResultT:
    """:func:`drive` for asyncio."""
    try:
        request = next(flow)
        while True:
            try:
                answer = await send(request)
            except Exception as error:
                request = flow.throw(error)
            else:
                request = flow.send(answer)
    except StopIteration as done:
        result: _ResultT = done.value
        return result
