"""Which task instances start a run's stream and report, and what they and the end say of it. Pure, over a snapshot.

Workers share no memory, so both follow from the DAG and the states of the run's tasks. Where a segment of the bar ends,
the task instance there reports, and nobody else: so a run has no more reports than segments, however many instances it
has, and none is lost because two instances end at once. What is reported is counted anew from the states: where one
report overtakes another on its way, the next one puts it right.

In a run that was cleared, the first task instance that begins since then starts the stream: the one that failed may be
the only one that runs, and a report that moves the bar may never come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from activitysmith_integrations.airflow.bar import Bar
from activitysmith_integrations.airflow.task_states import (
    ACTIVE,
    OVER,
    States,
    Tasks,
    above,
    cause_of_failure,
    count_failed,
    counted_states,
    failed_tasks,
    goes_on,
    label,
    split_key,
    state_key,
)

# Of tasks that fail at once none knows of the others, since Airflow posts a failure after its callbacks.
_FAILURES_AT_ONCE = 2


@dataclass(frozen=True)
class Instance:
    """A task instance that has just begun or ended.

    Args:
        task_id: Its task.
        map_index: Which instance it is, -1 where the task is not mapped.
        state: Its state as its callback knows it.
    """

    task_id: str
    map_index: int
    state: str

    @property
    def key(self) -> str:
        """Its key among the states of the run."""
        return state_key(self.task_id, self.map_index)


def starts_stream(tasks: Tasks, instance: Instance, count_begun: Callable[[], int]) -> bool:
    """Whether a task instance that begins, at whichever try, starts the stream.

    That is the first task that waits for no other one, or another such task if nothing has begun before it: one that
    waits for nothing, or for what the scheduler settles without a worker, as it does with mapped tasks that have
    nothing to expand.

    Args:
        tasks: The tasks that count.
        instance: The task instance.
        count_begun: How many task instances of the run have begun, itself included; asked for where that decides.
    """
    if instance.map_index > 0 or instance.task_id not in tasks:
        return False
    roots = (task_id for task_id, task in tasks.items() if not task.is_empty and _waits_for_nothing(tasks, task_id))
    if instance.task_id == next(roots, None):
        return True
    higher = [tasks[one] for one in above(tasks, instance.task_id)]
    if not all(task.is_empty or task.is_mapped for task in higher):
        return False
    # Empty operators have begun as far as their states say.
    return count_begun() <= 1 + sum(task.is_empty for task in higher)


def _waits_for_nothing(tasks: Tasks, task_id: str) -> bool:
    return all(tasks[one].is_empty for one in above(tasks, task_id))


def completes_segment(bar: Bar, instance: Instance, count_instances: Callable[[], int]) -> bool:
    """Whether a segment of the bar ends with a task instance that has ended.

    Args:
        bar: The bar.
        instance: The task instance.
        count_instances: How many instances its task has; asked for where that decides.
    """
    if not bar.completes_segment(instance.task_id):
        return False
    if instance.map_index < 0:
        return True
    instances = max(count_instances(), instance.map_index + 1)
    return bar.completes_segment(instance.task_id, instance.map_index, instances)


def may_be_first_failure(tasks: Tasks, instance: Instance, states: States) -> bool:
    """Whether nothing failed before a task instance that has just failed, as far as that is posted.

    Args:
        tasks: The tasks that count.
        instance: The task instance.
        states: The posted states of the run.
    """
    others = {key: state for key, state in states.items() if key != instance.key}
    return instance.task_id in tasks and not failed_tasks(tasks, others)


def is_among_first_failures(tasks: Tasks, instance: Instance, states: States) -> bool:
    """Whether a task instance that fails reports the failure, where those that fail at once cannot agree on one.

    Those that come first in the DAG do, as far as they are still at work: two of them at most.

    Args:
        tasks: The tasks that count.
        instance: The task instance.
        states: The posted states of the run.
    """
    ranks = {task_id: rank for rank, task_id in enumerate(tasks)}

    def rank(key: str) -> tuple[int, int]:
        task_id, index = split_key(key, tasks)
        return ranks.get(task_id, len(ranks)), index

    before = [state for key, state in states.items() if key != instance.key and rank(key) < rank(instance.key)]
    return sum(state in ACTIVE for state in before) < _FAILURES_AT_ONCE


def states_with(instance: Instance, states: States) -> dict[str, str]:
    """The states of a run with that of a task instance which has just ended: a failure is posted after its callbacks.

    Args:
        instance: The task instance.
        states: The posted states.
    """
    if not states and instance.map_index >= 0:
        return {}
    own = instance.state if instance.state in OVER else "failed"
    return {**states, instance.key: own}


def progress_of(
    tasks: Tasks, bar: Bar, instance: Instance, states: States, *, title: str, run_label: str | None
) -> Any:
    """How far the run is, as a :class:`~activitysmith_integrations.core.runs.progress.Progress`.

    Args:
        tasks: The tasks that count.
        bar: The bar.
        instance: The task instance that says so.
        states: The states of the run, those of the instance included.
        title: First line.
        run_label: What tells the run from others of its DAG.

    Returns:
        None if it has ended and only the run's end is left to show.
    """
    from activitysmith_integrations.core.runs.progress import Progress

    has_ended = instance.state != "running"
    if has_ended and not goes_on(tasks, states):
        return None
    done, number = bar.segments(states)
    failed = next(iter(failed_tasks(tasks, states)), None)
    failed_name = tasks[failed].name if failed else None
    step = note = None
    if not has_ended:
        step = tasks[instance.task_id].name if instance.task_id == next(iter(tasks), None) else None
    elif failed is None:
        note = _note(tasks, instance, states)
    return Progress(title, total=number, done=done, step=step, note=note, failed=failed_name, label=run_label)


@dataclass(frozen=True)
class EndCounts:
    """What the end of a run says of its tasks.

    Args:
        steps_done: How many are done, None where that is not known.
        steps_total: Of how many.
        tasks_failed: How many failed although the run succeeded.
        failed_step: The task instance that made the run fail.
    """

    steps_done: int | None = None
    steps_total: int | None = None
    tasks_failed: int = 0
    failed_step: str | None = None


def end_counts(
    tasks: Tasks,
    bar: Bar,
    states: States,
    result: str,
    *,
    skips_unfinished: bool = False,
    is_over: bool = True,
    name_of: Callable[[str, int], str | None] | None = None,
) -> EndCounts:
    """What the end of a run says of its tasks.

    Args:
        tasks: The tasks that count.
        bar: The bar.
        states: The states of the run's task instances.
        result: How the run ended.
        skips_unfinished: Whether what is skipped may not have been done: a DAG's timeout and ``fail_fast`` skip what is
            unfinished.
        is_over: Whether all of them are over, whatever their states say.
        name_of: Tells the name of a mapped instance, by its task and index; asked for the one that is named alone.
    """
    counted = counted_states(tasks, states)
    if result == "succeeded" and (is_over or all(state in OVER for state in counted.values())):
        total, failed = bar.total or None, count_failed(tasks, counted)
        if not (failed and skips_unfinished):
            return EndCounts(total, total, failed)
        # Airflow calls a run a success if all of its last tasks were skipped, also where ``fail_fast`` did that.
        done, number = bar.segments({key: state if state == "success" else "none" for key, state in counted.items()})
        return EndCounts(done, number, failed)
    if not counted:
        return EndCounts()
    count = Counter(counted.values())
    done = count["success"] + (0 if skips_unfinished and result != "succeeded" else count["skipped"])
    cause = cause_of_failure(tasks, counted) if result == "failed" else None
    failed_step = None
    if cause is not None:
        map_name = name_of(*cause) if name_of is not None and cause[1] >= 0 else None
        failed_step = label(tasks[cause[0]].name, cause[1], map_name)
    return EndCounts(done, len(counted), failed_step=failed_step)


def _note(tasks: Tasks, instance: Instance, states: States) -> str:
    """What a task instance that has ended says in the second line."""
    task = tasks[instance.task_id]
    if not task.is_mapped:
        return f"{task.name} {'skipped' if instance.state == 'skipped' else 'done'}"
    of_task = [state for key, state in states.items() if split_key(key, tasks)[0] == task.task_id]
    return f"{task.name}: {sum(state in OVER for state in of_task)} of {len(of_task)} done"
