"""Runs that one task follows; the run's configuration says how long they take and whether they fail."""

import time
from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, BaseOperator, chain, get_current_context, task
from airflow.triggers.base import StartTriggerArgs

from activitysmith_integrations.airflow.operators import ActivitySmithFollowRunOperator

ACCOUNT = "{{ dag_run.conf['account'] }}"


def conf(name, default):
    return get_current_context()["dag_run"].conf.get(name, default)


with DAG("follow_steps", schedule=None):
    ActivitySmithFollowRunOperator(task_id="follow", activitysmith_conn_id=ACCOUNT, retries=2)

    @task
    def begin():
        time.sleep(conf("begin", 1))

    @task
    def work():
        time.sleep(conf("work", 20))

    @task
    def finish():
        if conf("fail", False):
            raise RuntimeError("the last step does not work")

    chain(begin(), work(), finish())

with DAG("follow_mapped", schedule=None, max_active_tasks=64):
    ActivitySmithFollowRunOperator(task_id="follow", activitysmith_conn_id=ACCOUNT, retries=2)

    @task
    def files():
        return list(range(conf("instances", 500)))

    @task
    def load(number):
        pass

    @task
    def publish(numbers):
        pass

    publish(load.expand(number=files()))


class Waits(BaseOperator):
    """Waits in the triggerer from its beginning on, so that hundreds of runs need no worker for their work."""

    start_from_trigger = True
    start_trigger_args = StartTriggerArgs(
        trigger_cls="airflow.providers.standard.triggers.temporal.TimeDeltaTrigger",
        trigger_kwargs={"delta": timedelta(seconds=60), "end_from_trigger": True},
        next_method="execute_complete",
        next_kwargs=None,
        timeout=None,
    )


with DAG("follow_many", schedule=None, max_active_runs=1000, max_active_tasks=1000):
    ActivitySmithFollowRunOperator(task_id="follow", activitysmith_conn_id=ACCOUNT, retries=2)
    chain(Waits(task_id="first"), Waits(task_id="second"), EmptyOperator(task_id="last"))
