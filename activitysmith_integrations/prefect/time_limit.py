"""Work that is given up when its time is over: nobody else bounds how long a hook takes (Prefect 3.8)."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from activitysmith_integrations.core.threads import BackgroundThread

ResultT = TypeVar("ResultT")


async def within(seconds: float, work: Callable[[], ResultT], *, daemon: bool = True) -> ResultT:
    """Do blocking work in a thread of its own, and wait for it no longer than it may take.

    What is no longer waited for goes on in its thread until its own time is over. It never keeps the event loop
    waiting.

    Args:
        seconds: How long to wait at most.
        work: The work. It finds the caller's context variables, which hold Prefect's settings.
        daemon: Whether the process may end before the work.

    Raises:
        TimeoutError: The time is over.
        RuntimeError: The work asked to end the process.
    """
    try:
        return await asyncio.wait_for(asyncio.wrap_future(_in_thread(work, daemon)), seconds)
    except TimeoutError:
        raise TimeoutError(f"no answer within {seconds:g} s") from None


def _in_thread(work: Callable[[], ResultT], daemon: bool) -> Future[ResultT]:
    future: Future[ResultT] = Future()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            result = context.run(work)
        except BaseException as error:
            # One that would end the whole process, such as SystemExit, is a failure of this work alone.
            failure = error if isinstance(error, Exception) else RuntimeError(repr(error))
            if future.set_running_or_notify_cancel():
                future.set_exception(failure)
        else:
            if future.set_running_or_notify_cancel():
                future.set_result(result)

    BackgroundThread(run, "activitysmith-hook", daemon=daemon).start()
    return future
