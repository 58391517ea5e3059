"""Prefect's server starts and ends the stream: no code on the flow, and it works when the flow's machine is gone.

python example_flows/automation.py [--fail], then once with --set-up; further runs are shown in the stream "automation".
"""

import sys

from prefect import flow, task

from activitysmith_integrations.prefect import live_activity_automation


@task
def extract() -> list[int]:
    return [1, 2, 3]


@task
def transform(rows: list[int], fail: bool) -> list[int]:
    if fail:
        raise ValueError("row 2 is no good")
    return [row * 2 for row in rows]


@flow(name="automation")
def automation(fail: bool = False) -> None:
    transform(extract(), fail)


if __name__ == "__main__":
    if "--set-up" in sys.argv:  # once the server knows the flow, and again after a change: it updates what is there
        live_activity_automation("automation", "automation")
    else:
        automation(fail="--fail" in sys.argv)
