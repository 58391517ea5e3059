"""Threads that work in the background and leave signals to the program."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# What a thread's own fault raises is for that thread.
_OWN_FAULTS = ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP")


class BackgroundThread(threading.Thread):
    """A thread that takes no signal.

    The system hands a signal to any thread that takes it, and Python handles it in the main thread alone. A main
    thread that waits is not woken by a signal that another thread took: it would go on sleeping through a SIGTERM.

    Args:
        target: What it runs.
        name: Its name.
        daemon: Whether the process may end before it.
    """

    def __init__(self, target: Callable[[], object], name: str, *, daemon: bool = True) -> None:
        super().__init__(target=target, name=name, daemon=daemon)

    def start(self) -> None:
        """Start it.

        Raises:
            RuntimeError: The machine has no thread to give, or the interpreter is ending.
        """
        with _blocked_signals():
            super().start()


@contextmanager
def _blocked_signals() -> Iterator[None]:
    """Have this thread take no signal, and those that it starts, which inherit that."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows, where signals wake the main thread only
        yield
        return
    own = {getattr(signal, name) for name in _OWN_FAULTS}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    try:
        # Within the block, since it handles signals that came before, and a handler may raise.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals() - own)
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
