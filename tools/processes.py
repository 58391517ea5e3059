"""Start programs that start programs, and leave none of them behind."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
    # Before they end, since what they leave behind then has another parent.
    family = _descendants({process.pid for process in remaining})
    for process in remaining:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, first)
    deadline = time.monotonic() + grace
    for process in remaining:
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(max(0, deadline - time.monotonic()))
    for process in remaining:
        groups = {other.group for other in _all() if other.session == process.pid}
        for group in {process.pid, *groups}:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(group, signal.SIGKILL)
        process.wait()
    # Some start sessions of their own.
    for other in _all():
        if (other.pid, other.began) in family:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(other.pid, signal.SIGKILL)


@dataclass(frozen=True)
class _Process:
    """A process of this machine; its number and its beginning name no other one."""

    pid: int
    parent: int
    group: int
    session: int
    began: int


def _all() -> Iterator[_Process]:
    """Every process; where there is no /proc, none."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            # After the name, which may hold anything, comes the third field, the state (proc(5)).
            fields = stat.read_text().rpartition(")")[2].split()
            parent, group, session, began = (int(fields[number - 3]) for number in (4, 5, 6, 22))
            yield _Process(int(stat.parent.name), parent, group, session, began)


def _descendants(pids: set[int]) -> set[tuple[int, int]]:
    """Number and beginning of all that these processes started, and those in turn."""
    everybody = list(_all())
    known, grown = set(pids), True
    while grown:
        found = {process.pid for process in everybody if process.parent in known} - known
        known, grown = known | found, bool(found)
    return {(process.pid, process.began) for process in everybody if process.pid in known - pids}
