"""Flows built as Prefect's published examples are; tests/live/test_prefect_structures.py deploys them."""

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from prefect import Flow, flow, get_client, pause_flow_run, serve, suspend_flow_run, task
from prefect.assets import materialize
from prefect.cache_policies import INPUTS, RUN_ID
from prefect.concurrency.sync import concurrency
from prefect.deployments import run_deployment
from prefect.deployments.runner import RunnerDeployment
from prefect.input import RunInput
from prefect.runtime import flow_run
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner
from prefect.transactions import Transaction, transaction

from activitysmith_integrations.core import stream_key
from activitysmith_integrations.prefect import live_activity_hooks

SECONDS = 0.4


def shown(total: int, **options: Any) -> Any:
    return live_activity_hooks(total=total, credentials="structures", **options)


def until_shown(steps: int = 1) -> None:
    """Wait until the run's bar has so many steps; a busy server learns late of the tasks that are over."""
    requests = f"{os.environ['SANDBOX']}/sandbox/streams"
    key = stream_key(flow_run.flow_name, flow_run.id)
    while not any(
        request["body"]["content_state"]["current_step"] >= steps
        for request in httpx.get(requests).raise_for_status().json()["requests"]
        if request["stream_key"] == key
    ):
        time.sleep(0.2)


@task
def step(number: int = 0) -> int:
    time.sleep(SECONDS)
    return number


@flow(name="plain", **shown(8))
def plain() -> None:
    for number in range(7):
        step(number)
    until_shown()
    step()


attempts: dict[int, int] = {}


@task(retries=2, retry_delay_seconds=0.2)
def flaky(number: int) -> int:
    time.sleep(SECONDS)
    attempts[number] = attempts.get(number, 0) + 1
    if attempts[number] < 3:
        raise ConnectionError("not yet")
    return number


@flow(name="retries", **shown(6))
def retries() -> None:
    for number in range(5):
        flaky(number)
    until_shown()
    flaky(5)


@task(retries=3)
def extract(page: int) -> list[int]:
    time.sleep(SECONDS)
    return [page, page + 1]


@task
def transform(rows: list[list[int]]) -> list[int]:
    time.sleep(SECONDS)
    return [row for page in rows for row in page]


@task
def load(rows: list[int]) -> int:
    time.sleep(SECONDS)
    return len(rows)


@flow(name="etl", **shown(8))
def etl() -> int:
    pages = [extract(page) for page in range(6)]
    until_shown()
    return load(transform(pages))


@task
def limited(number: int) -> int:
    with concurrency("structures", occupy=1):
        time.sleep(SECONDS)
    return number


@flow(name="per-worker-concurrency", **shown(6))
def per_worker_concurrency() -> None:
    limited.map(range(5)).result()
    until_shown()
    limited(5)


@task
def write(path: str) -> None:
    time.sleep(SECONDS)
    Path(path).write_text("rows")


@write.on_rollback
def remove(txn: Transaction) -> None:
    Path(str(txn.get("path"))).unlink(missing_ok=True)


@task
def check(path: str) -> None:
    time.sleep(SECONDS)
    if not Path(path).read_text().startswith("columns"):
        raise ValueError("these are no columns")


@flow(name="transactions", **shown(6))
def transactions() -> None:
    for number in range(4):
        step(number)
    path = os.path.join(os.environ["LIVE_DIRECTORY"], "written")
    with transaction() as txn:
        txn.set("path", path)
        write(path)
        until_shown()
        check(path)


@materialize("file://warehouse/orders")
def orders() -> int:
    time.sleep(SECONDS)
    return 7


@materialize("file://warehouse/report", asset_deps=["file://warehouse/orders"])
def report(rows: int) -> int:
    time.sleep(SECONDS)
    return rows


@flow(name="assets", **shown(6))
def assets() -> None:
    for _ in range(2):
        report(orders())
    until_shown()
    report(orders())


@flow(name="mapped", **shown(12))
def mapped() -> int:
    return transform_sum(step.map(range(11)))


@task
def transform_sum(numbers: list[int]) -> int:
    until_shown()
    return sum(numbers)


@flow
def of_one_table(number: int) -> None:
    step(number)


@flow(name="a-shown-subflow", **shown(8))
def shown_subflow() -> None:
    for number in range(7):
        step(number)
    until_shown()
    step()


@flow(name="subflows", **shown(6))
def subflows() -> None:
    for number in range(4):
        of_one_table(number)
    step()
    until_shown()
    shown_subflow()


class Approval(RunInput):
    """What a person says to a paused run."""

    is_approved: bool


@flow(name="pause", **shown(6))
def pause() -> None:
    for number in range(3):
        step(number)
    answer = pause_flow_run(wait_for_input=Approval, timeout=120, poll_interval=1)
    assert answer.is_approved
    for number in range(3):
        step(number)


@flow(name="deferred", **shown(5))
def deferred() -> None:
    for number in range(4):
        step(number)
    until_shown()
    run_deployment("a-shown-subflow/structures", timeout=0)


@task
def pages() -> Iterator[int]:
    for number in range(6):
        time.sleep(SECONDS)
        yield number


@flow(name="generators", **shown(7))
def generators() -> Iterator[int]:
    for number in pages():
        if number == 5:
            until_shown()
        yield step(number)


@flow(name="consuming", **shown(1, title="Consuming"))
def consuming() -> None:
    assert list(generators()) == [*range(6)]


# What goes on while the server is gone


@flow(name="outage", **shown(60))
def outage() -> None:
    for number in range(30):
        step(number)
    while not Path(os.environ["LIVE_DIRECTORY"], "server-is-back").exists():
        time.sleep(0.1)
    for number in range(30):
        step(number)


@flow(name="suspended", persist_result=True, **shown(4))
def suspended() -> None:
    part(1)
    part(2)
    until_shown(2)
    suspend_flow_run(timeout=600, key="once")
    part(3)
    part(4)


@task(persist_result=True, cache_policy=INPUTS + RUN_ID)
def part(number: int) -> int:
    return number


# Runners


def runner(name: str) -> TaskRunner[Any]:
    if name == "process":
        return ProcessPoolTaskRunner(max_workers=2)
    from prefect_dask import DaskTaskRunner

    dask: TaskRunner[Any] = DaskTaskRunner(cluster_kwargs={"n_workers": 1, "threads_per_worker": 2, "processes": True})
    return dask


@flow(name="in-other-processes", **shown(12))
def in_other_processes() -> None:
    step.map(range(11)).result()
    with get_client(sync_client=True) as client:
        client.set_flow_run_name(flow_run.id, "renamed")
    transform_sum([1])


STRUCTURES: dict[str, Flow[..., Any]] = {
    "plain": plain,
    "retries": retries,
    "etl": etl,
    "per-worker-concurrency": per_worker_concurrency,
    "transactions": transactions,
    "assets": assets,
    "mapped": mapped,
    "subflows": subflows,
    "pause": pause,
    "deferred": deferred,
    "consuming": consuming,
}

if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve"]:
            flows = (*STRUCTURES.values(), shown_subflow, outage, suspended)
            served = [
                RunnerDeployment.from_entrypoint(f"{Path(__file__).resolve()}:{flow.fn.__name__}", name="structures")
                for flow in flows
            ]
            serve(*served, limit=3)
        case ["run", name]:
            in_other_processes.with_options(task_runner=runner(name))()
