"""Tasks that start, update and end a stream: the durable way, retried by Prefect and visible as steps of the run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, Unpack

from prefect import Task, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.exceptions import MissingContextError
from prefect.logging import get_logger
from prefect.runtime import task_run

from activitysmith_integrations import core
from activitysmith_integrations.core.errors import InvalidRequestError
from activitysmith_integrations.core.keys import check_stream_key, looks_like_api_key
from activitysmith_integrations.prefect.blocks import ActivitySmithCredentials, resolve, resolve_now
from activitysmith_integrations.prefect.runs import flow_name, flow_run_id, key_or_default, task_outcome
from activitysmith_integrations.prefect.step_retries import can_pass_within

if TYPE_CHECKING:
    from activitysmith_integrations.core.models.requests import StreamRequest
    from activitysmith_integrations.core.runs.ending import End, EndResult
    from activitysmith_integrations.core.runs.outcome import RunOutcome
    from activitysmith_integrations.core.runs.recent_ends import Ended
    from activitysmith_integrations.prefect.shown_failures import RunRef
    from activitysmith_integrations.prefect.stream_options import StreamOptions

# On top of a call's own repetitions: seconds before each of the runs that follow a failed one. The service counts
# requests by the minute, so where many runs end together the last of them get their turn some minutes later.
_END_DELAYS: list[float] = [10, 60, 60, 60, 60, 300]
_END_WAIT = 600.0
# A flow goes on after these steps, and what is shown late helps nobody.
_STREAM_DELAYS: list[float] = [10, 60]
_STREAM_WAIT = 60.0

_P = ParamSpec("_P")
_R = TypeVar("_R")

_OTHER_PARAMETERS = ("stream_key", "credentials")


def _stream_request(stream_key: str, options: StreamOptions) -> StreamRequest:
    from activitysmith_integrations.prefect.stream_options import build_stream_request

    return build_stream_request(stream_key, options, other=_OTHER_PARAMETERS)


def _step(
    verb: str, delays: list[float], longest_wait: float, *, waits_for_place: bool = False
) -> Callable[[Callable[_P, _R]], Task[_P, _R]]:
    """Make a task of a function whose first argument is a stream's key.

    Args:
        verb: What its runs are called, before the key.
        delays: Seconds before each run that follows a failed one.
        longest_wait: Seconds that the service may ask to wait; where it asks for more, the task fails.
        waits_for_place: Whether it is run again where the account shows as many Live Activities as it may.
    """

    def run_name() -> str:
        key = task_run.parameters.get("stream_key")
        if not isinstance(key, str) or looks_like_api_key(key):  # which the task itself refuses
            key = flow_name()
        return f"{verb} {key or ''}".rstrip()

    return task(
        task_run_name=run_name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=len(delays),
        retry_delay_seconds=delays,
        retry_condition_fn=can_pass_within(longest_wait, waits_for_place=waits_for_place),
    )


def _logger() -> logging.Logger | logging.LoggerAdapter[Any]:
    """The run's own logger; Prefect's where the function is called outside of any run."""
    try:
        return get_run_logger()
    except MissingContextError:
        return get_logger("activitysmith")


def _key(stream_key: str | None) -> str:
    name, run_id = flow_name(), flow_run_id()
    if stream_key is not None:
        return check_stream_key(stream_key)
    if name is None or run_id is None:
        raise InvalidRequestError(("stream_key", "is missing; outside of a flow there is no run to make it of"))
    return key_or_default(None, name, run_id)


@dataclass(frozen=True)
class _Plan:
    """What a task is to end, and how.

    Args:
        key: The stream.
        end: The end.
        outcome: How the run ended.
        run: The run whose stream it is, None outside of a run.
        is_unshown: Whether it is a success of a run that was never shown, which costs the account no request.
    """

    key: str
    end: End
    outcome: RunOutcome
    run: RunRef | None
    is_unshown: bool

    def prepare(self) -> tuple[End, Ended]:
        """See :func:`~activitysmith_integrations.prefect.shown_failures.prepare_end`."""
        from activitysmith_integrations.prefect.shown_failures import prepare_end

        return prepare_end(self.key, self.end, self.outcome, self.run)


def _plan(stream_key: str | None, error: BaseException | None, missing_ok: bool, options: core.EndOptions) -> _Plan:
    """What is to be done. Hooks that keep the stream moving stop that first."""
    from activitysmith_integrations.core.runs.ending import build_end
    from activitysmith_integrations.core.runs.picture import check_end_options
    from activitysmith_integrations.prefect import open_runs
    from activitysmith_integrations.prefect.shown_failures import RunRef

    check_end_options(options, other=(*_OTHER_PARAMETERS, "error", "missing_ok"), synonyms={"api_key": "credentials"})
    key = _key(stream_key)
    if error is not None and not isinstance(error, BaseException):
        raise InvalidRequestError(("error", f"must be the exception that was caught, not {error!r}"))
    if not isinstance(missing_ok, bool):
        raise InvalidRequestError(("missing_ok", f"must be True or False, not {missing_ok!r}"))
    outcome = task_outcome(key, error)
    run_id = flow_run_id()
    follower = open_runs.find(run_id, key)
    run = follower.run if follower else RunRef.present()
    if follower:
        counted = follower.stop_for_end(outcome, open_tasks=int(task_run.id is not None))
        # The counts of another run, such as a subflow's parent, are not this one's.
        outcome = counted if follower.run_id == run_id else outcome
    end = build_end(outcome, options)
    is_unshown = follower is not None and follower.was_never_shown and not end.is_failure
    return _Plan(key, end, outcome, run, is_unshown)


def _unshown(key: str) -> core.EndStreamResponse:
    """The answer for a success that was never shown."""
    from activitysmith_integrations.core.runs.ending import missing_stream_response
    from activitysmith_integrations.core.runs.log_lines import line_of_unshown_end

    _logger().log(*line_of_unshown_end(key))
    return missing_stream_response(key)


def _answer(plan: _Plan, end: End, ended: Ended, result: EndResult, missing_ok: bool) -> core.EndStreamResponse:
    """The answer, logged; an :class:`ActivitySmithError` where the stream was not ended."""
    from activitysmith_integrations.core.runs.log_lines import line_of_end
    from activitysmith_integrations.core.runs.recent_ends import take_back

    if not result.is_shown:
        take_back(ended)
    _logger().log(*line_of_end(plan.key, end, result))
    return result.response(plan.key, missing_ok=missing_ok)


def _take_over(key: str) -> None:
    """Have hooks leave the stream to the steps of the flow, so that not both draw it."""
    from activitysmith_integrations.prefect import open_runs

    follower = open_runs.find(flow_run_id(), key)
    if follower:
        follower.leave_to_step()


def _streamed(key: str, request: core.StreamRequest, answer: core.StreamResponse) -> core.StreamResponse:
    """The answer, logged."""
    from activitysmith_integrations.core.runs.log_lines import line_of_update

    _logger().log(*line_of_update(key, request.content_state.to_wire(), answer))
    return answer


@_step("stream", _STREAM_DELAYS, _STREAM_WAIT)
def stream_live_activity(
    stream_key: str | None = None,
    *,
    credentials: ActivitySmithCredentials | str | None = None,
    **options: Unpack[StreamOptions],
) -> core.StreamResponse:
    """Start a stream, or update it, as a step of a flow.

    The step is retried twice, within up to 160 seconds, on faults that can pass; it fails where the service
    asks to wait longer than 60 s. Wait for one that is submitted before the flow ends: a stream that is updated after
    its end starts anew. iOS allows few updates, 12 of a run of less than 24 minutes: ``live_activity_hooks`` keeps to
    that by itself. A stream that those keep moving shows only what its steps say from then on; the hooks still end it.

    Args:
        stream_key: The stream; the flow run's own by default, which hooks of this package on the flow use as well.
        credentials: See :obj:`end_live_activity_stream`.
        options: What it shows; see :class:`~activitysmith_integrations.prefect.stream_options.StreamOptions`.

    Returns:
        The service's answer.

    Raises:
        InvalidRequestError: The key or an option breaks a rule; nothing was sent.
        ConfigurationError: The environment names no account that can be used.
        ActivitySmithError: The stream was neither started nor updated; see its subclasses.
        ValueError: Prefect's own, where there is no block of that name.

    Examples:
        >>> from prefect import flow
        >>> @flow
        ... def nightly_etl():
        ...     stream_live_activity(total=2)
        ...     stream_live_activity(total=2, done=1, subtitle="loading")
        ...     end_live_activity_stream()
    """
    key = _key(stream_key)
    request = _stream_request(key, options)
    with resolve_now(credentials).get_client() as client:
        _take_over(key)
        return _streamed(key, request, client.send(key, request))


@_step("stream", _STREAM_DELAYS, _STREAM_WAIT)
async def astream_live_activity(
    stream_key: str | None = None,
    *,
    credentials: ActivitySmithCredentials | str | None = None,
    **options: Unpack[StreamOptions],
) -> core.StreamResponse:
    """:obj:`stream_live_activity` for async flows: the same arguments, meanings and errors."""
    key = _key(stream_key)
    request = _stream_request(key, options)
    account = await resolve(credentials)
    async with account.get_async_client() as client:
        await asyncio.to_thread(_take_over, key)
        return _streamed(key, request, await client.send(key, request))


@_step("end stream", _END_DELAYS, _END_WAIT, waits_for_place=True)
def end_live_activity_stream(
    stream_key: str | None = None,
    *,
    credentials: ActivitySmithCredentials | str | None = None,
    error: BaseException | None = None,
    missing_ok: bool = True,
    **options: Unpack[core.EndOptions],
) -> core.EndStreamResponse:
    """End a stream as a step of a flow.

    The step is retried on faults that can pass, after the wait that the service asks for. It fails on others, and where
    the service asks to wait longer than ten minutes. Neither its result nor its inputs are stored or cached. A stream
    that ``live_activity_hooks`` keep moving, of this flow or of its parent, stands still from then on. Call it, or
    submit it to threads: in another process (a process pool, Dask, Ray) it cannot stop the hooks of the flow's, which
    would start the stream anew.

    Args:
        stream_key: The stream; the flow run's own by default, which hooks of this package on the flow use as well.
        credentials: The block, its name, or None for the environment's key (``ACTIVITYSMITH_API_KEY``). Give a
            key in no other way: Prefect shows a flow's parameters in clear. To ``.delay()``, give the name: Prefect
            stores the arguments, and a stored block holds the key in clear.
        error: The exception that made the run fail, so that a failure is shown; a success by default. Prefect runs no
            step that is given a failed task's state or future: ``state.result(raise_on_failure=False)`` is its
            exception.
        missing_ok: Whether a stream that the service never knew counts as ended. A failure is shown in any case,
            unless ``start_unseen_failures=False`` is among the options.
        options: How the end looks; see :class:`~activitysmith_integrations.core.EndOptions`.

    Returns:
        The service's answer. ``ignored`` where nothing was left to end.

    Raises:
        InvalidRequestError: The key or an option breaks a rule; nothing was sent.
        ConfigurationError: The environment names no account that can be used.
        ActivitySmithError: The stream was not ended; see its subclasses.
        ValueError: Prefect's own, where there is no block of that name.

    Examples:
        >>> from prefect import flow
        >>> @flow
        ... def nightly_etl():
        ...     end_live_activity_stream()
    """
    from activitysmith_integrations.core.runs.ending import end_stream

    plan = _plan(stream_key, error, missing_ok, options)
    if plan.is_unshown and missing_ok:
        return _unshown(plan.key)
    with resolve_now(credentials).get_client() as client:
        end, ended = plan.prepare()
        return _answer(plan, end, ended, end_stream(client, plan.key, end), missing_ok)


@_step("end stream", _END_DELAYS, _END_WAIT, waits_for_place=True)
async def aend_live_activity_stream(
    stream_key: str | None = None,
    *,
    credentials: ActivitySmithCredentials | str | None = None,
    error: BaseException | None = None,
    missing_ok: bool = True,
    **options: Unpack[core.EndOptions],
) -> core.EndStreamResponse:
    """:obj:`end_live_activity_stream` for async flows: the same arguments, meanings and errors."""
    from activitysmith_integrations.core.runs.ending import async_end_stream

    plan = await asyncio.to_thread(_plan, stream_key, error, missing_ok, options)
    if plan.is_unshown and missing_ok:
        return _unshown(plan.key)
    account = await resolve(credentials)
    async with account.get_async_client() as client:
        end, ended = await asyncio.to_thread(plan.prepare)
        return _answer(plan, end, ended, await async_end_stream(client, plan.key, end), missing_ok)
