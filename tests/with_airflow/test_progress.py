"""A run of a DAG, task instance by task instance, as workers see it: what reaches the service."""

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from airflow.sdk import DAG, BaseHook, chain, task, task_group
from airflow.sdk.bases.operator import BaseOperator
from support.sandbox import Sandbox

from activitysmith_integrations.airflow import policy
from activitysmith_integrations.airflow.notifications import (
    ActivitySmithEndStreamNotifier,
    ActivitySmithStreamNotifier,
)
from activitysmith_integrations.airflow.operators import ActivitySmithEndStreamOperator

try:
    from airflow.providers.standard.operators.empty import EmptyOperator
except ImportError:
    EmptyOperator = None


class Run:
    """One run of a DAG. Like Airflow it posts a success before its callbacks and a failure after them.

    Args:
        dag: The DAG.
        instances: How many instances its mapped tasks expand to.
    """

    def __init__(self, dag: DAG, notifier: Any = None, **instances: int) -> None:
        self.dag = dag
        self.notifier = ActivitySmithStreamNotifier() if notifier is None else notifier
        self.instances = instances
        self.states: dict[str, str | None] = dict.fromkeys(dag.task_ids)
        self.started = datetime.now(UTC)
        self.clear_number = 0
        self.asked: list[str] = []

    def expand(self, task_id: str) -> list[tuple[str, int]]:
        """The instances of a task; a mapped one gets them now."""
        if task_id not in self.instances:
            return [(task_id, -1)]
        del self.states[task_id]
        found = [(task_id, index) for index in range(self.instances[task_id])]
        self.states |= {f"{task_id}_{index}": None for _, index in found}
        return found

    def context(self, task_id: str, index: int, state: str, **more: Any) -> dict[str, Any]:
        task = self.dag.get_task(task_id)
        ti = SimpleNamespace(
            task_id=task_id,
            map_index=index,
            state=state,
            try_number=1,
            max_tries=task.retries,
            get_task_states=self._get_task_states,
            get_ti_count=self._get_ti_count,
        )
        dag_run = SimpleNamespace(
            dag_id=self.dag.dag_id,
            run_id="r1",
            start_date=self.started,
            end_date=None,
            clear_number=self.clear_number,
        )
        vars(ti).update(more)
        return {"dag": self.dag, "run_id": "r1", "dag_run": dag_run, "task": task, "ti": ti, "task_instance": ti}

    def _get_task_states(self, dag_id: str, run_ids: list[str]) -> Any:
        self.asked.append("states")
        return {run_ids[0]: dict(self.states)}

    def _get_ti_count(self, dag_id: str, run_ids: list[str], task_ids: Any = None, states: Any = None) -> int:
        self.asked.append("count")
        return sum(
            (task_ids is None or key in task_ids or key.rpartition("_")[0] in task_ids)
            and (states is None or state in states)
            for key, state in self.states.items()
        )

    @staticmethod
    def _key(task_id: str, index: int) -> str:
        return task_id if index < 0 else f"{task_id}_{index}"

    def begin(self, task_id: str, index: int = -1, **more: Any) -> None:
        self.states[self._key(task_id, index)] = "running"
        self.notifier(self.context(task_id, index, "running", **more))

    def end(self, task_id: str, index: int = -1, state: str = "success", **more: Any) -> None:
        if state != "failed":
            self.states[self._key(task_id, index)] = state
        self.notifier(self.context(task_id, index, state, **more))
        self.states[self._key(task_id, index)] = state

    def do(self, *task_ids: str, **more: Any) -> None:
        for task_id in task_ids:
            for one in self.expand(task_id):
                self.begin(*one, **more)
                self.end(*one, **more)


def sent(sandbox: Sandbox, key: str = "nightly") -> list[dict[str, Any]]:
    """The states that arrived."""
    return [request["body"]["content_state"] for request in sandbox.requests("PUT") if request["stream_key"] == key]


def steps(sandbox: Sandbox) -> list[int]:
    return [state["current_step"] for state in sent(sandbox)]


def chained(*names: str, **options: Any) -> DAG:
    with DAG("nightly", schedule=None, **options) as dag:
        chain(*[BaseOperator(task_id=name) for name in names])
    return dag


def mapped(*, before: int = 1, after: int = 1) -> DAG:
    with DAG("nightly", schedule=None) as dag:

        @task
        def each(number: int) -> None: ...

        chain(
            *[BaseOperator(task_id=f"before_{number}") for number in range(before)],
            each.expand(number=[1, 2]),
            *[BaseOperator(task_id=f"after_{number}") for number in range(after)],
        )
    return dag


def test_a_run_starts_its_stream_and_moves_it_and_leaves_what_comes_last_to_the_end(sandbox: Sandbox) -> None:
    Run(chained("extract", "check", "load")).do("extract", "check", "load")
    common = {"title": "nightly", "number_of_steps": 3}
    # Only the start says the type: what moves the stream starts none where none runs.
    assert sent(sandbox) == [
        {**common, "type": "segmented_progress", "subtitle": "extract", "current_step": 0},
        {**common, "subtitle": "extract done", "current_step": 1},
        {**common, "subtitle": "check done", "current_step": 2},
    ]
    first, *_ = sandbox.requests("PUT")
    assert first["body"]["tags"] == ["airflow"]
    assert first["body"]["metadata"] == {"engine": "airflow", "pipeline": "nightly", "run": "r1"}


def test_many_tasks_cost_few_requests_and_most_of_them_ask_airflow_nothing(sandbox: Sandbox) -> None:
    names = [f"step_{number:02}" for number in range(30)]
    run = Run(chained(*names))
    run.do(*names)
    assert steps(sandbox) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert run.asked.count("states") <= 2 * 11 + 1
    assert run.asked.count("count") == 0


NOT_REPORTING = """
import sys
from types import SimpleNamespace
from airflow.sdk import DAG, chain
from airflow.sdk.bases.operator import BaseOperator
from activitysmith_integrations.airflow.notifications import ActivitySmithStreamNotifier
with DAG("nightly", schedule=None) as dag:
    chain(*[BaseOperator(task_id=f"step_{number}") for number in range(30)])
run = SimpleNamespace(dag_id="nightly", run_id="r1", start_date=None)
for state in ("running", "success"):
    ti = SimpleNamespace(task_id="step_4", map_index=-1, state=state, try_number=1, max_tries=0)
    ActivitySmithStreamNotifier()({"dag": dag, "task": dag.get_task("step_4"), "task_instance": ti, "dag_run": run})
print(*sorted(sys.modules))
"""


def test_a_task_that_does_not_report_asks_nobody_and_loads_nothing_that_sending_needs() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", NOT_REPORTING], capture_output=True, text=True, check=True
    )
    core = {module.rpartition(".")[2] for module in done.stdout.split() if ".core" in module and "smith" in module}
    assert core == {"core", "retry", "segments"}


@pytest.mark.parametrize("count", [1, 2, 7, 10, 33, 500])
def test_the_instances_of_a_mapped_task_move_the_bar_together(sandbox: Sandbox, count: int) -> None:
    run = Run(mapped(), each=count)
    run.do("before_0", "each", "after_0")
    shown = steps(sandbox)
    assert shown == sorted(shown)
    assert shown[0] == 0
    assert shown[-1] >= 8
    assert len(shown) <= min(10, count + 3)
    assert len(set(shown)) >= len(shown) - 1


def test_500_instances_ask_for_all_states_as_often_as_they_report(sandbox: Sandbox) -> None:
    run = Run(mapped(before=4, after=25), each=500)
    run.do(*(f"before_{number}" for number in range(4)), "each", *(f"after_{number}" for number in range(25)))
    assert steps(sandbox) == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert run.asked.count("states") <= 30


def test_a_mapped_task_says_how_many_of_its_instances_are_done(sandbox: Sandbox) -> None:
    run = Run(mapped(), each=100)
    run.do("before_0", "each")
    assert "each: 53 of 100 done" in [state["subtitle"] for state in sent(sandbox)]


@pytest.mark.parametrize("seed", range(20))
def test_instances_that_end_in_any_order_spend_no_more_and_the_bar_never_shrinks(sandbox: Sandbox, seed: int) -> None:
    chance = random.Random(seed)
    run = Run(mapped(before=chance.randrange(1, 4), after=chance.randrange(1, 20)), each=chance.randrange(1, 80))
    befores = [name for name in run.dag.task_ids if name.startswith("before")]
    run.do(*befores)
    pending, running = run.expand("each"), list[tuple[str, int]]()
    while pending or running:
        if pending and (not running or (len(running) < 8 and chance.random() < 0.6)):
            running.append(pending.pop(0))
            run.begin(*running[-1])
        else:
            run.end(*running.pop(chance.randrange(len(running))))
    run.do(*(name for name in run.dag.task_ids if name.startswith("after")))
    shown = steps(sandbox)
    assert shown == sorted(shown)
    assert len(shown) <= 11


def test_tasks_that_end_together_lose_no_report(sandbox: Sandbox) -> None:
    with DAG("nightly", schedule=None) as dag:
        chain(BaseOperator(task_id="first"), [BaseOperator(task_id=f"part_{number}") for number in range(4)])
    run = Run(dag)
    run.do("first")
    for number in range(4):
        run.begin(f"part_{number}")
    run.states |= {"part_0": "success", "part_1": "success"}  # both are posted before either one's callback
    run.end("part_0")
    run.end("part_1")
    assert steps(sandbox) == [0, 1, 3, 3]


def test_a_failure_is_shown_while_other_tasks_go_on(sandbox: Sandbox) -> None:
    with DAG("nightly", schedule=None) as dag:
        chain(
            BaseOperator(task_id="extract"),
            [BaseOperator(task_id="bad"), BaseOperator(task_id="slow")],
            BaseOperator(task_id="load"),
        )
    run = Run(dag)
    run.do("extract")
    run.begin("bad")
    run.begin("slow")
    run.end("bad", state="failed")
    run.states["load"] = "upstream_failed"
    assert sent(sandbox)[-1]["subtitle"] == "bad failed"
    assert (sent(sandbox)[-1]["step_color"], steps(sandbox)[-1]) == ("red", 2)
    run.end("slow")
    assert len(sent(sandbox)) == 3  # the end says the rest


def test_a_failure_that_default_args_would_end_the_stream_for_is_left_to_the_dag_while_other_tasks_show_on(
    sandbox: Sandbox,
) -> None:
    end = ActivitySmithEndStreamNotifier()
    with DAG("nightly", schedule=None, tags=["activitysmith"], default_args={"on_failure_callback": end}) as dag:
        _ = [BaseOperator(task_id="bad"), BaseOperator(task_id="slow"), BaseOperator(task_id="last")]
    policy.dag_policy(dag)
    run = Run(dag)
    for name in ("bad", "slow", "last"):
        run.begin(name)
    end(run.context("bad", -1, "failed"))
    assert sandbox.ends("nightly") == []
    run.states |= {"slow": "success", "bad": "success"}
    end(run.context("last", -1, "failed"))
    assert len(sandbox.ends("nightly")) == 1


def test_a_failure_that_stops_the_run_is_left_to_the_end(sandbox: Sandbox) -> None:
    run = Run(chained("extract", "check", "load", "publish"))
    run.do("extract")
    run.begin("check")
    run.end("check", state="failed")
    assert steps(sandbox) == [0, 1]


def test_a_failure_before_tasks_that_run_all_the_same_is_shown(sandbox: Sandbox) -> None:
    dag = chained("extract", "check", "clean_up")
    dag.get_task("clean_up").trigger_rule = "all_done"
    run = Run(dag)
    run.do("extract")
    run.begin("check")
    run.end("check", state="failed")
    assert [state["subtitle"] for state in sent(sandbox)] == ["extract", "extract done", "check failed"]


def test_the_first_of_many_failures_is_shown_and_no_more_than_segments_after_it(sandbox: Sandbox) -> None:
    run = Run(mapped(), each=300)
    run.do("before_0")
    for one in run.expand("each"):
        run.begin(*one)
        run.end(*one, state="failed")
    assert len(sent(sandbox)) <= 12
    assert all(state["subtitle"] == "each failed" for state in sent(sandbox)[2:])


@pytest.mark.parametrize("count", [1, 3, 32])
def test_of_instances_that_fail_at_once_few_say_so(sandbox: Sandbox, count: int) -> None:
    run = Run(mapped(), each=300)
    run.do("before_0")
    failing = run.expand("each")[:count]
    for one in failing:
        run.begin(*one)
    before = len(sent(sandbox))
    posted = dict(run.states)
    for one in failing:
        run.states = dict(posted)  # each one looks before any other's failure is posted
        run.end(*one, state="failed")
    assert len(sent(sandbox)) - before == min(count, 2)


def test_where_one_instance_of_a_mapped_group_failed_the_others_move_the_bar(sandbox: Sandbox) -> None:
    with DAG("nightly", schedule=None) as dag:

        @task
        def one(number: int) -> int: ...

        @task
        def two(number: int) -> None: ...

        @task_group
        def group(number: int) -> None:
            two(one(number))

        group.expand(number=[1, 2])
    run = Run(dag, **{"group.one": 20, "group.two": 20})
    ones, twos = run.expand("group.one"), run.expand("group.two")
    for instance in ones:
        run.begin(*instance)
        run.end(*instance, state="failed" if instance[1] == 7 else "success")
    run.states["group.two_7"] = "upstream_failed"
    for instance in twos:
        if instance[1] != 7:
            run.begin(*instance)
            run.end(*instance)
    assert steps(sandbox)[-1] == 9
    assert len(sent(sandbox)) <= 12


def test_skipped_tasks_count_as_settled(sandbox: Sandbox) -> None:
    run = Run(chained("branch", "left", "right", "load"))
    run.begin("branch")
    run.states["left"] = "skipped"
    run.end("branch")
    assert steps(sandbox) == [0, 2]
    run.begin("right")
    run.end("right", state="skipped")
    assert (sent(sandbox)[-1]["current_step"], sent(sandbox)[-1]["subtitle"]) == (3, "right skipped")


@pytest.mark.parametrize(
    "again",
    [{"try_number": 2, "max_tries": 3}, {"_ti_context_from_server": SimpleNamespace(next_method="resume")}],
    ids=["retry", "resumed"],
)
def test_a_task_that_goes_on_starts_nothing_again(sandbox: Sandbox, again: dict[str, Any]) -> None:
    run = Run(chained("extract", "load", default_args={"retries": 3}))
    run.begin("extract", **again)
    assert sent(sandbox) == []


def test_a_sensor_that_looks_again_starts_nothing_again(sandbox: Sandbox) -> None:
    run = Run(chained("wait", "load"))
    run.states["wait"] = "running"
    run.notifier({**run.context("wait", -1, "running"), "task_reschedule_count": 2})
    assert sent(sandbox) == []


def test_a_try_that_will_be_repeated_shows_nothing(sandbox: Sandbox) -> None:
    run = Run(chained("extract", "load"))
    run.begin("extract")
    run.end("extract", state="up_for_retry")
    assert steps(sandbox) == [0]


def test_of_tasks_that_begin_together_the_first_starts_the_stream(sandbox: Sandbox) -> None:
    with DAG("nightly", schedule=None) as dag:
        for number in range(5):
            BaseOperator(task_id=f"part_{number}")
    run = Run(dag)
    for number in range(5):
        run.begin(f"part_{number}")
    assert len(sent(sandbox)) == 1
    assert run.asked.count("states") == 1


def test_another_task_starts_the_stream_where_the_first_has_to_wait(sandbox: Sandbox) -> None:
    with DAG("nightly", schedule=None) as dag:
        for number in range(5):
            BaseOperator(task_id=f"part_{number}")
    run = Run(dag)
    run.begin("part_3")
    run.begin("part_1")
    assert len(sent(sandbox)) == 1


@pytest.mark.skipif(EmptyOperator is None, reason="needs the standard provider")
def test_empty_operators_stay_with_the_scheduler_and_what_follows_starts_the_stream(sandbox: Sandbox) -> None:
    with DAG("nightly", schedule=None, tags=["activitysmith"]) as dag:
        chain(EmptyOperator(task_id="begin"), BaseOperator(task_id="extract"), BaseOperator(task_id="load"))
    policy.dag_policy(dag)
    assert not dag.get_task("begin").has_on_success_callback
    assert not dag.get_task("begin").has_on_execute_callback
    run = Run(dag)
    run.states["begin"] = "success"
    run.do("extract")
    assert steps(sandbox) == [1, 2]


@pytest.mark.skipif(EmptyOperator is None, reason="needs the standard provider")
def test_the_start_is_found_behind_many_empty_operators_that_fork_and_join(sandbox: Sandbox) -> None:
    with DAG("nightly", schedule=None) as dag:
        above = EmptyOperator(task_id="begin")
        for number in range(40):  # 2 ** 40 paths
            join = EmptyOperator(task_id=f"join_{number}")
            above >> [EmptyOperator(task_id=f"{side}_{number}") for side in ("left", "right")] >> join
            above = join
        above >> BaseOperator(task_id="extract") >> BaseOperator(task_id="load")
    run = Run(dag)
    run.states = {key: None if key in ("extract", "load") else "success" for key in run.states}
    run.begin("extract")
    assert [request["operation"] for request in sandbox.requests("PUT")] == ["started"]


@pytest.mark.skipif(EmptyOperator is None, reason="needs the standard provider")
def test_a_run_of_empty_operators_alone_is_shown_where_they_have_the_notifier(sandbox: Sandbox) -> None:
    with DAG("nightly", schedule=None) as dag:
        chain(EmptyOperator(task_id="begin"), EmptyOperator(task_id="end"))
    Run(dag).do("begin")
    assert [request["operation"] for request in sandbox.requests("PUT")] == ["started", "updated"]


AGAIN = {"try_number": 2, "max_tries": 1}


def cleared(run: Run, *keys: str) -> Run:
    """A finished run as Airflow leaves it where these task instances are cleared."""
    run.states = {key: None if key in keys else "success" for key in run.states}
    run.started = datetime.now(UTC)
    run.clear_number += 1
    return run


def test_a_finished_run_that_is_cleared_starts_anew(sandbox: Sandbox) -> None:
    run = Run(chained("extract", "check", "load"))
    run.do("extract", "check", "load")
    sandbox.end("nightly")
    cleared(run, "extract", "check", "load").do("extract", "check", **AGAIN)
    assert [request["operation"] for request in sandbox.requests("PUT")][3:] == ["started", "updated"]
    assert steps(sandbox)[3:] == [0, 1]


def test_a_part_of_a_run_that_is_cleared_starts_the_stream_where_it_stands(sandbox: Sandbox) -> None:
    run = Run(chained("extract", "check", "load", "publish"))
    cleared(run, "load", "publish").do("load", "publish", **AGAIN)
    assert steps(sandbox) == [2, 3]


def test_what_waited_for_a_failed_task_that_is_cleared_moves_the_bar_at_its_first_try(sandbox: Sandbox) -> None:
    run = cleared(Run(chained("extract", "load", "check", "publish")), "load", "check", "publish")
    run.do("load", **AGAIN)
    run.do("check", "publish")
    assert steps(sandbox) == [1, 2, 3]


@pytest.mark.parametrize("count", [3, 10, 30, 100])
def test_quick_tasks_that_are_cleared_spend_hardly_more_than_the_first_time(sandbox: Sandbox, count: int) -> None:
    names = [f"step_{number:02}" for number in range(count)]
    run = cleared(Run(chained(*names)), *names)
    for name in names:
        run.started -= timedelta(seconds=2)
        run.do(name, **AGAIN)
    shown = steps(sandbox)
    assert shown[0] == 0
    assert shown == sorted(shown)
    assert shown[-1] == min(count, 10) - 1
    assert len(shown) <= min(count, 12)


def test_tasks_beside_a_long_one_move_the_bar_of_a_run_that_was_cleared(sandbox: Sandbox) -> None:
    with DAG("nightly", schedule=None) as dag:
        BaseOperator(task_id="long")
        chain(*[BaseOperator(task_id=name) for name in ("extract", "check", "load")])
    run = cleared(Run(dag), *dag.task_ids)
    run.begin("long", **AGAIN)
    run.do("extract", "check", **AGAIN)
    assert steps(sandbox) == [0, 1, 2]


def _of_each(which: Iterable[int]) -> tuple[Run, list[tuple[str, int]]]:
    """A run of which these of 20 instances were cleared, and what comes after them."""
    run = Run(mapped(before=0), each=20)
    run.expand("each")
    return cleared(run, "after_0", *(f"each_{index}" for index in which)), [("each", index) for index in which]


@pytest.mark.parametrize("which", [range(20), [7]], ids=["all", "one"])
def test_instances_that_are_cleared_start_the_stream_and_spend_no_more(sandbox: Sandbox, which: Iterable[int]) -> None:
    run, instances = _of_each(which)
    for one in instances:
        run.started -= timedelta(seconds=2)
        run.begin(*one, **AGAIN)
        run.end(*one, **AGAIN)
    operations = [request["operation"] for request in sandbox.requests("PUT")]
    assert operations[0] == "started"
    assert len(operations) <= 12


@pytest.mark.parametrize("order", [1, -1], ids=["in order", "the last one first"])
def test_of_cleared_instances_that_run_at_once_no_more_than_two_start_the_stream(sandbox: Sandbox, order: int) -> None:
    run, instances = _of_each([3, 5, 9])
    for one in instances[::order]:
        run.begin(*one, **AGAIN)
    assert len(sent(sandbox)) == (1 if order > 0 else 2)


def test_an_operator_that_ends_the_stream_does_not_start_it_when_it_is_cleared(sandbox: Sandbox) -> None:
    with DAG("nightly", schedule=None) as dag:
        chain(BaseOperator(task_id="extract"), ActivitySmithEndStreamOperator(task_id="end_stream"))
    cleared(Run(dag), "end_stream").begin("end_stream", **AGAIN)
    assert sent(sandbox) == []


def test_a_task_cleared_in_a_run_that_goes_on_does_not_start_it_anew(sandbox: Sandbox) -> None:
    run = Run(chained("extract", "check", "load", "publish"))
    cleared(run, "check", "load", "publish")
    run.started -= timedelta(hours=1)
    run.begin("check", **AGAIN)
    assert sent(sandbox) == []


def test_the_instances_of_a_mapped_group_move_the_bar_together(sandbox: Sandbox) -> None:
    with DAG("nightly", schedule=None) as dag:

        @task
        def one(number: int) -> None: ...

        @task_group
        def group(number: int) -> None:
            one(number)

        chain(BaseOperator(task_id="first"), group.expand(number=[1, 2]), BaseOperator(task_id="last"))
    run = Run(dag, **{"group.one": 40})
    run.do("first", "group.one", "last")
    assert steps(sandbox) == [0, 1, 2, 3, 4, 5, 6, 7, 8]


def test_a_state_of_the_users_own_is_sent_whenever_it_is_called(sandbox: Sandbox) -> None:
    state = {"type": "metrics", "title": "{{ run_id }}", "metrics": [{"label": "rows", "value": "{{ 3 }}"}]}
    notifier = ActivitySmithStreamNotifier("own", content_state=state, tags=["x"], channels=["ops"])
    run = Run(chained("extract", "load"), notifier)
    run.begin("extract")
    run.end("extract")
    run.do("load")
    first, second, third = [request["body"] for request in sandbox.requests("PUT")]  # none once all is over
    assert first == third
    assert first == second
    assert first["content_state"]["metrics"] == [{"label": "rows", "value": 3}]
    assert (first["channels"], first["tags"]) == (["ops"], ["airflow", "x"])


def test_a_state_of_the_users_own_is_not_sent_for_a_task_that_goes_on_nor_for_a_run_that_is_over(
    sandbox: Sandbox,
) -> None:
    notifier = ActivitySmithStreamNotifier(content_state={"type": "progress", "title": "own", "percentage": 5})
    run = Run(chained("wait", "load"), notifier)
    run.notifier({**run.context("wait", -1, "running"), "task_reschedule_count": 2})
    run.begin("wait", _ti_context_from_server=SimpleNamespace(next_method="resume"))
    run.notifier({**run.context("load", -1, "success"), "reason": "success"})
    assert sent(sandbox) == []


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_state_of_the_users_own_is_sent_for_a_run_that_is_late(sandbox: Sandbox, kind: str) -> None:
    notifier = ActivitySmithStreamNotifier("late", content_state={"type": "progress", "title": "late", "percentage": 5})
    dag_run = {"dag_id": "nightly", "dag_run_id": "r1", "start_date": datetime.now(UTC).isoformat()}
    context: Any = {"dag_run": dag_run, "deadline": {"id": "d1", "deadline_time": "x"}}
    if kind == "sync":
        notifier(context)
    else:
        asyncio.run(notifier.async_notify(context))
    assert [state["title"] for state in sent(sandbox, "late")] == ["late"]


def test_a_failure_is_said_whatever_the_subtitle(sandbox: Sandbox) -> None:
    with DAG("nightly", schedule=None) as dag:
        _ = [BaseOperator(task_id="bad"), BaseOperator(task_id="slow"), BaseOperator(task_id="slower")]
    run = Run(dag, ActivitySmithStreamNotifier(subtitle="on its way"))
    for name in ("bad", "slow", "slower"):
        run.begin(name)
    run.end("bad", state="failed")
    run.end("slow")
    assert [state["subtitle"] for state in sent(sandbox)] == ["on its way", "bad failed", "bad failed"]


def test_title_subtitle_and_key_are_templates(sandbox: Sandbox) -> None:
    notifier = ActivitySmithStreamNotifier("nightly-{{ run_id }}", title="{{ dag.dag_id }}!", subtitle="{{ run_id }}")
    Run(chained("extract", "load"), notifier).begin("extract")
    (state,) = sent(sandbox, "nightly-r1")
    assert (state["title"], state["subtitle"]) == ("nightly!", "r1")


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_start_that_was_lost_is_made_up_for_by_the_next_report(sandbox: Sandbox, kind: str) -> None:
    sandbox.misbehave(times=1, status=429)
    run = Run(chained("extract", "check", "load"))
    run.begin("extract")
    run.states["extract"] = "success"
    context = run.context("extract", -1, "success")
    if kind == "sync":
        run.notifier(context)
    else:
        asyncio.run(run.notifier.async_notify(context))
    assert [request["status"] for request in sandbox.requests("PUT")] == [429, 400, 200]
    assert sandbox.requests("PUT")[-1]["operation"] == "started"


def test_an_update_that_the_service_works_on_after_the_end_starts_nothing(sandbox: Sandbox) -> None:
    run = Run(chained("extract", "check", "load"))
    run.do("extract")
    update = sandbox.requests("PUT")[-1]["body"]
    sandbox.end("nightly")
    with pytest.raises(httpx.HTTPStatusError):
        sandbox.put("nightly", **update)
    assert sandbox.living() == []


@pytest.mark.parametrize("status", [401, 404, 429, 500])
def test_a_service_that_refuses_costs_one_request_and_raises_nothing(
    sandbox: Sandbox, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    sandbox.misbehave(times=1, status=status, headers={"Retry-After": "30"})
    Run(chained("extract", "load")).begin("extract")
    assert len(sandbox.requests("PUT")) == 1
    assert "The Live Activity stream of the DAG was not updated, which stops no work: " in capsys.readouterr().out


@pytest.mark.parametrize(
    "context",
    [
        {"reason": "success"},
        {"reason": "task_failure"},
        {"deadline": {"id": "d1"}},
    ],
)
def test_a_callback_of_the_dag_itself_shows_no_progress(sandbox: Sandbox, context: dict[str, Any]) -> None:
    run = Run(chained("extract", "load"))
    run.notifier({**run.context("extract", -1, "success"), **context})
    ActivitySmithStreamNotifier()({"dag": run.dag, "run_id": "r1", **context})
    assert sent(sandbox) == []


def test_a_killed_task_is_counted_where_the_dag_processor_answers_less(sandbox: Sandbox) -> None:
    run = Run(mapped(), each=20)
    run.do("before_0")
    run.expand("each")

    def refuses(**_: Any) -> int:
        raise ValueError("TICount is no answer here")

    run.end("each", 9, state="failed", get_ti_count=refuses)
    assert sent(sandbox)[-1]["subtitle"] == "each failed"


# The order of the last update and the end


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_an_update_for_which_airflow_leaves_no_time_is_given_up(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    monotonic, get_connection = time.monotonic, BaseHook.get_connection

    def slowly(conn_id: str) -> Any:
        monkeypatch.setattr(time, "monotonic", lambda: monotonic() + 5)
        return get_connection(conn_id)

    monkeypatch.setattr(BaseHook, "get_connection", staticmethod(slowly))
    run = Run(chained("extract", "load"))
    context = run.context("extract", -1, "running")
    if kind == "sync":
        run.notifier(context)
    else:
        asyncio.run(run.notifier.async_notify(context))
    assert sent(sandbox) == []
    assert "was not updated, which stops no work: TimeoutError: Airflow took all of its time" in capsys.readouterr().out


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that an end waited for."""
    waited = list[float]()
    monkeypatch.setattr("activitysmith_integrations.airflow.notifications.time.sleep", waited.append)
    return waited


def _ended(dag: DAG, seconds_ago: float) -> dict[str, Any]:
    end = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    dag_run = SimpleNamespace(dag_id="nightly", run_id="r1", start_date=end, end_date=end)
    return {"dag": dag, "run_id": "r1", "dag_run": dag_run, "reason": "success"}


@pytest.mark.parametrize(("seconds_ago", "low", "high"), [(0, 2, 3), (2, 0, 1), (60, 0, 0), (-60, 3, 3)])
def test_the_end_waits_until_no_update_can_be_on_its_way(
    sandbox: Sandbox, waits: list[float], seconds_ago: float, low: float, high: float
) -> None:
    dag = chained("extract", "load", tags=["activitysmith"])
    policy.dag_policy(dag)
    sandbox.start("nightly")
    ActivitySmithEndStreamNotifier()(_ended(dag, seconds_ago))
    assert low <= sum(waits) <= high
    assert len(sandbox.ends("nightly")) == 1


def test_a_success_completes_the_bar_that_was_shown(sandbox: Sandbox, waits: list[float]) -> None:
    dag = mapped()
    dag.tags.add("activitysmith")
    policy.dag_policy(dag)
    sandbox.start("nightly")
    ActivitySmithEndStreamNotifier()(_ended(dag, 0))
    (body,) = sandbox.ends("nightly")
    assert (body["content_state"]["current_step"], body["content_state"]["number_of_steps"]) == (10, 10)


def test_the_end_of_a_dag_without_progress_does_not_wait(sandbox: Sandbox, waits: list[float]) -> None:
    sandbox.start("nightly")
    ActivitySmithEndStreamNotifier()(_ended(chained("extract"), 0))
    assert sum(waits) == 0


def test_the_end_of_a_tasks_own_stream_does_not_wait(sandbox: Sandbox, waits: list[float]) -> None:
    dag = chained("extract", "load", tags=["activitysmith"])
    policy.dag_policy(dag)
    sandbox.start("own")
    ActivitySmithEndStreamNotifier("own")(Run(dag).context("extract", -1, "success"))
    assert sum(waits) == 0
    assert len(sandbox.ends("own")) == 1


def test_an_operator_that_ends_the_stream_waits_as_well(sandbox: Sandbox, waits: list[float]) -> None:
    with DAG("nightly", schedule=None, tags=["activitysmith"]) as dag:
        chain(BaseOperator(task_id="extract"), ActivitySmithEndStreamOperator(task_id="end_stream"))
    policy.dag_policy(dag)
    sandbox.start("nightly")
    context = Run(dag).context("end_stream", -1, "running", start_date=datetime.now(UTC))
    dag.get_task("end_stream").execute(context)
    assert 2 < sum(waits) <= 3


def test_what_ends_the_stream_is_no_step_and_has_no_report_before_it(sandbox: Sandbox) -> None:
    with DAG("nightly", schedule=None) as dag:
        chain(
            BaseOperator(task_id="extract"),
            BaseOperator(task_id="load"),
            ActivitySmithEndStreamOperator(task_id="end_stream", trigger_rule="all_done"),
        )
    Run(dag).do("extract", "load")
    assert [(state["current_step"], state["number_of_steps"]) for state in sent(sandbox)] == [(0, 2), (1, 2)]
