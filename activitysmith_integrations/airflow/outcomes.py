"""A run, as one callback sees it, becomes what happened in it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from activitysmith_integrations.airflow import task_states
from activitysmith_integrations.airflow.context import message_of, moment_of, run_url
from activitysmith_integrations.airflow.task_states import OVER, split_key

if TYPE_CHECKING:
    from activitysmith_integrations.airflow.run import Run
    from activitysmith_integrations.core.runs.outcome import Result, RunOutcome


@dataclass(frozen=True)
class _Counts:
    done: int | None = None
    total: int | None = None
    failed: int = 0


_UNKNOWN = _Counts()


def outcome_of(run: Run, *, of_the_run: bool = True) -> RunOutcome | None:
    """What happened, as far as a callback can know it without asking anything that may hang.

    Args:
        run: The run.
        of_the_run: Whether it is about the run. Else it is about the task whose callback this is.

    Returns:
        None if nothing has ended, or it is about the run, and a task of it succeeded while others are not over.
    """
    result = run.result
    if result is None:
        return None
    if not run.is_of_task:
        return _outcome_of_dag(run, result)
    if not of_the_run:
        started_at = moment_of(getattr(run.ti, "start_date", None))
        outcome = _outcome(run, result, failed_step=run.instance_name)
        return outcome if started_at is None else replace(outcome, started_at=started_at)
    if result != "succeeded":
        return _outcome(run, result, _counts(run, result), failed_step=run.instance_name)
    if any(state not in OVER for key, state in _counted_states(run).items() if key != run.instance.key):
        return None
    return outcome_so_far(run)


def outcome_so_far(run: Run) -> RunOutcome:
    """What happened so far, for a task that ends the stream."""
    is_failure = task_states.has_failed(run.tasks, run.states, is_fail_fast=run.is_fail_fast)
    result: Result = "failed" if is_failure else "succeeded"
    return _outcome(run, result, _counts(run, result, is_over=False), failed_step=_cause(run, result))


def running(run: Run) -> RunOutcome:
    """The run while it goes on; what its result says means nothing."""
    return replace(_outcome(run, "succeeded"), ended_at=None)


def _outcome_of_dag(run: Run, result: Result) -> RunOutcome:
    # Where Airflow says nothing about the run's tasks, the one whose context this is did it.
    is_named = not run.states and run.ti is not None and run.context.get("reason") == "task_failure"
    failed_step = run.instance_name if is_named else _cause(run, result)
    return _outcome(run, result, _counts(run, result), failed_step=failed_step)


def _cause(run: Run, result: Result) -> str | None:
    cause = task_states.cause_of_failure(run.tasks, run.states) if result == "failed" else None
    return task_states.label(run.tasks[cause[0]].name, cause[1]) if cause else None


def _counts(run: Run, result: Result, *, is_over: bool = True) -> _Counts:
    states = _counted_states(run)
    if result == "succeeded" and (is_over or all(state in OVER for state in states.values())):
        # All segments that its tasks have shown, and no others.
        total = run.bar.total or None
        return _Counts(total, total, task_states.count_failed(run.tasks, states))
    count = Counter(states.values())
    skipped = 0 if _skips_because_of_failure(run, result) else count["skipped"]
    return _Counts(count["success"] + skipped, len(states)) if states else _UNKNOWN


def _skips_because_of_failure(run: Run, result: Result) -> bool:
    """Whether what is skipped was not done: a DAG's timeout and ``fail_fast`` skip what is unfinished."""
    return run.context.get("reason") == "timed_out" or (run.is_fail_fast and result != "succeeded")


def _counted_states(run: Run) -> dict[str, str]:
    return {key: state for key, state in run.states.items() if split_key(key, run.tasks)[0] in run.tasks}


def _outcome(run: Run, result: Result, counts: _Counts = _UNKNOWN, *, failed_step: str | None = None) -> RunOutcome:
    from activitysmith_integrations.core.runs.outcome import RunOutcome

    dag_run, error = run.context["dag_run"], run.context.get("exception")
    ended_at = getattr(dag_run, "end_date", None) or getattr(run.ti, "end_date", None)
    return RunOutcome(
        pipeline=run.dag_id,
        result=result,
        run=run.run_id,
        label=run.label,
        engine="airflow",
        steps_done=counts.done,
        steps_total=counts.total,
        failed_step=failed_step,
        tasks_failed=counts.failed,
        started_at=moment_of(getattr(dag_run, "start_date", None)),
        ended_at=moment_of(ended_at) or datetime.now(UTC),
        url=run_url(run.dag_id, run.run_id),
        error_type=type(error).__name__ if isinstance(error, BaseException) else None,
        error_text=message_of(error),
    )
