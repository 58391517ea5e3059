"""Starts that are refused, lost or late, and what they cost the account."""

import itertools
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import DAG, TaskGroup, chain
from airflow.sdk.bases.operator import BaseOperator
from airflow.sdk.definitions.deadline import AsyncCallback, DeadlineAlert, DeadlineReference
from support.sandbox import Sandbox
from with_airflow.runs import STREAM, Run, Supervisor, operations

from activitysmith_integrations.airflow import policy
from activitysmith_integrations.airflow.dag_callbacks import callbacks_of
from activitysmith_integrations.airflow.notifications import ActivitySmithEndStreamNotifier
from activitysmith_integrations.airflow.operators import ActivitySmithEndStreamOperator, ActivitySmithFollowRunOperator
from activitysmith_integrations.core.runs import recent_ends


def tagged(*names: str, **options: Any) -> DAG:
    with DAG("nightly", schedule=None, tags=["activitysmith"], **options) as dag:
        chain(*[BaseOperator(task_id=name) for name in names])
    policy.dag_policy(dag)
    return dag


def end(run: Run, reason: str) -> None:
    """Call the DAG's callbacks as the dag-processor does."""
    callbacks: Any = run.dag.on_success_callback if reason == "success" else run.dag.on_failure_callback
    for callback in callbacks:
        callback(run.ended(reason))


def later(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() + seconds)


def test_a_run_without_faults_writes_nothing_down(sandbox: Sandbox, supervisor: Supervisor) -> None:
    run = Run(tagged("extract", "check", "load"))
    run.do("extract", "check", "load")
    end(run, "success")
    assert operations(sandbox) == [
        ("PUT", 200, "started"),
        ("PUT", 200, "updated"),
        ("PUT", 200, "updated"),
        ("DELETE", 200, "ended"),
    ]
    assert supervisor.writes == 0


@pytest.mark.parametrize("key", ["k-{{ dag_run.conf['x'] }}", "{{ dag.dag_id }}-{{ ds_nodash }}"])
def test_a_run_in_which_no_task_ran_ends_the_stream_that_its_first_task_started(
    sandbox: Sandbox, supervisor: Supervisor, key: str
) -> None:
    def context(*which: Any) -> Any:
        known = run.context(*which)
        known["dag_run"].conf = {"x": "42"}
        return {**known, "ds_nodash": "20261127"}

    dag = tagged("wait", "load", on_success_callback=ActivitySmithEndStreamNotifier(key))
    run = Run(dag)
    reporter: Any = dag.get_task("wait").on_execute_callback[-1]
    reporter(context("wait", -1, "running"))
    reporter(context("wait", -1, "skipped"))
    # All that Airflow says where all tasks of a run were skipped.
    for callback in callbacks_of(dag, "success"):
        callback({"dag": dag, "run_id": "r1", "reason": "success"})
    assert sandbox.living() == []
    (ended,) = [
        body["content_state"]["subtitle"] for body in sandbox.ends("k-42" if "conf" in key else "nightly-20261127")
    ]
    assert ended.startswith("r1 · Done")


@pytest.mark.parametrize(("key", "first"), [("k-{{ turn() }}", "k-0"), ("{{ task.task_id }}", "extract")])
def test_a_key_that_renders_anew_each_time_is_that_of_the_start(
    key: str, first: str, sandbox: Sandbox, supervisor: Supervisor
) -> None:
    turns = itertools.count()
    shown = ActivitySmithEndStreamNotifier(key)
    macros = {"turn": lambda: next(turns)}
    dag = tagged("extract", "load", on_success_callback=shown, user_defined_macros=macros)
    reporter: Any = dag.get_task("extract").on_execute_callback[-1]
    run = Run(dag, reporter)
    run.do("extract", "load")
    shown(run.ended("success"))
    assert [operation for _, _, operation in operations(sandbox, first)] == ["started", "updated", "ended"]


def test_a_tasks_own_notifier_has_a_key_of_its_own_though_its_dags_is_written_alike(
    sandbox: Sandbox, supervisor: Supervisor
) -> None:
    shown = ActivitySmithEndStreamNotifier("{{ task.task_id }}")
    dag = tagged("extract", "load", on_success_callback=shown)
    reporter: Any = dag.get_task("extract").on_execute_callback[-1]
    run = Run(dag, reporter)
    run.do("extract")
    shown(run.context("load", -1, "failed"))
    assert len(sandbox.ends("load")) == 1
    assert sandbox.living() == ["extract"]


def test_a_key_that_no_task_could_make_is_told(
    sandbox: Sandbox, supervisor: Supervisor, logged: Callable[[], str]
) -> None:
    dag = tagged("wait", on_success_callback=ActivitySmithEndStreamNotifier("k-{{ dag_run.conf['x'] }}"))
    for callback in callbacks_of(dag, "success"):
        callback({"dag": dag, "run_id": "r1", "reason": "success"})
    assert sandbox.requests() == []
    assert "was not ended" in logged()


def test_a_run_whose_start_is_refused_spends_one_request_a_minute_and_its_success_none(
    sandbox: Sandbox, supervisor: Supervisor, logged: Callable[[], str]
) -> None:
    sandbox.limit(max_concurrent=1)
    sandbox.start("other")
    run = Run(tagged("extract", "check", "load"))
    run.do("extract", "check", "load")
    end(run, "success")
    assert operations(sandbox) == [("PUT", 429, None)]
    log = logged()
    assert "The account shows 1 of its 1 Live Activities already" in log
    assert f"Live Activity stream {STREAM!r} was never shown, so there is nothing to end." in log


def test_a_tasks_own_stream_is_ended_although_the_start_of_its_runs_was_refused(
    sandbox: Sandbox, supervisor: Supervisor, logged: Callable[[], str]
) -> None:
    sandbox.limit(max_concurrent=1)
    sandbox.start("table-orders")
    run = Run(tagged("load"))
    run.begin("load")
    ActivitySmithEndStreamNotifier("table-orders")(run.context("load", -1, "success"))
    assert operations(sandbox) == [("PUT", 429, None)]
    assert sandbox.living() == []
    assert "was never shown" not in logged()


def test_its_failure_is_seen_all_the_same_with_one_banner(sandbox: Sandbox, supervisor: Supervisor) -> None:
    sandbox.limit(max_concurrent=1)
    sandbox.start("other")
    run = Run(tagged("extract", "load"))
    run.do("extract")
    sandbox.end("other")
    run.states["load"] = "failed"
    end(run, "task_failure")
    assert operations(sandbox)[1:] == [("DELETE", 404, None), ("PUT", 200, "started"), ("DELETE", 200, "ended")]
    bodies = [request["body"] for request in sandbox.story(STREAM)[-2:]]
    assert bodies[0]["content_state"] == bodies[1]["content_state"]
    assert bodies[0]["content_state"]["message"].startswith("load failed after 1 of 2 steps")
    assert ["alert" in body for body in bodies] == [True, False]


def test_a_minute_later_a_report_tries_again(
    sandbox: Sandbox, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.limit(max_concurrent=1)
    sandbox.start("other")
    run = Run(tagged("extract", "check", "load", "publish"))
    run.do("extract")
    sandbox.end("other")
    later(monkeypatch, 61)
    run.do("check", "load", "publish")
    end(run, "success")
    assert operations(sandbox) == [
        ("PUT", 429, None),
        ("PUT", 200, "started"),
        ("PUT", 200, "updated"),
        ("DELETE", 200, "ended"),
    ]


def test_a_start_whose_answer_was_lost_is_moved_and_ended(sandbox: Sandbox, supervisor: Supervisor) -> None:
    sandbox.inject_fault(times=50, method="PUT", drop=True)
    run = Run(tagged("extract", "check", "load"))
    run.begin("extract")
    sandbox.inject_fault(times=1, method="DELETE", status=503, headers={"Retry-After": "0"})
    end(run, "success")
    assert operations(sandbox)[-1] == ("DELETE", 200, "ended")


def test_a_start_that_never_arrived_is_made_up_for_by_the_next_report(sandbox: Sandbox) -> None:
    run = Run(tagged("extract", "check", "load"))
    run.end("extract")
    assert operations(sandbox) == [("PUT", 400, None), ("PUT", 200, "started")]


def test_a_quick_fault_of_the_start_is_repeated_within_its_time(sandbox: Sandbox) -> None:
    sandbox.inject_fault(times=2, method="PUT", status=503)
    Run(tagged("extract", "load")).begin("extract")
    assert [status for _, status, _ in operations(sandbox)] == [503, 503, 200]


@pytest.mark.parametrize(
    ("state", "shown"), [("success", ("segmented_progress", "green")), ("failed", ("alert", "red"))]
)
def test_a_start_that_the_service_takes_up_after_the_end_of_the_run_is_ended_again_without_a_second_banner(
    sandbox: Sandbox, state: str, shown: Any
) -> None:
    run = Run(tagged("extract", "check", "load"))
    by_now = iter(["running", state])
    run.end("extract", get_dagrun_state=lambda dag_id, run_id: next(by_now))
    assert operations(sandbox) == [("PUT", 400, None), ("PUT", 200, "started"), ("DELETE", 200, "ended")]
    body = sandbox.story(STREAM)[-1]["body"]
    assert (body["content_state"]["type"], body["content_state"]["color"]) == shown
    assert "alert" not in body


def test_a_report_that_comes_after_the_end_of_the_run_starts_nothing(sandbox: Sandbox) -> None:
    run = Run(tagged("extract", "check", "load"))
    run.state = "success"
    run.end("extract")
    assert operations(sandbox) == [("PUT", 400, None)]


@pytest.mark.parametrize(("reason", "color"), [("success", "green"), ("task_failure", "red")])
def test_a_start_that_the_service_takes_up_after_the_end_is_ended_by_the_end(
    sandbox: Sandbox, supervisor: Supervisor, reason: str, color: str
) -> None:
    sandbox.inject_fault(times=1, method="PUT", late=5)
    run = Run(tagged("only"))
    run.begin("only")
    end(run, reason)
    assert sandbox.living() == []
    assert operations(sandbox)[-1] == ("DELETE", 200, "ended")
    assert sandbox.ends(STREAM)[-1]["content_state"]["color"] == color


def test_a_late_start_of_a_run_that_timed_out_is_ended_as_such(sandbox: Sandbox) -> None:
    run = Run(tagged("extract", "check", "load"))
    run.state = "failed"
    run.states |= {"check": "skipped", "load": "skipped"}
    run.begin("extract")
    state = sandbox.ends(STREAM)[0]["content_state"]
    assert state["badge"]["title"] == "Timed out"
    assert "after 0 of 3 steps" in state["message"]


def test_a_late_start_of_a_run_whose_timeout_skipped_what_was_to_handle_a_failure_is_ended_as_timed_out(
    sandbox: Sandbox,
) -> None:
    run = Run(tagged("extract", "check", "load"))
    run.dag.get_task("load").trigger_rule = "all_done"
    run.state = "failed"
    run.states |= {"check": "failed", "load": "skipped"}
    run.begin("extract")
    assert sandbox.ends(STREAM)[0]["content_state"]["badge"]["title"] == "Timed out"


def test_a_report_from_the_dag_processor_starts_nothing(sandbox: Sandbox) -> None:
    run = Run(tagged("extract", "check", "load", "publish"))
    run.dag.get_task("load").trigger_rule = "all_done"
    run.states |= {"extract": "success", "check": "failed"}
    run.notifier(run.context("check", -1, None, try_number=1, max_tries=0))
    assert operations(sandbox) == [("PUT", 400, None)]


def test_a_run_that_failed_before_its_first_task_began_is_shown(sandbox: Sandbox) -> None:
    run = Run(tagged("waits"))
    run.states["waits"] = "skipped"
    end(run, "timed_out")
    assert operations(sandbox) == [("DELETE", 404, None), ("PUT", 200, "started"), ("DELETE", 200, "ended")]
    assert sandbox.ends(STREAM)[0]["content_state"]["badge"]["title"] == "Timed out"


@pytest.mark.parametrize("tags", [[], ["activitysmith"]])
@pytest.mark.parametrize("is_started", [False, True])
def test_a_followed_run_that_times_out_before_a_trigger_runs_is_shown(
    tags: list[str], is_started: bool, sandbox: Sandbox, logged: Callable[[], str]
) -> None:
    with DAG("nightly", schedule=None, tags=tags) as dag:
        BaseOperator(task_id="load")
        ActivitySmithFollowRunOperator(task_id="follow", title="Nightly {{ run_id }}", failure_color="orange")
    for _ in range(2):
        for task in dag.tasks:
            policy.task_policy(task)
        policy.dag_policy(dag)
    if is_started:
        sandbox.start(STREAM)
    run = Run(dag)
    run.states |= {"load": "skipped", "follow": "skipped"}
    for _ in range(2):
        end(run, "timed_out")
    first = sandbox.ends(STREAM)[0]
    assert first["content_state"]["title"] == "Nightly r1"
    assert (first["content_state"]["badge"], first["content_state"]["color"]) == (
        {"title": "Timed out", "color": "orange"},
        "orange",
    )
    assert banners(sandbox) == 1
    assert sandbox.story(STREAM)[-1]["method"] == "DELETE"
    assert "was ended by the task that follows the run" in logged()


@pytest.mark.parametrize("key", [None, "nightly"])
@pytest.mark.parametrize("tags", [[], ["activitysmith"]])
def test_a_followed_run_whose_setup_fails_so_that_nothing_follows_it_is_shown(
    tags: list[str], key: str | None, sandbox: Sandbox
) -> None:
    with DAG("nightly", schedule=None, tags=tags) as dag:
        create = BaseOperator(task_id="create").as_setup()
        with TaskGroup("work", prefix_group_id=False) as group:
            BaseOperator(task_id="load")
            follow = ActivitySmithFollowRunOperator(task_id="follow", stream_key=key)
        create >> group
    assert follow.upstream_task_ids == {"create"}
    for task in dag.tasks:
        policy.task_policy(task)
    policy.dag_policy(dag)
    stream = key or STREAM
    sandbox.start(stream)
    sandbox.end(stream)  # by an earlier run
    run = Run(dag)
    run.states |= {"create": "failed", "load": "upstream_failed", "follow": "upstream_failed"}
    end(run, "task_failure")
    assert sandbox.ends(stream)[-1]["content_state"]["message"].startswith("create failed")
    assert banners(sandbox, stream) == 1


def followed() -> Run:
    with DAG("nightly", schedule=None) as dag:
        BaseOperator(task_id="load")
        ActivitySmithFollowRunOperator(task_id="follow")
    for task in dag.tasks:
        policy.task_policy(task)
    return Run(dag)


@pytest.mark.parametrize("state", ["running", "deferred", "success"])
def test_a_followed_run_that_fails_otherwise_is_left_to_the_task_that_follows_it(state: str, sandbox: Sandbox) -> None:
    run = followed()
    run.states |= {"load": "failed", "follow": state}
    end(run, "task_failure")
    assert sandbox.requests() == []


def end_followed(run: Run) -> None:
    """The task that follows a run has ended its stream."""
    run.dag.get_task("follow").resume(run.context("follow", -1, "running"), {"answer": {"operation": "ended"}})
    run.states |= {"load": "failed", "follow": "success"}


@pytest.mark.parametrize("is_followed_again", [False, True])
def test_a_followed_run_that_was_cleared_in_part_and_fails_again_is_seen_once(
    sandbox: Sandbox, supervisor: Supervisor, is_followed_again: bool
) -> None:
    sandbox.start(STREAM)
    sandbox.end(STREAM)
    run = followed()
    end_followed(run)
    run.clear()
    if is_followed_again:
        end_followed(run)
    end(run, "task_failure")
    assert banners(sandbox) == int(not is_followed_again)


def test_a_followed_run_of_which_a_task_was_cleared_while_it_went_on_is_ended_by_its_follower(
    sandbox: Sandbox, supervisor: Supervisor
) -> None:
    run = followed()
    end_followed(run)
    run.clear_number = 1  # Airflow 3.3 counts such a clear, too
    end(run, "task_failure")
    assert sandbox.requests() == []


def test_a_followed_run_leaves_its_end_to_the_task_that_follows_it_whatever_default_args_say(
    sandbox: Sandbox, supervisor: Supervisor, logged: Callable[[], str]
) -> None:
    ends = ActivitySmithEndStreamNotifier()
    with DAG("nightly", schedule=None, default_args={"on_failure_callback": ends}) as dag:
        BaseOperator(task_id="load") >> BaseOperator(task_id="report", trigger_rule="all_done")
        ActivitySmithFollowRunOperator(task_id="follow")
    sandbox.start(STREAM)
    ends(Run(dag).context("load", -1, "failed"))
    assert sandbox.living() == [STREAM]
    assert "The task that follows the run ends its Live Activity stream." in logged()


@pytest.mark.parametrize("tags", [[], ["activitysmith"], ["activitysmith:failures"]])
def test_a_teardown_whose_failure_airflow_ignores_is_no_failure_of_the_run(
    sandbox: Sandbox, supervisor: Supervisor, tags: list[str]
) -> None:
    ends = ActivitySmithEndStreamNotifier()
    given: Any = {"on_success_callback": ends, "on_failure_callback": ends}
    with DAG("nightly", schedule=None, tags=tags, default_args=given) as dag:
        load, clean = BaseOperator(task_id="load"), BaseOperator(task_id="clean")
        load >> clean.as_teardown()
    policy.dag_policy(dag)
    sandbox.start(STREAM)
    run = Run(dag)
    run.states |= {"load": "success", "clean": "running"}
    ends(run.context("clean", -1, "failed"))
    run.states["clean"] = "failed"
    if dag.on_success_callback:
        end(run, "success")
    assert sandbox.living() == []
    assert sandbox.ends(STREAM)[0]["content_state"]["color"] == "green"
    assert banners(sandbox) == 0


def test_a_failure_that_a_callback_of_a_task_has_shown_is_no_warning_of_its_dag(
    sandbox: Sandbox, supervisor: Supervisor, logged: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = ActivitySmithEndStreamNotifier()
    with DAG("nightly", schedule=None, tags=["activitysmith"], default_args={"on_failure_callback": ends}) as dag:
        BaseOperator(task_id="load")
    policy.dag_policy(dag)
    run = Run(dag)
    run.begin("load")
    ends(run.context("load", -1, "failed"))
    run.states["load"] = "failed"
    monkeypatch.setattr(recent_ends, "_memory", recent_ends._Memory())  # the DAG's callback is called elsewhere
    logged()
    end(run, "task_failure")
    assert f"Live Activity stream {STREAM!r} was ended by a task before." in logged()
    assert banners(sandbox) == 1


def test_a_followed_run_of_which_airflow_does_not_tell_is_ended_if_nothing_has_ended_it(sandbox: Sandbox) -> None:
    run = followed()
    run.states.clear()
    for _ in range(2):
        end(run, "task_failure")
    assert banners(sandbox) == 1


def test_an_unseen_failure_is_left_alone_where_its_user_wants_that(sandbox: Sandbox) -> None:
    ActivitySmithEndStreamNotifier(start_unseen_failures=False)(Run(tagged("a")).ended("task_failure"))
    assert operations(sandbox) == [("DELETE", 404, None)]


def test_a_failure_that_hears_of_an_ended_stream_leaves_it_alone_and_says_so(
    sandbox: Sandbox, logged: Callable[[], str]
) -> None:
    sandbox.start(STREAM)
    sandbox.end(STREAM)
    ActivitySmithEndStreamNotifier()(Run(tagged("a")).ended("task_failure"))
    assert operations(sandbox)[2:] == [("DELETE", 200, "ended")]
    assert "had ended before, so this failure may not be on the phone" in logged()


def test_an_end_that_a_task_has_sent_before_is_no_reason_to_worry(sandbox: Sandbox, logged: Callable[[], str]) -> None:
    with DAG("nightly", schedule=None, tags=["activitysmith"]) as dag:
        BaseOperator(task_id="a") >> ActivitySmithEndStreamOperator(task_id="end").as_teardown()
    policy.dag_policy(dag)
    sandbox.start(STREAM)
    sandbox.end(STREAM)
    run = Run(dag)
    run.states |= {"a": "failed", "end": "success"}
    end(run, "task_failure")
    assert f"Live Activity stream {STREAM!r} was ended by a task before." in logged()
    assert [operation for _, _, operation in operations(sandbox)] == ["started", "ended", "ended"]


def ended_by_operator(before_end: str = "success", tag: str = "activitysmith", **options: Any) -> Run:
    """A run of ``load >> end_stream >> publish`` whose operator has ended its stream."""
    with DAG("nightly", schedule=None, tags=[tag], **options) as dag:
        last = ActivitySmithEndStreamOperator(task_id="end_stream", trigger_rule="all_done")
        chain(BaseOperator(task_id="load"), last, BaseOperator(task_id="publish"))
    policy.dag_policy(dag)
    run = Run(dag)
    run.begin("load")
    run.end("load", state=before_end)
    last.execute(run.context("end_stream", -1, "running"))
    run.states["end_stream"] = "success"
    return run


def banners(sandbox: Sandbox, stream: str = STREAM) -> int:
    """How often the phone sounded: what arrives for a stream that has ended does not."""
    count, is_live = 0, False
    for one in sandbox.story(stream):
        if one["status"] == 200:
            is_live = is_live or one["method"] == "PUT"
            count += is_live and "alert" in one["body"]
            is_live = one["method"] == "PUT"
    return count


@pytest.mark.parametrize(
    ("reason", "state", "message"),
    [
        ("task_failure", "failed", "publish failed after 1 of 1 step"),
        ("timed_out", "skipped", "Timed out after 1 of 1 step"),
    ],
)
def test_a_task_that_fails_after_the_operator_that_ended_the_stream_is_seen(
    sandbox: Sandbox, supervisor: Supervisor, logged: Callable[[], str], reason: str, state: str, message: str
) -> None:
    run = ended_by_operator()
    run.states["publish"] = state
    end(run, reason)
    assert [operation for _, _, operation in operations(sandbox)] == ["started", "ended", "ended", "started", "ended"]
    assert sandbox.ends(STREAM)[-1]["content_state"]["message"].startswith(message)
    assert banners(sandbox) == 1
    assert "was ended by a task before" not in logged()


@pytest.mark.parametrize("publish", ["success", "failed"])
def test_a_failure_that_the_operator_has_shown_sounds_once(
    sandbox: Sandbox, supervisor: Supervisor, publish: str
) -> None:
    run = ended_by_operator(before_end="failed")
    run.states["publish"] = publish
    end(run, "task_failure")
    assert banners(sandbox) == 1
    assert [operation for _, _, operation in operations(sandbox)] == ["started", "ended", "ended"]


@pytest.mark.parametrize("end_state", ["success", "failed"])
def test_a_failure_after_the_operator_sounds_once_where_tasks_have_a_callback_as_well(
    sandbox: Sandbox, supervisor: Supervisor, end_state: str
) -> None:
    ends = ActivitySmithEndStreamNotifier()
    run = ended_by_operator(default_args={"on_failure_callback": ends})
    if end_state == "failed":
        sandbox.start(STREAM)  # the operator did not get through
        run.states["end_stream"] = "failed"
    ends(run.context("publish", -1, "failed"))
    run.states["publish"] = "failed"
    end(run, "task_failure")
    assert banners(sandbox) == 1


def test_a_run_that_was_cleared_and_fails_again_after_the_operator_is_seen_again(
    sandbox: Sandbox, supervisor: Supervisor
) -> None:
    run = ended_by_operator()
    for clear_number in (0, 1):
        run.clear_number = clear_number
        run.states["publish"] = "failed"
        end(run, "task_failure")
    assert banners(sandbox) == 2


def test_a_run_that_was_cleared_and_not_shown_again_is_seen_to_fail_also_where_an_operator_ends_its_stream(
    sandbox: Sandbox, supervisor: Supervisor
) -> None:
    run = ended_by_operator()
    run.clear_number = 1
    sandbox.limit(max_concurrent=1)
    sandbox.start("other")
    run.begin("load")
    run.end("load", state="failed")
    sandbox.end("other")
    run.dag.get_task("end_stream").execute(run.context("end_stream", -1, "running"))
    run.states["publish"] = "upstream_failed"
    end(run, "task_failure")
    assert [(method, status) for method, status, _ in operations(sandbox)] == [
        ("PUT", 200),
        ("DELETE", 200),
        ("PUT", 429),
        ("DELETE", 200),
        ("PUT", 200),
        ("DELETE", 200),
        ("DELETE", 200),
    ]
    assert banners(sandbox) == 1
    assert sandbox.living() == []


def test_a_cleared_run_whose_operator_airflow_skips_is_seen_to_fail(sandbox: Sandbox, supervisor: Supervisor) -> None:
    run = ended_by_operator()
    run.clear_number = 1
    run.states |= {"load": "failed", "end_stream": "upstream_failed", "publish": "upstream_failed"}
    end(run, "task_failure")
    assert sandbox.ends(STREAM)[-1]["content_state"]["message"].startswith("load failed")
    assert banners(sandbox) == 1


@pytest.mark.parametrize("is_operator_cleared", [False, True])
@pytest.mark.parametrize("tag", ["activitysmith", "activitysmith:failures"])
def test_a_failure_after_only_the_failed_tasks_were_cleared_is_seen_once(
    sandbox: Sandbox, supervisor: Supervisor, tag: str, is_operator_cleared: bool
) -> None:
    run = ended_by_operator("failed", tag=tag)
    run.clear()
    run.states |= {"load": "failed", "publish": "upstream_failed"}
    if is_operator_cleared:
        run.dag.get_task("end_stream").execute(run.context("end_stream", -1, "running"))
    before = banners(sandbox)
    end(run, "task_failure")
    assert sandbox.ends(STREAM)[-1]["content_state"]["message"].startswith("load failed")
    assert (before, banners(sandbox)) == ((2, 2) if is_operator_cleared else (1, 2))


@pytest.mark.parametrize("is_own", [False, True])
def test_a_handled_failure_for_which_a_watcher_fails_the_run_sounds_once(
    sandbox: Sandbox, supervisor: Supervisor, is_own: bool
) -> None:
    state = {"type": "alert", "title": "ETL", "message": "load failed"}
    own = {"content_state": state, "alert": {"title": "ETL", "body": "load failed"}}
    picture: Any = own if is_own else {}
    with DAG("nightly", schedule=None, tags=["activitysmith"]) as dag:
        load, clean = BaseOperator(task_id="load"), BaseOperator(task_id="clean", trigger_rule="all_done")
        last = ActivitySmithEndStreamOperator(task_id="end_stream", trigger_rule="all_done", **picture)
        watcher = BaseOperator(task_id="watcher", trigger_rule="one_failed")
        chain(load, clean, last, watcher)
        load >> watcher
    policy.dag_policy(dag)
    run = Run(dag)
    run.begin("load")
    run.end("load", state="failed")
    run.do("clean")
    last.execute(run.context("end_stream", -1, "running"))
    run.states |= {"end_stream": "success", "watcher": "failed"}
    end(run, "task_failure")
    assert banners(sandbox) == 1
    if not is_own:
        assert sandbox.ends(STREAM)[-1]["content_state"]["message"].startswith("load failed")


def test_an_operator_that_ends_the_dags_own_stream_is_no_step_under_any_key(
    sandbox: Sandbox, supervisor: Supervisor
) -> None:
    ends = ActivitySmithEndStreamNotifier("etl")
    with DAG("nightly", schedule=None, tags=["activitysmith"], on_failure_callback=ends) as dag:
        last = ActivitySmithEndStreamOperator(task_id="end", stream_key="etl", trigger_rule="all_done")
        BaseOperator(task_id="load") >> last
    policy.dag_policy(dag)
    run = Run(dag, callbacks_of(dag.get_task("load"), "success")[-1])
    run.begin("load")
    run.end("load", state="failed")
    last.execute(run.context("end", -1, "running"))
    assert not callbacks_of(last, "success")
    ends(run.ended("task_failure"))
    assert [operation for _, _, operation in operations(sandbox, "etl")] == ["started", "ended", "ended"]
    assert sandbox.ends("etl")[0]["content_state"]["message"].startswith("load failed after 0 of 1 step")


def test_where_airflow_skips_the_task_that_ends_the_stream_the_dag_ends_it(
    sandbox: Sandbox, supervisor: Supervisor
) -> None:
    with DAG("nightly", schedule=None, tags=["activitysmith"]) as dag:
        load = BaseOperator(task_id="load")
        BaseOperator(task_id="extract") >> load >> ActivitySmithEndStreamOperator(task_id="end").as_teardown()
    policy.dag_policy(dag)
    run = Run(dag)
    run.do("extract")
    run.states |= {"load": "skipped", "end": "skipped"}  # what a DAG's timeout makes of unfinished tasks
    end(run, "timed_out")
    assert [operation for _, _, operation in operations(sandbox)] == ["started", "updated", "ended"]
    assert sandbox.ends(STREAM)[0]["content_state"]["message"].startswith("Timed out after 1 of 2 steps")


def test_runs_of_one_dag_have_a_stream_each(sandbox: Sandbox) -> None:
    dag = tagged("extract", "load")
    for run_id in ("r1", "r2"):
        context = Run(dag).context("extract", -1, "running")
        context |= {"run_id": run_id}
        context["dag_run"].run_id = run_id
        Run(dag).notifier(context)
    assert len(sandbox.living()) == 2


def test_a_warning_of_the_service_is_in_the_line(sandbox: Sandbox, logged: Callable[[], str]) -> None:
    answer = {
        "success": True,
        "operation": "updated",
        "stream_key": STREAM,
        "timestamp": "2026-11-27T03:00:00Z",
        "warning": "iOS may throttle this activity",
    }
    sandbox.inject_fault(times=2, body=answer)
    run = Run(tagged("extract", "load"))
    run.begin("extract")
    assert f"Updated Live Activity stream {STREAM!r}: 0 of 2. ActivitySmith says: iOS may throttle" in logged()
    sandbox.inject_fault(times=1, method="DELETE", body={**answer, "operation": "ended"})
    end(run, "success")
    assert "ActivitySmith says: iOS may throttle" in logged()


def test_a_log_that_is_gone_stops_nothing(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        def __getattr__(self, name: str) -> Any:
            raise BrokenPipeError

    sandbox.start(STREAM)
    dag = tagged("extract", "load")
    monkeypatch.setattr(ActivitySmithEndStreamNotifier, "log", Gone())
    ActivitySmithEndStreamNotifier()(Run(dag).ended("success"))
    ActivitySmithEndStreamNotifier("{{ nobody }}")(Run(dag).ended("success"))
    assert len(sandbox.ends(STREAM)) == 1


@pytest.mark.parametrize("patience", [1, 41, "ten", None])
def test_patience_has_bounds(patience: Any) -> None:
    with pytest.raises(ValueError, match="patience"):
        ActivitySmithEndStreamNotifier(patience=patience)


def test_an_end_repeats_until_its_time_is_over(sandbox: Sandbox) -> None:
    sandbox.start(STREAM)
    sandbox.inject_fault(times=7, method="DELETE", status=503)
    ActivitySmithEndStreamNotifier(patience=30)(Run(tagged("a")).ended("success"))
    assert [status for method, status, _ in operations(sandbox) if method == "DELETE"] == [503] * 7 + [200]


def test_the_second_failure_of_a_task_that_was_cleared_is_seen(sandbox: Sandbox, supervisor: Supervisor) -> None:
    run = Run(tagged("extract", "check", "load"))
    run.do("extract")
    run.begin("check")
    run.end("check", state="failed")
    end(run, "task_failure")
    run.states |= {"check": None, "load": None}
    run.clear_number = 1
    run.begin("check")
    run.end("check", state="failed")
    end(run, "task_failure")
    assert operations(sandbox)[-2:] == [("PUT", 200, "started"), ("DELETE", 200, "ended")]


@pytest.mark.parametrize("clear_number", [0, 1])
def test_a_function_that_ends_the_stream_beside_the_tag_is_one_end_and_one_banner(
    sandbox: Sandbox, supervisor: Supervisor, logged: Callable[[], str], clear_number: int
) -> None:
    def theirs(context: Any) -> None:
        ActivitySmithEndStreamNotifier()(context)

    run = Run(tagged("extract", "load", on_failure_callback=theirs))
    run.clear_number = clear_number
    run.do("extract")
    run.begin("load")
    run.end("load", state="failed")
    logged()
    before = len(operations(sandbox))
    end(run, "task_failure")
    assert operations(sandbox)[before:] == [("DELETE", 200, "ended"), ("DELETE", 200, "ended")]
    assert banners(sandbox) == 1
    assert "had been ended by this run already, with its failure" in logged()


@pytest.mark.parametrize("fault", [{"drop": True, "status": 503}, {"status": 500}])
def test_an_end_that_did_not_get_through_silences_no_other(
    sandbox: Sandbox, supervisor: Supervisor, fault: dict[str, Any]
) -> None:
    run = Run(tagged("load"))
    run.clear_number = 1
    sandbox.inject_fault(times=99, **fault)
    ActivitySmithEndStreamNotifier(patience=2)(run.ended("task_failure"))
    sandbox.clear_faults()
    ActivitySmithEndStreamNotifier()(run.ended("task_failure"))
    assert banners(sandbox) == 1


async def theirs_alone() -> None: ...


def test_a_deadline_that_ends_no_stream_of_ours_leaves_an_ended_one_alone(
    sandbox: Sandbox, supervisor: Supervisor
) -> None:
    late = DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(hours=1), AsyncCallback(theirs_alone))
    run = Run(tagged("load", deadline=late))
    sandbox.start(STREAM)
    sandbox.end(STREAM)
    end(run, "task_failure")
    assert operations(sandbox)[-1] == ("DELETE", 200, "ended")
    assert len(operations(sandbox)) == 3


def test_a_failure_after_a_missed_deadline_is_shown(sandbox: Sandbox, supervisor: Supervisor) -> None:
    callback = AsyncCallback(ActivitySmithEndStreamNotifier)
    late = DeadlineAlert(DeadlineReference.DAGRUN_QUEUED_AT, timedelta(hours=1), callback)
    run = Run(tagged("extract", "load", deadline=late))
    run.do("extract")
    sandbox.end(STREAM)  # as the deadline's callback does, in the triggerer
    run.begin("load")
    run.end("load", state="failed")
    end(run, "task_failure")
    shown = sandbox.ends(STREAM)[-1]["content_state"]
    assert shown["message"].startswith("load failed")
    assert operations(sandbox)[-2:] == [("PUT", 200, "started"), ("DELETE", 200, "ended")]


@pytest.mark.parametrize("state", ["running", "deferred", "up_for_reschedule", "up_for_retry", "awaiting_input"])
def test_a_task_that_waits_has_started_the_stream_for_the_one_beside_it(
    sandbox: Sandbox, supervisor: Supervisor, state: str
) -> None:
    with DAG("nightly", schedule=None, tags=["activitysmith"]) as dag:
        approve, load, publish = (BaseOperator(task_id=name) for name in ("approve", "load", "publish"))
        [approve, load] >> publish
    policy.dag_policy(dag)
    run = Run(dag)
    run.begin("approve")
    run.states["approve"] = state
    run.begin("load")
    assert operations(sandbox) == [("PUT", 200, "started")]


def test_a_part_that_was_cleared_is_started_by_its_first_task_alone(sandbox: Sandbox, supervisor: Supervisor) -> None:
    run = Run(tagged("extract", "check", "load", "publish"))
    run.states |= {"extract": "success"}
    run.clear_number = 2
    run.do("check", "load", "publish")
    end(run, "success")
    assert operations(sandbox) == [
        ("PUT", 200, "started"),
        ("PUT", 200, "updated"),
        ("PUT", 200, "updated"),
        ("DELETE", 200, "ended"),
    ]


def test_a_run_whose_title_cannot_be_rendered_is_shown_under_the_dags_name(
    sandbox: Sandbox, logged: Callable[[], str]
) -> None:
    dag = tagged("a", on_failure_callback=[ActivitySmithEndStreamNotifier(title="ETL {{ params.customer }}")])
    run = Run(dag, callbacks_of(dag.get_task("a"), "execute")[-1])
    run.begin("a")
    run.states["a"] = "failed"
    end(run, "task_failure")
    assert operations(sandbox) == [("PUT", 200, "started"), ("DELETE", 200, "ended")]
    assert {one["body"]["content_state"]["title"] for one in sandbox.requests()} == {"nightly"}
    assert "The default picture is shown instead" in logged()


def test_a_failure_of_a_run_without_a_logical_date_is_shown_where_the_key_is_made_of_one(
    sandbox: Sandbox, logged: Callable[[], str]
) -> None:
    dag = tagged("a", on_failure_callback=[ActivitySmithEndStreamNotifier("etl-{{ ds }}")])
    run = Run(dag, callbacks_of(dag.get_task("a"), "execute")[-1])
    run.begin("a")
    run.states["a"] = "failed"
    end(run, "task_failure")
    assert operations(sandbox) == [("DELETE", 404, None), ("PUT", 200, "started"), ("DELETE", 200, "ended")]
    assert "Live Activity stream 'etl-{{ ds }}' has no key in this run" in logged()
