"""A callback ends the stream; one notifier serves success and failure.

What: when the run is over, its Live Activity ends with the picture of what happened. When: you want no extra task.
Callbacks are best effort: Airflow calls none when somebody marks a run by hand. Needs: the connection
``activitysmith_default``.
"""

from airflow.sdk import DAG, task

from activitysmith_integrations.airflow.notifications import end_activitysmith_stream

end_stream = end_activitysmith_stream()

with DAG(
    "example_notifier_on_the_dag",
    schedule=None,
    params={"fail": False},
    on_success_callback=end_stream,
    on_failure_callback=end_stream,
    tags=["example"],
):

    @task
    def extract() -> list[int]:
        return [1, 2, 3]

    @task
    def load(rows: list[int], params: dict[str, bool]) -> None:
        if params["fail"]:
            raise RuntimeError("the warehouse said no")

    @task
    def publish() -> None:
        print("published")

    load(extract()) >> publish()
