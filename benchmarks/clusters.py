"""Airflow and Prefect as they are run at scale: on PostgreSQL, with workers in processes of their own."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from support.airflow import Airflow
from support.databases import PostgreSQL, Redis
from support.prefect import Prefect

PIPELINES = Path(__file__).resolve().parent / "pipelines"
WORKERS = 2
_PAGE = 200
_OVER = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


class CeleryAirflow(Airflow):
    """Airflow whose tasks run in Celery workers, which get them through Redis.

    Args:
        home: A folder for all that it writes; made here.
        dags: The folder of DAG files.
        connection: Its connection ``activitysmith_default``.
        postgres: Where its database is made.
        redis: What feeds the workers.
        programs: The folder of Airflow's programs.
    """

    def __init__(
        self, home: Path, dags: Path, connection: str, postgres: PostgreSQL, redis: Redis, programs: Path
    ) -> None:
        database = postgres.database("airflow")
        variables = {
            "AIRFLOW_CONN_ACTIVITYSMITH_DEFAULT": connection,
            "AIRFLOW__CELERY__BROKER_URL": redis.url,
            "AIRFLOW__CELERY__RESULT_BACKEND": f"db+postgresql+psycopg2://{database}",
            "AIRFLOW__CORE__DEFAULT_POOL_TASK_SLOT_COUNT": "1000",
            "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
            # All runs of a part are under way at once; it is the workers that take a few at a time.
            "AIRFLOW__CORE__MAX_ACTIVE_RUNS_PER_DAG": "1000",
            "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "1000",
            "AIRFLOW__CORE__PARALLELISM": "1000",
        }
        super().__init__(home, dags, variables, programs, database=database)
        self._workers = False

    def start_workers(self) -> None:
        """Start the workers, if they have not been."""
        if not self._workers:
            self._workers = True
            for number in range(WORKERS):
                self.start_component(f"worker-{number}")

    def start_component(self, component: str) -> None:
        """Start one component, or one of the workers."""
        if not component.startswith("worker"):
            super().start_component(component)
            return
        options = ("--celery-hostname", f"{component}@%h", "--pid", str(self.home / f"{component}.pid"))
        self.serve(component, "airflow", "celery", "worker", *options, "-c", "8", "--skip-serve-logs")

    def hold(self, dag: str, held: bool) -> None:
        """Keep the scheduler from looking at a DAG's runs, or let it look again."""
        self.api("PATCH", f"/dags/{dag}", {"is_paused": held})

    def runs(self, dag: str, *states: str) -> int:
        """How many runs of a DAG are in one of the states."""
        return self._count(f"/dags/{dag}/dagRuns", states)

    def tasks(self, dag: str, *states: str) -> int:
        """How many tasks of a DAG's runs are in one of the states."""
        return self._count(f"/dags/{dag}/dagRuns/~/taskInstances", states)

    def _count(self, path: str, states: Sequence[str]) -> int:
        self.check()
        query = "&".join(f"state={state}" for state in states)
        return int(self.api("GET", f"{path}?limit=1&{query}")["total_entries"])

    def log(self) -> str:
        """All that tasks and callbacks have logged."""
        return "".join(log.read_text(errors="replace") for log in (self.home / "logs").rglob("*.log") if log.is_file())


class WorkedPrefect(Prefect):
    """A Prefect server on PostgreSQL, and process workers.

    Args:
        home: A folder for all that it writes; made here.
        flows: The file that deploys the flows to the work pool that it is given.
        variables: What tells a flow's process which ActivitySmith to talk to.
        postgres: Where its database is made.
        programs: The folder of Prefect's programs.
    """

    _POOL = "scale"

    def __init__(
        self, home: Path, flows: Path, variables: Mapping[str, str], postgres: PostgreSQL, programs: Path
    ) -> None:
        self._flows = flows
        super().__init__(home, variables, programs, database=postgres.database("prefect"))

    def start(self) -> None:
        """Start it with its workers, and wait until there is something that they can run."""
        super().start()
        self.run_program("pool", "prefect", "work-pool", "create", self._POOL, "--type", "process")
        self.run_program("deploy", "python", str(self._flows), self._POOL)
        for number in range(WORKERS):
            self.start_component(f"worker-{number}")

    def start_component(self, component: str) -> None:
        """Start the server, or one of the workers."""
        if component == "server":
            super().start_component(component)
        else:
            self.serve(component, "prefect", "worker", "start", "--pool", self._POOL, "--name", component)

    def trigger(self, kind: str, streams: Sequence[str], gate: Path) -> None:
        """Start a run that makes a run for each of the streams, once *gate* exists."""
        self.create_run("scale-batch/scale", kind=kind, streams=list(streams), gate=str(gate))

    def runs(self, flow: str, *states: str) -> int:
        """How many runs of a flow are in one of the states."""
        self.check()
        wanted = {"flows": {"name": {"any_": [flow]}}, "flow_runs": {"state": {"type": {"any_": states}}}}
        return int(self.api.post("flow_runs/count", json=wanted).raise_for_status().text)

    def over(self, flow: str) -> int:
        """How many runs of a flow have ended, in whatever way."""
        return self.runs(flow, *_OVER)

    def log(self) -> str:
        """All that is on the runs' pages."""
        return "\n".join(log["message"] for log in self._logs())

    def _logs(self) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            wanted = {"limit": _PAGE, "offset": offset, "sort": "TIMESTAMP_ASC"}
            page = self.api.post("logs/filter", json=wanted).raise_for_status().json()
            yield from page
            if len(page) < _PAGE:
                return
            offset += _PAGE
