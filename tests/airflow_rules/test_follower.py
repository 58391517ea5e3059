"""What the task that follows a run sends."""

import json
import logging
import random
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow_rules.dags import dag

from activitysmith_integrations.airflow import follow_steps
from activitysmith_integrations.airflow.follower import FollowedRun, RunFollower
from activitysmith_integrations.airflow.task_states import Tasks
from activitysmith_integrations.core import APITimeoutError, BadRequestError, RateLimitError, StreamResponse
from activitysmith_integrations.core.runs.ending import EndResult

MAPPED = {"is_mapped": True}


def followed(tasks: Tasks | None = None, **more: Any) -> FollowedRun:
    known: dict[str, Any] = {
        "dag_id": "nightly",
        "run_id": "r1",
        "stream_key": "nightly-r1",
        "conn_id": "c",
        "title": "Nightly",
        "label": "27 Nov",
        "url": None,
        "started_at": "2026-11-27T03:00:00+00:00",
        "is_fail_fast": False,
        "tasks": dag("a >> b >> c") if tasks is None else tasks,
        "other_tasks": dag("follow", "end", end=MAPPED),
        "options": {},
    }
    return FollowedRun(**{**known, **more})


def answer(operation: str) -> StreamResponse:
    return StreamResponse(success=True, operation=operation, stream_key="k", timestamp=datetime.now(UTC))


def test_a_run_survives_its_way_through_json() -> None:
    run = followed(dag("a >> each", each={"is_mapped": True, "mapped_group": "g", "role": "work"}))
    assert FollowedRun.from_json(run.to_json()) == run


def test_it_starts_the_stream_and_then_moves_what_runs() -> None:
    follower = RunFollower(followed())
    start = follower.next_request({"a": "running", "b": "none", "c": "none"}, 1000.0)
    assert start is not None
    assert start.content_state.to_wire() == {
        "type": "segmented_progress",
        "title": "Nightly",
        "subtitle": "27 Nov · a",
        "number_of_steps": 3,
        "current_step": 0,
    }
    assert start.metadata == {"engine": "airflow", "pipeline": "nightly", "run": "r1"}
    follower.delivered(answer("started"), 1000.0)
    assert follower.next_request({"a": "running", "b": "none", "c": "none"}, 1005.0) is None
    move = follower.next_request({"a": "success", "b": "running", "c": "none"}, 1010.0)
    assert move is not None
    assert "type" not in move.content_state.to_wire()
    assert move.content_state.to_wire()["current_step"] == 1
    assert "Updated Live Activity stream 'nightly-r1': 1 of 3." in follower.delivered(answer("updated"), 1010.0)[1]


def test_one_that_goes_on_elsewhere_moves_what_was_started() -> None:
    before = RunFollower(followed())
    before.next_request({"a": "running", "b": "none", "c": "none"}, 1000.0)
    before.delivered(answer("started"), 1000.0)
    follower = RunFollower(followed(), json.loads(json.dumps(before.history)))
    assert follower.next_request({"a": "running", "b": "none", "c": "none"}, 1005.0) is None
    move = follower.next_request({"a": "success", "b": "running", "c": "none"}, 1010.0)
    assert move is not None
    assert "'nightly-r1' was not updated" in follower.failed(BadRequestError(400), 1010.0)[1]
    again = follower.next_request({"a": "success", "b": "running", "c": "none"}, 1015.0)
    assert again is not None
    assert again.content_state.to_wire()["type"] == "segmented_progress"


def test_a_refused_start_is_tried_again_a_minute_later() -> None:
    follower = RunFollower(followed())
    states = {"a": "running", "b": "none", "c": "none"}
    assert follower.next_request(states, 1000.0) is not None
    assert "'nightly-r1' was not started" in follower.failed(RateLimitError(429), 1000.0)[1]
    for one in (follower, RunFollower(followed(), json.loads(json.dumps(follower.history)))):
        assert one.next_request(states, 1059.0) is None
        assert one.next_request(states, 1061.0) is not None


def test_only_a_full_account_proves_that_nothing_is_shown_and_only_until_the_next_start() -> None:
    full = RateLimitError(429, {"limit": 4, "active": 4})
    for error, is_certain in ((full, True), (RateLimitError(429), False), (BadRequestError(400), False)):
        follower = RunFollower(followed())
        assert not follower.was_never_shown(1000.0)
        follower.next_request({"a": "running", "b": "none", "c": "none"}, 1000.0)
        follower.failed(error, 1000.0)
        later = RunFollower(followed(), follower.history)
        assert [one.was_never_shown(1059.0) for one in (follower, later)] == [is_certain, is_certain]
        assert not later.was_never_shown(1060.0)


def test_many_tasks_cost_no_more_than_ios_has_room_for() -> None:
    names = [f"t{number}" for number in range(100)]
    follower = RunFollower(followed(dag(" >> ".join(names))))
    sent = 0
    for done in range(100):
        states = {name: "success" if number < done else "none" for number, name in enumerate(names)}
        if follower.next_request(states, 1000.0 + done) is not None:
            sent += 1
            follower.delivered(answer("started" if sent == 1 else "updated"), 1000.0 + done)
    assert 10 <= sent <= 12


@pytest.mark.parametrize(
    ("states", "is_over"),
    [
        ({}, False),
        ({"a": "success", "b": "running", "c": "none"}, False),
        ({"a": "success", "b": "up_for_retry", "c": "none"}, False),
        ({"a": "success", "b": "failed", "c": "upstream_failed", "follow": "running"}, True),
    ],
)
def test_a_run_is_over_once_all_its_other_tasks_are(states: dict[str, str], is_over: bool) -> None:
    assert RunFollower(followed()).is_over(states) is is_over


DONE = {"a": "success", "b": "success", "c": "success", "follow": "running", "end_0": "none"}


@pytest.mark.parametrize(("added", "result"), [("success", "succeeded"), ("failed", "failed")])
def test_a_task_that_the_dags_file_gains_meanwhile_is_waited_for_and_counts(added: str, result: str) -> None:
    follower = RunFollower(followed())
    steps = follow_steps.follow(follower, 5.0, 600.0, logging.getLogger("test"))
    next(steps)
    assert steps.send({**DONE, "d": "running"}) == follow_steps.LookAtRun()
    start = steps.send(None)
    assert isinstance(start, follow_steps.Send)
    assert steps.send(answer("started")) == follow_steps.Wait(5.0)
    assert steps.send(None) == follow_steps.LookAtTasks()
    assert steps.send({**DONE, "d": added}) == follow_steps.LookAtRun()
    end = steps.send(None)
    assert isinstance(end, follow_steps.SendEnd)
    assert end.end.result == result


def test_a_task_that_the_dags_file_gains_keeps_no_stream_of_a_run_that_is_over() -> None:
    steps = follow_steps.follow(RunFollower(followed()), 5.0, 600.0, logging.getLogger("test"))
    next(steps)
    assert steps.send({**DONE, "d": "none"}) == follow_steps.LookAtRun()
    assert isinstance(steps.send("success"), follow_steps.SendEnd)


def test_what_a_trigger_is_given_of_hundreds_of_tasks_fits_into_a_column_of_mysql() -> None:
    some = random.Random(1)
    names = [f"{group}.{some.randbytes(4).hex()}" for group in ("extract", "transform", "load") for _ in range(150)]
    edges = (f"{upper} >> {name}" for i, name in enumerate(names) for upper in some.sample(names[:i], min(i, 3)))
    run = followed(dag(*edges))
    assert len(json.dumps(run.to_json())) < 2**16 * 3 // 4  # Airflow encrypts it
    assert FollowedRun.from_json(run.to_json()) == run


@pytest.mark.parametrize(
    ("run", "states", "marked", "shown"),
    [
        (followed(), {"a": "success", "b": "success", "c": "success"}, None, ("succeeded", "27 Nov · Done in ")),
        (
            followed(),
            {"a": "success", "b": "failed", "c": "upstream_failed"},
            None,
            ("failed", "b failed after 1 of 3"),
        ),
        (followed(dag("each", each=MAPPED)), {"each_0": "failed"}, None, ("failed", "each[0] failed after 0 of 1")),
        (followed(), {}, "failed", ("timed_out", "Timed out after ")),
        (
            followed(),
            {"a": "success", "b": "skipped", "c": "skipped"},
            "failed",
            ("timed_out", "Timed out after 1 of 3 steps"),
        ),
        (followed(), {"a": "success", "b": "failed", "c": "skipped"}, "failed", ("failed", "b failed after 2 of 3")),
        (
            followed(is_fail_fast=True),
            {"a": "success", "b": "failed", "c": "skipped"},
            None,
            ("failed", "b failed after 1 of 3"),
        ),
        (
            followed(started_at=None),
            {"a": "success", "b": "skipped", "c": "skipped"},
            "succeeded",
            ("succeeded", "Done"),
        ),
    ],
)
def test_it_ends_with_what_happened(run: FollowedRun, states: dict[str, str], marked: Any, shown: Any) -> None:
    end = RunFollower(run).end(states, marked)
    result, text = shown
    state = end.request.content_state.to_wire() if end.request.content_state else {}
    assert end.result == result
    assert text in (state.get("message") or state["subtitle"])
    assert state["title"] == "Nightly"


def test_a_timeout_that_skips_what_was_to_handle_a_failure_is_shown_as_one() -> None:
    run = followed(dag("load >> clean_up >> report", clean_up={"trigger_rule": "all_done"}))
    end = RunFollower(run).end({"load": "failed", "clean_up": "skipped", "report": "skipped"}, "failed")
    assert end.result == "timed_out"
    state = end.request.content_state.to_wire() if end.request.content_state else {}
    assert "Timed out after 0 of 3 steps" in state["message"]


def test_the_banner_of_a_failure_sounds_once_however_often_its_end_is_tried() -> None:
    """The run was never shown: its end starts the stream, and is then refused."""
    steps = follow_steps.follow(RunFollower(followed()), 5.0, 600.0, logging.getLogger("test"))
    assert next(steps) == follow_steps.LookAtTasks()
    assert steps.send({"a": "success", "b": "failed", "c": "upstream_failed"}) == follow_steps.LookAtRun()
    first = steps.send("failed")
    refused = EndResult(error=RateLimitError(429, retry_after=1.0), was_unknown=True, start=answer("started"))
    assert isinstance(steps.send(refused), follow_steps.Wait)
    again = steps.send(None)
    assert isinstance(first, follow_steps.SendEnd)
    assert isinstance(again, follow_steps.SendEnd)
    assert [step.end.request.alert is None for step in (first, again)] == [False, True]
    assert [step.end.starts for step in (first, again)] == ["where_unknown", "never"]


def refused_start() -> RunFollower:
    follower = RunFollower(followed())
    assert follower.next_request({"a": "running"}, 1000.0)
    follower.failed(RateLimitError(429), 1000.0)
    return follower


def test_what_an_earlier_run_ended_is_started_for_a_failure_unless_a_callback_may_have_ended_it() -> None:
    states = {"a": "success", "b": "failed", "c": "upstream_failed"}
    assert refused_start().end(states).starts == "where_inactive"
    assert refused_start().end(states, "timed_out").starts == "where_unknown"


def test_an_end_that_was_lost_starts_nothing_that_it_may_have_ended() -> None:
    follower = refused_start()
    steps = follow_steps.follow(follower, 5.0, 600.0, logging.getLogger("test"))
    next(steps)
    steps.send({"a": "success", "b": "failed", "c": "upstream_failed"})
    first = steps.send("running")
    assert isinstance(steps.send(EndResult(error=APITimeoutError("slow"))), follow_steps.Wait)
    again = steps.send(None)
    assert isinstance(first, follow_steps.SendEnd)
    assert isinstance(again, follow_steps.SendEnd)
    assert [step.end.starts for step in (first, again)] == ["where_inactive", "where_unknown"]
