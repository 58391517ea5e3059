"""DAGs that end in every way a DAG can end; the live tests run them."""

import time
from datetime import timedelta

from airflow.sdk import DAG, task

from activitysmith_integrations.airflow.notifications import ActivitySmithEndStreamNotifier, end_activitysmith_stream
from activitysmith_integrations.airflow.operators import ActivitySmithEndStreamOperator

try:
    from airflow.sdk import AsyncCallback, DeadlineAlert, DeadlineReference
except ImportError:
    from airflow.sdk.definitions.deadline import AsyncCallback, DeadlineAlert, DeadlineReference
try:
    from airflow.sdk import SyncCallback
except ImportError:
    SyncCallback = None


def both(notifier):
    return {"on_success_callback": notifier, "on_failure_callback": [notifier]}


def work(fail=False, seconds=0.0):
    @task
    def work():
        time.sleep(seconds)
        if fail:
            raise RuntimeError("password=hunter2")

    return work()


with DAG("live_success", schedule=None, **both(end_activitysmith_stream())):
    work()

with DAG("live_failure", schedule=None, **both(end_activitysmith_stream(activitysmith_conn_id="in_database"))):
    work(fail=True)

with DAG("live_timeout", schedule=None, dagrun_timeout=timedelta(seconds=4), **both(end_activitysmith_stream())):
    work(seconds=300)

with DAG("live_all_skipped", schedule=None, **both(end_activitysmith_stream())):

    @task.short_circuit
    def nothing_to_do():
        return False

    @task.skip_if(lambda context: True)
    @task
    def skipped():
        pass

    skipped()

with DAG("live_mapped", schedule=None):

    @task(**both(end_activitysmith_stream("mapped-{{ ti.map_index }}")))
    def each(number):
        if number == 1:
            raise RuntimeError

    each.expand(number=[0, 1, 2])

with DAG("live_task_callback", schedule=None):

    @task(on_success_callback=end_activitysmith_stream("task-{{ run_id.split('-')[0] }}"))
    def last():
        pass

    last()

with DAG("live_default_args", schedule=None, default_args=both(end_activitysmith_stream("default-{{ task.task_id }}"))):
    for name in ("one", "two"):

        @task(task_id=name)
        def part():
            pass

        part()

retried = end_activitysmith_stream("retried")
with DAG("live_retries", schedule=None):

    @task(retries=1, retry_delay=timedelta(seconds=1), on_retry_callback=retried, **both(retried))
    def stubborn():
        raise RuntimeError

    stubborn()

with DAG("live_tag", schedule=None, tags=["activitysmith"]):
    work(fail=True)

with DAG("live_batched", schedule=None, **both(end_activitysmith_stream("batched-{{ params.name }}"))) as batched:
    batched.params["name"] = "none"
    work()

with DAG("live_operator", schedule=None):
    work(fail=True) >> ActivitySmithEndStreamOperator(task_id="end", retries=2, retry_delay=1.0).as_teardown()

with DAG("live_deferred", schedule=None):
    work() >> ActivitySmithEndStreamOperator(task_id="end", deferrable=True)

with DAG("live_fault", schedule=None, **both(end_activitysmith_stream("fault-{{ params.name }}"))) as fault:
    fault.params["name"] = "none"
    work()

with DAG("live_fault_in_task", schedule=None) as fault_in_task:

    @task(on_success_callback=end_activitysmith_stream("task-fault-black-hole"))
    def held():
        pass

    held()


def deadline(callback):
    return DeadlineAlert(reference=DeadlineReference.DAGRUN_QUEUED_AT, interval=timedelta(seconds=1), callback=callback)


for kind, callback in (("async", AsyncCallback), ("sync", SyncCallback)):
    if callback is not None:
        alert = deadline(callback(ActivitySmithEndStreamNotifier, kwargs={"title": f"Late ({kind})"}))
        with DAG(f"live_deadline_{kind}", schedule=None, deadline=alert):
            work(seconds=25)
