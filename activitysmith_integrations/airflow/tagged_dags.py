"""Which callbacks a tagged DAG and its tasks get, beside those that they have."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from activitysmith_integrations.airflow.callbacks import callbacks_of, own_end, reports_progress
from activitysmith_integrations.airflow.compat import conf
from activitysmith_integrations.airflow.dag_tasks import is_empty, role_of
from activitysmith_integrations.airflow.notifications import ActivitySmithEndStreamNotifier
from activitysmith_integrations.airflow.progress import ProgressReporter

log = logging.getLogger(__name__)

# Where a DAG keeps the reporter that its tasks were given.
_REPORTER = "_activitysmith_reporter"


@dataclass(frozen=True)
class _Ends:
    """The notifiers of ours that a DAG has.

    Args:
        success: That of its successes, None where it has none.
        failure: That of its failures, None where it has none.
    """

    success: ActivitySmithEndStreamNotifier | None
    failure: ActivitySmithEndStreamNotifier | None

    @property
    def model(self) -> ActivitySmithEndStreamNotifier:
        """The one whose stream, connection and title the others take over: rather one with a key of its own."""
        own = [end for end in (self.success, self.failure) if end is not None]
        return max(own, key=lambda end: end.stream_key is not None, default=ActivitySmithEndStreamNotifier())

    @property
    def are_two_streams(self) -> bool:
        """Whether a success ends another stream than a failure."""
        both = self.success is not None and self.failure is not None
        return both and self.success.stream_key != self.failure.stream_key  # type: ignore[union-attr]


def show(dag: Any, *, only_failures: bool) -> None:
    """Have a DAG show its runs.

    Args:
        dag: The DAG, which was just parsed.
        only_failures: Whether to send nothing while all is well.
    """
    roles = [role_of(task) for task in dag.tasks]
    if not conf.getboolean("activitysmith", "end_tagged_dags", fallback=True) or "follows_run" in roles:
        return  # the task that follows the run shows all of it
    ends = _Ends(own_end(dag, "success"), own_end(dag, "failure"))
    if ends.are_two_streams:
        shown = ends.model.stream_key
        log.warning("DAG %s ends one stream on success and another on failure; %r is shown.", dag.dag_id, shown)
    if ends.failure is None:
        dag.on_failure_callback = [*callbacks_of(dag, "failure"), _end_like(ends.model)]
        # Airflow computes this when the DAG is made, and asks for no callback where it is False.
        dag.has_on_failure_callback = True
    if only_failures:
        return
    reports = conf.getboolean("activitysmith", "stream_tagged_dags", fallback=True)
    if reports:
        reporter = _reporter_like(ends.model)
        setattr(dag, _REPORTER, reporter)
        for task in dag.tasks:
            _report(task, reporter)
    # Where no task reports, as in a DAG of empty operators, the stream has no start that a success could end.
    if ends.success is None and (not reports or any(reports_progress(task) for task in dag.tasks)):
        dag.on_success_callback = [*callbacks_of(dag, "success"), _end_like(ends.model)]
        dag.has_on_success_callback = True


def show_task_again(dag: Any, task: Any) -> None:
    """Have a task report again, if it was given a reporter and does not have it any more.

    Args:
        dag: The DAG.
        task: The task.
    """
    reporter: ProgressReporter | None = getattr(dag, _REPORTER, None)
    if reporter is not None:
        _report(task, reporter)


def _report(task: Any, reporter: ProgressReporter) -> None:
    """Have a task call a reporter when it begins and ends, after the callbacks that it has."""
    # The scheduler settles an empty operator without a worker, unless it has callbacks (Airflow 3.1 to 3.3).
    if is_empty(task) or role_of(task) != "work" or reports_progress(task):
        return
    task.on_execute_callback = [*callbacks_of(task, "execute"), reporter]
    task.on_success_callback = [*callbacks_of(task, "success"), reporter]
    task.on_failure_callback = [*callbacks_of(task, "failure"), reporter]
    task.on_skipped_callback = [*callbacks_of(task, "skipped"), reporter]


def _end_like(end: ActivitySmithEndStreamNotifier) -> ActivitySmithEndStreamNotifier:
    return ActivitySmithEndStreamNotifier(
        end.stream_key,
        activitysmith_conn_id=end.activitysmith_conn_id,
        patience=end.patience,
        **_title_of(end),
    )


def _reporter_like(end: ActivitySmithEndStreamNotifier) -> ProgressReporter:
    return ProgressReporter(end.stream_key, end.activitysmith_conn_id, **_title_of(end))


def _title_of(end: ActivitySmithEndStreamNotifier) -> dict[str, Any]:
    return {name: value for name, value in end.options.items() if name == "title"}
