"""What the states of a run's task instances say about it, from plain data. Pure, without Airflow."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

FAILED = frozenset({"failed", "upstream_failed"})
DONE = frozenset({"success", "skipped"})
OVER = DONE | FAILED
ACTIVE = frozenset({"running", "deferred", "up_for_reschedule", "awaiting_input"})  # the last one since Airflow 3.3
BEGUN = ACTIVE | {"up_for_retry", "success", "failed"}

# Where one of the tasks above failed, no instance of a task with such a rule runs.
_NEEDS_SUCCESS = frozenset({"all_success", "none_failed", "none_failed_min_one_success"})
# A task with such a rule runs because a task above it failed: its own failure passes that on, as watchers do.
_PASSES_FAILURE_ON = _NEEDS_SUCCESS | {"one_failed", "all_failed"}

Role: TypeAlias = Literal["work", "ends_stream", "follows_run"]

States: TypeAlias = Mapping[str, str]
"""The state of each task instance of a run, by ``task_id`` or, for an instance of a mapped task, ``task_id_index``."""


@dataclass(frozen=True)
class Task:
    """What matters of one task of a DAG.

    Args:
        task_id: Its id.
        name: Its display name.
        upstream: The tasks that it waits for.
        downstream: The tasks that wait for it.
        trigger_rule: When it runs.
        is_mapped: Whether it has instances, of its own or as a part of a mapped task group.
        mapped_group: The mapped task group that it is a part of, None where there is none.
        is_empty: Whether the scheduler settles it without a worker.
        is_ignored_teardown: Whether it is a teardown whose failure does not fail the run.
        role: Whether it does the DAG's work, ends a stream, or follows the run.
        stream_key: The stream that it ends, as the user wrote it; None for the run's own, and for tasks without.
    """

    task_id: str
    name: str
    upstream: frozenset[str] = frozenset()
    downstream: frozenset[str] = frozenset()
    trigger_rule: str = "all_success"
    is_mapped: bool = False
    mapped_group: str | None = None
    is_empty: bool = False
    is_ignored_teardown: bool = False
    role: Role = "work"
    stream_key: str | None = None


Tasks: TypeAlias = Mapping[str, Task]
"""The tasks of a DAG by id, each after those that it waits for."""


def in_order(tasks: Iterable[Task]) -> Tasks:
    """Tasks by id, each after those that it waits for, and otherwise as they were given."""
    left = {task.task_id: task for task in tasks}
    waiting = {task_id: len(task.upstream & left.keys()) for task_id, task in left.items()}
    ready = deque(task_id for task_id, count in waiting.items() if not count)
    positions = {task_id: position for position, task_id in enumerate(left)}
    found = dict[str, Task]()
    while ready:
        task = left[ready.popleft()]
        found[task.task_id] = task
        for task_id in sorted(task.downstream & left.keys(), key=positions.__getitem__):
            waiting[task_id] -= 1
            if not waiting[task_id]:
                ready.append(task_id)
    return found


def state_key(task_id: str, map_index: int) -> str:
    """The key of a task instance among the states of its run."""
    return task_id if map_index < 0 else f"{task_id}_{map_index}"


def split_key(key: str, tasks: Tasks) -> tuple[str, int]:
    """The task and the index of a task instance; the index is -1 where the task is not mapped.

    Args:
        key: Its key. Airflow joins the index to the task's id with an underscore, which an id may hold as well.
        tasks: The tasks that it may be of.
    """
    task_id, _, index = key.rpartition("_")
    if key not in tasks and index.isdigit() and task_id in tasks and tasks[task_id].is_mapped:
        return task_id, int(index)
    return key, -1


def counted_states(tasks: Tasks, states: States) -> dict[str, str]:
    """The states of the instances of some tasks.

    Args:
        tasks: The tasks that count.
        states: The states of the run's task instances.
    """
    return {key: state for key, state in states.items() if split_key(key, tasks)[0] in tasks}


def label(name: str, map_index: int, map_name: str | None = None) -> str:
    """A task instance in words: ``task``, ``task[2]``, or ``task[orders]`` where its instances have names."""
    return name if map_index < 0 else f"{name}[{map_name or map_index}]"


def above(tasks: Tasks, task_id: str) -> set[str]:
    """The tasks that a task waits for, directly or not."""
    return _walk(tasks, tasks[task_id].upstream, lambda task: task.upstream)


def below(tasks: Tasks, task_id: str) -> set[str]:
    """The tasks that wait for a task, directly or not."""
    return _walk(tasks, tasks[task_id].downstream, lambda task: task.downstream)


def _walk(tasks: Tasks, start: Iterable[str], following: Callable[[Task], Iterable[str]]) -> set[str]:
    found, look = set[str](), list(start)
    while look:
        task_id = look.pop()
        if task_id not in found and task_id in tasks:
            found.add(task_id)
            look += following(tasks[task_id])
    return found


def goes_on(tasks: Tasks, states: States) -> bool:
    """Whether the run has tasks to come whose turn the failed ones do not prevent.

    Args:
        tasks: The tasks that count.
        states: The states of the run's task instances.
    """
    to_come = {split_key(key, tasks)[0] for key, state in states.items() if state not in OVER}
    return any(task_id in tasks for task_id in to_come - _prevented(tasks, states))


def _prevented(tasks: Tasks, states: States) -> set[str]:
    """The tasks that will not run because others failed."""
    prevented, look = set[str](), failed_tasks(tasks, states)
    while look:
        upper = tasks[look.pop()]
        for task_id in upper.downstream & tasks.keys():
            if task_id not in prevented and _needs_all_of(upper, tasks[task_id]):
                prevented.add(task_id)
                look.append(task_id)
    return prevented


def _needs_all_of(upper: Task, task: Task) -> bool:
    """Whether no instance of a task runs where one of a task above it failed."""
    if task.trigger_rule not in _NEEDS_SUCCESS:
        return False
    # Within a mapped task group each instance waits for its own alone.
    return task.mapped_group is None or upper.mapped_group != task.mapped_group


def failed_tasks(tasks: Tasks, states: States) -> list[str]:
    """The tasks that failed and whose failure Airflow does not ignore, in the order of the DAG."""
    failed = {split_key(key, tasks)[0] for key, state in states.items() if state == "failed"}
    return [task_id for task_id, task in tasks.items() if task_id in failed and not task.is_ignored_teardown]


def count_failed(tasks: Tasks, states: States) -> int:
    """How many tasks failed, ignored teardowns included: the success of their run has to say so."""
    return len({split_key(key, tasks)[0] for key, state in states.items() if state == "failed"} & tasks.keys())


def has_failed(tasks: Tasks, states: States, *, is_fail_fast: bool = False) -> bool:
    """Whether a run fails with what its tasks have come to so far: whether one of those that decide about it failed.

    Args:
        tasks: The tasks that count.
        states: The states of the run's task instances.
        is_fail_fast: Whether the DAG skips what is unfinished once a task fails, so that its last tasks decide nothing.
    """
    if is_fail_fast and failed_tasks(tasks, states):
        return True
    return bool(_failed_deciders(tasks, _states_by_task(tasks, states)))


def has_timed_out(tasks: Tasks, states: States, *, is_fail_fast: bool = False) -> bool:
    """Whether a run that failed did so since its DAG's timeout skipped what was unfinished.

    That is so where none of its tasks made it fail. A failure that a skipped task was there to handle did not; one that
    kept a skipped task from running did.

    Args:
        tasks: The tasks that count.
        states: The states of the run's task instances.
        is_fail_fast: Whether the DAG skips what is unfinished once a task fails.
    """
    unfinished = {key: "none" if state == "skipped" else state for key, state in states.items()}
    return not has_failed(tasks, unfinished, is_fail_fast=is_fail_fast)


def cause_of_failure(tasks: Tasks, states: States) -> tuple[str, int] | None:
    """The task instance whose failure made the run fail, as its task's id and its index; None where there is none.

    From the tasks that decide about the run the way goes up, through what never ran, to what failed; so a failure that
    a later task was there to handle is not named.

    Args:
        tasks: The tasks that count.
        states: The states of the run's task instances.
    """
    by_task = _states_by_task(tasks, states)
    failed = failed_tasks(tasks, states)
    causes, seen, look = set[str](), set[str](), _failed_deciders(tasks, by_task)
    while look:
        task_id = look.pop()
        if task_id in seen:
            continue
        seen.add(task_id)
        higher = tasks[task_id].upstream & tasks.keys()
        passes_on = tasks[task_id].trigger_rule in _PASSES_FAILURE_ON and not higher.isdisjoint(failed)
        if task_id in failed and not passes_on:
            causes.add(task_id)
        else:
            look += [one for one in higher if not _FAILED_OR_UNKNOWN.isdisjoint(by_task[one])]
    first = next((task_id for task_id in failed if task_id in causes), None) or next(iter(failed), None)
    keys = (split_key(key, tasks) for key, state in states.items() if state == "failed")
    return min((key for key in keys if key[0] == first), default=None)


_UNKNOWN = "unknown"
_FAILED_OR_UNKNOWN = FAILED | {_UNKNOWN}


def _states_by_task(tasks: Tasks, states: States) -> dict[str, set[str]]:
    """The states of each task's instances; a task that failed ones prevent has failed because of them."""
    found: dict[str, set[str]] = {task_id: set() for task_id in tasks}
    for key, state in states.items():
        task_id, _ = split_key(key, tasks)
        if task_id in found:
            found[task_id].add(state)
    for task_id in _prevented(tasks, states):
        if not found[task_id] <= OVER:
            found[task_id].add("upstream_failed")
    return {task_id: of_task or {_UNKNOWN} for task_id, of_task in found.items()}


def _failed_deciders(tasks: Tasks, by_task: Mapping[str, set[str]]) -> list[str]:
    """The failed ones of the tasks that Airflow looks at to decide about a run.

    Those are the last ones, teardowns aside (``DagRun._tis_for_dagrun_state``, Airflow 3.3). For one that has no
    instances any more, those above it stand.
    """
    deciders, seen, look = list[str](), set[str](), [task_id for task_id in tasks if _is_last(tasks, task_id)]
    while look:
        task_id = look.pop()
        if task_id in seen:
            continue
        seen.add(task_id)
        if not FAILED.isdisjoint(by_task[task_id]):
            deciders.append(task_id)
        elif _UNKNOWN in by_task[task_id]:
            look += tasks[task_id].upstream & tasks.keys()
    return deciders


def _is_last(tasks: Tasks, task_id: str) -> bool:
    task = tasks[task_id]
    lower = (tasks[one] for one in task.downstream if one in tasks)
    return not task.is_ignored_teardown and all(one.is_ignored_teardown for one in lower)
