"""A run of a DAG, task instance by task instance, as workers see it: what reaches the service."""

import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from airflow.sdk import DAG, BaseHook, chain, task, task_group
from airflow.sdk.bases.operator import BaseOperator
from support.processes import eventually
from support.sandbox import Sandbox
from with_airflow.runs import CONNECTION, RESUMES, STREAM, Run, operations

from activitysmith_integrations.airflow import policy
from activitysmith_integrations.airflow.notifications import ActivitySmithEndStreamNotifier
from activitysmith_integrations.airflow.operators import ActivitySmithEndStreamOperator
from activitysmith_integrations.airflow.reporter import ProgressReporter
from activitysmith_integrations.airflow.run import Run as RunOfCallback
from activitysmith_integrations.airflow.run_memory import FailedStart, RunMemory

try:
    from airflow.providers.standard.operators.empty import EmptyOperator
except ImportError:
    EmptyOperator = None


def sent(sandbox: Sandbox, key: str = STREAM) -> list[dict[str, Any]]:
    """The states that arrived."""
    return [request["body"]["content_state"] for request in sandbox.requests("PUT") if request["stream_key"] == key]


def subtitles(sandbox: Sandbox) -> list[str | None]:
    """Their second lines without the run's label."""
    return [state["subtitle"].removeprefix("r1 · ") if "subtitle" in state else None for state in sent(sandbox)]


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
        {**common, "type": "segmented_progress", "subtitle": "r1 · extract", "current_step": 0},
        {**common, "subtitle": "r1 · extract done", "current_step": 1},
        {**common, "subtitle": "r1 · check done", "current_step": 2},
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
from activitysmith_integrations.airflow.reporter import ProgressReporter
with DAG("nightly", schedule=None) as dag:
    chain(*[BaseOperator(task_id=f"step_{number}") for number in range(30)])
run = SimpleNamespace(dag_id="nightly", run_id="r1", start_date=None)
for state in ("running", "success"):
    ti = SimpleNamespace(task_id="step_4", map_index=-1, state=state, try_number=1, max_tries=0)
    ProgressReporter(None, "c")({"dag": dag, "task": dag.get_task("step_4"), "task_instance": ti, "dag_run": run})
print(*sorted(sys.modules))
"""


def test_a_task_that_does_not_report_asks_nobody_and_loads_nothing_that_sending_needs() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", NOT_REPORTING], capture_output=True, text=True, check=True
    )
    core = {module.rpartition(".")[2] for module in done.stdout.split() if ".core" in module and "smith" in module}
    assert core == {"core", "errors", "retry", "runs", "segments"}


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
    assert "each: 53 of 100 done" in subtitles(sandbox)


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
    assert subtitles(sandbox)[-1] == "bad failed"
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
    assert sandbox.ends(STREAM) == []
    run.states |= {"slow": "success", "bad": "success"}
    end(run.context("last", -1, "failed"))
    assert len(sandbox.ends(STREAM)) == 1


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
    assert subtitles(sandbox) == ["extract", "extract done", "check failed"]


def test_the_first_of_many_failures_is_shown_and_no_more_than_segments_after_it(sandbox: Sandbox) -> None:
    run = Run(mapped(), each=300)
    run.do("before_0")
    for one in run.expand("each"):
        run.begin(*one)
        run.end(*one, state="failed")
    assert len(sent(sandbox)) <= 12
    assert set(subtitles(sandbox)[2:]) == {"each failed"}


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
    assert (steps(sandbox)[-1], subtitles(sandbox)[-1]) == (3, "right skipped")


@pytest.mark.parametrize("again", [{"try_number": 2}, {"try_number": 1}], ids=["retry", "resumed"])
def test_the_first_task_starts_the_stream_at_whichever_try_it_gets_to_it(sandbox: Sandbox, again: Any) -> None:
    run = Run(chained("extract", "load", default_args={"retries": 3}))
    run.begin("extract", **again)
    run.begin("extract", **again)
    # The second start is the same picture, which the service shows to nobody again.
    assert [request["operation"] for request in sandbox.requests("PUT")] == ["started", "noop"]


def test_a_sensor_that_looks_again_starts_nothing_again(sandbox: Sandbox) -> None:
    run = Run(chained("wait", "load"))
    run.states["wait"] = "running"
    run.notifier({**run.context("wait", -1, "running"), "task_reschedule_count": 2})
    assert sent(sandbox) == []


def test_a_deferred_task_that_resumes_starts_nothing_again(sandbox: Sandbox) -> None:
    run = Run(chained("extract", "load"))
    run.begin("extract")
    run.begin("extract", **RESUMES)
    assert [request["operation"] for request in sandbox.requests("PUT")] == ["started"]


def test_a_task_that_begins_in_the_triggerer_starts_the_stream_when_it_resumes(sandbox: Sandbox) -> None:
    run = Run(chained("extract", "load"))
    run.dag.get_task("extract").start_from_trigger = True
    run.begin("extract", **RESUMES)
    assert [request["operation"] for request in sandbox.requests("PUT")] == ["started"]


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


def delivered(sandbox: Sandbox) -> list[tuple[str, int]]:
    """What the service did, and the step that it showed then; refused updates aside."""
    return [
        (request["operation"], request["body"]["content_state"]["current_step"])
        for request in sandbox.requests("PUT")
        if request["status"] == 200 and "current_step" in request["body"]["content_state"]
    ]


def test_a_finished_run_that_is_cleared_starts_anew(sandbox: Sandbox) -> None:
    run = Run(chained("extract", "check", "load"))
    run.do("extract", "check", "load")
    sandbox.end(STREAM)
    cleared(run, "extract", "check", "load").do("extract", "check", **AGAIN)
    assert delivered(sandbox)[3:] == [("started", 0), ("updated", 1), ("updated", 2)]


def test_a_part_of_a_run_that_is_cleared_starts_the_stream_with_its_first_report(sandbox: Sandbox) -> None:
    run = Run(chained("extract", "check", "load", "publish", "tell"))
    sandbox.start(STREAM)
    sandbox.end(STREAM)
    cleared(run, "load", "publish", "tell").do("load", "publish", "tell", **AGAIN)
    assert delivered(sandbox) == [("started", 3), ("updated", 4)]


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


def test_an_update_that_the_service_works_on_after_the_end_starts_nothing(sandbox: Sandbox) -> None:
    run = Run(chained("extract", "check", "load"))
    run.do("extract")
    update = sandbox.requests("PUT")[-1]["body"]
    sandbox.end(STREAM)
    with pytest.raises(httpx.HTTPStatusError):
        sandbox.put(STREAM, **update)
    assert sandbox.living() == []


@pytest.mark.parametrize("status", [401, 404, 429])
def test_a_service_that_refuses_costs_one_request_and_raises_nothing(
    sandbox: Sandbox, status: int, capsys: pytest.CaptureFixture[str]
) -> None:
    sandbox.inject_fault(times=1, status=status, headers={"Retry-After": "30"})
    Run(chained("extract", "load")).begin("extract")
    assert len(sandbox.requests("PUT")) == 1
    assert f"Live Activity stream {STREAM!r} was not started; the work goes on: " in capsys.readouterr().out


@pytest.mark.parametrize("context", [{"reason": "success"}, {"reason": "task_failure"}, {"deadline": {"id": "d1"}}])
def test_a_callback_of_the_dag_itself_shows_no_progress(sandbox: Sandbox, context: dict[str, Any]) -> None:
    run = Run(chained("extract", "load"))
    run.notifier({**run.context("extract", -1, "success"), **context})
    run.notifier({"dag": run.dag, "run_id": "r1", **context})
    assert sent(sandbox) == []


def test_a_killed_task_is_counted_where_the_dag_processor_answers_less(sandbox: Sandbox) -> None:
    run = Run(mapped(), each=20)
    run.do("before_0")
    run.expand("each")

    def refuses(**_: Any) -> int:
        raise ValueError("TICount is no answer here")

    run.end("each", 9, state="failed", get_ti_count=refuses)
    assert subtitles(sandbox)[-1] == "each failed"


@pytest.mark.usefixtures("supervisor")
def test_a_report_that_finds_nothing_running_starts_nothing_while_the_start_of_another_may_come(
    sandbox: Sandbox,
) -> None:
    run = Run(chained("extract", "load"))  # the start of its first task was lost
    sandbox.inject_fault(times=1, method="PUT", late=1)
    report = threading.Thread(target=run.end, args=("extract",))
    report.start()
    eventually(lambda: not sum(fault["times"] for fault in sandbox.faults()), "the update to reach the service")
    of_another = RunOfCallback(run.context("extract", -1, "success"))
    RunMemory(of_another).remember_start(FailedStart(time.time(), may_run=True))
    report.join()
    assert operations(sandbox) == [("PUT", 400, None)]


def test_an_update_for_which_airflow_leaves_no_time_is_given_up_and_a_start_is_not(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monotonic, get_connection = time.monotonic, BaseHook.get_connection

    def slowly(conn_id: str) -> Any:
        monkeypatch.setattr(time, "monotonic", lambda: monotonic() + 5)
        return get_connection(conn_id)

    monkeypatch.setattr(BaseHook, "get_connection", staticmethod(slowly))
    run = Run(chained("extract", "load"))
    run.begin("extract")
    assert operations(sandbox) == [("PUT", 200, "started")]
    monkeypatch.setattr(time, "monotonic", monotonic)
    run.end("extract")
    assert operations(sandbox) == [("PUT", 200, "started")]
    assert "was not updated; the work goes on: TimeoutError: Airflow took all of its time" in capsys.readouterr().out


def _ended(dag: DAG, reason: str = "success") -> dict[str, Any]:
    now = datetime.now(UTC)
    dag_run = SimpleNamespace(dag_id="nightly", run_id="r1", start_date=now, end_date=now)
    return {"dag": dag, "run_id": "r1", "dag_run": dag_run, "reason": reason}


def test_a_success_completes_the_bar_that_was_shown(sandbox: Sandbox) -> None:
    dag = mapped()
    dag.tags.add("activitysmith")
    policy.dag_policy(dag)
    sandbox.start(STREAM)
    ActivitySmithEndStreamNotifier()(_ended(dag))
    (body,) = sandbox.ends(STREAM)
    assert (body["content_state"]["current_step"], body["content_state"]["number_of_steps"]) == (10, 10)


def test_what_ends_the_stream_is_no_step_and_has_no_report_before_it(sandbox: Sandbox) -> None:
    with DAG("nightly", schedule=None) as dag:
        chain(
            BaseOperator(task_id="extract"),
            BaseOperator(task_id="load"),
            ActivitySmithEndStreamOperator(task_id="end_stream", trigger_rule="all_done"),
        )
    Run(dag).do("extract", "load")
    assert [(state["current_step"], state["number_of_steps"]) for state in sent(sandbox)] == [(0, 2), (1, 2)]


def test_a_key_that_a_task_cannot_render_is_told_and_the_task_goes_on(
    sandbox: Sandbox, logged: Callable[[], str]
) -> None:
    run = Run(chained("a", "b"), ProgressReporter("k-{{ nobody }}", CONNECTION))
    run.do("a", "b")
    assert sandbox.requests("PUT") == []
    assert "Live Activity stream 'k-{{ nobody }}' was not updated; the work goes on: " in logged()


def test_where_airflow_does_not_count_task_instances_their_states_are_counted(sandbox: Sandbox) -> None:
    def refuse(**which: Any) -> int:
        raise ValueError("the dag-processor does not answer this")

    run = Run(mapped(), each=2)
    run.do("before_0", "each", "after_0", get_ti_count=refuse)
    assert steps(sandbox)[-1] > steps(sandbox)[0]
