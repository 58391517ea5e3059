"""A flow of many short tasks, without or with a stream that shows it; or the same flow, served.

``run plain|shown TASKS threads|processes`` prints what one run costs its process, as JSON. ``serve`` serves it.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from prefect import flow, serve, task
from prefect.deployments.runner import RunnerDeployment
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from activitysmith_integrations.prefect import live_activity_hooks

hooks = live_activity_hooks(total=int(sys.argv[3])) if "shown" in sys.argv else {}
RUNNERS: dict[str, Callable[[], TaskRunner[Any]]] = {
    "threads": lambda: ThreadPoolTaskRunner(max_workers=20),
    "processes": lambda: ProcessPoolTaskRunner(max_workers=2),
}


@task
def work(number: int) -> None:
    time.sleep(0.1)


@flow(name="many-tasks", **hooks)
def many_tasks(tasks: int = 200) -> None:
    work.map(range(tasks)).wait()


@flow(name="served", **live_activity_hooks(total=2))
def served(number: int) -> None:
    work(1)
    work(2)


def _count_requests() -> list[str]:
    """The paths of all requests to Prefect's API from now on."""
    paths: list[str] = []
    for client in (httpx.Client, httpx.AsyncClient):
        send = client.send

        def counted(self: Any, request: httpx.Request, *args: Any, _send: Any = send, **options: Any) -> Any:
            paths.append(request.url.path)
            return _send(self, request, *args, **options)

        client.send = counted  # type: ignore[assignment, method-assign]
    return paths


def _run(tasks: int, runner: str) -> None:
    paths = _count_requests()
    began = time.monotonic()
    many_tasks.with_options(task_runner=RUNNERS[runner]())(tasks)
    seconds = time.monotonic() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": seconds, "requests": len(paths), "memory": peak}))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["run", _, tasks, runner]:
            _run(int(tasks), runner)
        case ["serve"]:
            entry = f"{Path(__file__).resolve()}:served"
            serve(RunnerDeployment.from_entrypoint(entry, name="bench"), limit=4)
