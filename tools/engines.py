"""A real Airflow and a real Prefect to run examples in, each with a scratch home and on a free loopback port."""

import json
import os
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import processes
from environments import ENVIRONMENTS, ROOT


class EngineError(Exception):
    """An engine does not do what it should; the text says which, and what."""


def until(done: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait until something is so; a server that refuses or does not answer means that it is not so yet.

    Raises:
        EngineError: It is not so within *seconds*.
    """
    deadline = time.monotonic() + seconds
    while True:
        problem = ""
        try:
            if done():
                return
        except OSError as error:
            problem = f" ({error})"
        if time.monotonic() > deadline:
            raise EngineError(f"{what}: not within {seconds:g} s{problem}")
        time.sleep(0.5)


def free_port() -> int:
    """A port of this machine's own that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def fetch(url: str, document: Any = None, token: str = "", method: str | None = None) -> Any:
    """The JSON that a server of ours answers to a GET, or to a POST of *document*; None where it answers nothing."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    body = None if document is None else json.dumps(document).encode()
    request = urllib.request.Request(url, body, headers, method=method)  # noqa: S310 - always http on loopback
    with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
        return json.loads(answer.read() or "null")


class Server:
    """What they have in common: a home, an environment and processes.

    Args:
        name: The name that people know it by.
        programs: The folder that its programs are in.
        home: A folder for all that it writes; made here.
        variables: Environment variables for all of its processes.
        user: Whose rights they have, where not this program's.
    """

    def __init__(
        self, name: str, programs: Path, home: Path, variables: Mapping[str, str], user: str | None = None
    ) -> None:
        self.name, self.home = name, home
        self._programs, self._user = programs, user
        self._processes: list[subprocess.Popen[bytes]] = []
        self._servers: dict[str, subprocess.Popen[bytes]] = {}
        self._lock, self._stopped = threading.Lock(), False
        theirs = ("ACTIVITYSMITH_", "AIRFLOW_", "PREFECT_", "PYTHONPATH", "VIRTUAL_ENV")
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith(theirs)},
            "DO_NOT_TRACK": "1",
            "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "PYTHONDONTWRITEBYTECODE": "1",
            **variables,
        }
        home.mkdir()

    def _launch(self, label: str, program: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [str(self._programs / program), *arguments]
        with self._lock:
            if self._stopped:
                raise EngineError(f"{self.name} was stopped")
            log = self.home / f"{label}.log"
            process = processes.start(command, env=self.env, cwd=self.home, log=log, user=self._user)
            self._processes.append(process)
        return process

    def serve(self, label: str, program: str, *arguments: str) -> None:
        """Start a program that is to go on until all is stopped; what it prints goes to ``LABEL.log``."""
        self._servers[label] = self._launch(label, program, *arguments)

    def call(self, label: str, program: str, *arguments: str) -> int:
        """Run a program to its end; its exit code.

        Raises:
            EngineError: It does not end.
        """
        process = self._launch(label, program, *arguments)
        until(lambda: process.poll() is not None, f"{self.name}'s {label} ends", 120)
        return int(process.returncode)

    def said(self, label: str, program: str, *arguments: str) -> str:
        """Run a program to its end; what it printed.

        Raises:
            EngineError: It does not end, or ends with an error.
        """
        if code := self.call(label, program, *arguments):
            raise EngineError(f"{self.name}'s {label} ended with exit code {code}")
        return (self.home / f"{label}.log").read_text()

    def check(self) -> None:
        """See that its servers run.

        Raises:
            EngineError: One has ended.
        """
        for label, process in self._servers.items():
            if process.poll() is not None:
                raise EngineError(f"{self.name}'s {label} ended with exit code {process.returncode}")

    def start(self) -> None:
        """Start it, and wait until it is healthy."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop its processes and all that they started; none starts after it."""
        with self._lock:
            self._stopped = True
            processes.stop(self._processes, grace=3)

    def logged(self, text: str) -> bool:
        """Whether one of its logs holds *text*."""
        return any(text in log.read_text(errors="replace") for log in self.home.rglob("*.log") if log.is_file())


class Engine(Server):
    """A server that runs things."""

    def run(self, name: str, *, fail: bool) -> bool:
        """Run something to its end; whether that was a success."""
        raise NotImplementedError


class Airflow(Engine):
    """Airflow with all its components on sqlite, as ``airflow standalone`` has them, but on a free port and quicker.

    Args:
        home: A folder for all that it writes; made here.
        connection: What its connection ``activitysmith_default`` holds.
        environment: The environment that it is installed in.
        dags: The folder of its DAGs.
        variables: Environment variables beside the ones made here, or instead of them.
    """

    def __init__(
        self,
        home: Path,
        connection: Mapping[str, str],
        *,
        environment: str = "airflow-3.3",
        dags: Path = ROOT / "example_dags",
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self._port = free_port()
        self._url = f"http://127.0.0.1:{self._port}"
        ours = {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW_CONN_ACTIVITYSMITH_DEFAULT": json.dumps(connection),
            "AIRFLOW__API__BASE_URL": self._url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": os.urandom(48).hex(),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self._url}/execution/",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__PARALLELISM": "2",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        }
        super().__init__("Airflow", ENVIRONMENTS[environment].programs, home, {**ours, **(variables or {})})
        self._triggering = threading.Lock()

    def start(self) -> None:
        """Start it, and wait until it is healthy."""
        if self.call("migration", "airflow", "db", "migrate"):
            raise EngineError("Airflow could not lay out its database")
        self.serve("api-server", "airflow", "api-server", "--host", "127.0.0.1", "--port", str(self._port))
        self.serve("scheduler", "airflow", "scheduler", "--skip-serve-logs")
        self.serve("dag-processor", "airflow", "dag-processor")
        self.serve("triggerer", "airflow", "triggerer", "--skip-serve-logs")
        until(self._healthy, "Airflow is healthy", 120)
        self._token = fetch(f"{self._url}/auth/token")["access_token"]

    def _healthy(self) -> bool:
        self.check()
        health = fetch(f"{self._url}/api/v2/monitor/health")
        return all(health[part]["status"] == "healthy" for part in ("scheduler", "dag_processor", "triggerer"))

    def run(self, name: str, *, fail: bool) -> bool:
        """Run a DAG to its end; whether that was a success."""
        return bool(self.finished(name, {"fail": fail})["state"] == "success")

    def finished(self, name: str, conf: Mapping[str, Any]) -> dict[str, Any]:
        """What Airflow says of a DAG's run, once it has ended."""
        dag = f"{self._url}/api/v2/dags/{name}"
        until(lambda: self._knows(dag), f"Airflow knows {name}", 90)
        # Airflow 3.3 on sqlite answers one of two triggers at once with 500, after 5 s for a lock.
        with self._triggering:
            run: dict[str, Any] = fetch(f"{dag}/dagRuns", {"logical_date": None, "conf": conf}, self._token)

        def over() -> bool:
            nonlocal run
            self.check()
            run = fetch(f"{dag}/dagRuns/{run['dag_run_id']}", token=self._token)
            return run["state"] in ("success", "failed")

        until(over, f"the run of {name} ends", 120)
        return run

    def _knows(self, dag: str) -> bool:
        self.check()
        return bool(fetch(dag, token=self._token))


class Prefect(Engine):
    """A Prefect server, and flows in processes of their own.

    Args:
        home: A folder for all that it writes; made here.
        variables: What tells a flow's process which ActivitySmith to talk to.
    """

    def __init__(self, home: Path, variables: Mapping[str, str]) -> None:
        self._port = free_port()
        self._url = f"http://127.0.0.1:{self._port}/api"
        more = {
            "PREFECT_API_URL": self._url,
            "PREFECT_HOME": str(home),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
            "PREFECT_SERVER_UI_ENABLED": "false",
        }
        super().__init__("Prefect", ENVIRONMENTS["prefect-3.8"].programs, home, {**variables, **more})

    def start(self) -> None:
        """Start it, and wait until it is healthy."""
        self.serve("server", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self._port))
        until(self._healthy, "Prefect is healthy", 120)

    def _healthy(self) -> bool:
        self.check()
        return bool(fetch(f"{self._url}/health"))

    def run(self, name: str, *, fail: bool) -> bool:
        """Run a flow's file to its end; whether that was a success."""
        file = ROOT / "example_flows" / f"{name.replace('-', '_')}.py"
        return self.call(name, "python", str(file), *(["--fail"] if fail else [])) == 0


class Sandbox(Server):
    """The package's own stand-in for the service.

    Args:
        home: A folder for all that it writes; made here.
        environment: The environment that it is installed in.
    """

    def __init__(self, home: Path, environment: str = "airflow-3.3") -> None:
        super().__init__("The sandbox", ENVIRONMENTS[environment].programs, home, {})
        self._port = free_port()
        self._url = f"http://127.0.0.1:{self._port}"
        self.base_url, self.page_url = f"{self._url}/api", f"{self._url}/"

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self.serve("sandbox", "python", "-m", "activitysmith_integrations.sandbox", "--port", str(self._port))
        until(self._listening, "The sandbox listens", 30)

    def _listening(self) -> bool:
        self.check()
        return not self.streams()

    def streams(self) -> dict[str, Any]:
        """What it knows of each stream, by key."""
        return {stream["stream_key"]: stream for stream in fetch(f"{self._url}/sandbox/streams")["streams"]}

    def start_stream(self, key: str, api_key: str) -> None:
        """Start a stream, so that it can end."""
        state = {"title": key, "type": "progress", "percentage": 0}
        fetch(f"{self.base_url}/live-activity/stream/{key}", {"content_state": state}, api_key, "PUT")

    def requests(self) -> list[dict[str, Any]]:
        """The latest requests that reached it, oldest first."""
        return list(fetch(f"{self._url}/sandbox/streams")["requests"])

    def misbehave(self, **how: Any) -> None:
        """Let the next requests fail; see the sandbox's ``POST /sandbox/misbehave``."""
        fetch(f"{self._url}/sandbox/misbehave", how)

    def behave(self) -> None:
        """Let no further requests fail."""
        fetch(f"{self._url}/sandbox/misbehave", method="DELETE")

    def forget(self) -> None:
        """Forget every stream and request."""
        fetch(f"{self._url}/sandbox/streams", method="DELETE")

    def limit(self, *, max_concurrent: int | None, requests_per_minute: int | None) -> None:
        """Change what the account may do; None is unlimited."""
        limits = {"max_concurrent": max_concurrent, "requests_per_minute": requests_per_minute}
        fetch(f"{self._url}/sandbox/limits", limits, method="PUT")
