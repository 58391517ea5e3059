"""Dynamic mapping: one stream for the run, one for each mapped task.

What: every table starts and ends a stream of its own; the tag shows the run, and a task ends it with all of its mapped
tasks counted. When: the number of steps is known only at run time, and is small: an account shows four Live Activities
at a time. Needs: the connection ``activitysmith_default``.
"""

from airflow.sdk import DAG, task

from activitysmith_integrations.airflow.notifications import ActivitySmithStreamNotifier, end_activitysmith_stream
from activitysmith_integrations.airflow.operators import ActivitySmithEndStreamOperator

start_table_stream = ActivitySmithStreamNotifier(
    "table-{{ ti.map_index }}",
    content_state={"type": "progress", "title": "Table {{ ti.map_index }}", "percentage": 0},
)
end_table_stream = end_activitysmith_stream("table-{{ ti.map_index }}", title="Table {{ ti.map_index }}")

with DAG("example_dynamic_mapping", schedule=None, params={"fail": False}, tags=["example", "activitysmith"]):

    @task
    def tables() -> list[str]:
        return ["orders", "customers", "returns"]

    @task(
        on_execute_callback=start_table_stream,
        on_success_callback=end_table_stream,
        on_failure_callback=end_table_stream,
    )
    def load(table: str, params: dict[str, bool]) -> None:
        if params["fail"] and table == "customers":
            raise RuntimeError(f"{table} is locked")

    end_stream = ActivitySmithEndStreamOperator(task_id="end_stream").as_teardown()
    load.expand(table=tables()) >> end_stream
