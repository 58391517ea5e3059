"""Live progress from any Python: a stream that starts with a block of code, moves with it and ends with it."""

import asyncio
import atexit
import logging
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self, SupportsIndex, Unpack

from activitysmith_integrations.core.client import ActivitySmithClient, AsyncActivitySmithClient
from activitysmith_integrations.core.retry import DEFAULT_PATIENCE
from activitysmith_integrations.core.runs.block import Block
from activitysmith_integrations.core.runs.ending import async_end_stream, end_stream
from activitysmith_integrations.core.runs.log_lines import line_of_end, line_of_interrupted_end, line_of_unshown_end
from activitysmith_integrations.core.runs.outcome import EndOptions
from activitysmith_integrations.core.runs.sender import AsyncUpdateSender, UpdateSender
from activitysmith_integrations.core.runs.termination import AsyncTermination, TerminatedError, Termination

_log = logging.getLogger(__name__)


class LiveActivity(Block[ActivitySmithClient, UpdateSender]):
    """Shows a block of code as a Live Activity while it runs, and ends it with its result.

    Entering starts the stream, :meth:`advance` and :meth:`update` move it, leaving ends it: an exception is a
    failure, Ctrl-C, SIGTERM and SIGHUP are a cancellation, and all of them pass on. Whatever the network does raises
    nothing here, and a missing API key neither: it is logged, and the work goes on. Updates go out from a thread of its
    own, so the work does not wait for them; leaving waits for the one on its way and for the end. iOS allows few
    updates: whole segments come first, other changes are shown while there is room. Use each instance once. A block
    that nobody has left when the process exits, such as one in a generator, is cancelled then, or has failed with the
    error that the program ends with.

    SIGTERM, which ``docker stop``, systemd and Kubernetes send, and SIGHUP, which a closed terminal sends, are taken
    over where Python would just end (nobody else handles them) and the block is in the main thread; the process then
    exits with code 143 or 129.

    A time limit around the block, such as Prefect's ``timeout_seconds`` of the flow that it is in, cancels it, and is
    shown as a cancellation. Work that Prefect suspends or Airflow defers goes on later: its stream is not ended.

    Args:
        stream_key: The stream: 1 to 255 letters, digits, ``_`` and ``-``.
        steps: The names of the steps, or their number; left out where neither is known.
        url: The run's page, which a failure gets a button for.
        client: Your own client, which stays yours to close; one with the environment's key by default.
        patience: Seconds that leaving may take, 2 or more. With less than 7 it may still take 7: an update that is on
            its way has 5, and the end has 2 after it.
        options: How it looks, and its end; see :class:`EndOptions`. ``title`` is the stream's key by default.

    Raises:
        InvalidRequestError: The key, the steps, the URL or an option cannot be used, or the instance is used again.
        ConfigurationError: The client or the patience cannot be used.

    Examples:
        >>> with LiveActivity("nightly-etl", title="Nightly ETL", steps=2) as activity:  # doctest: +SKIP
        ...     activity.advance()
    """

    def __init__(
        self,
        stream_key: str,
        *,
        steps: Sequence[str] | SupportsIndex | None = None,
        url: str | None = None,
        client: ActivitySmithClient | None = None,
        patience: float = DEFAULT_PATIENCE,
        **options: Unpack[EndOptions],
    ) -> None:
        super().__init__(stream_key, steps, url, client, patience, options, ActivitySmithClient, UpdateSender)
        self._termination = Termination()

    def advance(self, step: str | None = None) -> None:
        """Show that the work goes on. It returns at once, and may be called from any thread and signal handler.

        Args:
            step: The name of the step that begins now; the steps before it are done. Without a name, the step
                being worked on is done. A name that is not among named steps is shown and moves no bar.
        """
        self._record_step(step)

    def update(self, done: SupportsIndex | None = None, *, subtitle: str | None = None) -> None:
        """Show how far the work is. It returns at once, and may be called from any thread and signal handler.

        Args:
            done: How many steps are complete; as many as before where left out.
            subtitle: The second line, until the next call; the step's name where left out.
        """
        self._record_progress(done, subtitle)

    def __enter__(self) -> Self:
        self._use()
        try:
            sender = self._prepare()
            if sender is not None:
                self._termination.start()
                sender.start()
                # Python closes a generator that is left over only once its threads have stopped.
                atexit.register(self._leave_at_exit)
            return self
        except BaseException as interruption:  # nobody leaves a block that was not entered
            self._leave(interruption)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave(error)

    def _leave(self, error: BaseException | None) -> None:
        atexit.unregister(self._leave_at_exit)
        client, self._client = self._client, None  # it is left once, by its user or at the exit
        if client is None or self._belongs_to_another_process():
            return
        if self._sender is None:
            self._close(client)
            return
        with self._termination.leaving(error):
            self._finish(self._sender, client, self._termination.cause(error))

    def _leave_at_exit(self) -> None:
        """Leave the block with the error that the program ends with, if it does."""
        with suppress(TerminatedError):  # a SIGTERM, which the process exits with already
            self._leave(getattr(sys, "last_value", None) or GeneratorExit())

    def _finish(self, sender: UpdateSender, client: ActivitySmithClient, error: BaseException | None) -> None:
        try:
            left_at = time.monotonic()
            progress = sender.stop()
            if self._is_left_running(error):
                return
            end = self._end_of(progress, error).after(was_never_shown=sender.was_never_shown)
            if end:
                result = end_stream(client, self._key, end, deadline=self._deadline(left_at))
                self._remember(end, result)
                _log.log(*line_of_end(self._key, end, result))
            else:
                _log.log(*line_of_unshown_end(self._key))
        except BaseException as interruption:  # a Ctrl-C, say: somebody has to hear that the stream may go on
            _log.log(*line_of_interrupted_end(self._key, interruption))
            raise
        finally:
            self._close(client)

    def _close(self, client: ActivitySmithClient) -> None:
        if self._is_own_client:
            client.close()


class _Done:
    """What is done already: awaiting it returns at once."""

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield


class AsyncLiveActivity(Block[AsyncActivitySmithClient, AsyncUpdateSender]):
    """:class:`LiveActivity` for ``async with``.

    Updates go out from a task of its own, whenever the block awaits something. A block that is cancelled ends its
    stream as cancelled; cancelled once more while it waits for that, it leaves at once, and the end goes out all the
    same: ``asyncio.run`` waits for it.

    SIGTERM and SIGHUP cancel the task that entered the block, where Python would just end and the event loop is in the
    main thread; the process then exits with code 143 or 129. A body that does not await anything notices neither until
    it does.

    A time limit around the block, such as ``asyncio.timeout``, cancels it, and is shown as a cancellation. One within
    the block raises TimeoutError there, and is shown as a failure.

    Args:
        stream_key: The stream: 1 to 255 letters, digits, ``_`` and ``-``.
        steps: The names of the steps, or their number; left out where neither is known.
        url: The run's page, which a failure gets a button for.
        client: Your own client for asyncio, which stays yours to close; one with the environment's key by default.
        patience: Seconds that leaving may take, 2 or more. With less than 7 it may still take 7: an update that is on
            its way has 5, and the end has 2 after it.
        options: How it looks, and its end; see :class:`EndOptions`. ``title`` is the stream's key by default.

    Raises:
        InvalidRequestError: The key, the steps, the URL or an option cannot be used, or the instance is used again.
        ConfigurationError: The client or the patience cannot be used.
    """

    def __init__(
        self,
        stream_key: str,
        *,
        steps: Sequence[str] | SupportsIndex | None = None,
        url: str | None = None,
        client: AsyncActivitySmithClient | None = None,
        patience: float = DEFAULT_PATIENCE,
        **options: Unpack[EndOptions],
    ) -> None:
        super().__init__(stream_key, steps, url, client, patience, options, AsyncActivitySmithClient, AsyncUpdateSender)
        self._termination = AsyncTermination()

    def advance(self, step: str | None = None) -> _Done:
        """Show that the work goes on; see :meth:`LiveActivity.advance`. It may be awaited, and need not be."""
        self._record_step(step)
        return _Done()

    def update(self, done: SupportsIndex | None = None, *, subtitle: str | None = None) -> _Done:
        """Show how far the work is; see :meth:`LiveActivity.update`. It may be awaited, and need not be."""
        self._record_progress(done, subtitle)
        return _Done()

    async def __aenter__(self) -> Self:
        self._use()
        try:
            sender = self._prepare()
            if sender is not None:
                self._termination.start()
                sender.start()
            return self
        except BaseException as interruption:  # nobody leaves a block that was not entered
            await self._leave(interruption)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._leave(error)

    async def _leave(self, error: BaseException | None) -> None:
        if self._client is None or self._belongs_to_another_process():
            return
        if self._sender is None:
            await self._close(self._client)
            return
        ending = asyncio.create_task(self._finish(self._sender, self._client, self._termination.cause(error)))
        self._termination.leave(ending)
        try:
            await asyncio.shield(ending)
        finally:
            await self._termination.stop(error)

    async def _finish(
        self, sender: AsyncUpdateSender, client: AsyncActivitySmithClient, error: BaseException | None
    ) -> None:
        left_at = time.monotonic()
        try:
            try:
                await self._end(sender, client, error, left_at)
            except asyncio.CancelledError:  # the event loop ends: it cancels every task once, and waits for it
                await self._end(sender, client, error, left_at)
        except BaseException as interruption:  # cancelled again: somebody has to hear that the stream may go on
            _log.log(*line_of_interrupted_end(self._key, interruption))
            raise
        finally:
            await self._close(client)

    async def _end(
        self, sender: AsyncUpdateSender, client: AsyncActivitySmithClient, error: BaseException | None, left_at: float
    ) -> None:
        progress = await sender.stop()
        if self._is_left_running(error):
            return
        end = self._end_of(progress, error).after(was_never_shown=sender.was_never_shown)
        if end:
            result = await async_end_stream(client, self._key, end, deadline=self._deadline(left_at))
            self._remember(end, result)
            _log.log(*line_of_end(self._key, end, result))
        else:
            _log.log(*line_of_unshown_end(self._key))

    async def _close(self, client: AsyncActivitySmithClient) -> None:
        if self._is_own_client:
            await client.aclose()
