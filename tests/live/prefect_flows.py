"""The flows that tests/live/test_prefect_deployments.py deploys. Their streams are named by their parameters."""

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect import Flow, flow, serve, suspend_flow_run, task
from prefect.cache_policies import INPUTS, RUN_ID
from prefect.deployments.runner import RunnerDeployment
from prefect.states import Cancelled

from activitysmith_integrations.prefect import (
    end_live_activity_stream_hook,
    end_live_activity_stream_hooks,
    live_activity_hooks,
)


def named_by_parameters(flow: Any, flow_run: Any) -> str:
    return str(flow_run.parameters["stream"])


hooks = end_live_activity_stream_hooks(named_by_parameters, credentials="live")


def sleep_for_long(stream: str) -> None:
    """Say which process this is, and stay."""
    started = Path(os.environ["LIVE_DIRECTORY"], stream)
    started.with_suffix(".part").write_text(str(os.getpid()))
    started.with_suffix(".part").rename(started)
    time.sleep(300)


def await_file(name: str) -> None:
    """Wait until the test lets the run go on."""
    while not Path(os.environ["LIVE_DIRECTORY"], name).exists():
        time.sleep(0.1)


@task
def extract() -> None: ...


@task
def load(how: str, stream: str) -> None:
    do(how, stream)


def do(how: str, stream: str) -> None:
    match how:
        case "fail":
            raise RuntimeError("the warehouse is full")
        case "sigkill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "sigterm":
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(300)
        case "sleep":
            sleep_for_long(stream)
        case "held":
            await_file(f"{stream}-may-end")


@flow(name="live-job", **hooks)
def job(stream: str, how: str = "succeed") -> None:
    extract()
    load(how, stream)


@flow(name="live-async", **hooks)
async def async_job(stream: str, how: str = "succeed") -> None:
    await asyncio.sleep(0.1)
    load(how, stream)


attempts = 0


@flow(name="live-recovering", retries=2, retry_delay_seconds=0, **hooks)
def recovering(stream: str, how: str = "succeed") -> None:
    global attempts
    attempts += 1
    if attempts < 3:
        load("fail", stream)


@flow(name="live-too-slow", timeout_seconds=1, **hooks)
async def too_slow(stream: str, how: str = "succeed") -> None:
    await asyncio.sleep(300)


@flow(name="live-parent", **hooks)
def parent(stream: str, how: str = "succeed") -> None:
    job(f"{stream}-child")


end_of_a_task = end_live_activity_stream_hook(lambda task, task_run: task_run.name, credentials="live")


@task(task_run_name="{stream}-{number}", on_completion=[end_of_a_task], on_failure=[end_of_a_task])
def table(stream: str, number: int) -> None:
    if number == 1:
        raise RuntimeError("the table is locked")


@flow(name="live-mapped", **hooks)
def mapped(stream: str, how: str = "succeed") -> None:
    table.map(stream, [0, 1, 2]).wait()


@flow(name="live-unhooked")
def unhooked(stream: str, how: str = "succeed") -> None:
    extract()
    load(how, stream)


marks: list[float] = []


def mark(flow: Any, flow_run: Any, state: Any) -> None:
    marks.append(time.monotonic())


@flow(name="live-direct", on_completion=[mark, end_live_activity_stream_hook(named_by_parameters), mark])
def direct(stream: str) -> None:
    extract()


def run_and_time(stream: str) -> tuple[str, float]:
    """The state that a run ends in, and the seconds that its hook took."""
    marks.clear()
    state = direct(stream, return_state=True)
    return state.type.value, marks[1] - marks[0]


# Runs that show how far they are. A second run in one stream is told apart by its parameter.


def named_without_again(flow: Any, flow_run: Any) -> str:
    return named_by_parameters(flow, flow_run).removesuffix("-again")


@task
def step(number: int, how: str) -> None:
    if number == 10:
        do(how, f"step-{number}")


def work(stream: str, how: str, tasks: int) -> None:
    if how == "together":
        Path(os.environ["LIVE_DIRECTORY"], f"{stream}.together").touch()
        while len([*Path(os.environ["LIVE_DIRECTORY"]).glob("*.together")]) < 4:
            time.sleep(0.1)
    step.map(range(tasks), how).wait()


@task
def slow_step() -> None:
    time.sleep(1)


@flow(name="live-moving", **live_activity_hooks(named_without_again, total=12, credentials="busy"))
def moving(stream: str, how: str = "succeed") -> None:
    for _ in range(12):
        slow_step()


@flow(name="live-uncounted", **live_activity_hooks(named_without_again, credentials="busy"))
def uncounted(stream: str, how: str = "succeed") -> None:
    for _ in range(12):
        slow_step()


@flow(name="live-short", **live_activity_hooks(named_without_again, total=20, credentials="busy"))
def short(stream: str, how: str = "succeed") -> None:
    work(stream, how, 20)


@flow(name="live-doomed", **live_activity_hooks(named_by_parameters, total=20, credentials="live"))
def doomed(stream: str, how: str = "succeed") -> None:
    for number in range(20):
        step(number, how)


# Runs that have a stream of their own by default.


@task
def wait(how: str) -> None:
    match how:
        case "long":
            time.sleep(5)
        case "fail":
            raise RuntimeError("the warehouse is full")
        case "quiet" | "wait":
            await_file("go-on")


@task(persist_result=True, cache_policy=INPUTS + RUN_ID)
def part(number: int) -> None: ...


@flow(name="live-own", persist_result=True, **live_activity_hooks(total=4, credentials="live"))
def own(stream: str, how: str = "succeed") -> Any:
    part(1)
    part(2)
    match how:
        case "suspend":
            await_file(f"{stream}-may-end")
            suspend_flow_run(timeout=600, key="once")
        case "cancelled":
            return Cancelled()
        case "quiet":  # nothing that this run does itself is logged, so that a broken console is met by Prefect's hooks
            await_file("go-on")
            return None
    wait(how)
    return None


FLOWS = (own, job, async_job, recovering, too_slow, parent, mapped, unhooked)
MOVING_FLOWS = (moving, uncounted, short, doomed)


def deployments(name: str, flows: Sequence[Flow[..., Any]] = FLOWS, **options: Any) -> list[RunnerDeployment]:
    return [
        RunnerDeployment.from_entrypoint(f"{Path(__file__).resolve()}:{flow.fn.__name__}", name=name, **options)
        for flow in flows
    ]


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve"]:
            serve(*deployments("serve"), limit=4)
        case ["serve-moving"]:
            serve(*deployments("moving", MOVING_FLOWS), limit=4)
        case ["serve-one"]:  # what this one serves is pickled for each run, not imported
            job.serve("serve-one")
        case ["deploy", pool]:
            for deployment in deployments(pool, work_pool_name=pool):
                deployment.apply()
        case ["run", stream, how]:
            unhooked(stream, how)
        case ["time", *streams]:
            Path(os.environ["LIVE_DIRECTORY"], "timed.json").write_text(
                json.dumps({stream: run_and_time(stream) for stream in streams})
            )
