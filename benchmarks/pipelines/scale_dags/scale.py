"""Two hundred runs of each of these are made at once. A run's id is the key of its own stream."""

import logging
import time
from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, task

from activitysmith_integrations.airflow.notifications import ActivitySmithEndStreamNotifier
from activitysmith_integrations.airflow.operators import ActivitySmithEndStreamOperator
from activitysmith_integrations.airflow.retries import ActivitySmithRetryPolicy

log = logging.getLogger(__name__)
started = 0.0


def start_the_clock(context):
    global started
    started = time.monotonic()


def read_the_clock(context):
    log.info("The callback of %s took %.3f s", context["run_id"], time.monotonic() - started)


with DAG(
    "scale_callbacks",
    schedule=None,
    on_success_callback=[start_the_clock, ActivitySmithEndStreamNotifier("{{ run_id }}"), read_the_clock],
):

    @task
    def work():
        pass

    work()

with DAG("scale_operators", schedule=None):
    # Without a callback of its own, the scheduler itself says that it succeeded: the runs arrive at the end together.
    (
        EmptyOperator(task_id="work")
        >> ActivitySmithEndStreamOperator(
            task_id="end",
            stream_key="{{ run_id }}",
            retries=10,
            retry_delay=timedelta(seconds=30),
            retry_policy=ActivitySmithRetryPolicy(),
        ).as_teardown()
    )

with DAG("scale_deferrable", schedule=None):
    (
        EmptyOperator(task_id="work")
        >> ActivitySmithEndStreamOperator(
            task_id="end", stream_key="{{ run_id }}", retries=10, retry_delay=timedelta(seconds=30), deferrable=True
        ).as_teardown()
    )
