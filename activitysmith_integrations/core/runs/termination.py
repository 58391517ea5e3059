"""SIGTERM and SIGHUP within a block that shows itself: it is left, so that its stream can end, and the process exits.

Python ends at once on both, without leaving any block. Only where that is so, and in the main thread, is a signal taken
over: by the first such block, until the last one is left.
"""

import asyncio
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, ClassVar

from activitysmith_integrations.core import forks

# docker stop, systemd and Kubernetes send the first, a terminal that is closed the second, which Windows does not know.
_SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name))


class TerminatedError(SystemExit):
    """The process was asked to end.

    Args:
        number: The signal that asked for it.
    """

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)
        self._number = number

    def __reduce__(self) -> tuple[type["TerminatedError"], tuple[int]]:
        return type(self), (self._number,)


def _is_main_thread() -> bool:
    """Whether this thread may handle signals."""
    return threading.current_thread() is threading.main_thread()


def _free_signals() -> list[int]:
    """Those that nobody handles."""
    return [number for number in _SIGNALS if signal.getsignal(number) is signal.SIG_DFL]


def _put_back() -> None:
    """Let Python end on what was taken over. Only the main thread can; else the handler does it when called."""
    if not _is_main_thread():
        return
    for number in _SIGNALS:
        if signal.getsignal(number) is _handle:
            signal.signal(number, signal.SIG_DFL)


class _Termination:
    """What one block knows of such signals.

    Attributes:
        requested: The signal by which the process was asked to end since the block was entered, None before.
        is_leaving: Whether the block is left at its own end, which a signal does not interrupt.
    """

    def __init__(self) -> None:
        self.requested: int | None = None
        self.is_leaving = False

    def cause(self, error: BaseException | None) -> BaseException | None:
        """What the block is left with: a termination, even if its body made something else of it."""
        return error if self.requested is None else TerminatedError(self.requested)

    def _raise_if_requested(self, error: BaseException | None) -> None:
        if self.requested is not None and not isinstance(error, TerminatedError):
            raise TerminatedError(self.requested) from error


class Termination(_Termination):
    """Makes :class:`TerminatedError` of a signal, from :meth:`start` until :meth:`leaving` is over."""

    _open: ClassVar[list["Termination"]] = []

    def start(self) -> None:
        """Take over the signals that nobody else handles."""
        if not _is_main_thread():
            return
        # Before the signals are taken over: a handler that finds no block would swallow them.
        self._open.append(self)
        for number in _free_signals():
            signal.signal(number, _handle)

    @contextmanager
    def leaving(self, error: BaseException | None) -> Iterator[None]:
        """Let this block run to its end, then put back what was there.

        Args:
            error: What the block that shows itself is left with.

        Raises:
            TerminatedError: A signal came meanwhile, or before, and the block's body went on.
        """
        # In a coroutine: the signal has left the event loop, which now cancels what is still open there.
        is_raised = self.requested is not None and isinstance(error, asyncio.CancelledError)
        self.is_leaving = True
        try:
            yield
        finally:
            with suppress(ValueError):
                self._open.remove(self)
            if not self._open:
                _put_back()
        if not is_raised:
            self._raise_if_requested(error)

    @classmethod
    def request_all(cls, number: int) -> None:
        """Have all blocks left, the innermost first.

        Args:
            number: The signal.

        Raises:
            TerminatedError: The innermost is not being left already.
        """
        if not cls._open:  # the last was left in another thread, or a handler that was set within it calls ours
            _put_back()
            signal.signal(number, signal.SIG_DFL)  # what was there before; a handler that calls ours would call itself
            signal.raise_signal(number)
        for block in cls._open:
            block.requested = number
        if cls._open and not cls._open[-1].is_leaving:
            raise TerminatedError(number)

    @classmethod
    def forget(cls) -> None:
        """In a forked child, whose way to end is not its parent's."""
        cls._open.clear()
        _put_back()


def _handle(number: int, frame: FrameType | None) -> None:
    Termination.request_all(number)


forks.in_child(Termination.forget)


class AsyncTermination(_Termination):
    """Makes a cancellation of the task that starts it of a signal, from :meth:`start` until :meth:`stop`."""

    # The blocks of each event loop, and the signals that it handles for them.
    _open: ClassVar[dict[asyncio.AbstractEventLoop, tuple[list["AsyncTermination"], list[int]]]] = {}
    _task: asyncio.Task[Any] | None = None
    _endings: ClassVar[set[asyncio.Task[None]]] = set()

    def start(self) -> None:
        """Take over the signals that nobody else handles."""
        self._task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        if loop in self._open:
            self._open[loop][0].append(self)
            return
        free = _free_signals() if _is_main_thread() else []
        if free:
            self._open[loop] = ([self], free)
        # Event loops of Windows handle no signals.
        with suppress(NotImplementedError):
            for number in free:
                loop.add_signal_handler(number, self._request_all, loop, number)

    @classmethod
    def _request_all(cls, loop: asyncio.AbstractEventLoop, number: int) -> None:
        blocks, _ = cls._open.get(loop, ((), ()))
        for block in blocks:
            block.requested = number
            if block._task is not None and not block.is_leaving:
                block._task.cancel()

    def leave(self, ending: asyncio.Task[None]) -> None:
        """Let what follows run to its end: from now on a signal cancels nothing, and counts with :meth:`stop`.

        Args:
            ending: What ends the block's stream.
        """
        self.is_leaving = True
        self._endings.add(ending)
        ending.add_done_callback(self._endings.discard)

    async def stop(self, error: BaseException | None) -> None:
        """Put back what was there, once the last block is left and all streams are ended.

        Args:
            error: What the block that shows itself is left with.

        Raises:
            TerminatedError: A signal came meanwhile, or before. Only of the last block, since it stops the event loop.
        """
        loop = asyncio.get_running_loop()
        blocks, taken = self._open.get(loop, ([], []))
        with suppress(ValueError):
            blocks.remove(self)
        if blocks:
            return
        self._open.pop(loop, None)
        with suppress(NotImplementedError):
            for number in taken:
                loop.remove_signal_handler(number)
        endings = [one for one in self._endings if one.get_loop() is loop]
        if self.requested is not None and endings:
            await asyncio.wait(endings)
        self._raise_if_requested(error)

    @classmethod
    def forget(cls) -> None:
        """In a forked child, whose way to end is not its parent's."""
        if not cls._open:
            return
        # What a signal writes there would reach the parent's event loop (Python 3.11).
        signal.set_wakeup_fd(-1)
        for _, taken in cls._open.values():
            for number in taken:
                signal.signal(number, signal.SIG_DFL)
        cls._open.clear()
        cls._endings.clear()


forks.in_child(AsyncTermination.forget)
