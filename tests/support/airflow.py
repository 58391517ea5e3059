"""A real Airflow: api-server, scheduler, dag-processor and triggerer on loopback, in a home of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx

_T = TypeVar("_T")
_COMPONENTS = ("api-server", "scheduler", "dag-processor", "triggerer")


def connection(base_url: str, key: str, **extra: Any) -> str:
    """An ``activitysmith`` connection, as the value of an environment variable."""
    return json.dumps({"conn_type": "activitysmith", "password": key, "host": base_url, "extra": extra})


def eventually(look: Callable[[], _T], what: str, seconds: float = 120) -> _T:
    """The first truthy value of *look*; waits for it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = look()
        if found:
            return found
        time.sleep(0.2)
    raise AssertionError(f"waited {seconds:g} s for {what}")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


class Airflow:
    """One deployment.

    Args:
        home: An empty folder.
        dags: The folder of DAG files.
        variables: Environment variables beside those that make it small and quick.
    """

    def __init__(self, home: Path, dags: Path, variables: Mapping[str, str]) -> None:
        port = _free_port()
        self.home, self.url = home, f"http://127.0.0.1:{port}"
        self._commands = {name: [name] for name in _COMPONENTS}
        self._commands["api-server"] += ["--host", "127.0.0.1", "--port", str(port)]
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = {
            **os.environ,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": "only-for-this-deployment-and-long-enough-for-sha512" * 2,
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "5",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
            "AIRFLOW__DAG_PROCESSOR__CHILD_PROCESS_LOG_DIRECTORY": str(home / "logs/dag_processor"),
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            **variables,
        }

    def cli(self, *arguments: str) -> str:
        """The standard output of an ``airflow`` command."""
        done = subprocess.run(
            ["airflow", *arguments], env=self.environment, capture_output=True, text=True, cwd=self.home, check=False
        )
        assert done.returncode == 0, f"airflow {' '.join(arguments)}:\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def start(self) -> None:
        """Start everything and wait until it is healthy."""
        self.cli("db", "migrate")
        for name, command in self._commands.items():
            with open(self.home / f"{name}.out", "wb") as output:
                self._processes[name] = subprocess.Popen(
                    ["airflow", *command],
                    env=self.environment,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=self.home,
                    start_new_session=True,
                )
        eventually(self._healthy, "a healthy Airflow")
        self._http = httpx.Client(base_url=f"{self.url}/api/v2", timeout=30)
        token = httpx.get(f"{self.url}/auth/token", timeout=30).json()["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"

    def _healthy(self) -> bool:
        for name, process in self._processes.items():
            assert process.poll() is None, f"airflow {name} ended:\n{(self.home / f'{name}.out').read_text()[-4000:]}"
        try:
            health = httpx.get(f"{self.url}/api/v2/monitor/health", timeout=5).json()
        except httpx.HTTPError:
            return False
        return all(health[name]["status"] == "healthy" for name in ("scheduler", "dag_processor", "triggerer"))

    def pause(self, component: str) -> None:
        """Stop a component where it stands."""
        os.killpg(self._processes[component].pid, signal.SIGSTOP)

    def resume(self, component: str) -> None:
        """Let a paused component go on."""
        os.killpg(self._processes[component].pid, signal.SIGCONT)

    @property
    def authorization(self) -> dict[str, str]:
        """The headers of somebody who may do everything."""
        return {"Authorization": self._http.headers["Authorization"]}

    def knows(self, dag_id: str) -> bool:
        """Whether a DAG was parsed."""
        return self._http.get(f"/dags/{dag_id}").status_code == 200

    def stop(self) -> None:
        """Stop everything, and what it started."""
        for process in self._processes.values():
            os.killpg(process.pid, signal.SIGTERM)
        for process in self._processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if hasattr(self, "_http"):
            self._http.close()

    def trigger(self, dag_id: str, **conf: Any) -> str:
        """Start a run, once the DAG is known; its id."""
        eventually(lambda: self.knows(dag_id), f"the DAG {dag_id}")
        answer = self._http.post(f"/dags/{dag_id}/dagRuns", json={"logical_date": None, "conf": conf})
        assert answer.is_success, answer.text
        return str(answer.json()["dag_run_id"])

    def state(self, dag_id: str, run_id: str) -> str:
        """The state of a run."""
        return str(self._http.get(f"/dags/{dag_id}/dagRuns/{run_id}").raise_for_status().json()["state"])

    def finished(self, dag_id: str, run_id: str, seconds: float = 120) -> str:
        """The state in which a run ended; waits for it."""

        def ended() -> str | None:
            state = self.state(dag_id, run_id)
            return state if state in ("success", "failed") else None

        return eventually(ended, f"the end of {dag_id} {run_id}", seconds) or ""

    def clear(self, dag_id: str, run_id: str, **which: bool) -> None:
        """Clear tasks of a finished run, and wait until it goes on."""
        body = {"dry_run": False, "dag_run_id": run_id, **which}
        answer = self._http.post(f"/dags/{dag_id}/clearTaskInstances", json=body)
        assert answer.is_success, answer.text

    def run(self, dag_id: str, **conf: Any) -> tuple[str, str]:
        """Start a run and wait for its end; its id and its state."""
        run_id = self.trigger(dag_id, **conf)
        return run_id, self.finished(dag_id, run_id)

    def everything_written(self) -> dict[str, bytes]:
        """Every file below the home but the database: logs and what the processes printed."""
        return {
            str(path.relative_to(self.home)): path.read_bytes()
            for path in self.home.rglob("*")
            if path.is_file() and not path.name.startswith("airflow.db")
        }
