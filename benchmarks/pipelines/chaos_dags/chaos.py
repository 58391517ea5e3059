"""The same three tasks three times: shown by the tag, followed by a task of its own, and not shown at all.

A run whose id ends in ``fails`` fails in its second task.
"""

import time
from datetime import timedelta

from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException

from activitysmith_integrations.airflow.operators import ActivitySmithFollowRunOperator

again = {"retries": 2, "retry_delay": timedelta(seconds=2)}

for name, tags in (("chaos_tagged", ["activitysmith"]), ("chaos_followed", []), ("chaos_plain", [])):
    with DAG(name, schedule=None, tags=tags, default_args=again):

        @task
        def extract() -> None:
            time.sleep(2)

        @task
        def load(run_id: str | None = None) -> None:
            time.sleep(4)
            if str(run_id).endswith("fails"):
                raise AirflowFailException("as it is meant to")

        @task
        def report() -> None:
            time.sleep(1)

        extract() >> load() >> report()
        if name == "chaos_followed":
            ActivitySmithFollowRunOperator(task_id="follow")
