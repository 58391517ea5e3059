"""The rules of a stream's life, without any HTTP."""

import itertools
import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from activitysmith_integrations.core.errors import InvalidRequestError
from activitysmith_integrations.core.models.requests import EndStreamRequest, StreamRequest
from activitysmith_integrations.sandbox.errors import RefusedError
from activitysmith_integrations.sandbox.models import Stream, rfc3339
from activitysmith_integrations.sandbox.streams import MAX_STREAMS, Account, Limits

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
NOON_ON_THE_WIRE = "2026-11-23T12:00:00.000Z"


def account(max_concurrent: int | None = 4, requests_per_minute: int | None = 60) -> Account:
    numbers = itertools.count(1)
    return Account(lambda: f"activity-{next(numbers)}", Limits(max_concurrent, requests_per_minute))


def put(
    to: Account, key: str, state: dict[str, Any] | None = None, now: datetime = NOON, **members: Any
) -> dict[str, Any]:
    body: dict[str, Any] = {"content_state": state or progress(0), **members}
    return to.put(key, StreamRequest(**body), now)


def end(to: Account, key: str, now: datetime = NOON, **members: Any) -> dict[str, Any]:
    return to.delete(key, EndStreamRequest(**members) if members else None, now)


def progress(percentage: int) -> dict[str, Any]:
    return {"title": "Load", "type": "progress", "percentage": percentage}


def only_stream(of: Account) -> Stream:
    (stream,) = of.streams
    return stream


def later(**duration: float) -> datetime:
    return NOON + timedelta(**duration)


def test_first_put_starts_an_activity() -> None:
    assert put(account(), "etl") == {
        "success": True,
        "operation": "started",
        "stream_key": "etl",
        "activity_id": "activity-1",
        "devices_queued": 1,
        "timestamp": NOON_ON_THE_WIRE,
    }


def test_put_with_another_state_updates_the_same_activity() -> None:
    streams = account()
    put(streams, "etl", progress(0))
    answer = put(streams, "etl", progress(50), later(seconds=5))
    assert (answer["operation"], answer["activity_id"]) == ("updated", "activity-1")
    stream = only_stream(streams)
    assert stream.state["percentage"] == 50
    assert (stream.updates, stream.started_at, stream.updated_at) == (1, NOON, later(seconds=5))


def test_same_payload_again_changes_nothing() -> None:
    streams = account()
    put(streams, "etl", progress(50), alert={"title": "Half"})
    before = streams.streams
    answer = put(streams, "etl", progress(50), later(seconds=5), alert={"title": "Half"})
    assert (answer["operation"], answer["activity_id"]) == ("noop", "activity-1")
    assert streams.streams == before


def test_same_state_with_an_alert_is_an_update() -> None:
    streams = account()
    put(streams, "etl", progress(50))
    assert put(streams, "etl", progress(50), alert={"title": "Half"})["operation"] == "updated"


def test_another_type_rotates_to_a_new_activity() -> None:
    streams = account()
    put(streams, "etl", progress(50), tags=["nightly"])
    put(streams, "etl", progress(60))
    answer = put(streams, "etl", {"title": "Load", "type": "alert", "message": "Look"}, later(seconds=5))
    assert (answer["operation"], answer["activity_id"], answer["previous_activity_id"]) == (
        "rotated",
        "activity-2",
        "activity-1",
    )
    stream = only_stream(streams)
    assert (stream.type, stream.updates, stream.started_at, stream.tags) == (
        "alert",
        0,
        later(seconds=5),
        ["nightly"],
    )


def test_rotation_needs_no_room_for_a_second_activity() -> None:
    streams = account(max_concurrent=1)
    put(streams, "etl")
    assert put(streams, "etl", {"title": "Load", "type": "timer"})["operation"] == "rotated"


def test_put_on_an_ended_key_starts_a_new_activity_with_nothing_of_the_old_one() -> None:
    streams = account()
    put(streams, "etl", tags=["nightly"], metadata={"rows": 1})
    end(streams, "etl")
    answer = put(streams, "etl", now=later(hours=1))
    assert (answer["operation"], answer["activity_id"]) == ("started", "activity-2")
    stream = only_stream(streams)
    assert stream.live
    assert (stream.started_at, stream.ended_at, stream.tags, stream.metadata) == (later(hours=1), None, [], {})


def test_missing_type_is_that_of_the_running_activity() -> None:
    streams = account()
    put(streams, "etl", progress(10))
    assert put(streams, "etl", {"title": "Load", "percentage": 20})["operation"] == "updated"
    assert only_stream(streams).state == progress(20)


@pytest.mark.parametrize("ended_before", [False, True])
def test_missing_type_is_refused_where_nothing_is_running(ended_before: bool) -> None:
    streams = account()
    if ended_before:
        put(streams, "etl")
        end(streams, "etl")
    with pytest.raises(InvalidRequestError, match=r"content_state\.type: is required"):
        put(streams, "etl", {"title": "Load"})


def test_rules_of_the_inferred_type_hold() -> None:
    streams = account()
    put(streams, "etl", {"title": "Load", "type": "alert", "message": "Look"})
    with pytest.raises(InvalidRequestError, match=r"content_state\.message: is required for type alert"):
        put(streams, "etl", {"title": "Load"})


@pytest.mark.parametrize(
    ("first", "member"),
    [
        ({"title": "T", "type": "timer", "duration_seconds": 300}, "duration_seconds"),
        ({"title": "T", "type": "segmented_progress", "number_of_steps": 5}, "number_of_steps"),
    ],
)
def test_update_keeps_the_timer_window_and_the_number_of_steps(first: dict[str, Any], member: str) -> None:
    streams = account()
    put(streams, "etl", first)
    put(streams, "etl", {"title": "Further"})
    assert only_stream(streams).state == {**first, "title": "Further"}
    put(streams, "etl", {"title": "Further", member: 7})
    assert only_stream(streams).state[member] == 7


def test_update_without_tags_and_metadata_keeps_them() -> None:
    streams = account()
    put(streams, "etl", progress(1), tags=["a"], metadata={"rows": 7})
    put(streams, "etl", progress(2))
    assert (only_stream(streams).tags, only_stream(streams).metadata) == (["a"], {"rows": 7})


def test_empty_tags_and_metadata_clear_them() -> None:
    streams = account()
    put(streams, "etl", progress(1), tags=["a"], metadata={"rows": 7})
    put(streams, "etl", progress(2), tags=[], metadata={})
    assert (only_stream(streams).tags, only_stream(streams).metadata) == ([], {})


def test_buttons_and_alert_go_with_the_state_they_came_with() -> None:
    streams = account()
    button = {"title": "Open", "type": "open_url", "url": "https://example.com/run"}
    put(streams, "etl", progress(1), action=button, secondary_action=button, alert={"title": "Half"})
    stream = only_stream(streams)
    assert (stream.action, stream.secondary_action, stream.alert) == (button, button, {"title": "Half"})
    put(streams, "etl", progress(2))
    stream = only_stream(streams)
    assert (stream.action, stream.secondary_action, stream.alert) == (None, None, None)


def test_delete_without_a_body_ends_with_the_latest_state() -> None:
    streams = account()
    button = {"title": "Open", "type": "open_url", "url": "https://example.com/run"}
    put(streams, "etl", progress(50), action=button)
    assert end(streams, "etl", later(seconds=9)) == {
        "success": True,
        "operation": "ended",
        "stream_key": "etl",
        "activity_id": "activity-1",
        "devices_queued": 1,
        "timestamp": "2026-11-23T12:00:09.000Z",
    }
    stream = only_stream(streams)
    assert not stream.live
    assert (stream.state, stream.action, stream.ended_at) == (progress(50), button, later(seconds=9))


def test_delete_with_a_state_ends_with_that_state() -> None:
    streams = account()
    put(streams, "etl", progress(50))
    end(streams, "etl", content_state={"title": "Done", "percentage": 100, "auto_dismiss_minutes": 0})
    assert only_stream(streams).state == {
        "title": "Done",
        "type": "progress",
        "percentage": 100,
        "auto_dismiss_minutes": 0,
    }


def test_delete_may_end_with_another_type() -> None:
    streams = account()
    put(streams, "etl", progress(50))
    answer = end(streams, "etl", content_state={"title": "Failed", "type": "alert", "message": "No space"})
    assert (answer["operation"], answer["activity_id"]) == ("ended", "activity-1")
    assert only_stream(streams).type == "alert"


def test_delete_with_tags_alone_keeps_the_state() -> None:
    streams = account()
    put(streams, "etl", progress(50), tags=["a"])
    end(streams, "etl", tags=["b"])
    assert (only_stream(streams).state, only_stream(streams).tags) == (progress(50), ["b"])


def test_second_delete_is_ignored() -> None:
    streams = account()
    put(streams, "etl")
    end(streams, "etl")
    before = streams.streams
    assert end(streams, "etl", later(seconds=9), content_state={"title": "Too late"}) == {
        "success": True,
        "operation": "ended",
        "stream_key": "etl",
        "activity_id": None,
        "ignored": True,
        "timestamp": "2026-11-23T12:00:09.000Z",
    }
    assert streams.streams == before


def test_delete_of_a_key_never_used_is_not_found() -> None:
    with pytest.raises(RefusedError) as refused:
        end(account(), "etl")
    assert refused.value.status == 404


def test_one_activity_more_than_allowed_is_refused_and_an_ended_one_makes_room() -> None:
    streams = account()
    for number in range(4):
        put(streams, f"etl-{number}")
    with pytest.raises(RefusedError) as refused:
        put(streams, "etl-4")
    assert refused.value.status == 429
    assert refused.value.body | {"message": ""} == {
        "error": "Live Activity limit reached",
        "message": "",
        "limit": 4,
        "active": 4,
    }
    assert put(streams, "etl-0", progress(1))["operation"] == "updated"
    end(streams, "etl-0")
    assert put(streams, "etl-4")["operation"] == "started"


def test_unlimited_means_unlimited() -> None:
    streams = account(max_concurrent=None, requests_per_minute=None)
    for number in range(100):
        streams.admit(NOON)
        put(streams, f"etl-{number}")
    assert len(streams.streams) == 100


def test_requests_beyond_the_limit_wait_until_the_first_is_a_minute_old() -> None:
    streams = account(requests_per_minute=2)
    streams.admit(NOON)
    streams.admit(later(seconds=10))
    with pytest.raises(RefusedError) as refused:
        streams.admit(later(seconds=20.5))
    assert (refused.value.status, refused.value.retry_after) == (429, 40)
    streams.admit(later(seconds=60))
    with pytest.raises(RefusedError) as refused:
        streams.admit(later(seconds=60))
    assert refused.value.retry_after == 10


def test_refused_requests_do_not_push_the_window_back() -> None:
    streams = account(requests_per_minute=1)
    streams.admit(NOON)
    for second in range(1, 60):
        with pytest.raises(RefusedError) as refused:
            streams.admit(later(seconds=second))
        assert refused.value.retry_after == 60 - second
    streams.admit(later(seconds=60))


def test_lowered_limit_says_when_enough_requests_are_old_enough() -> None:
    streams = account(requests_per_minute=3)
    for second in range(3):
        streams.admit(later(seconds=second))
    streams.limits = Limits(requests_per_minute=1)
    with pytest.raises(RefusedError) as refused:
        streams.admit(later(seconds=2))
    assert refused.value.retry_after == 60


def test_thirteenth_update_of_a_busy_activity_gets_a_warning() -> None:
    streams = account()
    put(streams, "etl", progress(0))
    answers = [put(streams, "etl", progress(number), later(seconds=number)) for number in range(1, 14)]
    assert ["warning" in answer for answer in answers] == [False] * 12 + [True]


def test_updates_that_are_two_minutes_apart_get_no_warning() -> None:
    streams = account()
    put(streams, "etl", progress(0))
    answers = [put(streams, "etl", progress(number), later(minutes=2 * number)) for number in range(1, 30)]
    assert not any("warning" in answer for answer in answers)


def test_clear_forgets_streams_and_requests() -> None:
    streams = account(requests_per_minute=1)
    streams.admit(NOON)
    put(streams, "etl")
    streams.clear()
    streams.admit(NOON)
    assert streams.streams == []


def test_the_latest_streams_are_kept_and_ended_ones_are_forgotten_first() -> None:
    streams = account(max_concurrent=2)
    put(streams, "live")
    for number in range(MAX_STREAMS + 10):
        put(streams, f"etl-{number}")
        end(streams, f"etl-{number}")
    assert (len(streams.streams), streams.live_count, streams.streams[0].key) == (MAX_STREAMS, 1, "live")
    with pytest.raises(RefusedError, match="The sandbox keeps the latest 10000"):
        end(streams, "etl-0")


def test_a_change_of_a_stream_does_not_look_at_the_others() -> None:
    streams = account(max_concurrent=None)
    for number in range(100):
        put(streams, f"etl-{number}")
    calls = 0

    def count(frame: Any, event: str, argument: Any) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    def calls_of_a_start(key: str) -> int:
        nonlocal calls
        calls = 0
        sys.setprofile(count)
        put(streams, key)
        sys.setprofile(None)
        return calls

    calls_of_a_start("warm")
    few = calls_of_a_start("few")
    for number in range(100, 1000):
        put(streams, f"etl-{number}")
    assert calls_of_a_start("many") <= few * 2


def timer(**members: Any) -> dict[str, Any]:
    return {"title": "Window", "type": "timer", **members}


def elapsed(of: Account, now: datetime) -> float:
    clock = only_stream(of).timer
    assert clock is not None
    return clock.elapsed_at(now)


def test_a_timer_runs_on_through_updates_until_it_gets_a_new_window() -> None:
    streams = account()
    put(streams, "etl", timer(duration_seconds=60))
    put(streams, "etl", timer(subtitle="half"), later(seconds=30))
    assert elapsed(streams, later(seconds=40)) == 40
    put(streams, "etl", timer(duration_seconds=90), later(seconds=50))
    assert elapsed(streams, later(seconds=60)) == 10


def test_a_paused_timer_stands_still_and_goes_on_from_there() -> None:
    streams = account()
    put(streams, "etl", timer(duration_seconds=60))
    put(streams, "etl", timer(is_running=False), later(seconds=10))
    assert elapsed(streams, later(seconds=30)) == 10
    put(streams, "etl", timer(is_running=True), later(seconds=30))
    assert elapsed(streams, later(seconds=35)) == 15


def test_an_ended_timer_stands_still() -> None:
    streams = account()
    put(streams, "etl", timer(duration_seconds=60))
    end(streams, "etl", later(seconds=20), content_state=timer(duration_seconds=60))
    assert elapsed(streams, later(seconds=50)) == 20
    put(streams, "etl", progress(1), later(seconds=60))
    assert only_stream(streams).timer is None


@pytest.mark.parametrize(
    ("members", "seconds"),
    [
        ({}, 120),
        ({"auto_dismiss_minutes": 5}, 300),
        ({"auto_dismiss_minutes": 0}, 0),
        ({"auto_dismiss_minutes": 5, "auto_dismiss_seconds": 7}, 7),
        ({"auto_dismiss_minutes": 240}, 4 * 3600),
        ({"auto_dismiss_seconds": 10**30}, 4 * 3600),
    ],
)
def test_an_ended_activity_is_removed_when_it_says_or_after_two_minutes_and_after_four_hours_at_most(
    members: dict[str, int], seconds: float
) -> None:
    streams = account()
    put(streams, "etl")
    assert only_stream(streams).removed_at is None
    end(streams, "etl", content_state={**progress(100), **members})
    assert only_stream(streams).removed_at == later(seconds=seconds)


def test_moments_are_written_in_utc_with_milliseconds() -> None:
    moment = datetime(2026, 11, 23, 13, 0, 0, 123456, tzinfo=timezone(timedelta(hours=1)))
    assert rfc3339(moment) == "2026-11-23T12:00:00.123Z"


def test_stream_as_json() -> None:
    streams = account()
    put(streams, "etl", progress(50), tags=["a"])
    end(streams, "etl", later(seconds=9))
    assert only_stream(streams).to_json() == {
        "stream_key": "etl",
        "live": False,
        "activity_id": "activity-1",
        "type": "progress",
        "content_state": progress(50),
        "action": None,
        "secondary_action": None,
        "alert": None,
        "tags": ["a"],
        "metadata": {},
        "updates": 0,
        "started_at": NOON_ON_THE_WIRE,
        "updated_at": NOON_ON_THE_WIRE,
        "ended_at": "2026-11-23T12:00:09.000Z",
    }
