"""How far a flow run is, as Prefect's API knows it: about half a second behind, whatever runs the tasks (3.9).

Prefect orchestrates tasks where they run. The API learns of their states through events, the same way for threads,
processes and other machines. A run's finished and failed task runs are one request of some 10 ms.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from prefect import get_client
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import StateType
from prefect.client.schemas.sorting import TaskRunSort
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

REQUEST_SECONDS = 5.0
# More than the clocks of two machines differ.
CLOCK_DIFFERENCE = timedelta(days=1)

_FAILED = (StateType.FAILED, StateType.CRASHED)
_FINISHED = (StateType.COMPLETED, StateType.CANCELLED, *_FAILED)
_RUN_DEPLOYMENT = "prefect.deployments.flow_runs.run_deployment."
_NEVER_BEGINS = "NotReady"  # a state of the type PENDING


@dataclass(frozen=True)
class TaskCounts:
    """How many task runs a flow run has: nested ones count, and each subflow is one.

    Args:
        finished: Those that are over, failed and cancelled ones included.
        failed: Those that failed or crashed.
        cancelled: Those that were cancelled: they are over, and neither done nor failed.
        unfinished: Those that go on or are yet to begin. One whose inputs failed never begins, so it is not among them.
    """

    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    unfinished: int = 0

    @property
    def done(self) -> int:
        """Those that completed."""
        return self.finished - self.failed - self.cancelled


@contextmanager
def impatient_client(seconds: float = REQUEST_SECONDS) -> Iterator[SyncPrefectClient]:
    """A client that asks once and waits for 5 s at most: the next question is the better repetition.

    Args:
        seconds: How long each step of a request may take, if not 5 s.
    """
    with (
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
        get_client(sync_client=True, httpx_settings={"timeout": min(seconds, REQUEST_SECONDS)}) as client,
    ):
        yield client


def count_tasks(api: SyncPrefectClient, run_id: UUID, since: datetime, *, is_first_attempt: bool = True) -> TaskCounts:
    """The task runs of a flow run by what became of them.

    Args:
        api: The client.
        run_id: The flow run.
        since: Leave out those that were made before this moment.
        is_first_attempt: Whether the flow was not run before, so that none of its subflows can be run again.
    """
    end = datetime.now(UTC) + CLOCK_DIFFERENCE
    question = {
        "history_start": since.isoformat(),
        "history_end": end.isoformat(),
        "history_interval_seconds": (end - since).total_seconds() + 1,  # one interval
        "flow_runs": {"id": {"any_": [str(run_id)]}},
    }
    intervals = api.request("POST", "/task_runs/history", json=question).json()
    by_type = Counter[str]()
    for state in (state for interval in intervals for state in interval["states"]):
        if state["state_name"] != _NEVER_BEGINS:
            by_type[state["state_type"]] += state["count_runs"]
    if not is_first_attempt:
        by_type.update(run["state_type"] for run in _subflows_run_again(api, run_id, since))
    finished = sum(by_type[kind.value] for kind in _FINISHED)
    return TaskCounts(
        finished,
        failed=sum(by_type[kind.value] for kind in _FAILED),
        cancelled=by_type[StateType.CANCELLED.value],
        unfinished=by_type.total() - finished,
    )


def _subflows_run_again(api: SyncPrefectClient, run_id: UUID, since: datetime) -> list[dict[str, Any]]:
    """The task runs of those subflows: they are the ones of the attempt before, with another state (3.6 to 3.9)."""
    question = {
        "flow_runs": {"id": {"any_": [str(run_id)]}},
        "task_runs": {"subflow_runs": {"exists_": True}, "expected_start_time": {"before_": since.isoformat()}},
    }
    found = api.request("POST", "/task_runs/filter", json=question).json()
    return [run for run in found if run["state"] and datetime.fromisoformat(run["state"]["timestamp"]) > since]


def first_failed_task(
    api: SyncPrefectClient, run_id: UUID, since: datetime, *, is_first_attempt: bool = True
) -> str | None:
    """The name of the failed task that began first, None where none failed.

    One that crashed is not named: so do all tasks of a run that somebody cancels.

    Args:
        api: The client.
        run_id: The flow run.
        since: Leave out those that started before this moment.
        is_first_attempt: Whether the flow was not run before, so that none of its subflows can be run again.
    """
    question = {
        "flow_runs": {"id": {"any_": [str(run_id)]}},
        "task_runs": {
            "state": {"type": {"any_": [StateType.FAILED.value]}},
            "start_time": {"after_": since.isoformat()},
        },
        "sort": TaskRunSort.EXPECTED_START_TIME_ASC.value,
        "limit": 1,
    }
    found = api.request("POST", "/task_runs/filter", json=question).json()
    if not found and not is_first_attempt:
        again = _subflows_run_again(api, run_id, since)
        found = [run for run in again if run["state_type"] == StateType.FAILED.value]
    return next((name_of_task_run(run["name"], run["task_key"], run["dynamic_key"]) for run in found), None)


def name_of_task_run(name: str, task_key: str, dynamic_key: str) -> str:
    """What people call a task: the name of its run without what Prefect adds (3.6 to 3.9).

    That is a hyphen, and all of the run's own key or three letters of it. For the run of a deployment that another flow
    waits for, the server invents a name; its key ends with those of flow and deployment.
    """
    _, is_deployment, deployment = task_key.partition(_RUN_DEPLOYMENT)
    if is_deployment:
        return deployment
    added = (f"-{dynamic_key}", f"-{dynamic_key[:3]}")
    return next((name.removesuffix(end) for end in added if name.endswith(end)), name)
