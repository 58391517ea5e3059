"""A real Prefect server and real processes against it, for the live tests. Nothing here imports Prefect."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

_T = TypeVar("_T")

# Python runs it at start-up, so for the server the package might as well not be installed.
_WITHOUT_OUR_PACKAGE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "activitysmith_integrations":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""


class Processes:
    """Processes that are started here, and the server they talk to.

    Args:
        directory: Where their homes, outputs and marks go.
        environment: What they find beside this process's own environment.
    """

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self.directory = directory
        self.port = _free_port()
        self.api = httpx.Client(base_url=f"http://127.0.0.1:{self.port}/api/", timeout=60)
        self._environment = {
            **os.environ,
            "PREFECT_HOME": str(directory / "home"),
            "PREFECT_API_URL": str(self.api.base_url).rstrip("/"),
            "PREFECT_UI_URL": f"http://127.0.0.1:{self.port}",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_LOGGING_TO_API_ENABLED": "true",
            "PREFECT_RUNNER_POLL_FREQUENCY": "1",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            "LIVE_DIRECTORY": str(directory),
            **environment,
        }
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, *command: str, **environment: str) -> subprocess.Popen[bytes]:
        """Start Python in a process group of its own; its output goes to a file.

        Args:
            name: What the file is called.
            command: Python's arguments.
            environment: What else it finds in its environment.
        """
        with (self.directory / f"{name}.log").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-W", "ignore", *command],
                cwd=self.directory,
                env={**self._environment, **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._running.append(process)
        return process

    def run(self, name: str, *command: str, **environment: str) -> str:
        """Run Python to its end; what it printed."""
        assert self.start(name, *command, **environment).wait(180) == 0, self.output(name)
        return self.output(name)

    def output(self, name: str) -> str:
        """What a process has printed so far."""
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def start_server(self) -> None:
        """Start a server whose environment lacks our package, and wait until it answers."""
        blocked = self.directory / "without-our-package"
        blocked.mkdir()
        (blocked / "sitecustomize.py").write_text(_WITHOUT_OUR_PACKAGE)
        command = ("-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self.port))
        self.start("server", *command, PYTHONPATH=str(blocked))
        eventually(lambda: self._healthy(), "the server to answer", seconds=120)

    def _healthy(self) -> bool:
        try:
            return self.api.get("health").is_success
        except httpx.TransportError:
            return False

    def create_run(self, deployment: str, **parameters: Any) -> str:
        """The id of a new run of ``flow/deployment``."""
        found = eventually(lambda: self._json("GET", f"deployments/name/{deployment}"), f"deployment {deployment}")
        # SQLite is locked at times, so the server may have to be asked twice for the same run.
        wanted = {"parameters": parameters, "idempotency_key": parameters["stream"]}
        made = eventually(
            lambda: self._json("POST", f"deployments/{found['id']}/create_flow_run", wanted), f"a run of {deployment}"
        )
        return str(made["id"])

    def state(self, run_id: str) -> Any:
        """A run's state, as the server has it."""
        return self._json("GET", f"flow_runs/{run_id}")["state"]

    def runs_of(self, flow: str) -> Any:
        """All runs of a flow."""
        return self._json("POST", "flow_runs/filter", {"flows": {"name": {"any_": [flow]}}})

    def heard_of(self, run_id: str) -> bool:
        """Whether a sign of life of a run has reached the server."""
        names, ids = ["prefect.flow-run.heartbeat"], [f"prefect.flow-run.{run_id}"]
        found = self._json("POST", "events/filter", {"filter": {"event": {"name": names}, "resource": {"id": ids}}})
        return bool(found and found["events"])

    def cancel(self, run_id: str) -> None:
        """As the UI does."""
        self._json("POST", f"flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})

    def log_lines(self, run_id: str) -> list[str]:
        """What is on a run's page."""
        logs = self._json("POST", "logs/filter", {"logs": {"flow_run_id": {"any_": [run_id]}}, "limit": 200})
        return [log["message"] for log in logs]

    def _json(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.api.request(method, path, json=body)
        return answer.json() if answer.is_success else None

    def stop(self) -> None:
        """End what was started here, and all that it started."""
        for process in reversed(self._running):
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.api.close()


@contextmanager
def prefect_processes(directory: Path, environment: Mapping[str, str]) -> Iterator[Processes]:
    """Processes that end with the block."""
    processes = Processes(directory, environment)
    try:
        processes.start_server()
        yield processes
    finally:
        processes.stop()


def eventually(look: Callable[[], _T], what: str, *, seconds: float = 60) -> _T:
    """What *look* finds, once it finds something.

    Args:
        look: Is called until what it returns counts as true.
        what: What is waited for.
        seconds: How long at most.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
