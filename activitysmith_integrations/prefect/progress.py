"""How far the flow runs of this process are: a hook counts their tasks as they finish.

A finished task is told to nobody in the flow's process but to the task's own hooks, and the API learns of it
seconds later (Prefect 3.8). What is counted is kept here and not in a hook, because hooks are pickled, and one
serves several runs at once.
"""

from __future__ import annotations

import inspect
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from types import FunctionType, ModuleType
from typing import Any, TypedDict
from uuid import UUID

from prefect import Flow, Task
from prefect.client.schemas.objects import State, TaskRun
from prefect.logging import get_logger
from prefect.task_runners import ThreadPoolTaskRunner
from prefect.tasks import StateHookCallable

from activitysmith_integrations import core


class TaskHooks(TypedDict):
    """The hook arguments of ``@task``."""

    on_completion: list[StateHookCallable]
    on_failure: list[StateHookCallable]


@dataclass
class LiveRun:
    """A run that goes on in this process, and its stream.

    Args:
        stream_key: The stream.
        at_first: How far a run is at its start.
        client: Made for this run.
        updates: Send how far it is.
        settled: The runs of its tasks that are over.
        failures: How many of them failed.
        is_stopped: Whether nothing is sent any more.
    """

    stream_key: str
    at_first: core.Progress
    client: core.ActivitySmithClient
    updates: core.Updates
    settled: set[UUID] = field(default_factory=set)
    failures: int = 0
    is_stopped: bool = False

    def stop(self, outcome: core.RunOutcome) -> core.RunOutcome:
        """Wait for the update on its way, 5 s at most; no other one goes out. Again, it waits for nothing.

        Args:
            outcome: How the run ended.

        Returns:
            The same with its steps, where the user said how many there are. A task that failed is not done.
        """
        self.is_stopped = True
        at = self.updates.stop()
        self.client.close()
        if at.total is None:
            return outcome
        done = at.total if outcome.result == "succeeded" else max(0, at.done - self.failures)
        return replace(outcome, steps_done=done, steps_total=at.total)


_runs: dict[UUID, LiveRun] = {}
_changing = threading.Lock()


def begin(run_id: UUID, run: LiveRun) -> None:
    """Start a run's stream, and count its tasks until :func:`take`."""
    with _changing:
        _runs[run_id] = run
    run.updates.start()


def begin_again(run_id: UUID) -> bool:
    """Count from zero, where the run's stream is there already: the flow is retried."""
    with _changing:
        run = _runs.get(run_id)
        if run is None or run.is_stopped:
            return False
        run.settled.clear()
        run.failures = 0
    run.updates.move(lambda _: run.at_first)
    return True


def take(run_id: UUID) -> LiveRun | None:
    """The run, of which no task counts any more; None where it has no stream in this process."""
    with _changing:
        return _runs.pop(run_id, None)


def stop(run_id: UUID | None, stream_key: str, outcome: core.RunOutcome) -> core.RunOutcome:
    """Before a run ends its own stream: as :meth:`LiveRun.stop`, where the run has that stream.

    Args:
        run_id: The run, None outside of one.
        stream_key: The stream that is to end.
        outcome: How the run ends.
    """
    with _changing:
        run = _runs.get(run_id) if run_id else None
    return run.stop(outcome) if run and run.stream_key == stream_key else outcome


def live_activity_task_hooks() -> TaskHooks:
    """The hook arguments that count a task in the Live Activity of its flow's run.

    For tasks that ``live_activity_hooks`` does not find by itself: those made within functions or kept in
    lists. Where the flow's run has no such stream they do nothing, and a run of a task is counted once in any case.

    Returns:
        Fresh lists for ``on_completion`` and ``on_failure``.

    Examples:
        >>> from prefect import task
        >>> def make(table):
        ...     return task(name=f"load {table}", **live_activity_task_hooks())(print)
    """
    return TaskHooks(on_completion=[count_in_live_activity], on_failure=[count_in_live_activity])


def count_in_live_activity(task: Task[..., Any], task_run: TaskRun, state: State[Any]) -> None:
    """The hook of a task that ended, once its retries are used up."""
    with _changing:
        run = _runs.get(task_run.flow_run_id) if task_run.flow_run_id else None
        if run is None or task_run.id in run.settled:
            return
        run.settled.add(task_run.id)
        run.failures += state.is_failed()
    # The first failure keeps its place: each new name would be an update of its own.
    failed = task.name if state.is_failed() else None
    run.updates.move(lambda at: replace(at.updated(done=at.done + 1), failed=at.failed or failed))


def watch(flow: Flow[..., Any]) -> None:
    """Put the counting hook on the tasks that a flow can name, once each; their own hooks stay.

    It can name what is in its module and around it where it was made, and what is within the modules, classes and
    functions found there. Only for tasks that run in threads: other runners pickle tasks, and their hooks
    would run, and count, elsewhere.
    """
    if not isinstance(flow.task_runner, ThreadPoolTaskRunner):
        return
    get_logger("task_runs").addFilter(_is_worth_a_line)
    for task in set(_tasks_in_sight(flow.fn)):
        if str(getattr(task.fn, "__module__", "")).startswith(f"{__package__}."):
            continue  # what shows the run's work is none of it
        # New lists, since the ones there are the user's: they may be tuples, or another task's or flow's as well.
        if count_in_live_activity not in task.on_completion_hooks:
            task.on_completion_hooks = [*task.on_completion_hooks, count_in_live_activity]
        if count_in_live_activity not in task.on_failure_hooks:
            task.on_failure_hooks = [*task.on_failure_hooks, count_in_live_activity]


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Not that the counting hook was called: two lines for every task, which take longer than all that it does."""
    return record.levelno != logging.INFO or f"ook {count_in_live_activity.__name__!r} " not in str(record.msg)


def _tasks_in_sight(fn: Callable[..., Any]) -> Iterator[Task[..., Any]]:
    near = list(_names(fn))
    further = [names for around in near for value in tuple(around.values()) for names in _names_within(value)]
    for names in {id(names): names for names in [*near, *further]}.values():
        for value in tuple(names.values()):
            if issubclass(type(value), Task):  # isinstance would ask a proxy what it stands for, and may raise
                yield value


def _names(fn: Callable[..., Any]) -> Iterator[Mapping[str, Any]]:
    """The names that a function's code can use."""
    plain = inspect.unwrap(fn)
    if not isinstance(plain, FunctionType):
        return
    yield plain.__globals__
    around = {}
    for name, cell in zip(plain.__code__.co_freevars, plain.__closure__ or (), strict=True):
        with suppress(ValueError):  # nothing is in it yet
            around[name] = cell.cell_contents
    yield around


def _names_within(value: Any) -> Iterator[Mapping[str, Any]]:
    kind = type(value)
    if kind is ModuleType or issubclass(kind, type):  # not a module that is loaded when it is looked at
        yield vars(value)
    elif kind is FunctionType:
        yield from _names(value)
