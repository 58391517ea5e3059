"""A state of your own while a run goes on: tasks show figures that they computed.

What: the task that counts shows its figure when it is done, on the run's own stream, and the DAG ends it. When: how far
the run is matters less than what it found. Needs: the connection ``activitysmith_default``.
"""

import time

from airflow.sdk import DAG, chain, task

from activitysmith_integrations.airflow.notifications import ActivitySmithStreamNotifier, end_activitysmith_stream

rows = ActivitySmithStreamNotifier(
    content_state={
        "type": "stats",
        "title": "Warehouse",
        "metrics": [{"label": "Rows", "value": "{{ ti.xcom_pull(task_ids='count_rows') }}"}],
    }
)
end = end_activitysmith_stream(title="Warehouse")

with DAG(
    "example_own_state_while_it_runs",
    schedule=None,
    params={"fail": False},
    tags=["example"],
    on_success_callback=end,
    on_failure_callback=end,
):

    @task(on_success_callback=rows)
    def count_rows() -> int:
        return 1200

    @task
    def load(params: dict[str, bool]) -> None:
        time.sleep(1)  # the work
        if params["fail"]:
            raise RuntimeError("it did not work")

    chain(count_rows(), load())
