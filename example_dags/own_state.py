"""A state of your own: any picture the service can show, with templates in it.

What: the run ends with figures that a task computed, and a failure still shows what failed. When: the default picture
is not what matters here. Needs: the connection ``activitysmith_default``.
"""

from airflow.sdk import DAG, task

from activitysmith_integrations.airflow.notifications import end_activitysmith_stream
from activitysmith_integrations.airflow.operators import ActivitySmithEndStreamOperator

STREAM = "warehouse-rows"

with DAG(
    "example_own_state",
    schedule=None,
    params={"fail": False},
    on_failure_callback=end_activitysmith_stream(STREAM, title="Warehouse"),
    tags=["example"],
):

    @task
    def count_rows(params: dict[str, bool]) -> int:
        if params["fail"]:
            raise RuntimeError("nothing to count")
        return 1200

    end_stream = ActivitySmithEndStreamOperator(
        task_id="end_stream",
        stream_key=STREAM,
        content_state={
            "type": "metrics",
            "title": "Warehouse",
            "subtitle": "{{ dag_run.run_id }}",
            "metrics": [{"label": "Rows", "value": "{{ ti.xcom_pull(task_ids='count_rows') }}"}],
            "auto_dismiss_minutes": "{{ 5 * 2 }}",
        },
    )
    count_rows() >> end_stream
