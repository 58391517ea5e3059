"""Reports how far the runs of a tagged DAG are, from callbacks of its tasks. The tag gives it to them."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from activitysmith_integrations import core
from activitysmith_integrations.airflow.callback_budget import LEAST_SECONDS, TOO_SHORT_TO_TRY
from activitysmith_integrations.airflow.callbacks import (
    Callback,
    Target,
    allowance,
    options_to_show,
    say,
    say_unknown_failure,
    target_of,
)
from activitysmith_integrations.airflow.hooks import ActivitySmithHook
from activitysmith_integrations.airflow.templates import is_template

if TYPE_CHECKING:
    from airflow.sdk import Context

    from activitysmith_integrations.airflow.run import Run
    from activitysmith_integrations.airflow.run_memory import FailedStart, RunMemory
    from activitysmith_integrations.core.client import ActivitySmithClient

UPDATE_SECONDS = 3.0
"""How long a report may take, Airflow's own time included: a task waits for it."""


@dataclass(frozen=True)
class _Report:
    """How far the run is, ready to be sent.

    Args:
        run: The run.
        target: Where it goes.
        state: The state, with its type.
        beside: What goes with it.
        deadline: When its time is over, on ``time.monotonic()``'s clock.
    """

    run: Run
    target: Target
    state: Mapping[str, Any]
    beside: Mapping[str, Any]
    deadline: float

    @property
    def start(self) -> core.StreamRequest:
        """Starts the stream, or updates it."""
        return core.StreamRequest(content_state=self.state, **self.beside)

    @property
    def update(self) -> core.StreamRequest:
        """Updates the stream and starts none, also where a slow service works on it after the end."""
        from activitysmith_integrations.core.runs.progress import without_type

        return core.StreamRequest(content_state=without_type(self.state), **self.beside)


class ProgressReporter(Callback):
    """Reports how far a run is, when it is the turn of the task instance that calls it.

    It takes 3 s at most while the run goes on, logs one line, and never raises. The end of the run waits for none of
    it: an update can start nothing, and who starts the stream looks at the run's state afterwards and ends the stream
    again if it is over.

    Args:
        stream_key: The stream; the run's own where None. Templated.
        activitysmith_conn_id: The connection. Templated.
        title: First line instead of the DAG's name. Templated.
    """

    reports_progress = True

    def __init__(self, stream_key: str | None, activitysmith_conn_id: str, title: str | None = None) -> None:
        super().__init__(stream_key, activitysmith_conn_id, {"title": title})

    def notify(self, context: Context) -> None:
        """Report, if it is this task instance's turn.

        Args:
            context: Airflow's context; it is not changed.
        """
        from activitysmith_integrations.airflow.run import Run
        from activitysmith_integrations.airflow.run_memory import RunMemory

        with allowance(context) as allowed:
            deadline = allowed.began + min(UPDATE_SECONDS, allowed.seconds)
            try:
                run = Run(context, self.stream_key)
                if run.is_of_task and not run.is_temporary:
                    self._report(run, RunMemory(run), deadline)
            except Exception as error:
                say_unknown_failure(self, error)

    def _report(self, run: Run, memory: RunMemory, deadline: float) -> None:
        if not self._is_turn(run, memory):
            return
        report = self._prepare(run, deadline)
        if report is not None:
            self._send(report, memory)

    def _begins_run(self, run: Run) -> bool:
        from activitysmith_integrations.airflow import reporting

        return reporting.starts_stream(run.tasks, run.instance, run.count_begun)

    def _begins_cleared_run(self, run: Run, memory: RunMemory) -> bool:
        """Whether a task instance is the first to begin since its run was cleared, wherever in the DAG it is."""
        if run.clear_number == 0 or run.instance.task_id not in run.tasks:
            return False
        return memory.claim_cleared_start(run.clear_number)

    def _is_turn(self, run: Run, memory: RunMemory) -> bool:
        """Whether a task instance that begins or has ended is one that reports."""
        from activitysmith_integrations.airflow import reporting

        if run.is_beginning:
            return self._begins_cleared_run(run, memory) or self._begins_run(run)
        if run.result is None or run.instance.task_id not in run.tasks:
            return False
        is_failure = run.instance.state == "failed"
        if is_failure:
            memory.note_name()
        if reporting.completes_segment(run.bar, run.instance, run.count_instances):
            if is_failure and run.goes_on:
                memory.note_failure()
            return True
        if not is_failure or not reporting.may_be_first_failure(run.tasks, run.instance, run.posted_states):
            return False
        if not run.goes_on:
            return False  # the end shows it
        claimed = memory.claim_failure()
        if claimed is None:
            return reporting.is_among_first_failures(run.tasks, run.instance, run.posted_states)
        return claimed

    def _prepare(self, run: Run, deadline: float) -> _Report | None:
        """The report; None where only the end is left to show."""
        options = options_to_show(self, run)
        from activitysmith_integrations.airflow import reporting
        from activitysmith_integrations.airflow.outcomes import running
        from activitysmith_integrations.core.runs.picture import running_labels, shown_title

        so_far = running(run)
        title = shown_title(so_far, {"title": run.title, **options})
        progress = reporting.progress_of(run.tasks, run.bar, run.instance, run.states, title=title, run_label=run.label)
        if progress is None:
            return None
        return _Report(run, target_of(self, run), progress.state, running_labels(so_far), deadline)

    def _send(self, report: _Report, memory: RunMemory) -> None:
        from activitysmith_integrations.airflow.late_start import is_over

        key = report.target.stream_key
        failed = memory.failed_start()
        needs_start = report.run.is_beginning or (failed is not None and not failed.may_run)
        if needs_start and (_is_recent(failed) or not report.run.is_on_worker):
            text = f"Live Activity stream {key!r} is not shown: its start failed, and is tried again once a minute."
            say(self, (logging.INFO, text))
            return
        try:
            with ActivitySmithHook(report.target.conn_id).get_conn() as client:
                if not needs_start:
                    try:
                        self._deliver(client, report, report.update, repeats=False)
                        return
                    except core.BadRequestError as error:
                        # Nothing runs: the start was lost, or never sent, or the stream has ended. Of two starts on
                        # their way, the end would take the first for the last; so another report's is looked for.
                        failed = memory.failed_start()
                        if _is_recent(failed) or not report.run.is_on_worker or is_over(report.run):
                            self._say_failure(key, "updated", error)
                            return
                self._start(client, report, memory, failed)
        except Exception as error:
            self._say_failure(key, "updated", error)

    def _start(
        self, client: ActivitySmithClient, report: _Report, memory: RunMemory, failed: FailedStart | None
    ) -> None:
        from activitysmith_integrations.airflow.late_start import end_if_over
        from activitysmith_integrations.airflow.run_memory import FailedStart
        from activitysmith_integrations.core.errors import may_have_arrived

        may_come = False
        try:
            self._deliver(client, report, report.start, repeats=True)
        except core.ActivitySmithError as error:
            may_come = may_have_arrived(error) or (failed is not None and failed.may_run)
            memory.remember_start(FailedStart(time.time(), may_come))
            self._say_failure(report.target.stream_key, "started", error)
            if not may_come:
                return
        else:
            if failed is not None:
                memory.remember_start(None)
            if is_template(self.stream_key):
                memory.remember_key(str(self.stream_key), report.target.stream_key)
            if report.run.is_in_process:
                _end_at_exit(report)
        if report.run.is_on_worker:
            end_if_over(report.run, report.target.stream_key, client, self, may_come=may_come)

    def _deliver(
        self, client: ActivitySmithClient, report: _Report, request: core.StreamRequest, *, repeats: bool
    ) -> None:
        from activitysmith_integrations.core.retry import RetryPolicy, patient_retry
        from activitysmith_integrations.core.runs.log_lines import line_of_update

        left = report.deadline - time.monotonic()
        if repeats:
            # Without a start nothing of a short run is shown, and on a busy machine Airflow alone takes 3 s.
            left = max(left, LEAST_SECONDS)
        if left < TOO_SHORT_TO_TRY:
            raise TimeoutError("Airflow took all of its time to hand out the run's states and the connection")
        # The next report is the better repetition of an update.
        retry = patient_retry(left) if repeats else RetryPolicy(max_retries=0, max_elapsed=left)
        answer = client.with_retry(retry).send(report.target.stream_key, request)
        say(self, line_of_update(report.target.stream_key, report.state, answer))

    def _say_failure(self, stream_key: str, what: str, error: Exception) -> None:
        from activitysmith_integrations.core.runs.log_lines import line_of_failed_update

        say(self, line_of_failed_update(stream_key, what, error))


def _end_at_exit(report: _Report) -> None:
    from activitysmith_integrations.airflow.interrupted_dag_test import end_at_exit
    from activitysmith_integrations.airflow.outcomes import running

    client = ActivitySmithHook(report.target.conn_id).get_conn()
    end_at_exit(report.target.stream_key, running(report.run), report.state["title"], client)


def _is_recent(failed: FailedStart | None) -> bool:
    return failed is not None and failed.is_recent(time.time())
