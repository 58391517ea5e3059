"""Live progress from any Python: a stream that starts with a block of code, moves with it and ends with it.

A PUT that arrives after the DELETE would start a new activity that nobody ends. So one worker sends all updates,
one at a time, and the end goes out only once the worker is done, which the short budget of an update bounds.
What waits is no queue: the worker looks at how far the work is by then, so the newest replaces the rest.
"""

import asyncio
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, Unpack

from activitysmith_integrations.core import ending, outcome, progress, wire
from activitysmith_integrations.core.client import ActivitySmithClient, AsyncActivitySmithClient
from activitysmith_integrations.core.models import EndStreamRequest, EndStreamResponse, StreamResponse
from activitysmith_integrations.core.outcome import EndOptions, Result, RunOutcome
from activitysmith_integrations.core.retry import CALLBACK_RETRY, RetryPolicy

_log = logging.getLogger(__name__)

UPDATE_SECONDS = 5.0
_START_RETRY = RetryPolicy(max_retries=2, initial_delay=0.3, max_delay=1.0, max_elapsed=UPDATE_SECONDS)
# One attempt: the next update is the better repetition.
_UPDATE_RETRY = RetryPolicy(max_retries=0, max_elapsed=UPDATE_SECONDS)


class _Activity(ABC):
    """What both colours decide alike."""

    def __init__(
        self, stream_key: str, steps: Sequence[str] | int | None, url: str | None, options: EndOptions
    ) -> None:
        self._key = wire.check_stream_key(stream_key)
        self._options = options
        self._outcome = RunOutcome(self._key, "succeeded", url=url)
        results: tuple[Result, ...] = ("succeeded", "failed")
        for result in results:
            EndStreamRequest(**outcome.end_request(replace(self._outcome, result=result), options))
        self._progress = progress.begin(outcome.shown_title(self._outcome, options), steps)
        self._spent = progress.Spent()
        self._changing = threading.Lock()
        self._ended = False

    @property
    def stream_key(self) -> str:
        """The stream."""
        return self._key

    def advance(self, step: str | None = None) -> None:
        """Say that the work goes on. It returns at once, and may be called from any thread.

        Args:
            step: The name of the step that begins now; the steps before it are done. Without a name, the step
                being worked on is done. A name that is not among named steps is shown and moves no bar.
        """
        with self._changing:
            self._progress = self._progress.advanced(step)
        self._wake()

    def update(self, *, done: int | None = None, subtitle: str | None = None) -> None:
        """Say how far the work is. It returns at once, and may be called from any thread.

        Args:
            done: How many steps are complete; as many as before where left out.
            subtitle: The second line, until the next call; the step's name where left out.
        """
        with self._changing:
            self._progress = self._progress.updated(done, subtitle)
        self._wake()

    @abstractmethod
    def _wake(self) -> None:
        """Have the worker look at how far the work is."""

    def _entered(self) -> None:
        self._outcome = replace(self._outcome, started_at=datetime.now(UTC))

    def _next(self) -> tuple[dict[str, Any], RetryPolicy] | None:
        """The state to send now, and how patiently."""
        now = time.monotonic()
        state = progress.due(self._progress, self._spent, now)
        if state is None:
            return None
        patience = _UPDATE_RETRY if self._spent.updates else _START_RETRY
        self._spent = self._spent.tried(now)
        return state, patience

    def _delivered(self, state: dict[str, Any], answer: StreamResponse) -> None:
        self._spent = self._spent.delivered(state, answer, time.monotonic())

    def _refused(self, error: Exception) -> None:
        first = self._spent.updates == 1
        self._spent = self._spent.refused(getattr(error, "retry_after", None), time.monotonic())
        level, what = (logging.WARNING, "started") if first else (logging.DEBUG, "updated")
        _log.log(level, "Live Activity stream %r was not %s, which stops no work: %s", self._key, what, error)

    def _end_members(self, error: BaseException | None) -> dict[str, Any]:
        at = self._progress
        run = replace(self._outcome, result=_result(error), ended_at=datetime.now(UTC))
        if run.result == "succeeded":
            run = replace(run, steps_done=at.segments[1], steps_total=at.segments[1])
        else:
            run = replace(
                run,
                steps_done=None if at.total is None else at.done,
                steps_total=at.total,
                failed_step=at.step,
                error_type=type(error).__name__,
                error_text=_text(error),
            )
        members, _ = ending.plan(run, self._options)
        return members

    def _report(self, came_of_it: EndStreamResponse | Exception) -> None:
        _log.log(*ending.report(self._key, came_of_it))


class LiveActivity(_Activity):
    """Shows a block of code as a Live Activity while it runs, and ends it with how it went.

    Entering starts the stream, :meth:`advance` and :meth:`update` move it, leaving ends it: an exception is a
    failure, Ctrl-C a cancellation, and both pass on. Whatever the network does raises nothing here: it is
    logged. Updates go out from a thread of its own, so the work does not wait for them; leaving waits
    for the one on its way (5 s at most) and for the end (9 s at most). iOS allows few updates: whole segments
    come first, other changes are shown while there is room. Use each instance once.

    Args:
        stream_key: The stream: 1 to 255 letters, digits, ``_`` and ``-``.
        steps: The names of the steps, or their number; left out where neither is known.
        url: The run's page, which a failure gets a button for.
        client: Your own client, which stays yours to close; one with the environment's key by default.
        options: How it looks, and its end; see :class:`EndOptions`. ``title`` is the stream's key by default.

    Raises:
        InvalidRequestError: The key, the steps or an option cannot be used, or there is no API key.

    Examples:
        >>> with LiveActivity("nightly-etl", title="Nightly ETL", steps=2) as activity:  # doctest: +SKIP
        ...     activity.advance()
    """

    def __init__(
        self,
        stream_key: str,
        *,
        steps: Sequence[str] | int | None = None,
        url: str | None = None,
        client: ActivitySmithClient | None = None,
        **options: Unpack[EndOptions],
    ) -> None:
        super().__init__(stream_key, steps, url, options)
        self._is_own = client is None
        self._client = ActivitySmithClient() if client is None else client
        self._moved = threading.Event()
        self._worker = threading.Thread(target=self._work, name="activitysmith-live", daemon=True)

    def _wake(self) -> None:
        self._moved.set()

    def _work(self) -> None:
        self._send()
        while True:
            self._moved.wait()
            self._moved.clear()  # before the look at what moved, so that no move is missed
            if self._ended:
                return
            self._send()

    def _send(self) -> None:
        due = self._next()
        if due is None:
            return
        state, patience = due
        try:
            self._delivered(state, self._client.with_retry(patience).stream(self._key, content_state=state))
        except Exception as error:
            self._refused(error)

    def __enter__(self) -> Self:
        self._entered()
        try:
            self._worker.start()
        except RuntimeError as error:  # the machine has no thread to give
            _log.warning("Live Activity stream %r shows no progress: %s", self._key, error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended = True
        self._moved.set()
        if self._worker.is_alive():
            self._worker.join()  # no longer than the call's own budget
        came_of_it: EndStreamResponse | Exception
        try:
            client = self._client.with_retry(CALLBACK_RETRY)
            came_of_it = client.end_stream(self._key, **self._end_members(error))
        except Exception as failure:
            came_of_it = failure
        self._report(came_of_it)
        if self._is_own:
            self._client.close()


class AsyncLiveActivity(_Activity):
    """As :class:`LiveActivity`, for ``async with``: same arguments, same meanings, ``advance`` and ``update`` too.

    Updates go out from a task of its own, whenever the block awaits something. A block that is cancelled ends its
    stream as cancelled; cancelled once more while it waits for that, it leaves at once, and the end goes out for
    as long as the event loop runs.

    Args:
        stream_key: As there.
        steps: As there.
        url: As there.
        client: Your own client for asyncio, which stays yours to close; one with the environment's key by default.
        options: As there.

    Raises:
        InvalidRequestError: The key, the steps or an option cannot be used, or there is no API key.
    """

    def __init__(
        self,
        stream_key: str,
        *,
        steps: Sequence[str] | int | None = None,
        url: str | None = None,
        client: AsyncActivitySmithClient | None = None,
        **options: Unpack[EndOptions],
    ) -> None:
        super().__init__(stream_key, steps, url, options)
        self._is_own = client is None
        self._client = AsyncActivitySmithClient() if client is None else client
        self._moved = asyncio.Event()
        self._loop: asyncio.AbstractEventLoop | None = None

    def _wake(self) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody is left to tell
                self._loop.call_soon_threadsafe(self._moved.set)

    async def _work(self) -> None:
        await self._send()
        while True:
            await self._moved.wait()
            self._moved.clear()
            if self._ended:
                return
            await self._send()

    async def _send(self) -> None:
        due = self._next()
        if due is None:
            return
        state, patience = due
        try:
            self._delivered(state, await self._client.with_retry(patience).stream(self._key, content_state=state))
        except Exception as error:
            self._refused(error)

    async def __aenter__(self) -> Self:
        self._entered()
        self._loop = asyncio.get_running_loop()
        self._worker = asyncio.create_task(self._work())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended = True
        self._moved.set()
        self._ending = asyncio.create_task(self._end(error))
        await asyncio.shield(self._ending)

    async def _end(self, error: BaseException | None) -> None:
        await asyncio.wait([self._worker])
        came_of_it: EndStreamResponse | Exception
        try:
            client = self._client.with_retry(CALLBACK_RETRY)
            came_of_it = await client.end_stream(self._key, **self._end_members(error))
        except Exception as failure:
            came_of_it = failure
        self._report(came_of_it)
        if self._is_own:
            await self._client.aclose()


def _result(error: BaseException | None) -> Result:
    if error is None or (isinstance(error, SystemExit) and not error.code):
        return "succeeded"
    return "failed" if isinstance(error, (Exception, SystemExit)) else "cancelled"


def _text(error: BaseException | None) -> str | None:
    try:
        return str(error)
    except Exception:  # an error that cannot say what it is
        return None
