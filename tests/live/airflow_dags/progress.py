"""DAGs that are shown from their first task to their last; the live tests run them."""

import os
import signal
import time

from airflow.sdk import DAG, chain, get_current_context, task

from activitysmith_integrations.airflow.notifications import end_activitysmith_stream

TAGGED = {"schedule": None, "tags": ["activitysmith"]}


def step(name, seconds=0.0, **options):
    @task(task_id=name, **options)
    def work():
        time.sleep(seconds)

    return work()


def conf(name, default):
    return get_current_context()["dag_run"].conf.get(name, default)


with DAG("progress_many", max_active_tasks=32, **TAGGED):

    @task
    def files():
        return list(range(conf("instances", 500)))

    @task
    def each(number):
        pass

    chain(
        [step(f"before_{number}") for number in range(4)],
        step("gather"),
        each.expand(number=files()),
        step("check"),
        [step(f"after_{number}") for number in range(20)],
        step("report"),
        step("publish"),
    )

with DAG("progress_failing", **TAGGED):

    @task
    def bad():
        raise RuntimeError("password=hunter2")

    @task
    def slow():
        context = get_current_context()
        run_id, ti = context["run_id"], context["ti"]
        while ti.get_task_states(dag_id="progress_failing", run_ids=[run_id])[run_id].get("bad") != "failed":
            time.sleep(0.5)  # a failure is posted once its callbacks are over

    chain(step("extract"), [bad(), slow()], step("load"))

with DAG(
    "progress_late",
    max_active_runs=16,
    on_success_callback=end_activitysmith_stream("{{ dag_run.conf['name'] }}"),
    **TAGGED,
):

    @task
    def part(number):
        time.sleep(conf("seconds", 0))

    chain(step("begin"), [part.override(task_id=f"part_{number}")(number) for number in range(3)])

with DAG(
    "progress_four",
    max_active_runs=4,
    on_success_callback=end_activitysmith_stream(
        "four-{{ dag_run.conf['name'] }}", title="{{ dag_run.conf['name'] }}", activitysmith_conn_id="four_places"
    ),
    **TAGGED,
):
    # Long enough for what the one before it has to report, on a busy machine as well.
    chain(*[step(f"step_{number}", 2) for number in range(4)])

with DAG("progress_killed", **TAGGED):

    @task
    def killed():
        os.kill(os.getpid(), signal.SIGKILL)

    chain(step("extract"), killed(), step("load"))

with DAG("progress_cleared", **TAGGED):

    @task
    def fails_once():
        if get_current_context()["ti"].try_number == 1:
            raise RuntimeError("not yet")

    chain(step("extract"), step("check"), fails_once(), step("load"), step("publish"))
