"""A tag shows each run from its first task to its last; there is no other code.

What: the tag ``activitysmith`` gives a DAG's tasks and the DAG itself the notifiers that start, move and end its
stream. When: many DAGs, one habit. ``[activitysmith] stream_tagged_dags = False`` leaves only the end. Needs: the
connection ``activitysmith_default``.
"""

from airflow.sdk import DAG, task

with DAG("example_tag_only", schedule=None, params={"fail": False}, tags=["example", "activitysmith"]):

    @task
    def work(params: dict[str, bool]) -> None:
        if params["fail"]:
            raise RuntimeError("it did not work")

    work()
