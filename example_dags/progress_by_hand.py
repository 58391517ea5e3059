"""Progress by hand: an operator starts the stream, tasks move it, the DAG ends it.

What: the start comes with a banner, and all three say which title. When: the tag does not say enough. Needs: the
connection ``activitysmith_default``.
"""

import time

from airflow.sdk import DAG, chain, task

from activitysmith_integrations.airflow.notifications import ActivitySmithStreamNotifier, end_activitysmith_stream
from activitysmith_integrations.airflow.operators import ActivitySmithStreamOperator

move = ActivitySmithStreamNotifier(title="By hand")
end = end_activitysmith_stream(title="By hand")

with DAG(
    "example_progress_by_hand",
    schedule=None,
    params={"fail": False},
    tags=["example"],
    default_args={"on_success_callback": move, "on_failure_callback": move, "on_skipped_callback": move},
    on_success_callback=end,
    on_failure_callback=end,
):
    start = ActivitySmithStreamOperator(
        task_id="start_stream", title="By hand", alert={"title": "By hand", "body": "It begins."}
    )

    @task
    def extract() -> None:
        time.sleep(1)  # the work

    @task
    def load(params: dict[str, bool]) -> None:
        time.sleep(1)
        if params["fail"]:
            raise RuntimeError("it did not work")

    chain(start, extract(), load())
