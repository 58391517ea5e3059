"""One callback's snapshot of a run: what Airflow gave, and what it was asked, each question once."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from activitysmith_integrations.airflow import task_states
from activitysmith_integrations.airflow.bar import Bar, bar_of, counted_tasks, ends_stream
from activitysmith_integrations.airflow.contexts import normalized
from activitysmith_integrations.airflow.dag_tasks import has_own_picture, plain_tasks
from activitysmith_integrations.airflow.developer_commands import is_dags_test, is_tasks_test
from activitysmith_integrations.airflow.reporting import Instance, states_with
from activitysmith_integrations.airflow.run_label import run_label
from activitysmith_integrations.airflow.task_states import Tasks, counted_states, split_key

if TYPE_CHECKING:
    from activitysmith_integrations.core.runs.outcome import Result

_BY_REASON: dict[str, Result] = {"success": "succeeded", "timed_out": "timed_out"}
_BY_STATE: dict[str, Result] = {"success": "succeeded", "skipped": "succeeded", "failed": "failed"}


class Run:
    """The run that a callback is about.

    Args:
        context: What Airflow gave; it is not changed.
        written_key: The stream that is shown, as the user wrote it; None for the run's own.
    """

    def __init__(self, context: Mapping[str, Any], written_key: Any = None) -> None:
        self.context = normalized(context)
        self.written_key = None if written_key is None else str(written_key)
        self.dag: Any = self.context["dag"]
        self.dag_id: str = self.dag.dag_id or ""
        self.run_id: str | None = self.context["run_id"]
        self.ti: Any = self.context.get("task_instance")
        self.is_deadline = "deadline" in self.context
        self.is_of_dag = "reason" in self.context
        """Whether the callback is the DAG's."""
        self.is_of_task = not self.is_of_dag and not self.is_deadline and self.ti is not None
        """Whether the callback is a task's."""

    @property
    def ti_state(self) -> str | None:
        """The state of the task instance as its callback knows it; None in the dag-processor, which does not."""
        return text_of(getattr(self.ti, "state", None))

    @property
    def is_beginning(self) -> bool:
        """Whether the callback is one of a task instance that begins."""
        return self.is_of_task and self.ti_state == "running" and not self.is_resuming

    @property
    def is_temporary(self) -> bool:
        """Whether ``airflow tasks test`` tries out one task of it, so that nothing would ever end its stream."""
        return is_tasks_test(self.run_id)

    @property
    def clear_number(self) -> int:
        """How often the run, or a part of it, was cleared; Airflow tells it on workers and in the dag-processor."""
        return getattr(self.context["dag_run"], "clear_number", None) or 0

    @property
    def began_at(self) -> str:
        """When it began, as text; Airflow begins a run anew that is over and cleared, not one that goes on."""
        return str(getattr(self.context["dag_run"], "start_date", None))

    @property
    def identity(self) -> str:
        """What tells it from every other run, and from itself before it was cleared or tested again."""
        return f"{self.dag_id}/{self.run_id}/{self.clear_number}/{self.began_at}"

    @property
    def is_in_process(self) -> bool:
        """Whether ``dag.test()`` or ``airflow dags test`` runs it, in one process and one task after the other."""
        return is_dags_test()

    @property
    def is_on_worker(self) -> bool:
        """Whether Airflow answers all questions here; the dag-processor hangs on most of them (Airflow 3.3)."""
        return self.is_of_task and self.ti_state is not None

    @property
    def is_resuming(self) -> bool:
        """Whether a task instance goes on that began before: a sensor looks again, or a deferred task resumes."""
        return self.ti_state == "running" and (
            bool(self.context.get("task_reschedule_count")) or self._is_resuming_deferred
        )

    @property
    def _is_resuming_deferred(self) -> bool:
        # The public context does not tell (Airflow 3.1 to 3.3).
        answer_to_begin = getattr(self.ti, "_ti_context_from_server", None)
        begins_deferred = getattr(self.context.get("task"), "start_from_trigger", False)
        return getattr(answer_to_begin, "next_method", None) is not None and not begins_deferred

    @property
    def stream_key(self) -> str:
        """The run's own stream."""
        from activitysmith_integrations.core.keys import stream_key

        return stream_key(self.dag_id, self.run_id or "")

    @property
    def title(self) -> str:
        """The name that people gave the DAG."""
        name = getattr(self.dag, "dag_display_name", None) or getattr(self.context["dag_run"], "dag_display_name", None)
        return str(name or self.dag_id)

    @property
    def label(self) -> str | None:
        """What tells the run from others of its DAG."""
        return run_label(self.run_id, getattr(self.dag, "timezone", None))

    @functools.cached_property
    def tasks(self) -> Tasks:
        """The tasks that are steps."""
        return counted_tasks(plain_tasks(self.dag), self.written_key)

    @property
    def other_tasks(self) -> Tasks:
        """The tasks that are no steps."""
        return {task_id: task for task_id, task in plain_tasks(self.dag).items() if task_id not in self.tasks}

    @property
    def is_ended_by_task(self) -> bool:
        """Whether the DAG has a task that ends the stream."""
        return bool(self.ending_tasks)

    @property
    def is_followed(self) -> bool:
        """Whether the DAG has a task that follows the run in this stream."""
        tasks = plain_tasks(self.dag).values()
        return any(task.role == "follows_run" and task.stream_key == self.written_key for task in tasks)

    @property
    def ending_states(self) -> set[str]:
        """The states that such tasks have come to."""
        return set(counted_states(self.ending_tasks, self.posted_states).values())

    @property
    def is_end_skipped(self) -> bool:
        """Whether such tasks were all skipped."""
        return bool(self.ending_states) and self.ending_states <= {"skipped", "upstream_failed"}

    @property
    def may_show_handled_failure(self) -> bool:
        """Whether one of its steps failed, which such a task may have shown although a later step handled it."""
        if not task_states.failed_tasks(self.tasks, self.states):
            return False
        return any(has_own_picture(task) for task in self.dag.tasks if task.task_id in self.ending_tasks)

    @property
    def is_ended_by_another(self) -> bool:
        """Whether another such task than the one whose callback this is has ended the stream, or is about to.

        Of those that run at once, the one that comes first in the DAG does.
        """
        ranks = {task_id: rank for rank, task_id in enumerate(self.ending_tasks)}
        own = ranks.get(self.instance.task_id, len(ranks)), self.instance.map_index
        for key, state in self.posted_states.items():
            task_id, index = split_key(key, self.ending_tasks)
            other = ranks.get(task_id, -1), index
            is_first = state in task_states.ACTIVE and other < own
            if task_id in ranks and other != own and (is_first or state in ("success", "failed")):
                return True
        return False

    @functools.cached_property
    def ending_tasks(self) -> Tasks:
        """The tasks of the DAG that end the stream."""
        tasks = plain_tasks(self.dag).items()
        return {task_id: task for task_id, task in tasks if ends_stream(task, self.written_key)}

    @functools.cached_property
    def bar(self) -> Bar:
        """The bar that shows them."""
        return bar_of(self.tasks)

    @functools.cached_property
    def instance(self) -> Instance:
        """The task instance whose callback this is."""
        state = self.ti_state or ("failed" if self.result is not None else "up_for_retry")
        return Instance(str(self.ti.task_id), map_index_of(self.ti), state)

    @functools.cached_property
    def instance_name(self) -> str:
        """The task instance whose callback this is, in words."""
        task = self.tasks.get(str(self.ti.task_id))
        name = getattr(getattr(self.ti, "task", None), "task_display_name", None)
        known = str(name or (task.name if task else self.ti.task_id))
        return task_states.label(known, map_index_of(self.ti), self.map_name)

    @property
    def is_only_failure(self) -> bool:
        """Whether Airflow knows of no other task instance of the run that has failed."""
        others = {key: state for key, state in self.posted_states.items() if key != self.instance.key}
        return bool(self.posted_states) and "failed" not in others.values()

    @property
    def map_name(self) -> str | None:
        """What ``map_index_template`` calls the instance whose callback this is; None where it is not mapped."""
        return getattr(self.ti, "rendered_map_index", None) if map_index_of(self.ti) >= 0 else None

    @functools.cached_property
    def result(self) -> Result | None:
        """How the run or task ended; None if it goes on (it starts, or it will be tried again)."""
        if self.is_of_dag:
            return _BY_REASON.get(str(self.context["reason"]), "failed")
        if self.is_deadline:
            return "timed_out"
        if self.ti is None:
            return _BY_STATE.get(text_of(getattr(self.context["dag_run"], "state", None)) or "", "failed")
        state = self.ti_state
        if state is None:
            # A task that was killed: the dag-processor runs its callback and does not say which. Airflow 3.1 and 3.2
            # call that of a failure for one that will be tried again, too.
            return None if self.is_tried_again else "failed"
        result = _BY_STATE.get(state)
        is_timeout = type(self.context.get("exception")).__name__ == "AirflowTaskTimeout"
        return "timed_out" if result == "failed" and is_timeout else result

    @property
    def is_tried_again(self) -> bool:
        """Whether the task has retries left."""
        return getattr(self.ti, "try_number", 0) <= (getattr(self.ti, "max_tries", None) or 0)

    @functools.cached_property
    def posted_states(self) -> dict[str, str]:
        """The states of the run's task instances as Airflow knows them; empty where they cannot be had.

        Airflow answers this on workers and in the dag-processor alike; 3.1.0, which hangs on it there, is not
        supported.
        """
        if self.ti is None or not self.dag_id or not self.run_id:
            return {}
        try:
            found = self.ti.get_task_states(dag_id=self.dag_id, run_ids=[self.run_id]).get(self.run_id, {})
        except Exception:
            # dag.test() calls DAG callbacks where there is nobody to ask (NameError in 3.3).
            return {}
        return plain_states(found)

    @functools.cached_property
    def states(self) -> dict[str, str]:
        """:attr:`posted_states` with that of the task instance whose callback this is."""
        if self.is_of_task and self.result is not None:
            return states_with(self.instance, self.posted_states)
        return self.posted_states

    @property
    def is_fail_fast(self) -> bool:
        """Whether the DAG skips what is unfinished once a task fails."""
        return bool(getattr(self.dag, "fail_fast", False))

    @property
    def has_failed(self) -> bool:
        """Whether it fails with what the tasks that are steps have come to so far."""
        return task_states.has_failed(self.tasks, self.states, is_fail_fast=self.is_fail_fast)

    @property
    def is_ignored_failure(self) -> bool:
        """Whether the task instance whose callback this is failed, and the run does not fail with it: a teardown."""
        task = self.tasks.get(self.instance.task_id)
        return self.result not in ("succeeded", None) and task is not None and task.is_ignored_teardown

    @property
    def goes_on(self) -> bool:
        """Whether it has tasks to come."""
        return task_states.goes_on(self.tasks, self.states)

    def count_instances(self) -> int:
        """How many instances the task has whose callback this is."""
        return self._count(task_ids=[self.instance.task_id])

    def count_begun(self) -> int:
        """How many task instances of the run have begun."""
        return self._count(states=sorted(task_states.BEGUN))

    def _count(self, *, task_ids: list[str] | None = None, states: list[str] | None = None) -> int:
        if "posted_states" not in vars(self):
            which = {name: value for name, value in (("task_ids", task_ids), ("states", states)) if value is not None}
            try:
                return int(self.ti.get_ti_count(dag_id=self.dag_id, run_ids=[self.run_id], **which))
            except Exception:  # noqa: S110 - the dag-processor does not answer this (Airflow 3.3); the states say it too
                pass
        return sum(
            (task_ids is None or split_key(key, self.tasks)[0] in task_ids) and (states is None or state in states)
            for key, state in self.posted_states.items()
        )

    def state_by_now(self) -> str | None:
        """The run's state at this moment; None where Airflow does not say. Ask on workers only."""
        try:
            return text_of(self.ti.get_dagrun_state(dag_id=self.dag_id, run_id=self.run_id))
        except Exception:
            return None


def plain_states(found: Mapping[str, Any]) -> dict[str, str]:
    """Airflow's answer about the states of a run's task instances, as texts.

    Args:
        found: The answer for one run.
    """
    return {key: text_of(state) or "none" for key, state in found.items() if text_of(state) != "removed"}


def text_of(state: Any) -> str | None:
    """A state as text, whether it is an enum's member or not."""
    return None if state is None else str(getattr(state, "value", state))


def map_index_of(ti: Any) -> int:
    """Which instance of its task it is, -1 where the task is not mapped."""
    index = getattr(ti, "map_index", -1)
    return -1 if index is None else int(index)
