"""Start programs that start programs, wait for what they do, and leave none of them behind."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import psutil

_T = TypeVar("_T")


class DeploymentError(Exception):
    """A deployment does not do what it should; the text says which, and what."""


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def eventually(look: Callable[[], _T], what: str, seconds: float = 120, *, every: float = 0.1) -> _T:
    """The first true value that *look* returns.

    Args:
        look: Is called until what it returns counts as true.
        what: What is waited for.
        seconds: How long at most.
        every: Seconds between two calls, for one that costs something.

    Raises:
        DeploymentError: There is none in time.
    """
    end = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > end:
            raise DeploymentError(f"waited {seconds:g} s for {what}")
        time.sleep(every)
    return found


def start(
    command: Sequence[str], *, env: Mapping[str, str], cwd: Path, log: Path, user: str | None = None
) -> subprocess.Popen[bytes]:
    """Start a program in a session of its own.

    Args:
        command: The program and its arguments.
        env: Its whole environment.
        cwd: The folder that it runs in.
        log: The file that its output is appended to.
        user: Whose rights it has, for a program that refuses root's; None leaves it this program's own.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            env=env,
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            user=user,
            extra_groups=None if user is None else [],
        )


def interrupt_on_any_end() -> None:
    """Let SIGTERM and a lost terminal do what Ctrl-C does, so that what was started is stopped then as well."""
    for name in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(name, signal.default_int_handler)


def stop(processes: Iterable[subprocess.Popen[Any]], *, grace: float) -> None:
    """Ask processes to end, then kill them with all that they started.

    Args:
        processes: What :func:`start` returned.
        grace: Seconds for all of them together to end by themselves.
    """
    roots = list(processes)
    # Looked for before they end, since what they leave behind then has another parent.
    family = _family(root.pid for root in roots)
    for root in roots:
        if root.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(root.pid, signal.SIGTERM)
    deadline = time.monotonic() + grace
    for root in roots:
        with contextlib.suppress(subprocess.TimeoutExpired):
            root.wait(max(0, deadline - time.monotonic()))
    _kill(family | _family(root.pid for root in roots))
    for root in roots:
        root.wait()


def kill(pid: int) -> None:
    """End a process with a session of its own, and all that it started, as a lost machine does."""
    _kill(_family([pid]))


def _kill(family: Iterable[psutil.Process]) -> None:
    for process in family:
        with contextlib.suppress(psutil.Error):
            process.kill()


def _family(pids: Iterable[int]) -> set[psutil.Process]:
    """The processes, those of their sessions and those that they started."""
    leaders = set(pids)
    family = set[psutil.Process]()
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, ProcessLookupError, PermissionError):
            if os.getsid(process.pid) in leaders:
                family |= {process, *process.children(recursive=True)}
    return family


class Deployment:
    """Programs that belong together: a home, an environment and their logs; all of them are stopped together.

    Args:
        name: The name that people know it by.
        programs: The folder that its programs are in.
        home: A folder for all that it writes; made if it is not there.
        variables: Environment variables for all of its programs.
        user: Whose rights they have, where not this program's.
    """

    def __init__(
        self, name: str, programs: Path, home: Path, variables: Mapping[str, str], user: str | None = None
    ) -> None:
        self.name, self.home, self.programs = name, home, programs
        self._user = user
        self._processes: list[subprocess.Popen[bytes]] = []
        self._servers: dict[str, subprocess.Popen[bytes]] = {}
        theirs = ("ACTIVITYSMITH_", "AIRFLOW_", "PREFECT_", "VIRTUAL_ENV")
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(theirs)},
            "DO_NOT_TRACK": "1",
            "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            **variables,
        }
        home.mkdir(exist_ok=True)

    def launch(self, label: str, program: str, *arguments: str, **variables: str) -> subprocess.Popen[bytes]:
        """Start a program; what it prints goes to ``LABEL.log``."""
        process = start(
            [str(self.programs / program), *arguments],
            env={**self.environment, **variables},
            cwd=self.home,
            log=self.home / f"{label}.log",
            user=self._user,
        )
        self._processes.append(process)
        return process

    def serve(self, label: str, program: str, *arguments: str, **variables: str) -> None:
        """Start a program that is to go on until all is stopped."""
        self._servers[label] = self.launch(label, program, *arguments, **variables)

    def kill(self, label: str) -> None:
        """End a server and all that it started as a lost machine does."""
        server = self._servers.pop(label)
        kill(server.pid)
        server.wait()

    def call(self, label: str, program: str, *arguments: str, **variables: str) -> int:
        """Run a program to its end; its exit code."""
        process = self.launch(label, program, *arguments, **variables)
        eventually(lambda: process.poll() is not None, f"the end of {self.name}'s {label}", 180)
        return int(process.returncode)

    def run_program(self, label: str, program: str, *arguments: str, **variables: str) -> str:
        """Run a program to its end; what it and others of the same label have printed.

        Raises:
            DeploymentError: It does not end, or ends with an error.
        """
        if code := self.call(label, program, *arguments, **variables):
            raise DeploymentError(f"{self.name}'s {label} ended with exit code {code}:\n{self.output(label)[-4000:]}")
        return self.output(label)

    def output(self, label: str) -> str:
        """What the programs of a label have printed so far."""
        return (self.home / f"{label}.log").read_text(errors="replace")

    def check(self) -> bool:
        """Whether its servers run; always true.

        Raises:
            DeploymentError: One has ended.
        """
        for label, process in self._servers.items():
            if process.poll() is not None:
                end = self.output(label)[-4000:]
                raise DeploymentError(f"{self.name}'s {label} ended with exit code {process.returncode}:\n{end}")
        return True

    def pids(self) -> dict[str, int]:
        """Its servers' processes, by label."""
        return {label: process.pid for label, process in self._servers.items()}

    def start(self) -> None:
        """Start it, and wait until it is healthy."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop its programs and all that they started."""
        stop(self._processes, grace=5)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
