"""The same three tasks twice: shown by hooks, and not shown at all."""

import sys
import time
from pathlib import Path

from prefect import flow, task
from prefect.deployments.runner import RunnerDeployment

from activitysmith_integrations.prefect import live_activity_hooks


@task(retries=2, retry_delay_seconds=2)
def extract() -> None:
    time.sleep(2)


@task
def load(fails: bool) -> None:
    time.sleep(4)
    if fails:
        raise RuntimeError("as it is meant to")


@task
def report() -> None:
    time.sleep(1)


def work(fails: bool) -> None:
    extract()
    load(fails)
    report()


@flow(name="chaos-shown", **live_activity_hooks(total=3))
def shown(fails: bool) -> None:
    work(fails)


@flow(name="chaos-plain")
def plain(fails: bool) -> None:
    work(fails)


if __name__ == "__main__":
    for name in ("shown", "plain"):
        entrypoint = f"{Path(__file__).resolve()}:{name}"
        RunnerDeployment.from_entrypoint(entrypoint, name="chaos", work_pool_name=sys.argv[1]).apply()
