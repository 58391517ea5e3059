"""A run, as one callback sees it, becomes what happened in it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from activitysmith_integrations.airflow.compat import conf
from activitysmith_integrations.airflow.dag_tasks import plain_tasks
from activitysmith_integrations.airflow.reporting import EndCounts, end_counts
from activitysmith_integrations.airflow.run_memory import RunMemory
from activitysmith_integrations.airflow.task_states import OVER, cause_of_failure, counted_states, label
from activitysmith_integrations.core.errors import ActivitySmithError

if TYPE_CHECKING:
    from activitysmith_integrations.airflow.run import Run
    from activitysmith_integrations.core.runs.outcome import Result, RunOutcome


def outcome_of(run: Run, *, of_the_run: bool = True) -> RunOutcome | None:
    """What happened, as far as a callback can know it without asking anything that may hang.

    Args:
        run: The run.
        of_the_run: Whether it is about the run. Else it is about the task whose callback this is.

    Returns:
        None if nothing has ended, or it is about the run, which a task of it does not fail, while others are not over.

    Raises:
        ActivitySmithError: It is about the run, which a task of it does not fail, and Airflow does not tell of the
            others.
    """
    result = run.result
    if result is None:
        return None
    if not run.is_of_task:
        failed_step = _only_failure(run) or _failure_after_the_steps(run, result)
        return _outcome(run, result, _counts(run, result), failed_step=failed_step)
    if not of_the_run:
        started_at = moment_of(getattr(run.ti, "start_date", None))
        outcome = _outcome(run, result, EndCounts(), failed_step=run.instance_name)
        return outcome if started_at is None else replace(outcome, started_at=started_at)
    if result != "succeeded" and not run.is_ignored_failure:
        return _outcome(run, result, _counts(run, result), failed_step=run.instance_name)
    counted = counted_states(run.tasks, run.states)
    if any(state not in OVER for key, state in counted.items() if key != run.instance.key):
        return None
    return outcome_so_far(run)


def outcome_so_far(run: Run) -> RunOutcome:
    """What happened so far, for a task that ends the stream.

    Args:
        run: The run.

    Raises:
        ActivitySmithError: Airflow does not tell the states of the run's tasks, so it may as well have failed.
    """
    if run.tasks and not run.posted_states:
        raise ActivitySmithError(
            "Airflow does not tell the states of the run's tasks, so how the run went is not known"
        )
    result: Result = "failed" if run.has_failed else "succeeded"
    return _outcome(run, result, _counts(run, result, is_over=False))


def running(run: Run) -> RunOutcome:
    """The run while it goes on; what its result says means nothing."""
    return replace(_outcome(run, "succeeded", EndCounts()), ended_at=None)


def _only_failure(run: Run) -> str | None:
    """The task that a DAG's callback is about, where Airflow tells nothing of the others (``dag.test()``)."""
    if run.states or run.ti is None or run.context.get("reason") != "task_failure":
        return None
    task = run.tasks.get(run.instance.task_id)
    # It is the last one that failed, which may be a teardown that did not fail the run.
    return None if task is not None and task.is_ignored_teardown else run.instance_name


def _failure_after_the_steps(run: Run, result: Result) -> str | None:
    """What failed where none of the steps did: the task that ends the stream, or one after it."""
    if result != "failed" or run.has_failed:
        return None
    tasks = plain_tasks(run.dag)
    cause = cause_of_failure(tasks, run.states)
    return None if cause is None else label(tasks[cause[0]].name, cause[1])


def _counts(run: Run, result: Result, *, is_over: bool = True) -> EndCounts:
    skips = run.is_fail_fast or run.context.get("reason") == "timed_out"
    name_of = RunMemory(run).name_of
    return end_counts(run.tasks, run.bar, run.states, result, skips_unfinished=skips, is_over=is_over, name_of=name_of)


def _outcome(run: Run, result: Result, counts: EndCounts, *, failed_step: str | None = None) -> RunOutcome:
    from activitysmith_integrations.core.runs.outcome import RunOutcome

    dag_run, error = run.context["dag_run"], run.context.get("exception")
    ended_at = getattr(dag_run, "end_date", None) or getattr(run.ti, "end_date", None)
    return RunOutcome(
        pipeline=run.dag_id,
        result=result,
        run=run.run_id,
        label=run.label,
        engine="airflow",
        steps_done=counts.steps_done,
        steps_total=counts.steps_total,
        failed_step=failed_step or counts.failed_step,
        tasks_failed=counts.tasks_failed,
        started_at=moment_of(getattr(dag_run, "start_date", None)),
        ended_at=moment_of(ended_at) or datetime.now(UTC),
        url=run_url(run.dag_id, run.run_id),
        error_type=type(error).__name__ if isinstance(error, BaseException) else None,
        error_text=message_of(error),
    )


def run_url(dag_id: str, run_id: str | None) -> str | None:
    """The page of a run; None where Airflow does not know its own address."""
    base_url = conf.get("api", "base_url", fallback=None)
    if not base_url or not dag_id or not run_id:
        return None
    return f"{base_url.rstrip('/')}/dags/{quote(dag_id)}/runs/{quote(run_id)}"


def message_of(error: object) -> str | None:
    """The message of an exception, which may fail to say what it is."""
    try:
        return None if error is None else str(error)
    except Exception:  # an exception of the user's own, which must not keep a stream from ending
        return None


def moment_of(value: Any) -> datetime | None:
    """A moment, from a datetime or ISO 8601; None where it is neither."""
    if isinstance(value, datetime):
        return value
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
