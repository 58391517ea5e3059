"""Airflow and Prefect as they are run at scale: on PostgreSQL, with workers in processes of their own."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from databases import PostgreSQL, Redis
from engines import Airflow, EngineError, Prefect, fetch, until
from environments import ROOT

SCALE = ROOT / "tests" / "scale"
WORKERS = 2
_PAGE = 200
_OVER = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class CeleryAirflow(Airflow):
    """Airflow whose tasks run in Celery workers, which get them through Redis.

    Args:
        home: A folder for all that it writes; made here.
        connection: What its connection ``activitysmith_default`` holds.
        postgres: Where its database is made.
        redis: What feeds the workers.
    """

    def __init__(self, home: Path, connection: Mapping[str, str], postgres: PostgreSQL, redis: Redis) -> None:
        database = postgres.database("airflow")
        variables = {
            "AIRFLOW__CELERY__BROKER_URL": redis.url,
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql+psycopg2://{database}",
            "AIRFLOW__CORE__DEFAULT_POOL_TASK_SLOT_COUNT": "1000",
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            # All runs of a part are under way at once; it is the workers that take a few at a time.
            "AIRFLOW__CORE__MAX_ACTIVE_RUNS_PER_DAG": "1000",
            "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "1000",
            "AIRFLOW__CORE__PARALLELISM": "1000",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{database}",
        }
        super().__init__(home, connection, environment="airflow-3.3-celery", dags=SCALE / "dags", variables=variables)
        self._workers = False

    def start_workers(self) -> None:
        """Start the workers, if they have not been."""
        if not self._workers:
            self._workers = True
            for number in range(WORKERS):
                options = ("--celery-hostname", f"worker-{number}@%h", "--pid", str(self.home / f"worker-{number}.pid"))
                self.serve(f"worker-{number}", "airflow", "celery", "worker", *options, "-c", "8", "--skip-serve-logs")

    def trigger(self, dag: str, run: str) -> None:
        """Start a run under an id of our own."""
        fetch(f"{self._dag(dag)}/dagRuns", {"logical_date": None, "dag_run_id": run}, self._token)

    def pause(self, dag: str, paused: bool) -> None:
        """Keep the scheduler from looking at a DAG's runs, or let it look again."""
        fetch(self._dag(dag), {"is_paused": paused}, self._token, "PATCH")

    def wait_for(self, dag: str) -> None:
        """Wait until it knows a DAG."""
        until(lambda: self._knows(self._dag(dag)), f"Airflow knows {dag}", 90)

    def runs(self, dag: str, *states: str) -> int:
        """How many runs of a DAG are in one of the states."""
        return self._count(f"{self._dag(dag)}/dagRuns", states)

    def tasks(self, dag: str, *states: str) -> int:
        """How many tasks of a DAG's runs are in one of the states."""
        return self._count(f"{self._dag(dag)}/dagRuns/~/taskInstances", states)

    def _count(self, url: str, states: Sequence[str]) -> int:
        self.check()
        query = "&".join(f"state={state}" for state in states)
        return int(fetch(f"{url}?limit=1&{query}", token=self._token)["total_entries"])

    def _dag(self, name: str) -> str:
        return f"{self._url}/api/v2/dags/{name}"

    def log(self) -> str:
        """All that tasks and callbacks have logged."""
        return "".join(log.read_text(errors="replace") for log in (self.home / "logs").rglob("*.log") if log.is_file())


class WorkedPrefect(Prefect):
    """A Prefect server on PostgreSQL, and process workers.

    Args:
        home: A folder for all that it writes; made here.
        variables: What tells a flow's process which ActivitySmith to talk to.
        postgres: Where its database is made.
    """

    _POOL = "scale"

    def __init__(self, home: Path, variables: Mapping[str, str], postgres: PostgreSQL) -> None:
        address = f"postgresql+asyncpg://{postgres.database('prefect')}"
        more = {
            "PREFECT_API_DATABASE_CONNECTION_URL": address,
            # Of the 15 connections that it takes by default, runs that begin together wait in vain.
            "PREFECT_SERVER_DATABASE_SQLALCHEMY_MAX_OVERFLOW": "60",
            "PREFECT_SERVER_DATABASE_SQLALCHEMY_POOL_SIZE": "20",
            "PREFECT_WORKER_QUERY_SECONDS": "1",
        }
        super().__init__(home, {**variables, **more})

    def start(self) -> None:
        """Start it with its workers, and wait until there is something that they can run."""
        super().start()
        for label, command in {
            "pool": ("prefect", "work-pool", "create", self._POOL, "--type", "process"),
            "deploy": ("python", str(SCALE / "flows.py"), self._POOL),
        }.items():
            if self.call(label, *command):
                raise EngineError(f"Prefect's {label} failed")
        for number in range(WORKERS):
            self.serve(f"worker-{number}", "prefect", "worker", "start", "--pool", self._POOL, "--name", str(number))

    def trigger(self, kind: str, streams: Sequence[str], gate: Path) -> None:
        """Start a run that makes a run for each of the streams, once *gate* exists."""
        deployment = fetch(f"{self._url}/deployments/name/scale-batch/scale")
        parameters = {"kind": kind, "streams": list(streams), "gate": str(gate)}
        fetch(f"{self._url}/deployments/{deployment['id']}/create_flow_run", {"parameters": parameters})

    def runs(self, flow: str, *states: str) -> int:
        """How many runs of a flow are in one of the states."""
        self.check()
        wanted = {"flows": {"name": {"any_": [flow]}}, "flow_runs": {"state": {"type": {"any_": states}}}}
        return int(fetch(f"{self._url}/flow_runs/count", wanted))

    def over(self, flow: str) -> int:
        """How many runs of a flow have ended, in whatever way."""
        return self.runs(flow, *_OVER)

    def log(self) -> str:
        """All that is on the runs' pages."""
        return "\n".join(log["message"] for log in self._logs())

    def _logs(self) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            page = fetch(f"{self._url}/logs/filter", {"limit": _PAGE, "offset": offset, "sort": "TIMESTAMP_ASC"})
            yield from page
            if len(page) < _PAGE:
                return
            offset += _PAGE
