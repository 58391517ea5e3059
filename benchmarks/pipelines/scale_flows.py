"""Two hundred runs of each of these are made at once. A run's name is the key of its own stream.

A process for each of them would need more memory than a machine for tests has, so a run of ``batch``, which a worker
starts in a process of its own, runs some of them side by side.
"""

import contextvars
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.deployments.runner import RunnerDeployment
from prefect.logging.loggers import flow_run_logger

from activitysmith_integrations.prefect import end_live_activity_stream, end_live_activity_stream_hook

started: dict[Any, float] = {}


def start_the_clock(flow: Any, flow_run: Any, state: Any) -> None:
    started[flow_run.id] = time.monotonic()


def read_the_clock(flow: Any, flow_run: Any, state: Any) -> None:
    took = time.monotonic() - started[flow_run.id]
    flow_run_logger(flow_run, flow).info("The callback of %s took %.3f s", flow_run.name, took)


end_the_stream = end_live_activity_stream_hook(lambda flow, run: run.name)


@flow(name="scale-hooks", flow_run_name="{stream}", on_completion=[start_the_clock, end_the_stream, read_the_clock])
def hooks(stream: str) -> None: ...


@flow(name="scale-tasks", flow_run_name="{stream}")
def tasks(stream: str) -> None:
    end_live_activity_stream(stream)


FLOWS = {"hooks": hooks, "tasks": tasks}


@flow(name="scale-batch")
def batch(kind: str, streams: list[str], gate: str) -> None:
    """Run one of the flows for each stream, once *gate* exists."""
    while not Path(gate).exists():
        time.sleep(0.1)
    with ThreadPoolExecutor(len(streams)) as pool:
        runs = [pool.submit(contextvars.copy_context().run, FLOWS[kind], stream) for stream in streams]
    for run in runs:
        run.result()


if __name__ == "__main__":
    pool_name = sys.argv[1]
    entrypoint = f"{Path(__file__).resolve()}:batch"
    RunnerDeployment.from_entrypoint(entrypoint, name="scale", work_pool_name=pool_name).apply()
