"""What became of a run's task runs, as Prefect's API counts them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

pytest.importorskip("prefect")

from prefect import flow, get_client, task
from prefect.client.schemas.objects import State
from prefect.deployments import run_deployment
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Crashed, Failed, Running
from support.processes import eventually

from activitysmith_integrations.prefect.task_counts import (
    TaskCounts,
    count_tasks,
    first_failed_task,
    impatient_client,
)

pytestmark = pytest.mark.usefixtures("server")


def test_finished_failed_crashed_cancelled_and_running_tasks_are_counted_for_what_they_are() -> None:
    since = datetime.now(UTC) - timedelta(minutes=1)
    wanted = TaskCounts(finished=4, failed=2, cancelled=1, unfinished=1)

    @task
    def end(make_state: Callable[[], State]) -> State:
        return make_state()

    @task
    def look() -> None:
        with impatient_client() as api:
            run_id = UUID(flow_run.get_id())
            eventually(lambda: count_tasks(api, run_id, since) == wanted, str(wanted), 30)

    @flow
    def nightly() -> None:
        for make_state in (Completed, Failed, Crashed, Cancelled):
            end(make_state, return_state=True)
        look()

    nightly()
    assert wanted.done == 1


def failed_task_of(run_id: UUID, **more: Any) -> str:
    """What the API says that the failed task of a run is called, which it learns a moment later."""
    found: list[str] = []
    known = {"since": datetime.now(UTC) - timedelta(minutes=1), **more}

    def is_known() -> bool:
        with impatient_client() as api:
            found.append(first_failed_task(api, run_id, **known) or "")
        return bool(found[-1])

    eventually(is_known, "the failed task", 30)
    return found[-1]


def test_a_failed_subflow_of_a_task_is_called_by_its_name() -> None:
    runs = list[UUID]()

    @flow
    def orders() -> None:
        raise LookupError("no such table")

    @task
    def load() -> None:
        orders(return_state=True)

    @flow
    def nightly() -> None:
        runs.append(UUID(flow_run.get_id()))
        load()

    nightly()
    assert failed_task_of(runs[0]) == "orders"


def test_a_failed_deployment_that_a_flow_ran_is_called_by_its_name() -> None:
    runs = list[UUID]()

    @flow
    def orders() -> None: ...

    @flow
    def nightly() -> None:
        runs.append(UUID(flow_run.get_id()))
        run = run_deployment("orders/hourly", timeout=0)
        with get_client(sync_client=True) as client:
            for state in (Running(), Failed()):
                client.set_flow_run_state(run.id, state, force=True)

    with get_client(sync_client=True) as client:
        client.create_deployment(client.create_flow(orders), "hourly")
    nightly()
    assert failed_task_of(runs[0]) == "orders-hourly"


def test_a_subflow_that_runs_again_since_its_parent_is_retried_counts_again() -> None:
    attempts, runs = list[datetime](), list[UUID]()

    @flow
    def load(name: str) -> None:
        if name == "orders" or len(attempts) == 1:
            raise LookupError("no such table")

    @flow(retries=1)
    def nightly() -> None:
        attempts.append(datetime.now(UTC))
        runs.append(UUID(flow_run.get_id()))
        load.with_options(name="customers")("customers")
        load.with_options(name="orders")("orders")

    nightly(return_state=True)
    again: dict[str, Any] = {"since": attempts[1], "is_first_attempt": False}
    assert failed_task_of(runs[0], **again) == "orders"
    with impatient_client() as api:
        assert count_tasks(api, runs[0], **again) == TaskCounts(finished=2, failed=1)
