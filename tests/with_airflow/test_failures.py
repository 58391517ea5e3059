"""The first failure among many is shown at once, and by few; which failure is named."""

import threading
from typing import Any

import pytest
from airflow.sdk import DAG, chain, task
from airflow.sdk.bases.operator import BaseOperator
from support.sandbox import Sandbox
from with_airflow.runs import STREAM, Run, Supervisor

from activitysmith_integrations.airflow import policy
from activitysmith_integrations.airflow.notifications import ActivitySmithEndStreamNotifier


def mapped(instances: int) -> Run:
    with DAG("nightly", schedule=None, tags=["activitysmith"]) as dag:

        @task
        def each(number: int) -> None: ...

        chain(BaseOperator(task_id="before"), each.expand(number=[1, 2]), BaseOperator(task_id="after"))
    policy.dag_policy(dag)
    run = Run(dag, each=instances)
    run.do("before")
    return run


def reports(sandbox: Sandbox) -> list[str]:
    states = [request["body"]["content_state"] for request in sandbox.story(STREAM) if request["status"] == 200]
    return [state["subtitle"] for state in states if "failed" in state.get("subtitle", "")]


def test_the_sixth_of_eight_that_fails_alone_is_shown_at_once(sandbox: Sandbox, supervisor: Supervisor) -> None:
    run = mapped(200)
    instances = run.expand("each")[:8]
    for one in instances:
        run.begin(*one)
    run.end(*instances[5], state="failed")
    assert reports(sandbox) == ["r1 · each failed"]


@pytest.mark.parametrize("count", [2, 8, 32])
def test_of_many_that_fail_at_once_one_or_two_say_so(sandbox: Sandbox, supervisor: Supervisor, count: int) -> None:
    run = mapped(300)
    failing = run.expand("each")[:count]
    for one in failing:
        run.begin(*one)
    barrier = threading.Barrier(count)

    def fail(index: int) -> None:
        barrier.wait()
        run.notifier(run.context("each", index, "failed"))

    threads = [threading.Thread(target=fail, args=(index,)) for _, index in failing]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= len(reports(sandbox)) <= 2


def test_a_failure_that_is_posted_is_not_said_again(sandbox: Sandbox, supervisor: Supervisor) -> None:
    run = mapped(300)
    instances = run.expand("each")
    for one in instances[:8]:
        run.begin(*one)
    for one in instances[:8]:
        run.end(*one, state="failed")
    assert len(reports(sandbox)) == 1


def ended(dag: DAG, states: dict[str, str], sandbox: Sandbox, reason: str = "task_failure") -> dict[str, Any]:
    run = Run(dag)
    run.states |= states
    ActivitySmithEndStreamNotifier()(run.ended(reason))
    state: dict[str, Any] = sandbox.ends(STREAM)[0]["content_state"]
    return state


def test_what_fail_fast_skipped_was_not_done(sandbox: Sandbox) -> None:
    with DAG("nightly", schedule=None, fail_fast=True) as dag:
        first = BaseOperator(task_id="t1")
        first >> [BaseOperator(task_id="bad"), BaseOperator(task_id="slow")]
        chain(first, *[BaseOperator(task_id=f"w{number}") for number in range(1, 5)])
    states = {"t1": "success", "bad": "failed", "slow": "failed", "w1": "failed"}
    states |= {"w2": "skipped", "w3": "skipped", "w4": "skipped"}
    assert ended(dag, states, sandbox)["message"].startswith("bad failed after 1 of 7 steps")


def test_a_success_in_which_fail_fast_skipped_tasks_has_no_full_bar(sandbox: Sandbox) -> None:
    with DAG("nightly", schedule=None, fail_fast=True) as dag:
        chain(BaseOperator(task_id="a"), BaseOperator(task_id="b"), BaseOperator(task_id="c"))
    sandbox.start(STREAM)
    # Airflow 3.3 calls this run a success, since its last task was skipped.
    state = ended(dag, {"a": "success", "b": "failed", "c": "skipped"}, sandbox, "success")
    assert state["subtitle"].endswith(", 1 task failed")
    assert (state["current_step"], state["number_of_steps"]) == (1, 3)


def test_a_failed_teardown_and_a_handled_failure_are_not_named(sandbox: Sandbox) -> None:
    with DAG("nightly", schedule=None) as dag:
        BaseOperator(task_id="optional") >> BaseOperator(task_id="handle", trigger_rule="all_done")
        chain(BaseOperator(task_id="work"), BaseOperator(task_id="load"), BaseOperator(task_id="clean").as_teardown())
    states = {"optional": "failed", "handle": "success", "work": "success", "load": "failed", "clean": "failed"}
    assert ended(dag, states, sandbox)["message"].startswith("load failed after 2 of 5 steps")


def test_a_success_in_which_tasks_failed_says_so(sandbox: Sandbox) -> None:
    with DAG("nightly", schedule=None) as dag:
        BaseOperator(task_id="optional") >> BaseOperator(task_id="handle", trigger_rule="all_done")
    sandbox.start(STREAM)
    state = ended(dag, {"optional": "failed", "handle": "success"}, sandbox, "success")
    assert state["subtitle"].endswith(", 1 task failed")


def test_the_names_are_those_that_people_gave(sandbox: Sandbox) -> None:
    with DAG("nightly", schedule=None, dag_display_name="Nightly ETL", tags=["activitysmith"]) as dag:
        chain(BaseOperator(task_id="extract", task_display_name="Get orders"), BaseOperator(task_id="load"))
    policy.dag_policy(dag)
    run = Run(dag)
    run.do("extract")
    run.states |= {"extract": "failed", "load": "upstream_failed"}
    ActivitySmithEndStreamNotifier()(run.ended("task_failure"))
    states = [request["body"]["content_state"] for request in sandbox.story(STREAM)]
    assert {state["title"] for state in states} == {"Nightly ETL"}
    assert [state.get("subtitle") for state in states] == ["r1 · Get orders", "r1 · Get orders done", "r1"]
    assert states[-1]["message"].startswith("Get orders failed")
    assert sandbox.story(STREAM)[-1]["body"]["metadata"]["pipeline"] == "nightly"


@pytest.mark.usefixtures("supervisor")
def test_the_end_of_a_run_calls_an_instance_as_its_template_says(sandbox: Sandbox) -> None:
    run = mapped(3)
    run.expand("each")
    for index, name in enumerate(("orders", "customers", "stock")):
        run.begin("each", index, rendered_map_index=name)
    run.end("each", 0, rendered_map_index="orders")
    run.end("each", 2, "failed", rendered_map_index="stock")
    run.end("each", 1, "failed", rendered_map_index="customers")
    ActivitySmithEndStreamNotifier()(run.ended("task_failure"))
    assert sandbox.ends(STREAM)[0]["content_state"]["message"].startswith("each[customers] failed after ")


@pytest.mark.usefixtures("supervisor")
def test_an_instance_whose_name_nobody_kept_is_called_by_its_index(sandbox: Sandbox) -> None:
    run = mapped(3)
    run.expand("each")
    run.begin("each", 0)
    run.end("each", 0, "failed")
    ActivitySmithEndStreamNotifier()(run.ended("task_failure"))
    assert sandbox.ends(STREAM)[0]["content_state"]["message"].startswith("each[0] failed after ")


def test_a_teardown_that_airflow_ignores_is_not_named_where_it_tells_of_no_other_task(sandbox: Sandbox) -> None:
    with DAG("nightly", schedule=None) as dag:
        chain(BaseOperator(task_id="work"), BaseOperator(task_id="clean").as_teardown())
    sandbox.start(STREAM)
    run = Run(dag)
    for task_id, message in (("clean", "Failed after "), ("work", "work failed after ")):
        context = run.context(task_id, -1, None, get_task_states=lambda dag_id, run_ids: {})
        ActivitySmithEndStreamNotifier()({**context, "reason": "task_failure"})
        assert sandbox.requests()[-1]["body"]["content_state"]["message"].startswith(message)


def test_an_instance_is_called_as_its_template_says(sandbox: Sandbox) -> None:
    run = mapped(3)
    run.expand("each")
    context = run.context("each", 1, "failed", rendered_map_index="orders")
    ActivitySmithEndStreamNotifier("table")(context)
    state = sandbox.ends("table")[0]["content_state"]
    assert (state["title"], state["message"][:20]) == ("each[orders]", "each[orders] failed ")
