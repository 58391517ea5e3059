"""A tag shows each run from its first task to its last; there is no other code.

What: the tag ``activitysmith`` gives a DAG's tasks and the DAG itself the notifiers that start, move and end its
stream. When: many DAGs, one habit. ``[activitysmith] stream_tagged_dags = False`` leaves only the end. Needs: the
connection ``activitysmith_default``.
"""

import time

from airflow.sdk import DAG, task

with DAG("example_tag_only", schedule=None, params={"fail": False}, tags=["example", "activitysmith"]):

    @task
    def tables() -> list[str]:
        return ["orders", "customers", "returns"]

    @task
    def load(table: str, params: dict[str, bool]) -> None:
        time.sleep(1)  # the work
        if params["fail"] and table == "customers":
            raise RuntimeError(f"{table} is locked")

    @task
    def check() -> None:
        time.sleep(1)

    @task
    def publish() -> None:
        time.sleep(1)

    load.expand(table=tables()) >> check() >> publish()
