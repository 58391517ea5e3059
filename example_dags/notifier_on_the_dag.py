"""A notifier of your own ends the stream that the tag starts and moves; one serves success and failure.

What: when the run is over, its Live Activity ends as the notifier says: here a failure stays for an hour. When: the end
is to look different, and you want no extra task. Needs: the connection ``activitysmith_default``.
"""

from airflow.sdk import DAG, task

from activitysmith_integrations.airflow.notifications import end_activitysmith_stream

end_stream = end_activitysmith_stream(failure_auto_dismiss_minutes=60)

with DAG(
    "example_notifier_on_the_dag",
    schedule=None,
    params={"fail": False},
    on_success_callback=end_stream,
    on_failure_callback=end_stream,
    tags=["example", "activitysmith"],
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
