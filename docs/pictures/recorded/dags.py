"""The two runs of the moving picture: one succeeds, and the other fails at its third task.

``python tools/pictures.py record`` keeps what a sandbox received of them.
"""

import time
from datetime import datetime, timedelta

from airflow.sdk import DAG, chain, task

SECONDS = 4.0

for name, steps, fails_at in (
    ("nightly_etl", ("extract", "transform", "load", "check", "publish"), None),
    ("sync_orders", ("fetch", "merge", "load", "notify"), "load"),
):
    with DAG(
        name,
        schedule="0 3 * * *",
        start_date=datetime(2026, 11, 23),
        end_date=datetime(2026, 11, 23, 12),
        catchup=True,
        tags=["activitysmith"],
    ) as dag:

        @task
        def work(fails: bool) -> None:
            time.sleep(SECONDS)
            if fails:
                raise RuntimeError("the warehouse is locked")

        # A busy machine may lose a try; the failure that is to be seen is tried once.
        tries = {"retry_delay": timedelta(seconds=1)}
        chain(
            *(
                work.override(task_id=step, retries=0 if step == fails_at else 3, **tries)(step == fails_at)
                for step in steps
            )
        )
    globals()[name] = dag
