"""``dag.test()`` twice in one process, as a developer does; run by the live tests."""

from airflow.sdk import DAG, task

from activitysmith_integrations.airflow.notifications import end_activitysmith_stream

notifier = end_activitysmith_stream("tested-{{ params.name }}")

with DAG("dag_test", schedule=None, params={"name": "none"}, on_success_callback=notifier) as dag:

    @task
    def work() -> None: ...

    work()

if __name__ == "__main__":
    for name in ("first", "second"):
        dag.test(run_conf={"name": name})
