"""SIGTERM within a block that shows itself: the block is left, so that its stream can end, and the process exits.

Python ends at once on SIGTERM, without leaving any block. Only where that is so, and in the main thread, is the signal
taken over: by the first such block, until the last one is left.
"""

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import ClassVar

_EXIT_CODE = 128 + signal.SIGTERM


class TerminatedError(SystemExit):
    """The process was asked to end."""

    def __init__(self) -> None:
        super().__init__(_EXIT_CODE)


def _is_free() -> bool:
    """Whether nobody handles SIGTERM, and this thread may."""
    is_main = threading.current_thread() is threading.main_thread()
    return is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


class _Termination:
    """What one block knows of SIGTERM.

    Attributes:
        is_requested: Whether the process was asked to end since the block was entered.
    """

    def __init__(self) -> None:
        self.is_requested = False
        self.is_leaving = False

    def request(self) -> bool:
        """Take note that the process is to end; whether the block is to be left now, rather than at its own end."""
        self.is_requested = True
        return not self.is_leaving

    def cause(self, error: BaseException | None) -> BaseException | None:
        """What the block is left with: a termination, even if its body made something else of it."""
        return TerminatedError() if self.is_requested else error

    def _raise_if_requested(self, error: BaseException | None) -> None:
        if self.is_requested and not isinstance(error, TerminatedError):
            raise TerminatedError from error


class Termination(_Termination):
    """Makes :class:`TerminatedError` of SIGTERM, from now until :meth:`leaving` is over."""

    _open: ClassVar[list["Termination"]] = []

    def __init__(self) -> None:
        super().__init__()
        if not self._open and _is_free():
            signal.signal(signal.SIGTERM, _handle)
        if signal.getsignal(signal.SIGTERM) is _handle and threading.current_thread() is threading.main_thread():
            self._open.append(self)

    @contextmanager
    def leaving(self, error: BaseException | None) -> Iterator[None]:
        """Let this block run to its end, then put back what was there.

        Args:
            error: What the block that shows itself is left with.

        Raises:
            TerminatedError: SIGTERM came meanwhile, or before, and the block's body went on.
        """
        self.is_leaving = True
        try:
            yield
        finally:
            with suppress(ValueError):
                self._open.remove(self)
            if not self._open and signal.getsignal(signal.SIGTERM) is _handle:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._raise_if_requested(error)

    @classmethod
    def request_all(cls) -> None:
        """Have all blocks left, the innermost first.

        Raises:
            TerminatedError: The innermost is not being left already.
        """
        # Not any(): each has to know.
        if [one.request() for one in cls._open][-1:] == [True]:
            raise TerminatedError

    @classmethod
    def forget(cls) -> None:
        """In a forked child, whose way to end is not its parent's."""
        cls._open.clear()
        if signal.getsignal(signal.SIGTERM) is _handle:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _handle(number: int, frame: FrameType | None) -> None:
    Termination.request_all()


os.register_at_fork(after_in_child=Termination.forget)


class AsyncTermination(_Termination):
    """Makes a cancellation of the current task of SIGTERM, from now until :meth:`stop`."""

    _open: ClassVar[dict[asyncio.AbstractEventLoop, list["AsyncTermination"]]] = {}

    def __init__(self) -> None:
        super().__init__()
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        if self._loop not in self._open and _is_free():
            # Event loops of Windows handle no signals.
            with suppress(NotImplementedError):
                self._loop.add_signal_handler(signal.SIGTERM, self._request_all, self._loop)
                self._open[self._loop] = []
        self._open.get(self._loop, []).append(self)

    @classmethod
    def _request_all(cls, loop: asyncio.AbstractEventLoop) -> None:
        for one in cls._open.get(loop, ()):
            if one.request() and one._task is not None:
                one._task.cancel()

    def leave(self) -> None:
        """Let what follows run to its end: from now on SIGTERM cancels nothing, and counts with :meth:`stop`."""
        self.is_leaving = True

    def stop(self, error: BaseException | None) -> None:
        """Put back what was there.

        Args:
            error: What the block that shows itself is left with.

        Raises:
            TerminatedError: SIGTERM came meanwhile, or before, and the block's body went on.
        """
        blocks = self._open.get(self._loop, [])
        with suppress(ValueError):
            blocks.remove(self)
        if not blocks and self._open.pop(self._loop, None) is not None:
            self._loop.remove_signal_handler(signal.SIGTERM)
        self._raise_if_requested(error)
