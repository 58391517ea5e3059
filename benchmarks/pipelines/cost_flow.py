"""200 tasks of a second, 20 at a time, as a flow without or with a stream that shows it: the seconds of the run."""

import sys
import time

from prefect import flow, task
from prefect.task_runners import ThreadPoolTaskRunner

from activitysmith_integrations.prefect import live_activity_hooks

hooks = live_activity_hooks(total=200) if sys.argv[1] == "shown" else {}


@task
def work(number: int) -> None:
    time.sleep(1)


@flow(name=sys.argv[1], task_runner=ThreadPoolTaskRunner(max_workers=20), **hooks)
def run() -> None:
    work.map(range(200)).wait()


start = time.monotonic()
run()
print(time.monotonic() - start)
