"""A Prefect run, as its hooks and tasks see it, becomes a :class:`RunOutcome`. Nothing here asks the API.

Only what is certain in this process is told: a ``flow_run`` given to a hook can be a snapshot from before the
run started, and the API learns of task runs seconds after the fact (both seen on Prefect 3.8), so no steps are
counted here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import Flow, Task
from prefect.client.schemas.objects import FlowRun, State, StateType, TaskRun
from prefect.context import FlowRunContext, TaskRunContext
from prefect.exceptions import PrefectSignal, TerminationSignal
from prefect.results import ResultRecord  # type: ignore[attr-defined]  # public, if not in a list
from prefect.utilities.urls import url_for

from activitysmith_integrations.core.errors import message_of
from activitysmith_integrations.core.keys import check_stream_key, stream_key
from activitysmith_integrations.prefect.failed_task import UNNAMED_TASK, failed_task

if TYPE_CHECKING:  # a file that defines flows is imported without what only sending needs
    from activitysmith_integrations.core.runs.outcome import Result, RunOutcome

ENGINE = "prefect"

_RESULTS: dict[StateType, Result] = {
    StateType.COMPLETED: "succeeded",
    StateType.FAILED: "failed",
    StateType.CRASHED: "crashed",
    StateType.CANCELLING: "cancelled",
    StateType.CANCELLED: "cancelled",
}
# Somebody wanted the work to stop, or Prefect did: a run that suspends itself goes on later.
_CANCELLATIONS = (KeyboardInterrupt, asyncio.CancelledError, GeneratorExit, PrefectSignal)


def key_or_default(key: str | None, name: str, run_id: UUID) -> str:
    """The stream key: the one given, or the run's own, so that no run touches another one's stream.

    Args:
        key: What the user gave, None for the default.
        name: The name of the flow, or of the task that a hook is on.
        run_id: The id of its run. Unlike a run's name, it never changes, and every process knows it.

    Raises:
        InvalidRequestError: What was given is no key: empty, or a template that was not rendered.
    """
    return stream_key(name, str(run_id)) if key is None else check_stream_key(key)


def result_of(state: State[Any]) -> Result | None:
    """How a run ended; None where it has not.

    Args:
        state: The state that a hook is called with. A timeout is a failure of that name (Prefect 3.8).
    """
    if state.type == StateType.FAILED and state.name == "TimedOut":
        return "timed_out"
    return _RESULTS.get(state.type)


def hook_outcome(
    subject: Flow[..., Any] | Task[..., Any], run: FlowRun | TaskRun, state: State[Any]
) -> RunOutcome | None:
    """What a state-change hook is told about; None where the run has not ended.

    Args:
        subject: The flow or task.
        run: Its run, maybe an old snapshot; its own state is never looked at.
        state: The state it enters.
    """
    result = result_of(state)
    if result is None:
        return None
    if _is_cancellation(state.data):
        result = "cancelled"
    from activitysmith_integrations.core.runs.outcome import RunOutcome

    error = _error_in(state) if result != "succeeded" else None
    return RunOutcome(
        pipeline=subject.name,
        result=result,
        run=run.name,
        label=run.name,
        engine=ENGINE,
        unit="task",
        failed_step=_failed_step(state, error) if isinstance(run, FlowRun) else None,
        started_at=run.start_time,
        ended_at=state.timestamp,
        url=run_url("flow-run" if isinstance(run, FlowRun) else "task-run", run.id),
        error_type=type(error).__name__ if error else None,
        error_text=message_of(error) if error else state.message,
    )


def _is_cancellation(data: object) -> bool:
    """Whether somebody wanted what Prefect calls a crash (3.6 to 3.9): a Ctrl-C, or a cancelled asyncio task.

    Both cancel the flow's own asyncio task, in which Prefect calls these hooks. Without that, the cancellation came
    from within, such as from an awaited future. A SIGTERM is a crash, and then the context of the cancellation.
    """
    if isinstance(data, asyncio.CancelledError):
        return _is_task_cancelled() and not isinstance(data.__context__, TerminationSignal)
    return isinstance(data, KeyboardInterrupt)


def _is_task_cancelled() -> bool:
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop runs in this thread
        return False
    return task is not None and task.cancelling() > 0


def running_outcome(flow: Flow[..., Any], run: FlowRun) -> RunOutcome:
    """What is known of a flow's run while it goes on; its result stands for none.

    Args:
        flow: The flow.
        run: Its run.
    """
    from activitysmith_integrations.core.runs.outcome import RunOutcome

    return RunOutcome(flow.name, "succeeded", run=run.name, label=run.name, engine=ENGINE, unit="task")


def task_outcome(fallback_name: str, error: BaseException | None) -> RunOutcome:
    """What a task within a flow knows of the flow's run.

    Args:
        fallback_name: The pipeline's name outside of a flow.
        error: What went wrong; None for a success.
    """
    from activitysmith_integrations.core.runs.outcome import RunOutcome

    context = FlowRunContext.get()
    flow = context.flow if context else None
    run = context.flow_run if context else None
    return RunOutcome(
        pipeline=flow.name if flow else fallback_name,
        result=_result_of_error(error),
        run=run.name if run else None,
        label=run.name if run else None,
        engine=ENGINE,
        unit="task",
        failed_step=failed_task(error),
        started_at=run.start_time if run else None,
        ended_at=datetime.now(UTC),
        url=run_url("flow-run", run.id) if run else None,
        error_type=type(error).__name__ if error else None,
        error_text=message_of(error) if error else None,
    )


def _result_of_error(error: BaseException | None) -> Result:
    if error is None:
        return "succeeded"
    # A SIGTERM is the context of what it cancels in async code.
    is_cancelled = isinstance(error, _CANCELLATIONS) and not isinstance(error.__context__, TerminationSignal)
    return "cancelled" if is_cancelled else "failed"


def flow_name() -> str | None:
    """The name of the flow whose run this code is in, None outside of one."""
    context = FlowRunContext.get()
    return context.flow.name if context and context.flow else None


def flow_run_id() -> UUID | None:
    """The id of the flow's run that this code is in, None outside of one."""
    context = FlowRunContext.get()
    return context.flow_run.id if context and context.flow_run else None


def is_async_code() -> bool:
    """Whether the code that calls this can await: an async task or flow, and elsewhere one that an event loop runs."""
    task = TaskRunContext.get()
    if task is not None:
        return task.task.isasync
    flow = FlowRunContext.get()
    if flow is not None and flow.flow is not None:
        return flow.flow.isasync
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def run_url(kind: str, run_id: UUID) -> str | None:
    """A run's page, None where neither the UI's nor the API's address is known.

    Args:
        kind: ``flow-run`` or ``task-run``.
        run_id: The run's id.
    """
    return url_for(kind, obj_id=run_id)


def _failed_step(state: State[Any], error: BaseException | None) -> str | None:
    """The task that failed; a flow that returns one which never began does not tell which one kept it from that."""
    if error is None and any(not inner.is_final() for inner in _states(_data_of(state))):
        return UNNAMED_TASK
    return failed_task(error)


def _error_in(state: State[Any]) -> BaseException | None:
    """The exception that a failed state holds in memory; results in storage are not fetched for it."""
    data = _data_of(state)
    if isinstance(data, BaseException):
        return data
    # A flow that returns its tasks' states fails with the first that failed.
    for inner in _states(data):
        if inner.is_failed() or inner.is_crashed():
            return _error_in(inner)
    return None


def _data_of(state: State[Any]) -> object:
    return state.data.result if isinstance(state.data, ResultRecord) else state.data


def _states(data: object) -> Iterator[State[Any]]:
    values: Iterable[Any] = ()
    if isinstance(data, State):
        values = (data,)
    elif isinstance(data, Mapping):
        values = data.values()
    elif isinstance(data, (list, tuple, set)):
        values = data
    return (value for value in values if isinstance(value, State))
