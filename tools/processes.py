"""Start programs that start programs, and leave none of them behind."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path


def start(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path | None = None, user: str | None = None
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own.

    Args:
        command: The program and its arguments.
        env: Its whole environment.
        cwd: The folder that it runs in.
        log: Where its output goes, one after the other; None leaves it on this program's own.
        user: Whose rights it has, for a program that refuses root's; None leaves it this program's own.
    """
    with contextlib.ExitStack() as stack:
        output = None if log is None else stack.enter_context(log.open("ab"))
        error = None if output is None else subprocess.STDOUT
        return subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=error,
            start_new_session=True,
            user=user,
            extra_groups=None if user is None else [],
        )


def interrupt_on_any_end() -> None:
    """Let SIGTERM and a lost terminal do what Ctrl-C does, so that what was started is stopped then as well."""
    for name in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(name, signal.default_int_handler)


def stop(processes: Iterable[subprocess.Popen[bytes]], *, grace: float, first: signal.Signals = signal.SIGTERM) -> None:
    """Ask the processes to end, then kill them with all that they started.

    Args:
        processes: What :func:`start` returned.
        grace: Seconds for all of them together to end by themselves.
        first: The signal that asks.
    """
    remaining = list(processes)
    for process in remaining:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, first)
    deadline = time.monotonic() + grace
    for process in remaining:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0, deadline - time.monotonic()))
    for process in remaining:
        for group in {process.pid, *_groups(process.pid)}:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        process.wait()


def _groups(session: int) -> Iterator[int]:
    """The process groups of a session; where there is no /proc, none are found beside the first."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # After the name, which may hold anything, come the state, the parent, the group and the session.
            _, _, group, its_session, *_ = stat.read_text().rpartition(")")[2].split()
            if int(its_session) == session:
                yield int(group)
