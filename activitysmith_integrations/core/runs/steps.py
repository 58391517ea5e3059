"""Takes the steps that a generator decides on, for sync and async alike: it decides, whoever takes a step sends.

The result of a step is sent back to the generator, and its error is thrown into it.
"""

from collections.abc import Awaitable, Callable, Generator
from typing import Any, TypeVar

_StepT = TypeVar("_StepT")
_T = TypeVar("_T")


def take(steps: Generator[_StepT, Any, _T], perform: Callable[[_StepT], Any]) -> _T:
    """Take steps one after the other.

    Args:
        steps: The steps.
        perform: Takes one of them.

    Returns:
        What they lead to.
    """
    try:
        step = next(steps)
        while True:
            try:
                result = perform(step)
            except Exception as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as done:
        found: _T = done.value
        return found


async def async_take(steps: Generator[_StepT, Any, _T], perform: Callable[[_StepT], Awaitable[Any]]) -> _T:
    """:func:`take` for asyncio."""
    try:
        step = next(steps)
        while True:
            try:
                result = await perform(step)
            except Exception as error:
                step = steps.throw(error)
            else:
                step = steps.send(result)
    except StopIteration as done:
        found: _T = done.value
        return found
