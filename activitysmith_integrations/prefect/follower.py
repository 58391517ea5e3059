"""Follows a run that goes on in this process, and shows how far it is.

A thread of its own asks Prefect's API, so that no task is touched: neither its hooks, nor its module, nor its runner.
It asks every second at first and more rarely as the run gets older, and leaves the API alone while the service refuses
to show the run. What goes wrong there changes nothing for the run: the next question is the better repetition.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun

from activitysmith_integrations.core.client import ActivitySmithClient
from activitysmith_integrations.core.runs.log_lines import line_of_failed_update
from activitysmith_integrations.core.runs.outcome import RunOutcome
from activitysmith_integrations.core.runs.picture import running_labels, shown_title
from activitysmith_integrations.core.runs.progress import Progress
from activitysmith_integrations.core.runs.sender import UpdateSender
from activitysmith_integrations.prefect.blocks import resolve
from activitysmith_integrations.prefect.hooks import HookSettings
from activitysmith_integrations.prefect.task_counts import (
    CLOCK_DIFFERENCE,
    TaskCounts,
    count_tasks,
    first_failed_task,
    impatient_client,
)

# A look at a run that is a minute old shows a twentieth of it; one of five minutes or more is looked at every 15 s.
_LOOKS_PER_AGE = 20
_SECONDS_BETWEEN_LOOKS = (1.0, 15.0)
# A run that no longer moves may have left this process without a word.
_LOOKS_BEFORE_DOUBT = 15
_TIME_FOR_HOOKS = timedelta(minutes=2)
# The API learns of the last tasks a moment after the run's end, later where it is busy.
_SETTLE_SECONDS = 4.5
_SECONDS_BETWEEN_LAST_LOOKS = (0.1, 0.8)
_SECONDS_UNCHANGED = 0.5
_STOP_SECONDS = 5.0

Log = Callable[[int, str], object]


def seconds_between_looks(age: float) -> float:
    """How long to wait before the next look at a run.

    Args:
        age: Seconds since it was first looked at.
    """
    least, most = _SECONDS_BETWEEN_LOOKS
    return min(max(age / _LOOKS_PER_AGE, least), most)


def has_left(run: FlowRun, now: datetime) -> bool:
    """Whether a run has left the process that began it: it is suspended, or over for long enough to call hooks.

    Args:
        run: The run, as the API has it.
        now: The present time.
    """
    state = run.state
    if state is None or state.timestamp is None:
        return False
    is_suspended = state.is_paused() and state.state_details.pause_reschedule
    return is_suspended or (state.is_final() and now - state.timestamp > _TIME_FOR_HOOKS)


class Follower:
    """Shows a flow run that goes on in this process, from its start until :meth:`stop`.

    Args:
        stream_key: The stream.
        outcome: What is known of the run; its result is not looked at.
        run: The run as it was when it began, or began again.
        settings: What its hooks were made with.
        log: Takes a level and a line for the run's page.
        on_left: Called in the follower's thread once the run has left this process although no hook was called: it
            was suspended, or returned ``Cancelled()``.

    Attributes:
        client: What the stream is shown with, once that is known. Whoever ends the stream closes it.
    """

    def __init__(
        self,
        stream_key: str,
        outcome: RunOutcome,
        run: FlowRun,
        settings: HookSettings,
        log: Log,
        on_left: Callable[[Follower], None],
    ) -> None:
        self.stream_key = stream_key
        self.outcome = outcome
        self.settings = settings
        self.log = log
        self._on_left = on_left
        self.run_id = run.id
        self.is_stopped = False
        self._run = run
        self._first = Progress(
            shown_title(outcome, settings.options), total=settings.total, unit="task", label=outcome.label
        )
        self._attempt_began = datetime.now(UTC)
        # Task runs of earlier attempts do not count; of a first one none is left out, whatever the clocks say.
        self._since = self._attempt_began - CLOCK_DIFFERENCE
        self._done_before = 0
        self._counts: TaskCounts | None = None
        self._changed_at = 0.0
        self._failed: str | None = None
        self._least_failed = 0
        self._are_final = False
        self.client: ActivitySmithClient | None = None
        self._sender: UpdateSender | None = None
        self._may_start = threading.Lock()
        self._is_too_late_to_start = False
        self._has_started = threading.Event()
        self._stopping = threading.Event()
        context = contextvars.copy_context()  # Prefect's settings live there
        self._thread = threading.Thread(
            target=context.run, args=(self._follow,), name="activitysmith-follower", daemon=True
        )

    def start(self) -> None:
        """Start the stream and follow the run. It returns at once."""
        self._thread.start()

    def begin_again(self) -> None:
        """Count from zero, in the same stream: the flow is retried."""
        self._since = datetime.now(UTC)
        self._done_before, self._counts, self._failed = 0, None, None
        if self._sender:
            self._sender.update(lambda _: self._first)

    @property
    def was_never_shown(self) -> bool:
        """Whether it is certain that the service does not show the stream; an earlier process may have started it."""
        return self._run.start_time is None and (self._sender is None or self._sender.was_never_shown)

    def stop(self, outcome: RunOutcome) -> RunOutcome:
        """Wait for the update on its way and the last counts, 5 s at most; no other update goes out.

        Args:
            outcome: How the run ended.

        Returns:
            The same with its steps, as far as they are known. A task that failed is not done.
        """
        deadline = time.monotonic() + min(_STOP_SECONDS, self.settings.patience / 2)
        self._least_failed = int(outcome.failed_step is not None)
        self.is_stopped = True
        self._stopping.set()
        # Even the shortest run is shown; but what has not been started by then never is.
        self._has_started.wait(deadline - time.monotonic())
        with self._may_start:
            self._is_too_late_to_start = True
            sender = self._sender
        if sender:
            sender.stop()
        if self._thread is not threading.current_thread():
            self._thread.join(max(0.0, deadline - time.monotonic()))
        return self._counted(outcome)

    def close(self) -> None:
        """Close the connections to the service, once the stream is ended or left as it is."""
        if self.client:
            self.client.close()

    def _counted(self, outcome: RunOutcome) -> RunOutcome:
        total, counts = self.settings.total, self._counts
        failed = counts.failed if counts else 0
        if outcome.result == "succeeded":
            return replace(outcome, steps_done=total, steps_total=total, tasks_failed=failed)
        if counts is None or not self._are_final or (total is None and not counts.finished):
            return outcome
        return replace(outcome, steps_done=counts.finished - failed, steps_total=total, tasks_failed=failed)

    def _follow(self) -> None:
        try:
            sender = self._start_sender()
        except Exception as error:
            self.log(*line_of_failed_update(self.stream_key, "started", error))
            return
        finally:
            self._has_started.set()
        if sender is None:
            return
        with suppress(Exception), impatient_client() as api:
            if self._look_until_stopped(api, sender):
                self._settle(api)
            else:
                self._on_left(self)

    def _look_until_stopped(self, api: SyncPrefectClient, sender: UpdateSender) -> bool:
        """Show how far the run is until :meth:`stop`; False once the run has left this process."""
        began, looks = time.monotonic(), 0
        while not self._stopping.wait(max(seconds_between_looks(time.monotonic() - began), sender.paused_for)):
            looks += 1
            with suppress(Exception):
                if self._look(api):
                    sender.update(self._progress)
                elif looks % _LOOKS_BEFORE_DOUBT == 0 and has_left(api.read_flow_run(self.run_id), datetime.now(UTC)):
                    return False
        return True

    def _start_sender(self) -> UpdateSender | None:
        """Start the stream; None where the run's end did not wait for that any longer, since nobody would end it."""
        client = asyncio.run(resolve(self.settings.account)).get_client()
        if self._run.start_time is not None:
            self._find_attempt(self._run.start_time)
        with self._may_start:
            if self._is_too_late_to_start:
                client.close()
                return None
            self.client = client
            self._sender = UpdateSender(
                self.stream_key,
                self._progress(self._first),
                client,
                labels=running_labels(self.outcome, self.settings.options),
                log=self.log,
            )
            self._sender.start()
            return self._sender

    def _find_attempt(self, first_began: datetime) -> None:
        """A run that began before is retried, and counts from zero; or resumed, and goes on where it was."""
        self._since = self._attempt_began
        with suppress(Exception), impatient_client() as api:
            if api.read_flow_run(self.run_id).run_count == self._run.run_count:
                before = count_tasks(api, self.run_id, first_began - CLOCK_DIFFERENCE)
                self._done_before = before.finished - before.failed

    def _look(self, api: SyncPrefectClient) -> bool:
        """Ask how far the run is; whether that has changed."""
        since, before = self._since, self._counts
        counts = count_tasks(api, self.run_id, since)
        failed = first_failed_task(api, self.run_id, since) if counts.failed and not self._failed else self._failed
        if since is not self._since:  # the flow began again meanwhile
            return False
        self._counts, self._failed = counts, failed
        if counts != before:
            self._changed_at = time.monotonic()
        return counts != before

    def _progress(self, progress: Progress) -> Progress:
        counts = self._counts or TaskCounts()
        done = max(counts.finished - counts.failed, self._done_before)  # a task that failed is not done
        return replace(progress.updated(done=done), failed=self._failed)

    def _settle(self, api: SyncPrefectClient) -> None:
        """Ask until the API knows of all tasks: the last ones reach it a moment after the run's end."""
        began = time.monotonic()
        pause, longest_pause = _SECONDS_BETWEEN_LAST_LOOKS
        while True:
            self._look(api)
            self._are_final = self._is_settled(time.monotonic() - max(began, self._changed_at))
            if self._are_final or time.monotonic() - began > min(_SETTLE_SECONDS, self.settings.patience / 2):
                return
            time.sleep(pause)
            pause = min(2 * pause, longest_pause)

    def _is_settled(self, unchanged_for: float) -> bool:
        counts, total = self._counts or TaskCounts(), self.settings.total
        knows_all = total is not None and counts.finished >= total and not counts.unfinished
        return counts.failed >= self._least_failed and (knows_all or unchanged_for >= _SECONDS_UNCHANGED)
