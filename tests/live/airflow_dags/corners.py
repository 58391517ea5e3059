"""DAGs whose runs begin, go on and end in ways that are not the usual ones; the live tests run them."""

import os
import tempfile
import time
from datetime import timedelta
from pathlib import Path

from airflow.providers.standard.operators.bash import BashOperator
from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger
from airflow.sdk import DAG, BaseOperator, chain, get_current_context, task
from airflow.triggers.base import StartTriggerArgs

from activitysmith_integrations.airflow.notifications import end_activitysmith_stream
from activitysmith_integrations.airflow.operators import ActivitySmithFollowRunOperator
from activitysmith_integrations.core import stream_key

TAGGED = {"schedule": None, "tags": ["ActivitySmith"]}


def step(name, seconds=0.0, fail=False, **options):
    @task(task_id=name, **options)
    def work():
        time.sleep(seconds)
        if fail:
            raise RuntimeError("password=hunter2")

    return work()


with DAG("corner_template", **TAGGED):
    # Jinja fails before the task's first callback.
    BashOperator(task_id="first", bash_command="echo {{ no.such.name }}")

with DAG("corner_pool", dagrun_timeout=timedelta(seconds=6), **TAGGED):
    BashOperator(task_id="waits", bash_command="true", pool="no_slots")

with DAG("corner_nothing_to_expand", **TAGGED):
    chain(
        BashOperator.partial(task_id="each").expand(bash_command=[]),
        BashOperator(task_id="after", bash_command="true", trigger_rule="all_done"),
        BashOperator(task_id="last", bash_command="true"),
    )

# The first worker process of this task dies before it calls anything, as a pod that is evicted.
mark = Path(tempfile.gettempdir()) / f"lost-first-try-{os.getuid()}.mark"
if os.environ.get("_AIRFLOW_PARSING_CONTEXT_TASK_ID") == "lost" and not mark.exists():
    mark.touch()
    os.kill(os.getpid(), 9)

with DAG("corner_lost_try", **TAGGED):
    step("lost", retries=1, retry_delay=timedelta(seconds=1))


# A trigger that fires before the scheduler has heard from the worker makes Airflow 3.1 fail the task, with "finished
# with state success, but the task instance's state attribute is scheduled"; a busy machine takes seconds for that.
AFTER_ALL_IS_HEARD = timedelta(seconds=15)


class Waits(BaseOperator):
    """Begins in the triggerer; on a worker before Airflow 3.3, which passes `start_from_trigger` over until then."""

    start_from_trigger = True
    start_trigger_args = StartTriggerArgs(
        trigger_cls="airflow.providers.standard.triggers.temporal.TimeDeltaTrigger",
        trigger_kwargs={"delta": AFTER_ALL_IS_HEARD},
        next_method="resumed",
        next_kwargs=None,
        timeout=None,
    )

    def execute(self, context):
        self.defer(trigger=TimeDeltaTrigger(AFTER_ALL_IS_HEARD), method_name="resumed")

    def resumed(self, context, event=None): ...


with DAG("corner_from_trigger", **TAGGED):
    Waits(task_id="wait") >> step("work")

with DAG("corner_fail_fast", fail_fast=True, **TAGGED):
    first = step("t1")
    first >> step("bad", fail=True, priority_weight=1000)  # before others where workers are few
    first >> step("slow", 30)
    chain(first, step("w1", 25), step("w2"), step("w3"), step("w4"))

with DAG("corner_empty", **TAGGED):
    EmptyOperator(task_id="begin") >> EmptyOperator(task_id="end")

with DAG("corner_failures", schedule=None, tags=["activitysmith:failures"]):

    @task
    def fails():
        if get_current_context()["dag_run"].conf.get("fail"):
            raise RuntimeError

    fails()


@task
def body():
    conf = get_current_context()["dag_run"].conf or {}
    time.sleep(conf.get("seconds", 0))
    if conf.get("fail"):
        raise RuntimeError


with DAG("corner_runs", max_active_runs=16, **TAGGED):
    chain(step("begin"), body(), step("finish"))

one_place = end_activitysmith_stream(activitysmith_conn_id="one_place")
with DAG("corner_one_place", on_success_callback=one_place, on_failure_callback=one_place, **TAGGED):
    chain(step("begin"), body(), step("finish"))

with DAG("corner_marked", **TAGGED):
    step("begin") >> step("long", 60)

with DAG(
    "corner_macro",
    user_defined_macros={"stream_key": stream_key},
    on_success_callback=end_activitysmith_stream("{{ stream_key(dag.dag_id, 'tested') }}"),
    **TAGGED,
):
    chain(step("a"), step("b"))

with DAG("corner_interrupted", **TAGGED):

    @task.sensor(poke_interval=1, mode="reschedule")
    def never():
        return False

    never() >> step("after")

with DAG("corner_mapped", **TAGGED):

    @task
    def each(number):
        return number

    @task
    def add(numbers):
        return None

    add(each.expand(number=[1, 2, 3]))

with DAG("corner_follow", schedule=None):
    ActivitySmithFollowRunOperator(task_id="follow", title="Followed", poll_interval=1)
    chain(step("a"), step("b", 12), step("c", fail=True), step("d"))

with DAG("corner_follow_timeout", schedule=None, dagrun_timeout=timedelta(seconds=8)):
    ActivitySmithFollowRunOperator(task_id="follow", poll_interval=1)
    chain(step("a"), step("b", 120))

with DAG("corner_follow_here_timeout", schedule=None, dagrun_timeout=timedelta(seconds=8)):
    ActivitySmithFollowRunOperator(task_id="follow", poll_interval=1, deferrable=False)
    chain(step("a"), step("b", 120))

with DAG("corner_follow_here", schedule=None):
    ActivitySmithFollowRunOperator(task_id="follow", poll_interval=1, deferrable=False)
    chain(step("a"), step("b"))

with DAG("corner_follow_again", schedule=None):
    ActivitySmithFollowRunOperator(task_id="follow", poll_interval=1)
    chain(step("a"), step("b"))

with DAG("corner_follow_marked", schedule=None):
    ActivitySmithFollowRunOperator(task_id="follow", poll_interval=1)
    step("begin") >> step("long", 60)
