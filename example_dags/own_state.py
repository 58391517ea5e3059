"""A state of your own: any picture the service can show, with templates in it.

What: the stream starts without a figure and ends with the one that a task computed, and a failure still shows what
failed. When: the default picture is not what matters here. Needs: the connection ``activitysmith_default``.
"""

from airflow.sdk import DAG, task

from activitysmith_integrations.airflow.notifications import end_activitysmith_stream
from activitysmith_integrations.airflow.operators import ActivitySmithEndStreamOperator, ActivitySmithStreamOperator

with DAG(
    "example_own_state",
    schedule=None,
    params={"fail": False},
    on_failure_callback=end_activitysmith_stream(title="Warehouse"),
    tags=["example"],
):
    start_stream = ActivitySmithStreamOperator(
        task_id="start_stream",
        content_state={"type": "metrics", "title": "Warehouse", "metrics": [{"label": "Rows", "value": 0}]},
    )

    @task(trigger_rule="all_done")  # the work goes on where the account has no place for the stream
    def count_rows(params: dict[str, bool]) -> int:
        if params["fail"]:
            raise RuntimeError("nothing to count")
        return 1200

    end_stream = ActivitySmithEndStreamOperator(
        task_id="end_stream",
        content_state={
            "type": "metrics",
            "title": "Warehouse",
            "subtitle": "{{ dag_run.run_id }}",
            "metrics": [{"label": "Rows", "value": "{{ ti.xcom_pull(task_ids='count_rows') }}"}],
            "auto_dismiss_minutes": "{{ 5 * 2 }}",
        },
    )
    start_stream >> count_rows() >> end_stream
