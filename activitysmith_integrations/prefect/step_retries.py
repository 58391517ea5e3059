"""Whether Prefect runs a failed step of this package again, and when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import httpx
from prefect import Task
from prefect.client.schemas.objects import State, TaskRun
from prefect.exceptions import PrefectException

from activitysmith_integrations.core.errors import ActivitySmithError, RateLimitError

# What asking Prefect for the account raises where that can pass. Other errors are mistakes, which stay what they are.
_PASSING = (OSError, httpx.HTTPError, PrefectException)


def delay_of_engine(task: Task[..., Any], run: TaskRun) -> float:
    """Seconds that the engine will wait before the run that follows this failed one; at least so many.

    Args:
        task: The task.
        run: Its failed run.
    """
    delays: Any = task.retry_delay_seconds
    if not delays or task.retry_jitter_factor:
        return 0.0
    if not isinstance(delays, Sequence):
        delays = [delays]
    return float(delays[min(run.run_count, len(delays)) - 1])


def can_pass_within(
    longest_wait: float, *, waits_for_place: bool
) -> Callable[[Task[..., Any], TaskRun, State[Any]], Awaitable[bool]]:
    """Make the condition on which a step is run again: its fault can pass in time.

    Args:
        longest_wait: Seconds that the service may ask to wait.
        waits_for_place: Whether a place on the screen is waited for. It comes free only when another activity ends.
    """

    async def can_pass(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
        # It waits for what the service asked beyond the engine's delays, which are fixed.
        error = state.data
        if not isinstance(error, ActivitySmithError):
            return isinstance(error, _PASSING)
        asked = error.retry_after or 0.0
        if not error.retryable or asked > longest_wait:
            return False
        if isinstance(error, RateLimitError) and error.is_activity_limit and not waits_for_place:
            return False
        await asyncio.sleep(max(0.0, asked - delay_of_engine(task, run)))
        return True

    return can_pass
