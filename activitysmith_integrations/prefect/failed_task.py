"""Which task made a flow's run fail, as the exception of the run tells."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterable, Iterator
from types import CodeType, FrameType

from prefect import Task
from prefect.client.schemas.objects import TaskRun
from prefect.exceptions import CancelledRun, MissingResult, PausedRun

from activitysmith_integrations.prefect.task_counts import name_of_task_run

# The module whose functions call a task's function, and stand before it in a traceback.
_TASK_ENGINE = "prefect.task_engine"
# The module that raises the error of a task whose result is asked for.
_STATES = "prefect.states"
UNNAMED_TASK = ""
"""In place of a failed task's name where only the API knows it: the task ran in another process, or failed before the
one that was waited for began."""


def failed_task(error: BaseException | None) -> str | None:
    """The name of the task that an exception came from, None where it came from none, or :data:`UNNAMED_TASK`.

    Args:
        error: The exception. It may have been raised from a task's own, or be a group with one of those.
    """
    errors = list(_with_origins(error))
    found = (name for name in map(_task_that_raised, errors) if name)
    return next(found, UNNAMED_TASK if any(map(_is_of_a_result, errors)) else None)


def _with_origins(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, the members of a group, and what each was raised from. What was handled before is none of these."""
    seen = set[int]()
    errors = [error]
    for one in errors:
        if one is not None and id(one) not in seen:  # people's code can make a ring of them
            yield one
            seen.add(id(one))
            errors += one.exceptions if isinstance(one, BaseExceptionGroup) else ()
            errors.append(one.__cause__)


def _is_of_a_result(error: BaseException) -> bool:
    """Whether Prefect raised it because a task's result was asked for, of which this process has no traceback."""
    frames = _frames(error)
    is_raised_there = bool(frames) and frames[-1].f_globals.get("__name__") == _STATES
    return is_raised_there and not isinstance(error, (CancelledRun, MissingResult, PausedRun))


def _task_that_raised(error: BaseException) -> str | None:
    """The name of the outermost task that an exception came through, None where it came through none.

    An exception keeps its traceback on the way from a task to its flow, from another thread too, though not
    from another process. A task's function that is called directly, as ``task.fn()``, is no task.
    """
    frames = _frames(error)
    engine = (at for at, frame in enumerate(frames) if _is_engines(frame))
    frames_of_tasks = frames[next(engine, len(frames)) :]
    if frames_of_tasks:
        # The engine raises a task's timeout itself; the task's own frames are in what it cut short (3.9).
        cut_short = [frame for cause in _causes(error) for frame in _frames(cause)]
        frames, frames_of_tasks = frames + cut_short, frames_of_tasks + cut_short
    # The engine's frames hold the very task that ran, and its run, which may have a name of its own. Others may hold
    # the task that it was made of, with_options().
    engines = [frame for frame in frames if _is_engines(frame)]
    known = [_run_names(engines), _task_names(engines), _task_names(frames)]
    # Two tasks made of one function that still cannot be told apart are not named.
    found = (names.get(frame.f_code, set()) for frame in frames_of_tasks for names in known)
    return next((name for names in found if len(names) == 1 for name in names), None)


def _is_engines(frame: FrameType) -> bool:
    return frame.f_globals.get("__name__") == _TASK_ENGINE


def _frames(error: BaseException) -> list[FrameType]:
    return [frame for frame, _ in traceback.walk_tb(error.__traceback__)]


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exceptions that led to one, the nearest first."""
    seen = {id(error)}
    cause = error.__cause__ or error.__context__
    while cause and id(cause) not in seen:  # people's code can make a ring of them
        yield cause
        seen.add(id(cause))
        cause = cause.__cause__ or cause.__context__


def _run_names(engines: Iterable[FrameType]) -> dict[CodeType, set[str]]:
    """The names of the task runs that these frames of Prefect's make, by the code of their tasks' functions."""
    names: dict[CodeType, set[str]] = {}
    for value in (value for frame in engines for value in frame.f_locals.values()):
        if type(value).__module__ == _TASK_ENGINE and isinstance(run := getattr(value, "task_run", None), TaskRun):
            code = _code_of(value.task)
            if code is not None:
                names.setdefault(code, set()).add(name_of_task_run(run.name, run.task_key, run.dynamic_key))
    return names


def _task_names(frames: Iterable[FrameType]) -> dict[CodeType, set[str]]:
    """The names of the tasks that these frames can see, by the code of their functions."""
    names: dict[CodeType, set[str]] = {}
    for frame in frames:
        for value in [*frame.f_globals.values(), *frame.f_locals.values()]:
            if issubclass(type(value), Task):  # isinstance would ask a proxy what it stands for, and may raise
                code = _code_of(value)
                if code is not None:
                    names.setdefault(code, set()).add(value.name)
    return names


def _code_of(task: Task[..., object]) -> CodeType | None:
    return getattr(inspect.unwrap(task.fn), "__code__", None)
