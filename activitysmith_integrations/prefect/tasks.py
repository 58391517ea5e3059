"""Tasks that end a stream: the durable way, retried by Prefect and visible as a step of the run."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Unpack

from prefect import Task, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import task_run

from activitysmith_integrations import core
from activitysmith_integrations.prefect.blocks import ActivitySmithCredentials, resolve, resolve_now
from activitysmith_integrations.prefect.runs import flow_name, key_or_default, task_outcome

# On top of a call's own repetitions: seconds before each of the runs that follow a failed one. The service counts
# requests by the minute, so where many runs end together the last of them get their turn some minutes later.
_RETRY_DELAYS: list[float] = [10, 60, 60, 60, 60, 300]


def _run_name() -> str:
    return f"end stream {task_run.parameters.get('stream_key') or flow_name() or ''}".rstrip()


async def _can_pass(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
    """Whether another run can help. It waits for what the service asked beyond the engine's delays, which are fixed."""
    error = state.data
    if not isinstance(error, core.ActivitySmithError):
        return not isinstance(error, (ValueError, TypeError))
    if error.retryable and error.retry_after:
        await asyncio.sleep(max(0.0, error.retry_after - _engines_delay(task, run)))
    return error.retryable


def _engines_delay(task: Task[..., Any], run: TaskRun) -> float:
    """Seconds that the engine will wait before the run that follows this failed one; at least so many."""
    delays: Any = task.retry_delay_seconds
    if not delays or task.retry_jitter_factor:
        return 0.0
    if not isinstance(delays, Sequence):
        delays = [delays]
    return float(delays[min(run.run_count, len(delays)) - 1])


def _key(stream_key: str | None) -> str:
    name = flow_name()
    if stream_key is None and name is None:
        raise core.InvalidRequestError(("stream_key", "is missing; outside of a flow there is no name to make it of"))
    return key_or_default(stream_key, name or "")


def _plan(stream_key: str | None, error: BaseException | None, options: core.EndOptions) -> tuple[str, dict[str, Any]]:
    """The stream and the members to end it with."""
    key = _key(stream_key)
    return key, core.end_request(task_outcome(key, error), options)


def _told(key: str, answer: core.EndStreamResponse | core.NotFoundError) -> core.EndStreamResponse:
    """The answer, logged. A stream that the service does not know counts as ended."""
    level, line = core.report(key, answer)
    get_run_logger().log(level, line)
    return core.nothing_left(key) if isinstance(answer, core.NotFoundError) else answer


@task(
    task_run_name=_run_name,
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=len(_RETRY_DELAYS),
    retry_delay_seconds=_RETRY_DELAYS,
    retry_condition_fn=_can_pass,
)
def end_live_activity_stream(
    stream_key: str | None = None,
    *,
    credentials: ActivitySmithCredentials | str | None = None,
    error: BaseException | None = None,
    missing_ok: bool = True,
    **options: Unpack[core.EndOptions],
) -> core.EndStreamResponse:
    """End a stream as a step of a flow.

    The step is retried on faults that can pass, after the wait that the service asks for, and fails on others.
    Neither its result nor its inputs are stored or cached.

    Args:
        stream_key: The stream; made of the flow's name by default.
        credentials: The block, its name, or None for the environment's key (``ACTIVITYSMITH_API_KEY``). Give a
            key in no other way: Prefect shows a flow's parameters in clear.
        error: What made the run fail, so that a failure is shown; a success by default.
        missing_ok: Whether a stream that the service never knew counts as ended.
        options: How the end looks; see :class:`~activitysmith_integrations.core.EndOptions`.

    Returns:
        The service's answer. ``ignored`` where nothing was left to end.

    Raises:
        InvalidRequestError: The key, an option or the account breaks a rule; nothing was sent.
        ActivitySmithError: The stream was not ended; see its subclasses.
        ValueError: There is no block of that name.

    Examples:
        >>> from prefect import flow
        >>> @flow
        ... def nightly_etl():
        ...     end_live_activity_stream()
    """
    key, members = _plan(stream_key, error, options)
    with resolve_now(credentials).get_client() as client:
        try:
            return _told(key, client.end_stream(key, **members))
        except core.NotFoundError as missing:
            if not (missing_ok and missing.from_service):
                raise
            return _told(key, missing)


@task(
    task_run_name=_run_name,
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=len(_RETRY_DELAYS),
    retry_delay_seconds=_RETRY_DELAYS,
    retry_condition_fn=_can_pass,
)
async def aend_live_activity_stream(
    stream_key: str | None = None,
    *,
    credentials: ActivitySmithCredentials | str | None = None,
    error: BaseException | None = None,
    missing_ok: bool = True,
    **options: Unpack[core.EndOptions],
) -> core.EndStreamResponse:
    """As :obj:`end_live_activity_stream`, for async flows: same arguments, same meanings, same errors."""
    key, members = _plan(stream_key, error, options)
    account = await resolve(credentials)
    async with account.get_async_client() as client:
        try:
            return _told(key, await client.end_stream(key, **members))
        except core.NotFoundError as missing:
            if not (missing_ok and missing.from_service):
                raise
            return _told(key, missing)
