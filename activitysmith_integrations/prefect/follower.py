"""Follows a run that goes on in this process, and shows how far it is.

A thread of its own asks Prefect's API, so that no task is touched: neither its hooks, nor its module, nor its runner.
It asks every second at first and more rarely as the run gets older, and leaves the API alone while the service refuses
to show the run. What goes wrong there changes nothing for the run: the next question is the better repetition.
"""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun

from activitysmith_integrations.core import forks
from activitysmith_integrations.core.client import ActivitySmithClient
from activitysmith_integrations.core.retry import seconds_for_calls
from activitysmith_integrations.core.runs.log_lines import line_of_failed_update
from activitysmith_integrations.core.runs.outcome import FAILURES, Result, RunOutcome
from activitysmith_integrations.core.runs.picture import running_labels, shown_title
from activitysmith_integrations.core.runs.progress import Progress
from activitysmith_integrations.core.runs.sender import UpdateSender
from activitysmith_integrations.core.threads import BackgroundThread
from activitysmith_integrations.prefect.blocks import resolve_now
from activitysmith_integrations.prefect.hooks import HookSettings
from activitysmith_integrations.prefect.run_watch import RunWatch, has_left, line_of_refusal, seconds_between_looks
from activitysmith_integrations.prefect.shown_failures import RunRef
from activitysmith_integrations.prefect.task_counts import impatient_client

# The first of so many looks is at the run itself, too: it may have another name by now, which Prefect 3.6 gives it only
# after its start, or have left this process.
_LOOKS_PER_LOOK_AT_RUN = 15
_STOP_SECONDS = 5.0

Log = Callable[[int, str], object]

# The runs for which this process asks the API.
_asking = set[UUID]()
forks.in_child(_asking.clear)


class Follower:
    """Shows a flow run that goes on in this process, from its start until :meth:`stop`.

    Args:
        stream_key: The stream.
        outcome: What is known of the run; its result is not looked at.
        run: The run as it was when it began, or began again.
        settings: What its hooks were made with.
        log: Takes a level and a line for the run's page.
        on_left: Called in the follower's thread once the run has left this process although no hook was called: it
            was suspended, or returned ``Cancelled()``, or the process exits.

    Attributes:
        run: Which run it is.
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
        self.run = RunRef.of(run)
        self.run_id = run.id
        self.is_stopped = False
        self._may_run_already = run.start_time is not None
        self._watch = RunWatch(run)
        self._first = Progress(
            shown_title(outcome, settings.options), total=settings.total, unit="task", label=outcome.label
        )
        self._result: Result = "succeeded"
        self._least_failed = self._open_tasks = 0
        self._stop_until = 0.0
        self._is_leaving = self._is_drawn_by_step = False
        self.client: ActivitySmithClient | None = None
        self._sender: UpdateSender | None = None
        self._may_start = threading.Lock()
        self._is_too_late_to_start = False
        self._has_started = threading.Event()
        self._stopping = threading.Event()
        context = contextvars.copy_context()  # Prefect's settings live there
        self._thread = BackgroundThread(partial(context.run, self._follow), "activitysmith-follower")

    def start(self) -> None:
        """Start the stream and follow the run. It returns at once."""
        self._thread.start()

    def begin_again(self) -> None:
        """Count from zero, in the same stream: the flow is retried."""
        self._watch.begin_again()
        if self._sender:
            self._sender.update(lambda _: self._first)

    @property
    def was_never_shown(self) -> bool:
        """Whether it is certain, after :meth:`stop`, that the service does not show the stream.

        It is not where an earlier process or a step may have started it, or the start is still on its way.
        """
        has_shown_nothing = self._sender is None or self._sender.was_never_shown
        may_be_shown = self.is_starting or self._may_run_already or self._is_drawn_by_step
        return has_shown_nothing and not may_be_shown

    @property
    def is_starting(self) -> bool:
        """Whether a start is still on its way, which :meth:`stop` had no time to wait for."""
        return self._sender is not None and self._sender.is_starting

    def leave_to_step(self) -> None:
        """Send no more updates: a step of the flow draws the stream itself. It takes 10 s at most.

        The run is followed all the same, so that its end is right, if it was followed by then.
        """
        self._is_drawn_by_step = True
        self._has_started.wait(_STOP_SECONDS)
        with self._may_start:
            self._is_too_late_to_start = True
        self.wait_for_update()

    def stop(self, outcome: RunOutcome, *, open_tasks: int = 0) -> RunOutcome:
        """Wait for the update on its way and the last counts; no other update goes out.

        It takes 5 s at most, and half of the hook's patience, so that the end has the other half.

        Args:
            outcome: How the run ended.
            open_tasks: How many of its task runs cannot be over by then, such as the one that ends the stream.

        Returns:
            The same with its steps, as far as they are known. A task that failed is not done.
        """
        self._stop_until = time.monotonic() + min(_STOP_SECONDS, seconds_for_calls(self.settings.patience) / 2)
        self._result = outcome.result
        self._open_tasks = open_tasks
        self._least_failed = int(outcome.failed_step is not None)
        self.is_stopped = True
        self._stopping.set()
        # Even the shortest run is shown; but what has not been started by then never is.
        self._has_started.wait(self._seconds_to_stop())
        with self._may_start:
            self._is_too_late_to_start = True
            sender = self._sender
        if sender:
            sender.stop(self._seconds_to_stop())
        if self._thread is not threading.current_thread():
            self._thread.join(self._seconds_to_stop())
        return self._watch.counted(outcome, self.settings.total)

    def stop_for_end(self, outcome: RunOutcome, *, open_tasks: int) -> RunOutcome:
        """:meth:`stop` for whoever ends the stream while the run goes on: an update on its way may not come later.

        Args:
            outcome: See :meth:`stop`.
            open_tasks: See :meth:`stop`.

        Returns:
            See :meth:`stop`.
        """
        counted = self.stop(outcome, open_tasks=open_tasks)
        self.wait_for_update()
        return counted

    def wait_for_update(self) -> None:
        """Wait for an update that is still on its way, 5 s at most."""
        if self._sender:
            self._sender.stop()

    def leave(self) -> None:
        """Have the follower's thread do what is left to do for a run that no hook will be called for."""
        self._is_leaving = True
        self._stopping.set()

    def join(self, seconds: float) -> None:
        """Wait for the follower's thread.

        Args:
            seconds: How long at most.
        """
        self._thread.join(seconds)

    def close(self) -> None:
        """Close the connections to the service, once the stream is ended or left as it is."""
        if self.client:
            self.client.close()

    def _seconds_to_stop(self) -> float:
        return max(0.0, self._stop_until - time.monotonic())

    def _follow(self) -> None:
        sender = None
        try:
            sender = self._start_sender()
        except Exception as error:
            self.log(*line_of_failed_update(self.stream_key, "started", error))
        finally:
            self._has_started.set()
        with suppress(Exception), impatient_client() as api:
            if sender:
                self._look_until_stopped(api, sender)
                if not self._is_leaving and (self._result in FAILURES or not sender.paused_for):
                    self._watch.settle(
                        api,
                        total=self.settings.total,
                        failed=self._least_failed,
                        open_tasks=self._open_tasks,
                        deadline=self._stop_until,
                    )
        self._stopping.wait()
        if self._is_leaving:
            self._on_left(self)

    def _look_until_stopped(self, api: SyncPrefectClient, sender: UpdateSender) -> None:
        """Show how far the run is until :meth:`stop`, or until the run has left this process."""
        began = looked_at = time.monotonic()
        looks, is_refused = 0, False
        try:
            while not self._stopping.wait(1.0):
                now = time.monotonic()
                if sender.paused_for:
                    _asking.discard(self.run_id)
                    continue
                _asking.add(self.run_id)
                if now - looked_at < seconds_between_looks(now - began, len(_asking)):
                    continue
                looked_at, looks = now, looks + 1
                try:
                    self._look(api, sender, at_run=looks % _LOOKS_PER_LOOK_AT_RUN == 1)
                except Exception as error:
                    line = line_of_refusal(error, self.stream_key)
                    if line and not is_refused:
                        is_refused = True
                        self.log(logging.WARNING, line)
        finally:
            _asking.discard(self.run_id)

    def _look(self, api: SyncPrefectClient, sender: UpdateSender, *, at_run: bool) -> None:
        if at_run and has_left(self._watch.look_at_run(api), datetime.now(UTC)):
            self.leave()
        elif self._watch.look(api) or at_run:
            sender.update(self._progress)

    def _progress(self, progress: Progress) -> Progress:
        watch = self._watch
        return replace(progress.updated(done=watch.done), failed=watch.failed, label=watch.name)

    def _start_sender(self) -> UpdateSender | None:
        """Start the stream; None where the run's end did not wait for that any longer, since nobody would end it."""
        client = resolve_now(self.settings.account).get_client()
        if self._may_run_already:
            with suppress(Exception), impatient_client() as api:
                self._watch.find_attempt(api)
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
