"""Live progress from any Python: a stream that starts with a block of code, moves with it and ends with it."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self, Unpack

from activitysmith_integrations.core import ending, outcome, wire
from activitysmith_integrations.core.client import ActivitySmithClient, AsyncActivitySmithClient
from activitysmith_integrations.core.models import EndStreamRequest, EndStreamResponse
from activitysmith_integrations.core.outcome import EndOptions, Result, RunOutcome
from activitysmith_integrations.core.progress import Progress
from activitysmith_integrations.core.retry import CALLBACK_RETRY
from activitysmith_integrations.core.updates import AsyncUpdates, Updates

_log = logging.getLogger(__name__)


class _Activity:
    """What both colours decide alike."""

    _updates: Updates | AsyncUpdates

    def __init__(
        self, stream_key: str, steps: Sequence[str] | int | None, url: str | None, options: EndOptions
    ) -> None:
        self._key = wire.check_stream_key(stream_key)
        self._options = options
        self._outcome = RunOutcome(self._key, "succeeded", url=url)
        results: tuple[Result, ...] = ("succeeded", "failed")
        for result in results:
            EndStreamRequest(**outcome.end_request(replace(self._outcome, result=result), options))
        self._at_first = Progress.begin(outcome.shown_title(self._outcome, options), steps)

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
        self._updates.move(lambda progress: progress.advanced(step))

    def update(self, *, done: int | None = None, subtitle: str | None = None) -> None:
        """Say how far the work is. It returns at once, and may be called from any thread.

        Args:
            done: How many steps are complete; as many as before where left out.
            subtitle: The second line, until the next call; the step's name where left out.
        """
        self._updates.move(lambda progress: progress.updated(done, subtitle))

    def _entered(self) -> None:
        self._outcome = replace(self._outcome, started_at=datetime.now(UTC))
        self._updates.start()

    def _end_members(self, at: Progress, error: BaseException | None) -> dict[str, Any]:
        run = replace(self._outcome, result=_result(error), ended_at=datetime.now(UTC))
        if run.result == "succeeded":
            run = replace(run, steps_done=at.total, steps_total=at.total)
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
        self._updates: Updates = Updates(self._key, self._at_first, self._client)

    def __enter__(self) -> Self:
        self._entered()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        at = self._updates.stop()
        came_of_it: EndStreamResponse | Exception
        try:
            client = self._client.with_retry(CALLBACK_RETRY)
            came_of_it = client.end_stream(self._key, **self._end_members(at, error))
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
        self._updates: AsyncUpdates = AsyncUpdates(self._key, self._at_first, self._client)

    async def __aenter__(self) -> Self:
        self._entered()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ending = asyncio.create_task(self._end(error))
        await asyncio.shield(self._ending)

    async def _end(self, error: BaseException | None) -> None:
        at = await self._updates.stop()
        came_of_it: EndStreamResponse | Exception
        try:
            client = self._client.with_retry(CALLBACK_RETRY)
            came_of_it = await client.end_stream(self._key, **self._end_members(at, error))
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
