"""How far a run is, and which task instance says so.

Workers share no memory, so both follow from the DAG and the states of the run's tasks. A task is one step of the
bar; a mapped one is ten, which its instances complete together: so the number of steps is known before anything
is expanded, and a bar never shrinks. Where a segment of the bar ends, the task instance there reports, and nobody
else. So a run has no more reports than segments, however many instances it has, and none is lost because two
instances end at once. What is reported is counted anew from the states: where one report overtakes another on
its way, the next one puts it right.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from activitysmith_integrations import core
from activitysmith_integrations.airflow import context as contexts

MAPPED_STEPS = 10

UPDATE_SECONDS = 3.0
"""How long an update may take, from its look at the run's states to its answer or its end without one."""

REPORTED = ("execute", "success", "failure", "skipped")

_FINE = 1000

# How long after its restart a cleared run is one that starts: a task cannot know which others ran since then.
_RESTARTED = timedelta(minutes=1)
_FIRST_TO_BEGIN = timedelta(seconds=5)
# Of tasks that fail at once none knows of the others, since Airflow posts a failure after its callbacks. The start,
# nine segments and two of them are the 12 updates that iOS has room for.
_FAILURES_AT_ONCE = 2
_ACTIVE = ["running", "deferred", "up_for_reschedule"]
_BEGUN = [*_ACTIVE, "up_for_retry", "success", "failed"]
_NEEDS_SUCCESS = frozenset({"all_success", "none_failed", "none_failed_min_one_success"})


@dataclass(frozen=True)
class Bar:
    """The steps of a DAG.

    Args:
        begins: The step that each task begins with, in the order of the tasks.
        mapped: The tasks that have instances.
        total: How many steps there are.
    """

    begins: Mapping[str, int]
    mapped: frozenset[str]
    total: int

    def segments(self, states: Mapping[str, str]) -> tuple[int, int]:
        """Complete segments, and all of them: what failed, was skipped or will never run counts as complete.

        Args:
            states: The state of each task instance of the run, see :func:`contexts.task_states`.
        """
        instances, over = Counter[str](), Counter[str]()
        for key, state in states.items():
            task_id = contexts.task_of(key, self.begins)
            instances[task_id] += 1
            over[task_id] += state in contexts.OVER
        done = sum(Fraction(self._steps(one) * over[one], instances[one]) for one in self.begins if over[one])
        if self.total <= core.MAX_SEGMENTS:
            return math.floor(done), self.total
        return core.fold_steps(math.floor(done * _FINE), self.total * _FINE) or (0, 1)

    def reports(self, task_id: str, index: int, instances: int) -> bool:
        """Whether a segment of the bar ends with a task instance.

        Args:
            task_id: Its task.
            index: Which instance it is, from 0.
            instances: How many there are.
        """
        first, steps = self.begins[task_id], self._steps(task_id)
        before, after = (first + Fraction(steps * number, instances) for number in (index, index + 1))
        return self._reports_until(before) < self._reports_until(after)

    def rank(self, key: str) -> tuple[int, int]:
        """Where a task instance stands in the DAG's order.

        Args:
            key: Its key, see :func:`contexts.task_states`.
        """
        task_id = contexts.task_of(key, self.begins)
        index = key.removeprefix(f"{task_id}_")
        return self.begins.get(task_id, self.total), int(index) if index.isdigit() else -1

    def starts_segment(self, task_id: str) -> bool:
        """Whether a segment of the bar starts with a task."""
        first = self.begins.get(task_id)
        if first is None or self.total <= core.MAX_SEGMENTS:
            return first is not None
        here, before = (math.floor(Fraction(step * core.MAX_SEGMENTS, self.total)) for step in (first, first - 1))
        return here > before

    def may_report(self, task_id: str) -> bool:
        """Whether a segment of the bar ends with some instance of a task."""
        return task_id in self.begins and self.reports(task_id, 0, 1)

    def _reports_until(self, step: Fraction) -> int:
        if self.total <= core.MAX_SEGMENTS:
            return math.floor(step)
        # A little after the segment's end, since instances do not end in their order; the first one says that
        # something is done.
        late = Fraction(self.total, core.MAX_SEGMENTS * 4)
        return max(1, math.floor((step - late) * core.MAX_SEGMENTS / self.total)) if step else 0

    def _steps(self, task_id: str) -> int:
        return MAPPED_STEPS if task_id in self.mapped else 1


def bar_of(dag: Any) -> Bar:
    """The bar of a DAG: all its tasks but those that end the stream and what comes after them."""
    apart: set[str] = set()
    for task in dag.tasks:
        if getattr(task, "ends_the_stream", False):
            apart |= {task.task_id, *task.get_flat_relative_ids(upstream=False)}
    mapped = frozenset(task.task_id for task in dag.tasks if _has_instances(task))
    begins, total = {}, 0
    for task_id in contexts.order(dag):
        if task_id not in apart:
            begins[task_id] = total
            total += MAPPED_STEPS if task_id in mapped else 1
    return Bar(begins, mapped, total)


def _has_instances(task: Any) -> bool:
    return bool(task.is_mapped or task.get_closest_mapped_task_group())


def begins_the_run(context: Mapping[str, Any]) -> bool:
    """Whether a task instance that begins is the one that starts the stream.

    That is the first task that waits for no other one, or another such task if nothing has begun before it. A
    finished run that was cleared begins anew with whatever part of it was cleared.

    Args:
        context: A normalized context, in which the task instance has just begun.
    """
    ti, task, dag = context["task_instance"], context["task"], context["dag"]
    retries, tries = task.retries or 0, ti.max_tries or 0
    if is_resumed(context) or ti.try_number != tries - retries + 1:
        return False
    if _was_restarted(context, _RESTARTED):
        bar = bar_of(dag)
        is_time = _was_restarted(context, _FIRST_TO_BEGIN) or (
            contexts.map_index(ti) <= 0 and bar.starts_segment(ti.task_id)
        )
        return is_time and ti.task_id in bar.begins and _is_first(context, bar)
    if contexts.map_index(ti) > 0 or not _waits_for_nothing(task):
        return False
    if ti.task_id == next((one for one in contexts.order(dag) if _leads(dag.get_task(one))), None):
        return True
    # The scheduler has settled the empty operators above it.
    return contexts.count(context, states=_BEGUN) <= 1 + len(task.get_flat_relative_ids(upstream=True))


def is_resumed(context: Mapping[str, Any]) -> bool:
    """Whether a task instance that begins goes on after a deferral, or looks again as a sensor does.

    Args:
        context: A normalized context.
    """
    resumed = getattr(_from_server(context["task_instance"]), "next_method", None)
    return bool(context.get("task_reschedule_count") or resumed)


def _was_restarted(context: Mapping[str, Any], ago: timedelta) -> bool:
    """Whether the run was cleared after it had finished, and began anew not longer ago than that."""
    dag_run, now = context["dag_run"], datetime.now(UTC)
    return bool(getattr(dag_run, "clear_number", 0)) and now - (dag_run.start_date or now) < ago


def _is_first(context: Mapping[str, Any], bar: Bar) -> bool:
    """Whether a task instance comes before all others that are not over, or none of those has begun."""
    before, others = _around(context, bar)
    return all(state in contexts.OVER for state in before) or _at_work(others) == 0


def _around(context: Mapping[str, Any], bar: Bar) -> tuple[list[str], list[str]]:
    """The states of the instances before a task instance in the DAG's order, and of all others."""
    own = contexts.state_key(context["task_instance"])
    states = {key: state for key, state in contexts.run_states(context).items() if key != own}
    before = [state for key, state in states.items() if bar.rank(key) < bar.rank(own)]
    return before, list(states.values())


def _at_work(states: list[str]) -> int:
    return sum(state in _ACTIVE for state in states)


def _from_server(ti: Any) -> Any:
    return getattr(ti, "_ti_context_from_server", None)


def _is_empty(task: Any) -> bool:
    return bool(getattr(task, "inherits_from_empty_operator", False))


def _leads(task: Any) -> bool:
    return not _is_empty(task) and _waits_for_nothing(task)


def _waits_for_nothing(task: Any) -> bool:
    dag = task.dag
    return all(_is_empty(dag.get_task(above)) for above in task.get_flat_relative_ids(upstream=True))


def ends_a_segment(context: Mapping[str, Any], ended_as: core.Result) -> bool:
    """Whether a task instance that ended is one that reports: a segment ends with it, or it is the first to fail.

    Args:
        context: A normalized context, in which the task instance has just ended.
        ended_as: How.
    """
    ti = context["task_instance"]
    index = contexts.map_index(ti)
    bar = bar_of(context["dag"])
    if ended_as == "succeeded" and index < 0 and _was_restarted(context, _RESTARTED):
        _, others = _around(context, bar)
        if _at_work(others) == 0:
            return False  # the task that begins next says it, see begins_the_run
    if bar.may_report(ti.task_id) and (
        index < 0 or bar.reports(ti.task_id, index, max(contexts.count(context, task_ids=[ti.task_id]), index + 1))
    ):
        return True
    return ended_as != "succeeded" and _is_first_failure(context, bar)


def _is_first_failure(context: Mapping[str, Any], bar: Bar) -> bool:
    """Whether nothing failed before, as far as that is posted: of many that fail at once only a few say so."""
    if contexts.count(context, states=["failed"]) > 0:
        return False
    before, _ = _around(context, bar)
    return _at_work(before) < _FAILURES_AT_ONCE


def state(context: Mapping[str, Any], options: Mapping[str, Any], ended_as: core.Result | None) -> Any:
    """The state to show of a run that goes on; None where only its end is left to show.

    Args:
        context: A normalized context of one of its task instances.
        options: What the user said, under the names of ``rendering.STREAM_OPTIONS``.
        ended_as: How the task instance ended; None if it goes on.
    """
    if "content_state" in options:
        is_over = ended_as is not None and not has_more_to_come(context, ended_as)
        return None if is_over else options["content_state"]
    title = core.shown_title(contexts.run_so_far(context), options)
    at = of_the_run(context, title, ended_as)
    if at is None:
        return None
    return (at if at.failed else replace(at, note=options.get("subtitle") or at.note)).state


def members(context: Mapping[str, Any], options: Mapping[str, Any], shown: Any) -> core.StreamMembers:
    """What to send about a run.

    Args:
        context: A normalized context of one of its task instances.
        options: What the user said, under the names of ``rendering.STREAM_OPTIONS``.
        shown: The state.
    """
    beside = {name: value for name, value in options.items() if name not in ("title", "subtitle")}
    known = core.live_members(contexts.run_so_far(context), options)
    return {**beside, **known, "content_state": shown}  # type: ignore[typeddict-item]  # names from rendering


def of_the_run(context: Mapping[str, Any], title: str, ended_as: core.Result | None) -> core.Progress | None:
    """How far the run is; None where only its end is left to show.

    Args:
        context: A normalized context of one of its task instances.
        title: First line.
        ended_as: How the task instance ended; None if it has just begun.
    """
    dag, ti = context["dag"], context["task_instance"]
    bar, states = bar_of(dag), _states_now(context, ended_as)
    failed = _failed(dag, bar, states)
    if ended_as is not None and not _goes_on(dag, bar, states, failed):
        return None
    done, number = bar.segments(states)
    at = core.Progress(title, total=number, done=done, failed=next(iter(failed), None))
    if ended_as is None:
        return replace(at, step=ti.task_id if ti.task_id == next(iter(bar.begins), None) else None)
    return at if failed else replace(at, note=_said(bar, ti, states))


def _states_now(context: Mapping[str, Any], ended_as: core.Result | None) -> dict[str, str]:
    """The states of the run, with that of the task instance whose context it is."""
    ti, states = context["task_instance"], dict(contexts.run_states(context))
    if ended_as is not None and (states or contexts.map_index(ti) < 0):
        # A failure is posted only after its callbacks.
        states[contexts.state_key(ti)] = contexts.state_of(ti) if ended_as == "succeeded" else "failed"
    return states


def has_more_to_come(context: Mapping[str, Any], ended_as: core.Result) -> bool:
    """Whether the run goes on after a task instance that ended, or after its deadline.

    Args:
        context: A normalized context of the task instance, or of the deadline.
        ended_as: How it ended.
    """
    if "deadline" in context:
        return True  # Airflow calls for a run that is late, and for none that is over
    dag, states = context["dag"], _states_now(context, ended_as)
    bar = bar_of(dag)
    return _goes_on(dag, bar, states, _failed(dag, bar, states))


def _failed(dag: Any, bar: Bar, states: Mapping[str, str]) -> list[str]:
    """The tasks that failed, in the order of the DAG."""
    failed = {contexts.task_of(key, bar.begins) for key, state in states.items() if state == "failed"}
    return [task_id for task_id in bar.begins if task_id in failed]


def _goes_on(dag: Any, bar: Bar, states: Mapping[str, str], failed: list[str]) -> bool:
    """Whether the run has tasks to come whose turn the failed ones do not prevent."""
    stuck, look = set[str](), list(failed)
    while look:
        above = dag.get_task(look.pop())
        for task in above.downstream_list:
            if task.task_id not in stuck and _needs_all_of(above, task):
                stuck.add(task.task_id)
                look.append(task.task_id)
    to_come = {contexts.task_of(key, bar.begins) for key, state in states.items() if state not in contexts.OVER}
    return any(task_id in bar.begins for task_id in to_come - stuck)


def _needs_all_of(above: Any, task: Any) -> bool:
    """Whether no instance of a task runs where one of a task above it failed."""
    if str(getattr(task.trigger_rule, "value", task.trigger_rule)) not in _NEEDS_SUCCESS:
        return False
    # Within a mapped task group each instance waits for its own alone.
    group = task.get_closest_mapped_task_group()
    return group is None or above.get_closest_mapped_task_group() is not group


def _said(bar: Bar, ti: Any, states: Mapping[str, str]) -> str:
    if ti.task_id not in bar.mapped:
        return f"{ti.task_id} {'skipped' if contexts.state_of(ti) == 'skipped' else 'done'}"
    of_task = [state for key, state in states.items() if contexts.task_of(key, bar.begins) == ti.task_id]
    return f"{ti.task_id}: {sum(state in contexts.OVER for state in of_task)} of {len(of_task)} done"


def completed(outcome: core.RunOutcome, dag: Any) -> core.RunOutcome:
    """The outcome of a run, whose success completes the bar that its tasks have shown."""
    if outcome.result != "succeeded" or outcome.steps_done != outcome.steps_total or not is_shown(dag):
        return outcome
    total = bar_of(dag).total
    return replace(outcome, steps_done=total, steps_total=total)


def seconds_on_its_way(context: Mapping[str, Any], ended_at: datetime | None = None) -> float:
    """Seconds for which an update of an ended run can still be on its way.

    A PUT that arrives after the DELETE starts a new activity that nobody ends. An update is sent only while the
    run has tasks to come, and is given up after 3 s: that long after the run's end the order is certain.

    Args:
        context: A normalized context of the run.
        ended_at: When it had no task to come any more; the end of the run where left out.
    """
    if not is_shown(context["dag"]):
        return 0.0
    now = datetime.now(UTC)
    ended_at = ended_at or getattr(context["dag_run"], "end_date", None) or now
    # A clock that is wrong changes no more than it must.
    return max(0.0, min(UPDATE_SECONDS, UPDATE_SECONDS - (now - ended_at).total_seconds()))


def is_shown(dag: Any) -> bool:
    """Whether tasks of a DAG show how far its runs are."""
    return any(_shows_progress(task) for task in getattr(dag, "tasks", ()))


def _shows_progress(task: Any) -> bool:
    callbacks = (callback for when in REPORTED for callback in as_list(getattr(task, f"on_{when}_callback", None)))
    return any(getattr(callback, "shows_progress", False) for callback in callbacks)


def as_list(callbacks: Any) -> list[Any]:
    """Callbacks as Airflow takes them, as a list of their own."""
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]


def show(dag: Any, notifier: Any) -> None:
    """Have a DAG's tasks call a notifier when they begin and end, after the callbacks that they have.

    Args:
        dag: The DAG, which was just parsed.
        notifier: What to call; a task that has one of its kind keeps that alone.
    """
    for task in dag.tasks:
        # The scheduler settles an empty operator without a worker, unless it has callbacks (Airflow 3.1 to 3.3).
        if _is_empty(task) or _shows_progress(task):
            continue
        for when in REPORTED:
            name = f"on_{when}_callback"
            setattr(task, name, [*as_list(getattr(task, name)), notifier])
