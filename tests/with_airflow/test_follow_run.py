"""The task that follows its run."""

import asyncio
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, Label, TaskGroup, chain, cross_downstream, task
from airflow.sdk.bases.operator import BaseOperator
from airflow.sdk.execution_time import supervisor, task_runner
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from support.processes import eventually
from support.sandbox import KEY, Sandbox
from with_airflow.runs import STREAM, operations

from activitysmith_integrations.airflow import policy
from activitysmith_integrations.airflow.compat import AirflowFailException, AirflowSkipException
from activitysmith_integrations.airflow.follow_steps import seconds_to_wait
from activitysmith_integrations.airflow.operators import ActivitySmithFollowRunOperator
from activitysmith_integrations.airflow.triggers import FollowRunTrigger
from activitysmith_integrations.core import ConfigurationError, RateLimitError
from activitysmith_integrations.core.runs.ending import EndResult

try:
    from airflow.sdk.exceptions import TaskDeferred
except ImportError:
    from airflow.exceptions import TaskDeferred

try:
    from airflow.serialization.serialized_objects import DagSerialization
except ImportError:  # Airflow 3.1
    from airflow.serialization.serialized_objects import SerializedDAG as DagSerialization

CONNECTION_VARIABLE = "AIRFLOW_CONN_ACTIVITYSMITH_DEFAULT"

BEGAN: dict[str, str | None] = {"a": "running", "b": None, "c": None, "follow": "running"}
DONE: dict[str, str | None] = {"a": "success", "b": "success", "c": "success", "follow": "deferred"}
FAILED: dict[str, str | None] = {"a": "success", "b": "failed", "c": "upstream_failed", "follow": "deferred"}


@task
def work(value: Any) -> None: ...


def operator(*, fail_fast: bool = False, **options: Any) -> ActivitySmithFollowRunOperator:
    with DAG("nightly", schedule=None, fail_fast=fail_fast):
        follow = ActivitySmithFollowRunOperator(task_id="follow", poll_interval=0.01, **options)
        chain(*[BaseOperator(task_id=name) for name in "abc"])
    return follow


def context(follow: ActivitySmithFollowRunOperator, states: dict[str, str | None], *, try_number: int = 1) -> Any:
    ti = SimpleNamespace(
        task_id="follow",
        map_index=-1,
        state="running",
        try_number=try_number,
        max_tries=follow.retries,
        get_task_states=lambda dag_id, run_ids: {"r1": states},
    )
    dag_run = SimpleNamespace(dag_id="nightly", run_id="r1", start_date=datetime.now(UTC), end_date=None)
    return {"dag": follow.dag, "run_id": "r1", "dag_run": dag_run, "ti": ti, "task_instance": ti}


@pytest.fixture
def airflow_says(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What Airflow answers about the run, look by look; the last answer stays."""

    def says(*looks: dict[str, str | None], state: str = "running") -> None:
        answers: Iterator[dict[str, str | None]] = iter(looks)
        last: dict[str, Any] = {}

        def states(dag_id: str, run_ids: list[str]) -> Any:
            nonlocal last
            last = next(answers, last)
            return {run_ids[0]: last}

        monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(states))
        monkeypatch.setattr(RuntimeTaskInstance, "get_dagrun_state", staticmethod(lambda dag_id, run_id: state))

    return says


def deferred(follow: ActivitySmithFollowRunOperator) -> FollowRunTrigger:
    with pytest.raises(TaskDeferred) as found:
        follow.execute(context(follow, BEGAN))
    assert found.value.method_name == "resume"
    path, arguments = found.value.trigger.serialize()
    assert path == "activitysmith_integrations.airflow.triggers.FollowRunTrigger"
    return FollowRunTrigger(**arguments)


def event_of(trigger: FollowRunTrigger) -> Any:
    async def first() -> Any:
        async for event in trigger.run():
            return event.payload
        return None

    return asyncio.run(first())


def followed(follow: ActivitySmithFollowRunOperator, airflow_says: Any, *looks: Any) -> Any:
    """What the task returns once its run is over, from the triggerer or from its slot."""
    if not follow.deferrable:
        airflow_says(*looks)
        return follow.execute(context(follow, BEGAN))
    trigger = deferred(follow)
    airflow_says(*looks)
    return follow.resume(context(follow, DONE), event_of(trigger))


def test_it_starts_the_stream_follows_the_run_and_ends_the_stream(sandbox: Sandbox, airflow_says: Any) -> None:
    follow = operator(title="Followed {{ run_id }}")
    follow.render_template_fields(context(follow, BEGAN))
    trigger = deferred(follow)
    airflow_says(BEGAN, {**BEGAN, "a": "success", "b": "running"}, DONE)
    answer = follow.resume(context(follow, DONE), event_of(trigger))
    assert (answer["operation"], answer["stream_key"]) == ("ended", STREAM)
    assert [operation for _, _, operation in operations(sandbox)] == ["started", "updated", "ended"]
    states = [request["body"]["content_state"] for request in sandbox.story(STREAM)]
    assert {state["title"] for state in states} == {"Followed r1"}
    assert [state["current_step"] for state in states] == [0, 1, 3]


def test_a_run_that_fails_ends_as_failed(sandbox: Sandbox, airflow_says: Any) -> None:
    trigger = deferred(operator())
    airflow_says(FAILED)
    assert event_of(trigger)["error"] is None
    assert sandbox.ends(STREAM)[0]["content_state"]["message"].startswith("b failed after 1 of 3 steps")


def test_without_a_triggerer_it_does_the_same_from_its_slot(sandbox: Sandbox, airflow_says: Any) -> None:
    airflow_says({**BEGAN, "a": "success"}, DONE)
    follow = operator(deferrable=False)
    assert follow.execute(context(follow, BEGAN))["operation"] == "ended"
    assert [operation for _, _, operation in operations(sandbox)] == ["started", "updated", "ended"]


def test_a_rate_limit_and_an_outage_are_waited_out(sandbox: Sandbox, airflow_says: Any) -> None:
    sandbox.inject_fault(times=1, method="PUT", status=429, headers={"Retry-After": "60"})
    trigger = deferred(operator())
    # The start is due again in a minute, and the end is in time before that.
    sandbox.inject_fault(times=1, method="DELETE", status=429, headers={"Retry-After": "11"})
    airflow_says(FAILED)
    assert event_of(trigger)["error"] is None
    assert operations(sandbox) == [
        ("PUT", 429, None),
        ("DELETE", 429, None),
        ("DELETE", 404, None),
        ("PUT", 200, "started"),
        ("DELETE", 200, "ended"),
    ]


def test_an_end_that_never_arrives_fails_the_task_which_fails_no_run(sandbox: Sandbox, airflow_says: Any) -> None:
    follow = operator(patience=0.5)
    trigger = deferred(follow)
    sandbox.inject_fault(times=50, method="DELETE", drop=True)
    airflow_says(DONE)
    with pytest.raises(AirflowFailException, match="The Live Activity stream of the run was not ended: "):
        follow.resume(context(follow, DONE), event_of(trigger))
    assert follow.is_teardown
    assert not follow.on_failure_fail_dagrun


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_a_start_that_somebody_must_act_on_fails_at_once(sandbox: Sandbox, status: int) -> None:
    sandbox.inject_fault(times=1, status=status)
    follow = operator()
    with pytest.raises(AirflowFailException, match=str(status)):
        follow.execute(context(follow, BEGAN))


def test_one_that_starts_again_when_all_is_over_only_ends_the_stream(sandbox: Sandbox, airflow_says: Any) -> None:
    sandbox.start(STREAM)
    airflow_says(DONE)
    follow = operator()
    follow.execute(context(follow, DONE))
    assert [operation for _, _, operation in operations(sandbox)] == ["started", "ended"]


@pytest.mark.parametrize(("state", "ends"), [("failed", ["Timed out"]), ("success", ["Done"]), ("running", [])])
def test_a_trigger_that_is_stopped_ends_the_stream_if_the_run_is_over(
    sandbox: Sandbox, airflow_says: Any, state: str, ends: list[str]
) -> None:
    trigger = deferred(operator())
    airflow_says({**BEGAN, "a": "success", "b": "skipped"}, state=state)

    async def stopped() -> None:
        async def follow() -> None:
            async for _ in trigger.run():
                pass

        task = asyncio.create_task(follow())
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(stopped())
    states = [body["content_state"] for body in sandbox.ends(STREAM)]
    assert [(one.get("message") or one["subtitle"].partition(" · ")[2])[: len(ends[0])] for one in states] == ends


def test_a_trigger_that_is_stopped_while_its_end_is_on_its_way_sends_no_second_one(
    sandbox: Sandbox, airflow_says: Any, logged: Callable[[], str]
) -> None:
    trigger = deferred(operator())
    airflow_says({**DONE, "c": "skipped"}, state="failed")
    sandbox.inject_fault(times=1, method="DELETE", delay=1)

    async def stopped() -> Any:
        task = asyncio.create_task(anext(trigger.run().__aiter__()))
        await asyncio.to_thread(eventually, lambda: sandbox.ends(STREAM), "the end that the service carries out")
        task.cancel()
        return (await task).payload

    assert asyncio.run(stopped())["answer"]["operation"] == "ended"
    assert [operation for _, _, operation in operations(sandbox)] == ["started", "ended"]
    assert f"Ended Live Activity stream '{STREAM}' as timed out." in logged()


def test_a_trigger_that_is_stopped_while_its_end_fails_sends_another(sandbox: Sandbox, airflow_says: Any) -> None:
    trigger = deferred(operator())
    airflow_says(FAILED, state="failed")
    sandbox.inject_fault(times=1, method="DELETE", status=503, delay=1, headers={"Retry-After": "60"})

    async def stopped() -> None:
        task = asyncio.create_task(anext(trigger.run().__aiter__()))
        await asyncio.to_thread(eventually, lambda: not sandbox.faults(), "the end that the service refuses")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(stopped())
    assert operations(sandbox) == [("PUT", 200, "started"), ("DELETE", 503, None), ("DELETE", 200, "ended")]


def test_a_trigger_that_is_stopped_while_airflow_tells_nothing_says_so(
    sandbox: Sandbox, airflow_says: Any, monkeypatch: pytest.MonkeyPatch, logged: Callable[[], str]
) -> None:
    trigger = deferred(operator())
    airflow_says(BEGAN, state="failed")

    async def stopped() -> None:
        task = asyncio.create_task(anext(trigger.run().__aiter__()))
        await asyncio.sleep(0.3)

        def refuse(dag_id: str, run_ids: list[str]) -> Any:
            raise OSError("the supervisor is gone")

        monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", staticmethod(refuse))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(stopped())
    assert sandbox.ends(STREAM) == []
    assert f"Live Activity stream '{STREAM}' was not ended, since the state of its run is not known" in logged()


def test_a_connection_that_cannot_be_used_fails_at_once(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ACTIVITYSMITH_DEFAULT", '{"conn_type": "activitysmith"}')
    follow = operator()
    with pytest.raises(AirflowFailException, match="password: is empty"):
        follow.execute(context(follow, BEGAN))


def test_a_triggerer_that_gets_the_connection_late_follows_the_run_all_the_same(
    sandbox: Sandbox, airflow_says: Any, monkeypatch: pytest.MonkeyPatch, logged: Callable[[], str]
) -> None:
    trigger = deferred(operator())
    airflow_says(DONE)
    value = os.environ[CONNECTION_VARIABLE]
    monkeypatch.delenv(CONNECTION_VARIABLE)
    lines = ""

    def has_warned() -> bool:
        nonlocal lines
        lines += logged()
        return "asks for it again" in lines

    async def found_later() -> Any:
        task = asyncio.create_task(anext(trigger.run().__aiter__()))
        await asyncio.to_thread(eventually, has_warned, "the warning")
        monkeypatch.setenv(CONNECTION_VARIABLE, value)
        return (await task).payload

    assert asyncio.run(found_later())["error"] is None
    assert [operation for _, _, operation in operations(sandbox)] == ["started", "ended"]
    lines += logged()
    assert lines.count("The triggerer cannot get the connection 'activitysmith_default'") == 1


def test_a_triggerer_that_never_gets_the_connection_fails_the_task_which_says_why(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, logged: Callable[[], str]
) -> None:
    follow = operator(patience=0.2)
    trigger = deferred(follow)
    monkeypatch.delenv(CONNECTION_VARIABLE)
    with pytest.raises(AirflowFailException, match="the triggerer, which needs the connection 'activitysmith_default'"):
        follow.resume(context(follow, DONE), event_of(trigger))
    assert logged().count("asks for it again") == 1
    assert [operation for _, _, operation in operations(sandbox)] == ["started"]


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_failure_for_which_no_place_comes_free_fails_the_task_and_asks_once_a_minute(
    sandbox: Sandbox, airflow_says: Any, deferrable: bool
) -> None:
    sandbox.limit(max_concurrent=1)
    sandbox.start("other")
    follow = operator(deferrable=deferrable, patience=30)
    with pytest.raises(AirflowFailException, match="Live Activities already"):
        followed(follow, airflow_says, FAILED)
    assert operations(sandbox) == [("PUT", 429, None), ("DELETE", 404, None), ("PUT", 429, None)]


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize("status", [429, 503])
def test_a_failure_whose_start_was_refused_is_shown_although_an_earlier_run_ended_the_stream(
    sandbox: Sandbox, airflow_says: Any, deferrable: bool, status: int
) -> None:
    sandbox.start("nightly")
    sandbox.end("nightly")
    sandbox.inject_fault(times=1, method="PUT", status=status, headers={"Retry-After": "60"})
    followed(operator(deferrable=deferrable, stream_key="nightly"), airflow_says, FAILED)
    assert [(status, operation) for _, status, operation in operations(sandbox, "nightly")[2:]] == [
        (status, None),
        (200, "ended"),
        (200, "started"),
        (200, "ended"),
    ]


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_success_that_was_never_shown_costs_its_start_alone(
    sandbox: Sandbox, airflow_says: Any, logged: Callable[[], str], deferrable: bool
) -> None:
    sandbox.limit(max_concurrent=1)
    sandbox.start("other")
    answer = followed(operator(deferrable=deferrable), airflow_says, {**BEGAN, "a": "success"}, DONE)
    assert (answer["stream_key"], answer["ignored"]) == (STREAM, True)
    assert operations(sandbox) == [("PUT", 429, None)]
    assert "was never shown, so there is nothing to end" in logged()


@pytest.mark.parametrize("answer", [{}, None], ids=["nothing", "an error"])
@pytest.mark.parametrize("deferrable", [True, False])
def test_an_airflow_that_says_nothing_is_told_once_and_does_not_hold_the_run_for_ever(
    sandbox: Sandbox, airflow_says: Any, logged: Callable[[], str], deferrable: bool, answer: Any
) -> None:
    follow = operator(deferrable=deferrable, patience=0.2)
    with pytest.raises(AirflowFailException, match=r"not ended: Airflow has not told the states .* for 0\.2 s"):
        followed(follow, airflow_says, answer)
    assert logged().count("Airflow does not tell the states of the run's tasks") == 1


@pytest.mark.parametrize("seconds", [90.0, 599.0])
def test_a_long_wait_that_the_service_asks_for_is_kept(seconds: float) -> None:
    refused = EndResult(error=RateLimitError(429, retry_after=seconds))
    assert seconds_to_wait(refused, 600.0, 1, 0.0) == seconds
    assert seconds_to_wait(refused, seconds, 1, 0.0) is None


def test_ends_that_were_refused_together_do_not_come_back_together() -> None:
    refused = EndResult(error=RateLimitError(429, retry_after=1.0))
    waits = [seconds_to_wait(refused, 600.0, attempts, jitter) for attempts in (1, 4, 90) for jitter in (0.0, 1.0)]
    assert waits == [1.0, 11.0, 1.0, 61.0, 1.0, 61.0]


@pytest.mark.parametrize("deferrable", [True, False])
def test_an_end_without_a_success_fails_the_task(sandbox: Sandbox, airflow_says: Any, deferrable: bool) -> None:
    body = {"success": False, "operation": "ended", "stream_key": STREAM, "timestamp": "2026-11-27T03:00:00Z"}
    sandbox.inject_fault(times=1, method="DELETE", body=body)
    with pytest.raises(AirflowFailException, match="ActivitySmith answered without a success"):
        followed(operator(deferrable=deferrable), airflow_says, DONE)


@pytest.mark.parametrize("status", [401, 402, 403])
@pytest.mark.parametrize("deferrable", [True, False])
def test_an_end_that_somebody_must_act_on_is_not_tried_again(
    sandbox: Sandbox, airflow_says: Any, deferrable: bool, status: int
) -> None:
    sandbox.inject_fault(times=1, method="DELETE", status=status)
    with pytest.raises(AirflowFailException, match=str(status)):
        followed(operator(deferrable=deferrable), airflow_says, DONE)
    assert operations(sandbox) == [("PUT", 200, "started"), ("DELETE", status, None)]


@pytest.mark.parametrize("deferrable", [True, False])
def test_in_a_dag_with_fail_fast_it_is_skipped_where_it_would_fail_since_that_would_stop_the_work(
    sandbox: Sandbox, airflow_says: Any, deferrable: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    sandbox.inject_fault(times=1, method="DELETE", status=401)
    with pytest.raises(AirflowSkipException, match="401"):
        followed(operator(deferrable=deferrable, fail_fast=True), airflow_says, DONE)
    assert "The Live Activity stream of the run was not ended: " in capfd.readouterr().out


@pytest.mark.parametrize("status", [401, 402, 403, 404])
def test_in_a_dag_with_fail_fast_a_start_that_somebody_must_act_on_stops_no_work(sandbox: Sandbox, status: int) -> None:
    sandbox.inject_fault(times=1, status=status)
    follow = operator(fail_fast=True)
    with pytest.raises(AirflowSkipException, match=str(status)):
        follow.execute(context(follow, BEGAN))


def test_in_a_dag_with_fail_fast_only_its_last_try_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any) -> Any:
        raise OSError("the secrets backend does not answer")

    monkeypatch.setattr("airflow.sdk.BaseHook.get_connection", unreachable)
    follow = operator(fail_fast=True)
    for number in (1, 2):
        with pytest.raises(OSError, match="the secrets backend"):
            follow.execute(context(follow, BEGAN, try_number=number))
    with pytest.raises(AirflowSkipException, match="the secrets backend"):
        follow.execute(context(follow, BEGAN, try_number=3))


def test_it_is_tried_again_where_its_worker_is_lost(sandbox: Sandbox, airflow_says: Any) -> None:
    follow = operator()
    assert (follow.retries, follow.retry_delay) == (2, timedelta(seconds=10))
    deferred(follow)
    trigger = deferred(operator())
    airflow_says(DONE)
    assert event_of(trigger)["answer"]["operation"] == "ended"
    assert [operation for _, _, operation in operations(sandbox)] == ["started", "noop", "ended"]


@pytest.mark.parametrize("states", [DONE, FAILED])
def test_one_that_is_tried_again_after_its_end_starts_nothing(
    sandbox: Sandbox, airflow_says: Any, states: dict[str, str | None]
) -> None:
    """Airflow may fail a task whose trigger was quick, before the task learns what the trigger did."""
    trigger = deferred(operator())
    airflow_says(states)
    assert event_of(trigger)["answer"]["operation"] == "ended"
    assert operator().execute(context(operator(), states))["operation"] == "ended"
    assert [operation for _, _, operation in operations(sandbox)] == ["started", "ended", "ended"]
    assert sandbox.living() == []


def test_one_that_is_tried_again_after_its_end_waits_for_the_states_before_it_starts_anything(
    sandbox: Sandbox, airflow_says: Any
) -> None:
    trigger = deferred(operator())
    airflow_says(DONE)
    event_of(trigger)
    with pytest.raises(TaskDeferred) as again:
        operator().execute(context(operator(), {}))
    assert event_of(FollowRunTrigger(**again.value.trigger.serialize()[1]))["answer"]["operation"] == "ended"
    assert [operation for _, _, operation in operations(sandbox)] == ["started", "ended", "ended"]


def test_default_args_that_are_meant_for_the_work_do_not_keep_it_from_its_run() -> None:
    default_args = {
        "execution_timeout": timedelta(minutes=5),
        "depends_on_past": True,
        "wait_for_downstream": True,
        "max_active_tis_per_dag": 1,
        "trigger_rule": "all_success",
        "pool": "tiny",
        "pool_slots": 3,
        "retries": 0,
        "retry_delay": timedelta(hours=1),
        "retry_exponential_backoff": True,
    }
    with DAG("nightly", schedule=None, default_args=default_args):
        follow = ActivitySmithFollowRunOperator(task_id="follow")
        patient = ActivitySmithFollowRunOperator(task_id="patient", retries=5, retry_delay=timedelta(minutes=1))
        apart = ActivitySmithFollowRunOperator(task_id="apart", pool="live_activities")
    assert apart.pool == "live_activities"
    assert (follow.pool, follow.pool_slots) == ("default_pool", 1)
    assert (follow.retries, follow.retry_delay) == (2, timedelta(seconds=10))
    assert not follow.retry_exponential_backoff
    assert (patient.retries, patient.retry_delay) == (5, timedelta(minutes=1))
    assert (follow.execution_timeout, follow.max_active_tis_per_dag) == (None, None)
    assert not follow.depends_on_past
    assert not follow.wait_for_downstream
    assert follow.trigger_rule == "all_done_setup_success"


@pytest.mark.parametrize(
    "wait",
    [
        lambda follow, a, b: follow >> a,
        lambda follow, a, b: follow >> [a, b],
        lambda follow, a, b: a << follow,
        lambda follow, a, b: a << [b, follow],
        lambda follow, a, b: [b, follow] >> a,
        lambda follow, a, b: follow.dag.tasks[:2] >> b,
        lambda follow, a, b: [a, b] << follow,
        lambda follow, a, b: chain(follow, a, b),
        lambda follow, a, b: chain([a, follow], b),
        lambda follow, a, b: chain([a, follow], [b, BaseOperator(task_id="c")]),
        lambda follow, a, b: cross_downstream([a, follow], [b]),
        lambda follow, a, b: follow.set_downstream(a),
        lambda follow, a, b: a.set_upstream([b, follow]),
        lambda follow, a, b: follow >> Label("then") >> a,
        lambda follow, a, b: a << Label("then") << follow,
        lambda follow, a, b: follow >> TaskGroup("group"),
        lambda follow, a, b: follow.output >> a,
        lambda follow, a, b: work(follow.output),
    ],
)
def test_a_task_that_would_wait_for_the_operator_that_follows_its_run_is_refused_when_the_dag_is_parsed(
    wait: Callable[[Any, Any, Any], Any],
) -> None:
    with DAG("nightly", schedule=None) as dag:
        follow = ActivitySmithFollowRunOperator(task_id="follow")
        a, b = BaseOperator(task_id="a"), BaseOperator(task_id="b")
        with pytest.raises(ConfigurationError, match=r"^follow: .*if one\.task_id != 'follow'"):
            wait(follow, a, b)
    assert [one.task_id for one in dag.tasks if "follow" in one.upstream_task_ids] == []
    assert follow.downstream_task_ids == set()


def test_between_a_setup_and_its_teardown_it_stays_free_of_both() -> None:
    with DAG("nightly", schedule=None):
        begin, done = BaseOperator(task_id="begin").as_setup(), BaseOperator(task_id="done").as_teardown()
        with begin >> done:
            follow = ActivitySmithFollowRunOperator(task_id="follow")
            BaseOperator(task_id="a")
    assert (follow.upstream_task_ids, follow.downstream_task_ids) == (set(), set())
    assert (begin.downstream_task_ids, done.upstream_task_ids) == ({"a", "done"}, {"a", "begin"})


def test_a_watcher_may_wait_for_all_others_and_the_operator_that_follows_the_run_may_wait_for_some() -> None:
    with DAG("nightly", schedule=None) as dag:
        begin, done = BaseOperator(task_id="begin").as_setup(), BaseOperator(task_id="done").as_teardown()
        with TaskGroup("group") as group:
            follow = ActivitySmithFollowRunOperator(task_id="follow")
            with begin >> done:
                work.expand(value=[1, 2])
        group >> BaseOperator(task_id="after")
        BaseOperator(task_id="before") >> Label("then") >> follow
        watcher = BaseOperator(task_id="watcher", trigger_rule="one_failed")
        [one for one in dag.tasks if one not in (follow, watcher)] >> watcher
    assert follow.upstream_task_ids == {"before"}
    assert follow.downstream_task_ids == set()
    assert watcher.upstream_task_ids == {"begin", "done", "group.work", "after", "before"}
    known = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    assert known.get_task("group.follow").upstream_task_ids == {"before"}
    assert known.get_task("after").upstream_task_ids == {"group.work"}


def test_it_begins_before_the_tasks_that_it_shows_where_workers_are_few() -> None:
    # A task's own weight and that of all that wait for it count (Airflow's weight rule "downstream").
    assert operator().priority_weight > sum(task.priority_weight for task in operator().dag.tasks[1:])
    assert operator(priority_weight=3).priority_weight == 3


def test_a_tagged_dag_with_one_needs_no_callbacks() -> None:
    with DAG("nightly", schedule=None, tags=["activitysmith"]) as dag:
        ActivitySmithFollowRunOperator(task_id="follow")
        BaseOperator(task_id="a")
    policy.dag_policy(dag)
    assert not dag.on_success_callback
    assert not dag.get_task("a").on_success_callback


def test_nothing_that_a_trigger_keeps_is_secret(sandbox: Sandbox) -> None:
    assert KEY not in repr(deferred(operator()).serialize())


@pytest.mark.parametrize("deferrable", [True, False])
@pytest.mark.parametrize("command", ["dags test", "tasks test"])
def test_developer_commands_that_run_one_task_at_a_time_wait_for_nothing(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, logged: Callable[[], str], command: str, deferrable: bool
) -> None:
    follow = operator(deferrable=deferrable)
    known = context(follow, BEGAN)
    if command == "dags test":
        comms = supervisor.InProcessSupervisorComms(supervisor=SimpleNamespace())
        monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", comms, raising=False)
    else:
        known["run_id"] = "__airflow_temporary_run_2026-11-27T03:00:00+00:00__"
    assert follow.execute(known) == {}
    assert sandbox.requests() == []
    assert f"`airflow {command}`" in logged()
