"""A task ends the stream, and Airflow's retries make sure that it does.

What: the tag starts and moves the stream; the last task looks at the run and shows what happened: green when every
step is complete, a red alert that names the failed step otherwise. As a teardown it also runs after a failure, and a
run that failed stays failed. Where it does not run (``dagrun_timeout``), the tag's callback ends the stream.
When: you would rather see a failed task than a picture that never ended.
Needs: the connection ``activitysmith_default``.
"""

from datetime import timedelta

from airflow.sdk import DAG, task

from activitysmith_integrations.airflow.operators import ActivitySmithEndStreamOperator

with DAG("example_operator_at_the_end", schedule=None, params={"fail": False}, tags=["example", "activitysmith"]):

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

    end_stream = ActivitySmithEndStreamOperator(
        task_id="end_stream",
        retries=3,
        retry_delay=timedelta(seconds=30),
    ).as_teardown()
    load(extract()) >> publish() >> end_stream
