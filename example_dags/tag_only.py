"""A tag ends the stream; there is no other code.

What: the tag ``activitysmith`` gives a DAG the notifier on success and failure. When: many DAGs, one habit.
``[activitysmith] end_tagged_dags = False`` turns it off. Needs: the connection ``activitysmith_default``.
"""

from airflow.sdk import DAG, task

with DAG("example_tag_only", schedule=None, params={"fail": False}, tags=["example", "activitysmith"]):

    @task
    def work(params: dict[str, bool]) -> None:
        if params["fail"]:
            raise RuntimeError("it did not work")

    work()
