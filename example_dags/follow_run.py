"""One task follows the run and shows it durably; nothing else is needed.

What: the stream starts when the run does, moves as its tasks end, and ends with what happened, also where the service
cannot be reached for a while or a triggerer dies. When: the run matters enough for a task of its own. Needs: a
triggerer, and the connection ``activitysmith_default``.
"""

import time

from airflow.sdk import DAG, chain, task

from activitysmith_integrations.airflow.operators import ActivitySmithFollowRunOperator

with DAG("example_follow_run", schedule=None, params={"fail": False}, tags=["example"]):
    ActivitySmithFollowRunOperator(task_id="follow_run")

    @task
    def extract() -> None:
        time.sleep(1)  # the work

    @task
    def load(params: dict[str, bool]) -> None:
        time.sleep(1)
        if params["fail"]:
            raise RuntimeError("it did not work")

    chain(extract(), load())
