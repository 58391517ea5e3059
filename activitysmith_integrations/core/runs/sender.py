"""Sends how far the work is: in order, one request at a time, in the background.

A start that arrives after the DELETE would start a new activity that nobody ends. So one worker sends all updates of a
stream, and whoever ends the stream stops the worker first. That takes no longer than an update may take. An update
names no type, so that one on which a slow service works later still starts nothing.

Changes wait in a queue. The worker empties it before it sends again, so the newest state replaces the rest. It looks
once a minute whether the newest state is still to be shown.
"""

import asyncio
import logging
import queue
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from activitysmith_integrations.core.client import ActivitySmithClient, AsyncActivitySmithClient
from activitysmith_integrations.core.errors import InvalidResponseError
from activitysmith_integrations.core.models.requests import StreamRequest
from activitysmith_integrations.core.models.responses import StreamResponse
from activitysmith_integrations.core.retry import RetryPolicy, patient_retry
from activitysmith_integrations.core.runs.budget import UpdateHistory, is_due
from activitysmith_integrations.core.runs.log_lines import line_of_failed_update, line_of_update
from activitysmith_integrations.core.runs.progress import Progress, without_type
from activitysmith_integrations.core.threads import BackgroundThread

_log = logging.getLogger(__name__)

UPDATE_SECONDS = 5.0
_SECONDS_BETWEEN_LOOKS = 60.0
_START_RETRY = patient_retry(UPDATE_SECONDS)
# One attempt: the next update is the better repetition, or the next look where the work goes on without one.
_UPDATE_RETRY = RetryPolicy(max_retries=0, max_elapsed=UPDATE_SECONDS)

Change = Callable[[Progress], Progress]
Log = Callable[[int, str], object]


class _Sender(ABC):
    """What both senders decide alike.

    Args:
        stream_key: The stream.
        progress: How far the work is at its start.
        labels: Tags and metadata, which go with each state.
        log: Takes a level and a line about what was sent, and what was not.
    """

    def __init__(
        self,
        stream_key: str,
        progress: Progress,
        *,
        labels: Mapping[str, Any] | None = None,
        log: Log = _log.log,
    ) -> None:
        self._key = stream_key
        self._progress = progress
        self._labels = labels or {}
        self._log = log
        self._history = UpdateHistory()

    @abstractmethod
    def update(self, change: Change) -> None:
        """Change how far the work is. It returns at once, from any thread and any signal handler.

        Args:
            change: Makes the new progress of the present one.
        """

    @property
    def was_never_shown(self) -> bool:
        """Whether it is certain that the stream does not run: each of its starts was refused."""
        return self._history.was_never_shown

    @property
    def paused_for(self) -> float:
        """Seconds that the service is left alone: after a start that failed, or because it asked to wait."""
        return max(0.0, self._history.resume_at - time.monotonic())

    def _next(self) -> tuple[Progress, StreamRequest, RetryPolicy] | None:
        """What to send now, and how patiently."""
        now = time.monotonic()
        progress = self._progress
        if not is_due(progress, self._history, now):
            return None
        retry = _UPDATE_RETRY if self._history.updates else _START_RETRY
        state = progress.state if self._history.shown is None else without_type(progress.state)
        self._history = self._history.tried(progress, now)
        return progress, StreamRequest(content_state=state, **self._labels), retry

    def _seconds_to_next_look(self) -> float | None:
        """How long to wait for a change before what is not shown yet is tried again; None where all is shown.

        It was refused or lost, or iOS's budget had no room for it.
        """
        shown = self._history.shown
        if self._history.since is None or (shown is not None and shown.state == self._progress.state):
            return None
        if shown is None and is_due(self._progress, self._history, time.monotonic()):
            return 0.0
        return self.paused_for or _SECONDS_BETWEEN_LOOKS

    def _delivered(self, progress: Progress, answer: StreamResponse) -> None:
        now, failure = time.monotonic(), InvalidResponseError("ActivitySmith answered without a success.")
        if answer.success:
            self._history = self._history.delivered(progress, answer, now)
        else:
            self._history = self._history.failed(failure, now)
        self._log(*line_of_update(self._key, progress.state, answer))

    def _refused(self, error: Exception) -> None:
        what = "started" if self._history.shown is None else "updated"
        self._history = self._history.failed(error, time.monotonic())
        self._log(*line_of_failed_update(self._key, what, error))


class UpdateSender(_Sender):
    """Sends from a thread of its own.

    Args:
        stream_key: The stream.
        progress: How far the work is at its start.
        client: The client, which it does not close.
        labels: Tags and metadata, which go with each state.
        log: Takes a level and a line about what was sent, and what was not.
    """

    def __init__(
        self,
        stream_key: str,
        progress: Progress,
        client: ActivitySmithClient,
        *,
        labels: Mapping[str, Any] | None = None,
        log: Log = _log.log,
    ) -> None:
        super().__init__(stream_key, progress, labels=labels, log=log)
        self._client = client
        # None ends the worker. A SimpleQueue takes an item within a signal handler that interrupted another put.
        self._changes = queue.SimpleQueue[Change | None]()
        self._worker = BackgroundThread(self._work, "activitysmith-updates")
        self._is_withdrawn = False

    def start(self) -> None:
        """Start the stream. It returns at once, and raises only what interrupts it, such as a Ctrl-C."""
        try:
            self._worker.start()
        except RuntimeError as error:  # the machine has no thread to give, or the interpreter is ending
            self._refused(error)
        except BaseException:
            self._is_withdrawn = True  # the thread may begin when nobody waits for it any more
            raise

    def stop(self, seconds: float | None = None) -> Progress:
        """Wait for the update on its way, 5 s at most; no other one goes out.

        Args:
            seconds: How long to wait, if not 5 s. A start may then still be on its way, see :attr:`is_starting`.

        Returns:
            How far the work is.
        """
        self._changes.put(None)
        if self._worker.is_alive():
            self._worker.join(seconds)  # no longer than the call's own budget
        if not self._worker.is_alive():
            self._apply()
        return self._progress

    @property
    def is_starting(self) -> bool:
        """Whether a start may be on its way. Once this sender is stopped, whoever ends the stream has to know."""
        return self._worker.is_alive() and self._history.shown is None

    def update(self, change: Change) -> None:
        """Change how far the work is. It returns at once, from any thread and any signal handler.

        Args:
            change: Makes the new progress of the present one.
        """
        self._changes.put(change)

    def _work(self) -> None:
        if self._is_withdrawn:
            return
        self._send()
        while self._wait():
            self._send()

    def _wait(self) -> bool:
        """Wait for a change, or for the time to try again; False once nothing more is to be sent."""
        try:
            return self._apply(self._changes.get(timeout=self._seconds_to_next_look()))
        except queue.Empty:
            return True

    def _apply(self, change: Change | None = None) -> bool:
        """Take a change and all that wait; False once there is to be no other update."""
        goes_on = change is not None
        with suppress(queue.Empty):
            while True:
                if change is not None:
                    self._progress = change(self._progress)
                change = self._changes.get_nowait()
                goes_on = goes_on and change is not None
        return goes_on

    def _send(self) -> None:
        due = self._next()
        if due is None:
            return
        progress, request, retry = due
        try:
            self._delivered(progress, self._client.with_retry(retry).send(self._key, request))
        except Exception as error:
            self._refused(error)


class AsyncUpdateSender(_Sender):
    """Sends from a task of its own, whenever the work awaits something.

    Args:
        stream_key: The stream.
        progress: How far the work is at its start.
        client: The client, which it does not close.
        labels: Tags and metadata, which go with each state.
        log: Takes a level and a line about what was sent, and what was not.
    """

    def __init__(
        self,
        stream_key: str,
        progress: Progress,
        client: AsyncActivitySmithClient,
        *,
        labels: Mapping[str, Any] | None = None,
        log: Log = _log.log,
    ) -> None:
        super().__init__(stream_key, progress, labels=labels, log=log)
        self._client = client
        self._changes = deque[Change]()
        self._changed = asyncio.Event()
        self._stopped = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._worker: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the stream. It returns at once, and raises only what interrupts it, such as a Ctrl-C."""
        self._loop = asyncio.get_running_loop()
        self._worker = self._loop.create_task(self._work())

    async def stop(self) -> Progress:
        """Wait for the update on its way, 5 s at most; no other one goes out.

        Returns:
            How far the work is.
        """
        self._stopped = True
        self._changed.set()
        if self._worker is not None:
            await asyncio.wait([self._worker])
        self._apply()
        return self._progress

    def update(self, change: Change) -> None:
        """Change how far the work is. It returns at once, from any thread and any signal handler.

        Args:
            change: Makes the new progress of the present one.
        """
        self._changes.append(change)
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody is left to send it
                self._loop.call_soon_threadsafe(self._changed.set)

    async def _work(self) -> None:
        await self._send()
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._seconds_to_next_look())
            self._changed.clear()  # before the look at what changed, so that no change is missed
            self._apply()
            if self._stopped:
                return
            await self._send()

    def _apply(self) -> None:
        while self._changes:
            self._progress = self._changes.popleft()(self._progress)

    async def _send(self) -> None:
        due = self._next()
        if due is None:
            return
        progress, request, retry = due
        try:
            self._delivered(progress, await self._client.with_retry(retry).send(self._key, request))
        except asyncio.CancelledError:  # the event loop ends: whoever ends the stream has to know
            self._history = self._history.given_up()
            raise
        except Exception as error:
            self._refused(error)
