"""The same work twice: 30 tasks of a second, three at a time, without and with a stream that shows them."""

import time

from airflow.sdk import DAG, chain, task

for name, tags in (("plain", []), ("shown", ["activitysmith"])):
    with DAG(name, schedule=None, tags=tags):

        @task
        def work() -> None:
            time.sleep(1)

        chain(*[[work.override(task_id=f"work_{row}_{number}")() for number in range(3)] for row in range(10)])
