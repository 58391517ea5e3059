"""A real Prefect server and real processes against it. Nothing here imports Prefect."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from support.processes import Deployment, eventually, free_port
from support.sandbox import KEY

# Python runs it at start-up, so for the server the package might as well not be installed.
_WITHOUT_OUR_PACKAGE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "activitysmith_integrations":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Absent())
"""

SAVE_BLOCK = f"""
import sys
from activitysmith_integrations.prefect import ActivitySmithCredentials
ActivitySmithCredentials(api_key={KEY!r}, base_url=sys.argv[1]).save(sys.argv[2])
"""


class Prefect(Deployment):
    """A Prefect server, and flows, workers and scripts in processes of their own.

    Args:
        home: A folder for all that it writes.
        variables: Environment variables for all of its processes.
        programs: The folder that Prefect's programs are in; by default this Python's.
        database: The address of a PostgreSQL database, without a scheme; SQLite where left out, which is locked while
            several runs begin or end together.
    """

    def __init__(
        self,
        home: Path,
        variables: Mapping[str, str],
        programs: Path = Path(sys.executable).parent,
        *,
        database: str | None = None,
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/api"
        self.directory = home
        ours = {
            "LIVE_DIRECTORY": str(home),
            "PREFECT_API_URL": self.url,
            "PREFECT_HOME": str(home / "home"),
            "PREFECT_LOGGING_TO_API_ENABLED": "true",
            "PREFECT_RUNNER_POLL_FREQUENCY": "1",
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_UI_ENABLED": "false",
            "PREFECT_UI_URL": f"http://127.0.0.1:{self.port}",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
        }
        if database is not None:
            ours["PREFECT_API_DATABASE_CONNECTION_URL"] = f"postgresql+asyncpg://{database}"
            # Of the 15 connections that it takes by default, runs that begin together wait in vain.
            ours["PREFECT_SERVER_DATABASE_SQLALCHEMY_MAX_OVERFLOW"] = "60"
            ours["PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE"] = "20"
        super().__init__("Prefect", programs, home, {**ours, **variables})
        self.api = httpx.Client(base_url=f"{self.url}/", timeout=60)

    def start(self) -> None:
        """Start a server to which our package is not installed, and wait until it answers."""
        self.start_component("server")
        eventually(self._healthy, "the Prefect server to answer")

    def start_component(self, component: str) -> None:
        """Start the server."""
        blocked = self.home / "without-our-package"
        blocked.mkdir(exist_ok=True)
        (blocked / "sitecustomize.py").write_text(_WITHOUT_OUR_PACKAGE)
        command = ("server", "start", "--host", "127.0.0.1", "--port", str(self.port))
        self.serve(component, "prefect", *command, PYTHONPATH=str(blocked))

    def restart(self) -> None:
        """Kill the server, and start it again with the same database."""
        self.kill("server")
        self.start()

    def _healthy(self) -> bool:
        self.check()
        try:
            return self.api.get("health").is_success
        except httpx.TransportError:
            return False

    def stop(self) -> None:
        """Stop everything, and what it started."""
        super().stop()
        self.api.close()

    def python(self, label: str, *command: str, **variables: str) -> subprocess.Popen[bytes]:
        """Start Python; what it prints goes to ``LABEL.log``."""
        return self.launch(label, "python", "-W", "ignore", *command, **variables)

    def run(self, label: str, *command: str, **variables: str) -> str:
        """Run Python to its end; what it printed."""
        return self.run_program(label, "python", "-W", "ignore", *command, **variables)

    def create_run(self, deployment: str, *, late: bool = False, **parameters: Any) -> str:
        """The id of a new run of ``flow/deployment``; a *late* one is scheduled for the year 2100."""
        found = eventually(lambda: self._json("GET", f"deployments/name/{deployment}"), f"deployment {deployment}")
        # SQLite is locked at times, so the server may have to be asked twice for the same run.
        wanted: dict[str, Any] = {"parameters": parameters, "idempotency_key": parameters.get("stream")}
        if late:
            wanted["state"] = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2100-01-01T00:00:00Z"}}
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
        """Whether a heartbeat of a run has reached the server."""
        names, ids = ["prefect.flow-run.heartbeat"], [f"prefect.flow-run.{run_id}"]
        found = self._json("POST", "events/filter", {"filter": {"event": {"name": names}, "resource": {"id": ids}}})
        return bool(found and found["events"])

    def cancel(self, run_id: str) -> None:
        """Cancel a run, as the UI does."""
        self._json("POST", f"flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})

    def resume(self, run_id: str, **body: Any) -> None:
        """Resume a run, as the UI does; SQLite is locked at times."""
        path = f"flow_runs/{run_id}/resume"
        eventually(lambda: self.api.post(path, json=body).is_success, f"run {run_id} to be resumed")

    def log_lines(self, run_id: str) -> list[str]:
        """What is on a run's page."""
        logs = self._json("POST", "logs/filter", {"logs": {"flow_run_id": {"any_": [run_id]}}, "limit": 200})
        return [log["message"] for log in logs]

    def _json(self, method: str, path: str, body: Any = None) -> Any:
        self.check()
        answer = self.api.request(method, path, json=body)
        return answer.json() if answer.is_success else None
