"""A run on the lock screen from its first task to its last: one line on the flow.

python example_flows/live_activity.py [--fail]
"""

import sys
import time

from prefect import flow, task

from activitysmith_integrations.prefect import live_activity_hooks


@task
def extract(table: str) -> list[int]:
    time.sleep(1)  # the work
    return [len(table)]


@task
def transform(rows: list[int], fail: bool) -> list[int]:
    time.sleep(1)
    if fail:
        raise ValueError("row 2 is no good")
    return [row * 2 for row in rows]


@task
def load(rows: list[int]) -> None:
    time.sleep(1)
    print(f"loaded {len(rows)} rows")


# Four runs of tasks: extract for two tables, transform and load. Without a total their count is shown.
@flow(name="live-activity", **live_activity_hooks(total=4, title="Nightly ETL"))
def live_activity(fail: bool = False) -> None:
    rows = [row for table in extract.map(["orders", "customers"]).result() for row in table]
    load(transform(rows, fail))


if __name__ == "__main__":
    live_activity(fail="--fail" in sys.argv)
