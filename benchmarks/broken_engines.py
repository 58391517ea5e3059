"""Airflow and Prefect with what can break in them, and with servers that are started again when they end."""

import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import ClassVar

import psutil
from clusters import PIPELINES, WORKERS, CeleryAirflow, WorkedPrefect
from proofs import say
from support.databases import PostgreSQL, Redis
from support.processes import Deployment, eventually

from activitysmith_integrations.core import stream_key

_DOWN = 2.0
# The module that a process of a flow's run executes (Prefect 3.9).
_FLOW = "prefect.engine"


class Supervised(Deployment, ABC):
    """An engine whose servers are started again when they end, as an init system does it."""

    pipelines: ClassVar[Mapping[str, bool]]
    """Its pipelines, and whether their runs are shown."""

    def check(self) -> bool:
        """Start again what has ended."""
        for label in [label for label, process in self._servers.items() if process.poll() is not None]:
            say(f"{label} ended by itself")
            self.start_component(label)
        return True

    @abstractmethod
    def start_component(self, component: str) -> None:
        """Start one of its servers."""

    def _kill_and_start(self, label: str) -> None:
        self.kill(label)
        time.sleep(_DOWN)
        self.start_component(label)

    @abstractmethod
    def faults(self) -> Mapping[str, Callable[[], None]]:
        """What breaks it, by name."""

    @abstractmethod
    def trigger_one(self, pipeline: str, name: str, *, fails: bool) -> str:
        """Start a run; its id."""

    @abstractmethod
    def failures(self, pipeline: str) -> dict[str, bool | None]:
        """Whether each of a pipeline's runs has failed, by id; None where it is not over."""

    @abstractmethod
    def log(self) -> str:
        """All that its runs have logged."""

    @staticmethod
    def key(pipeline: str, run_id: str) -> str:
        """The key of a run's stream."""
        return stream_key(pipeline, run_id)

    def all_logs(self) -> str:
        """All that its runs have logged, and what its programs printed."""
        return self.log() + "".join(log.read_text(errors="replace") for log in self.home.glob("*.log"))

    @abstractmethod
    def wait_until_healthy(self) -> None:
        """Wait until all of it runs again."""


class ChaosAirflow(CeleryAirflow, Supervised):
    """Airflow on Celery."""

    pipelines: ClassVar = {"chaos_tagged": True, "chaos_followed": True, "chaos_plain": False}

    def __init__(self, home: Path, account: str, postgres: PostgreSQL, redis: Redis, programs: Path) -> None:
        super().__init__(home, PIPELINES / "chaos_dags", account, postgres, redis, programs)
        self._postgres = postgres
        self.environment |= {
            # What is lost is missed after seconds rather than minutes.
            "AIRFLOW__CELERY_BROKER_TRANSPORT_OPTIONS__VISIBILITY_TIMEOUT": "60",
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "20",
            "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "15",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
            "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
            "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
            "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "15",
        }

    def start(self) -> None:
        """Start it with its workers."""
        super().start()
        self.start_workers()
        for dag in self.pipelines:
            eventually(lambda: self.knows(dag), f"the DAG {dag}")  # noqa: B023 - it is called at once

    def faults(self) -> Mapping[str, Callable[[], None]]:
        """A process of each kind, and the database."""
        servers = ("scheduler", "dag-processor", "api-server", "triggerer", "worker-0")
        return {
            "task killed": lambda: self._kill_tasks(0),
            "supervisor killed": lambda: self._kill_tasks(1),
            **{f"{label} killed": lambda label=label: self._kill_and_start(label) for label in servers},  # type: ignore[misc]
            "database restarted": self._postgres.restart,
        }

    def _kill_tasks(self, generation: int) -> None:
        """Kill three tasks: their own processes, or the processes that watch over them."""
        workers = [psutil.Process(self.pids()[f"worker-{number}"]) for number in range(WORKERS)]

        def tasks() -> list[psutil.Process]:
            pools = [pool for worker in workers for pool in worker.children()]
            return [task for pool in pools for task in pool.children() if task.is_running()]

        for task in eventually(lambda: found if len(found := tasks()) >= 3 else None, "three tasks") or []:
            with contextlib.suppress(psutil.Error):
                ([task, task.parent()][generation] or task).kill()

    def trigger_one(self, pipeline: str, name: str, *, fails: bool) -> str:
        """Start a run."""
        return self.trigger(pipeline, run_id=f"{name}-fails" if fails else name)

    def failures(self, pipeline: str) -> dict[str, bool | None]:
        """Of all runs."""
        over = {"success": False, "failed": True}
        found = self.api("GET", f"/dags/{pipeline}/dagRuns?limit=100&order_by=-id")["dag_runs"]
        return {run["dag_run_id"]: over.get(run["state"]) for run in found}

    def wait_until_healthy(self) -> None:
        """All of its components."""
        eventually(self._healthy, "a healthy Airflow")


class ChaosPrefect(WorkedPrefect, Supervised):
    """Prefect with process workers."""

    pipelines: ClassVar = {"chaos-shown": True, "chaos-plain": False}

    def __init__(self, home: Path, variables: Mapping[str, str], postgres: PostgreSQL, programs: Path) -> None:
        super().__init__(home, PIPELINES / "chaos_flows.py", variables, postgres, programs)
        self._postgres = postgres

    def faults(self) -> Mapping[str, Callable[[], None]]:
        """A process of each kind, and the database."""
        return {
            "flow killed": self._kill_flows,
            "worker killed": lambda: self._kill_and_start("worker-0"),
            "server killed": lambda: self._kill_and_start("server"),
            "database restarted": self._postgres.restart,
        }

    def _kill_flows(self) -> None:
        """Kill three flows' processes."""
        workers = [psutil.Process(self.pids()[f"worker-{number}"]) for number in range(WORKERS)]

        def flows() -> list[psutil.Process]:
            below = [child for worker in workers for child in worker.children(recursive=True)]
            return [child for child in below if _FLOW in _command(child)]

        for flow in (eventually(lambda: found if len(found := flows()) >= 3 else None, "three flows") or [])[:3]:
            with contextlib.suppress(psutil.Error):
                flow.kill()

    def trigger_one(self, pipeline: str, name: str, *, fails: bool) -> str:
        """Start a run."""
        return self.create_run(f"{pipeline}/chaos", fails=fails)

    def failures(self, pipeline: str) -> dict[str, bool | None]:
        """Of all runs."""
        over = {"COMPLETED": False, "FAILED": True, "CRASHED": True, "CANCELLED": True}
        return {run["id"]: over.get(run["state"]["type"]) for run in self.runs_of(pipeline) or []}

    def wait_until_healthy(self) -> None:
        """The server."""
        eventually(self._healthy, "a healthy Prefect")


def _command(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []
