"""Sends how far the work is: in order, one request at a time, out of the work's way.

A PUT that arrives after the DELETE could start a new activity that nobody ends. So one worker sends all updates
of a stream, whoever ends the stream stops the worker first, which the short budget of an update bounds, and what
a slow service works on later still is an update that can start nothing.
What waits is no queue: the worker looks at how far the work is by then, so the newest replaces the rest.
"""

import asyncio
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress

from activitysmith_integrations.core.client import (
    ActivitySmithClient,
    AsyncActivitySmithClient,
    MetadataInput,
    StreamMembers,
)
from activitysmith_integrations.core.models import StreamResponse
from activitysmith_integrations.core.progress import Progress, Spent, as_update, is_due
from activitysmith_integrations.core.retry import RetryPolicy

_log = logging.getLogger(__name__)

UPDATE_SECONDS = 5.0
_START_RETRY = RetryPolicy(max_retries=2, initial_delay=0.3, max_delay=1.0, max_elapsed=UPDATE_SECONDS)
# One attempt: the next update is the better repetition.
_UPDATE_RETRY = RetryPolicy(max_retries=0, max_elapsed=UPDATE_SECONDS)


class _Updates(ABC):
    """What both colours decide alike.

    Args:
        stream_key: The stream.
        progress: How far the work is at its start.
        log: Takes a level and a line about what was not sent.
        tags: Tags beside the state.
        metadata: Metadata beside the state.
    """

    def __init__(
        self,
        stream_key: str,
        progress: Progress,
        log: Callable[[int, str], object] = _log.log,
        *,
        tags: Sequence[str] | None = None,
        metadata: MetadataInput | None = None,
    ) -> None:
        self._key = stream_key
        self._progress = progress
        self._tags = tags
        self._metadata = metadata
        self._log = log
        self._spent = Spent()
        self._changing = threading.Lock()
        self._stopped = False

    def move(self, change: Callable[[Progress], Progress]) -> None:
        """Say how far the work is. It returns at once, and may be called from any thread.

        Args:
            change: Makes the new progress of the present one.
        """
        with self._changing:
            self._progress = change(self._progress)
        self._wake()

    @abstractmethod
    def _wake(self) -> None:
        """Have the worker look at how far the work is."""

    def _next(self) -> tuple[Progress, RetryPolicy] | None:
        """What to send now, and how patiently."""
        now = time.monotonic()
        progress = self._progress
        if not is_due(progress, self._spent, now):
            return None
        patience = _UPDATE_RETRY if self._spent.updates else _START_RETRY
        self._spent = self._spent.tried(now)
        return progress, patience

    def _members_for(self, progress: Progress) -> StreamMembers:
        state = progress.state if self._spent.shown is None else as_update(progress.state)
        return {"content_state": state, "tags": self._tags, "metadata": self._metadata}

    def _delivered(self, progress: Progress, answer: StreamResponse) -> None:
        self._spent = self._spent.delivered(progress, answer, time.monotonic())

    def _refused(self, error: Exception) -> None:
        first = self._spent.updates <= 1
        self._spent = self._spent.refused(error, time.monotonic())
        level, what = (logging.WARNING, "started") if first else (logging.DEBUG, "updated")
        self._log(level, f"Live Activity stream {self._key!r} was not {what}, which stops no work: {error}")


class Updates(_Updates):
    """Sends from a thread of its own.

    Args:
        stream_key: The stream.
        progress: How far the work is at its start.
        client: The client, which it does not close.
        log: Takes a level and a line about what was not sent.
        tags: Tags beside the state.
        metadata: Metadata beside the state.
    """

    def __init__(
        self,
        stream_key: str,
        progress: Progress,
        client: ActivitySmithClient,
        log: Callable[[int, str], object] = _log.log,
        *,
        tags: Sequence[str] | None = None,
        metadata: MetadataInput | None = None,
    ) -> None:
        super().__init__(stream_key, progress, log, tags=tags, metadata=metadata)
        self._client = client
        self._moved = threading.Event()
        self._worker = threading.Thread(target=self._work, name="activitysmith-updates", daemon=True)

    def start(self) -> None:
        """Start the stream. It returns at once and never raises."""
        try:
            self._worker.start()
        except RuntimeError as error:  # the machine has no thread to give
            self._refused(error)

    def stop(self) -> Progress:
        """Wait for the update on its way, 5 s at most; no other one goes out.

        Returns:
            How far the work is.
        """
        self._stopped = True
        self._moved.set()
        if self._worker.is_alive():
            self._worker.join()  # no longer than the call's own budget
        return self._progress

    def _wake(self) -> None:
        self._moved.set()

    def _work(self) -> None:
        self._send()
        while True:
            self._moved.wait()
            self._moved.clear()  # before the look at what moved, so that no move is missed
            if self._stopped:
                return
            self._send()

    def _send(self) -> None:
        due = self._next()
        if due is None:
            return
        progress, patience = due
        try:
            members = self._members_for(progress)
            self._delivered(progress, self._client.with_retry(patience).stream(self._key, **members))
        except Exception as error:
            self._refused(error)


class AsyncUpdates(_Updates):
    """As :class:`Updates`, from a task of its own, whenever the work awaits something.

    Args:
        stream_key: The stream.
        progress: How far the work is at its start.
        client: The client, which it does not close.
        tags: Tags beside the state.
        metadata: Metadata beside the state.
    """

    def __init__(
        self,
        stream_key: str,
        progress: Progress,
        client: AsyncActivitySmithClient,
        *,
        tags: Sequence[str] | None = None,
        metadata: MetadataInput | None = None,
    ) -> None:
        super().__init__(stream_key, progress, tags=tags, metadata=metadata)
        self._client = client
        self._moved = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self) -> None:
        """As there."""
        self._loop = asyncio.get_running_loop()
        self._worker = self._loop.create_task(self._work())

    async def stop(self) -> Progress:
        """As there."""
        self._stopped = True
        self._moved.set()
        await asyncio.wait([self._worker])
        return self._progress

    def _wake(self) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                self._loop.call_soon_threadsafe(self._moved.set)

    async def _work(self) -> None:
        await self._send()
        while True:
            await self._moved.wait()
            self._moved.clear()
            if self._stopped:
                return
            await self._send()

    async def _send(self) -> None:
        due = self._next()
        if due is None:
            return
        progress, patience = due
        try:
            members = self._members_for(progress)
            self._delivered(progress, await self._client.with_retry(patience).stream(self._key, **members))
        except Exception as error:
            self._refused(error)
