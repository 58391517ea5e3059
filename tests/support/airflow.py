"""A real Airflow: api-server, scheduler, dag-processor and triggerer on loopback, in a home of its own."""

import json
import os
import signal
import sys
import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import httpx
from support.processes import Deployment, eventually, free_port

__all__ = ["Airflow", "connection", "eventually"]


def connection(base_url: str | None, key: str, **extra: Any) -> str:
    """An ``activitysmith`` connection, as the value of an environment variable."""
    host = {"host": base_url} if base_url else {}
    return json.dumps({"conn_type": "activitysmith", "password": key, **host, "extra": extra})


def _sqlalchemy(database: str | None) -> str | None:
    return None if database is None else f"postgresql+psycopg2://{database}"


class Airflow(Deployment):
    """One deployment.

    Args:
        home: A folder for all that it writes.
        dags: The folder of DAG files.
        variables: Environment variables beside those that make it small and quick, or instead of them.
        programs: The folder that Airflow's programs are in; by default this Python's.
        database: The address of a database in PostgreSQL; where None, sqlite does for a few runs.
    """

    def __init__(
        self,
        home: Path,
        dags: Path,
        variables: Mapping[str, str],
        programs: Path = Path(sys.executable).parent,
        *,
        database: str | None = None,
    ) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        ours = {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API_AUTH__JWT_SECRET": os.urandom(48).hex(),
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            # A task needs 0.1 s of a processor, and keeps its slot for seconds: see the heartbeat below.
            "AIRFLOW__CORE__PARALLELISM": "16",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__DAG_PROCESSOR__CHILD_PROCESS_LOG_DIRECTORY": str(home / "logs/dag_processor"),
            # A callback that comes while its file is parsed waits for the next time (Airflow 3.3); each costs 0.2 s.
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "15",
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            # Who waits 5 s for sqlite's lock, its default, dies on a busy machine.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": _sqlalchemy(database) or f"sqlite:///{home}/airflow.db?timeout=60",
            # Airflow 3.3's api-server looks up tokens in its event loop. Where tasks that begin together have taken all
            # 15 connections, it stands still for half a minute, since only the loop could give one back.
            "AIRFLOW__DATABASE__SQL_ALCHEMY_POOL_SIZE": "40",
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(home / "logs"),
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.2",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            # A supervisor that misses the exit of its task looks again at the next heartbeat (Airflow 3.1 to 3.3).
            "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "1",
        }
        super().__init__("Airflow", programs, home, {**ours, **variables})
        self._http = httpx.Client(base_url=f"{self.url}/api/v2", timeout=120)
        self._writing = threading.Lock()

    def start(self) -> None:
        """Start everything and wait until it is healthy."""
        self.cli("db", "migrate")
        for component in ("api-server", "scheduler", "dag-processor", "triggerer"):
            self.start_component(component)
        eventually(self._healthy, "a healthy Airflow")
        token = httpx.get(f"{self.url}/auth/token", timeout=120).json()["access_token"]
        self._http.headers["Authorization"] = f"Bearer {token}"

    def start_component(self, component: str) -> None:
        """Start one component."""
        address = ["--host", "127.0.0.1", "--port", str(self._port)]
        arguments = {"api-server": address, "dag-processor": []}.get(component, ["--skip-serve-logs"])
        self.serve(component, "airflow", component, *arguments)

    def _healthy(self) -> bool:
        self.check()
        try:
            health = httpx.get(f"{self.url}/api/v2/monitor/health", timeout=5).json()
        except httpx.HTTPError:
            return False
        return all(health[name]["status"] == "healthy" for name in ("scheduler", "dag_processor", "triggerer"))

    def stop(self) -> None:
        """Stop everything, and what it started."""
        super().stop()
        self._http.close()

    def cli(self, *arguments: str) -> str:
        """The output of an ``airflow`` command."""
        return self.run_program(f"cli-{len(self._processes)}", "airflow", *arguments)

    def environment_on(self, database: str) -> dict[str, str]:
        """The environment of programs that this deployment's scheduler shall not meet: with another database.

        Args:
            database: Its address in PostgreSQL.
        """
        return {**self.environment, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": str(_sqlalchemy(database))}

    def pause(self, component: str) -> None:
        """Stop a component where it stands."""
        os.killpg(self._servers[component].pid, signal.SIGSTOP)

    def resume(self, component: str) -> None:
        """Let a paused component go on."""
        os.killpg(self._servers[component].pid, signal.SIGCONT)

    @property
    def authorization(self) -> dict[str, str]:
        """The headers of somebody who may do everything."""
        return {"Authorization": self._http.headers["Authorization"]}

    def api(self, method: str, path: str, document: Any = None) -> Any:
        """What Airflow's API answers.

        Args:
            method: The request's method.
            path: Its path below ``/api/v2``.
            document: Its body, sent as JSON.
        """
        answer = self._http.request(method, path, json=document)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def knows(self, dag_id: str) -> bool:
        """Whether a DAG was parsed."""
        self.check()
        return self._http.get(f"/dags/{dag_id}").status_code == 200

    def dags(self) -> list[str]:
        """The DAGs that were parsed."""
        self.check()
        return [str(dag["dag_id"]) for dag in self.api("GET", "/dags?limit=500")["dags"]]

    def await_dags(self, dag_ids: Iterable[str]) -> None:
        """Wait until DAGs were parsed."""
        wanted = set(dag_ids)
        eventually(lambda: wanted <= set(self.dags()), f"the DAGs {', '.join(sorted(wanted))}", every=0.5)

    def trigger(self, dag_id: str, *, run_id: str | None = None, **conf: Any) -> str:
        """Start a run, once the DAG is known; its id."""
        eventually(lambda: self.knows(dag_id), f"the DAG {dag_id}")
        named = {} if run_id is None else {"dag_run_id": run_id}
        run = self.write("POST", f"/dags/{dag_id}/dagRuns", {"logical_date": None, "conf": conf, **named})
        return str(run["dag_run_id"])

    def write(self, method: str, path: str, document: Any) -> Any:
        """The answer to a request that changes something, repeated while sqlite's database is locked.

        Airflow 3.3 on sqlite answers one of two changes at once with 500.
        """

        def answered() -> httpx.Response | None:
            answer = self._http.request(method, path, json=document)
            return None if answer.status_code == 500 else answer

        with self._writing:
            answer = eventually(answered, f"an answer to {method} {path}")
        assert answer is not None
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()

    def run_of(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """What Airflow says of a run."""
        return dict(self.api("GET", f"/dags/{dag_id}/dagRuns/{run_id}"))

    def state(self, dag_id: str, run_id: str) -> str:
        """The state of a run."""
        return str(self.run_of(dag_id, run_id)["state"])

    def task_state(self, dag_id: str, run_id: str, task_id: str) -> str | None:
        """The state of a task of a run; None before Airflow has thought of it."""
        self.check()
        state: str | None = self.api("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}")["state"]
        return state

    def finished(self, dag_id: str, run_id: str, seconds: float = 600) -> str:
        """The state in which a run ended; waits for it."""

        def ended() -> str | None:
            self.check()
            state = self.state(dag_id, run_id)
            return state if state in ("success", "failed") else None

        return eventually(ended, f"the end of {dag_id} {run_id}", seconds, every=0.5) or ""

    def run(self, dag_id: str, **conf: Any) -> tuple[str, str]:
        """Start a run and wait for its end; its id and its state."""
        run_id = self.trigger(dag_id, **conf)
        return run_id, self.finished(dag_id, run_id)

    def clear(self, dag_id: str, run_id: str, **which: bool) -> None:
        """Clear tasks of a finished run."""
        self.write("POST", f"/dags/{dag_id}/clearTaskInstances", {"dry_run": False, "dag_run_id": run_id, **which})

    def mark(self, dag_id: str, run_id: str, state: str) -> None:
        """Mark a run as failed or successful by hand."""
        self.write("PATCH", f"/dags/{dag_id}/dagRuns/{run_id}", {"state": state})

    def everything_written(self) -> dict[str, bytes]:
        """Every file below the home but the database: logs and what the programs printed."""
        return {
            str(path.relative_to(self.home)): path.read_bytes()
            for path in self.home.rglob("*")
            if path.is_file() and not path.name.startswith("airflow.db")
        }
