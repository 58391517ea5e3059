"""Tasks that start, update and end a stream: the durable way, retried by Prefect and visible as steps of the run."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypedDict, TypeVar, Unpack

from prefect import Task, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import task_run

from activitysmith_integrations import core
from activitysmith_integrations.prefect import progress
from activitysmith_integrations.prefect.blocks import ActivitySmithCredentials, resolve, resolve_now
from activitysmith_integrations.prefect.runs import (
    check_total,
    flow_name,
    flow_run_id,
    key_or_default,
    task_outcome,
)

# On top of a call's own repetitions: seconds before each of the runs that follow a failed one. The service counts
# requests by the minute, so where many runs end together the last of them get their turn some minutes later.
_END_DELAYS: list[float] = [10, 60, 60, 60, 60, 300]
# A flow goes on after these steps, and what is shown late helps nobody.
_STREAM_DELAYS: list[float] = [10, 60]
_STREAM_WAIT = 60.0


_P = ParamSpec("_P")
_R = TypeVar("_R")


class StreamOptions(TypedDict, total=False):
    """What a running stream shows; None as a value means not said.

    Attributes:
        content_state: A whole state of your own, instead of the picture that the next four make.
        total: How many steps there are, which makes a bar of segments; without it their count is shown.
        done: How many of them are complete, 0 by default.
        title: First line; the flow's name by default.
        subtitle: Second line.
        action: A button.
        secondary_action: A second button, for alert, progress, segmented_progress and value.
        alert: A notification with sound and banner.
        tags: Tags beside the engine's name.
        metadata: Metadata beside engine, pipeline and run.
        channels: Slugs of the channels whose members see it; the key's scope decides by default.
    """

    content_state: core.StateInput
    total: int
    done: int
    title: str
    subtitle: str
    action: core.ActionInput
    secondary_action: core.ActionInput
    alert: core.AlertInput
    tags: Sequence[str]
    metadata: core.MetadataInput
    channels: Sequence[str]


def _engines_delay(task: Task[..., Any], run: TaskRun) -> float:
    """Seconds that the engine will wait before the run that follows this failed one; at least so many."""
    delays: Any = task.retry_delay_seconds
    if not delays or task.retry_jitter_factor:
        return 0.0
    if not isinstance(delays, Sequence):
        delays = [delays]
    return float(delays[min(run.run_count, len(delays)) - 1])


def _step(verb: str, delays: list[float], longest_wait: float = math.inf) -> Callable[[Callable[_P, _R]], Task[_P, _R]]:
    """Make a task of a function whose first argument is a stream's key.

    Args:
        verb: What its runs are called, before the key.
        delays: Seconds before each run that follows a failed one.
        longest_wait: Seconds that the service may ask to wait; where it asks for more, the task fails.
    """

    def run_name() -> str:
        return f"{verb} {task_run.parameters.get('stream_key') or flow_name() or ''}".rstrip()

    async def can_pass(task: Task[..., Any], run: TaskRun, state: State[Any]) -> bool:
        # Whether another run can help. It waits for what the service asked beyond the engine's delays, which are fixed.
        error = state.data
        if not isinstance(error, core.ActivitySmithError):
            return not isinstance(error, (ValueError, TypeError))
        asked = error.retry_after or 0.0
        if not error.retryable or asked > longest_wait:
            return False
        await asyncio.sleep(max(0.0, asked - _engines_delay(task, run)))
        return True

    return task(
        task_run_name=run_name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=len(delays),
        retry_delay_seconds=delays,
        retry_condition_fn=can_pass,
    )


def _key(stream_key: str | None) -> str:
    name = flow_name()
    if stream_key is None and name is None:
        raise core.InvalidRequestError(("stream_key", "is missing; outside of a flow there is no name to make it of"))
    return key_or_default(stream_key, name or "")


def _plan(stream_key: str | None, error: BaseException | None, options: core.EndOptions) -> tuple[str, dict[str, Any]]:
    """The stream and the members to end it with. Hooks that keep it moving stop that first."""
    key = _key(stream_key)
    outcome = progress.stop(flow_run_id(), key, task_outcome(key, error))
    return key, core.end_request(outcome, options)


def _live_plan(stream_key: str | None, options: StreamOptions) -> tuple[str, dict[str, Any]]:
    """The stream and the members to start or update it with."""
    key = _key(stream_key)
    said: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    total, done = said.pop("total", None), said.pop("done", 0)
    title, subtitle = said.pop("title", None), said.pop("subtitle", None)
    check_total(total)
    run = task_outcome(key, None)
    shown = core.Progress(core.shown_title(run, {"title": title}), total=total).updated(done, subtitle)
    beside = core.live_members(run, {"tags": said.get("tags", ()), "metadata": said.get("metadata", {})})
    return key, {"content_state": shown.state, **said, **beside}


def _told_live(key: str, answer: core.StreamResponse) -> core.StreamResponse:
    """The answer, logged."""
    remarks = [remark for remark in (answer.warning, *(answer.errors or ())) if remark]
    level = logging.WARNING if remarks or not answer.success else logging.INFO
    get_run_logger().log(level, " ".join([f"Live Activity stream {key!r}: {answer.operation}.", *remarks]))
    return answer


def _told(key: str, answer: core.EndStreamResponse | core.NotFoundError) -> core.EndStreamResponse:
    """The answer, logged. A stream that the service does not know counts as ended."""
    level, line = core.report(key, answer)
    get_run_logger().log(level, line)
    return core.nothing_left(key) if isinstance(answer, core.NotFoundError) else answer


@_step("stream", _STREAM_DELAYS, _STREAM_WAIT)
def stream_live_activity(
    stream_key: str | None = None,
    *,
    credentials: ActivitySmithCredentials | str | None = None,
    **options: Unpack[StreamOptions],
) -> core.StreamResponse:
    """Start a stream, or update it, as a step of a flow.

    The step is retried twice, within little more than a minute, on faults that can pass; it fails where the service
    asks to wait longer than 60 s. Wait for one that is submitted before the flow ends: a stream that is updated after
    its end starts anew. iOS allows few updates, 12 of a run of less than 24 minutes: ``live_activity_hooks`` keeps to
    that by itself.

    Args:
        stream_key: The stream; made of the flow's name by default.
        credentials: As there.
        options: What it shows; see :class:`~activitysmith_integrations.prefect.tasks.StreamOptions`.

    Returns:
        The service's answer.

    Raises:
        InvalidRequestError: The key, an option or the account breaks a rule; nothing was sent.
        ActivitySmithError: The stream was neither started nor updated; see its subclasses.
        ValueError: There is no block of that name.

    Examples:
        >>> from prefect import flow
        >>> @flow
        ... def nightly_etl():
        ...     stream_live_activity(total=2)
        ...     stream_live_activity(total=2, done=1, subtitle="loading")
        ...     end_live_activity_stream()
    """
    key, members = _live_plan(stream_key, options)
    with resolve_now(credentials).get_client() as client:
        return _told_live(key, client.stream(key, **members))


@_step("stream", _STREAM_DELAYS, _STREAM_WAIT)
async def astream_live_activity(
    stream_key: str | None = None,
    *,
    credentials: ActivitySmithCredentials | str | None = None,
    **options: Unpack[StreamOptions],
) -> core.StreamResponse:
    """As :obj:`stream_live_activity`, for async flows: same arguments, same meanings, same errors."""
    key, members = _live_plan(stream_key, options)
    account = await resolve(credentials)
    async with account.get_async_client() as client:
        return _told_live(key, await client.stream(key, **members))


@_step("end stream", _END_DELAYS)
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
    Neither its result nor its inputs are stored or cached. A stream that ``live_activity_hooks`` keep moving stands
    still from then on.

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


@_step("end stream", _END_DELAYS)
async def aend_live_activity_stream(
    stream_key: str | None = None,
    *,
    credentials: ActivitySmithCredentials | str | None = None,
    error: BaseException | None = None,
    missing_ok: bool = True,
    **options: Unpack[core.EndOptions],
) -> core.EndStreamResponse:
    """As :obj:`end_live_activity_stream`, for async flows: same arguments, same meanings, same errors."""
    key, members = await asyncio.to_thread(_plan, stream_key, error, options)
    account = await resolve(credentials)
    async with account.get_async_client() as client:
        try:
            return _told(key, await client.end_stream(key, **members))
        except core.NotFoundError as missing:
            if not (missing_ok and missing.from_service):
                raise
            return _told(key, missing)
