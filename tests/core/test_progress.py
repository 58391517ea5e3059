from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, strategies as st
from support.service import STARTED

from activitysmith_integrations.core import (
    APITimeoutError,
    BadRequestError,
    InvalidRequestError,
    RateLimitError,
    StreamRequest,
    StreamResponse,
)
from activitysmith_integrations.core.runs.budget import UpdateHistory, is_due, may_update
from activitysmith_integrations.core.runs.progress import Progress, without_type


def _answer(operation: str) -> StreamResponse:
    members: dict[str, Any] = {**STARTED, "operation": operation}
    return StreamResponse(**members)


def _shown(progress: Progress, updates: int = 1) -> UpdateHistory:
    return UpdateHistory(updates=updates, since=0.0, shown=progress)


@pytest.mark.parametrize(
    "steps",
    [-1, True, 2.5, "load", b"load", [""], [" "], [1], {"load"}],
)
def test_steps_that_cannot_be_shown_are_refused(steps: Any) -> None:
    with pytest.raises(InvalidRequestError, match="steps"):
        Progress.begin("Nightly", steps)


@pytest.mark.parametrize("steps", [None, 0, [], ()])
def test_work_of_which_there_is_none_today_is_shown_like_work_without_steps(steps: Any) -> None:
    at = Progress.begin("Nightly", steps)
    assert (at.total, at.state["type"]) == (None, "progress")


def test_names_of_which_two_are_the_same_are_counted() -> None:
    at = Progress.begin("Nightly", ["load", "check", "load"]).advanced("load").advanced("check").advanced("load")
    assert (at.done, at.total, at.step) == (2, 3, "load")


class _Unreadable:
    """What a proxy of another library does outside of its context."""

    def __getattribute__(self, name: str) -> Any:
        raise LookupError("no context")


@pytest.mark.parametrize("make", [_Unreadable, lambda: [_Unreadable()]], ids=["steps", "a name"])
def test_steps_that_cannot_even_be_looked_at_are_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(InvalidRequestError, match=r"steps: .*no context"):
        Progress.begin("Nightly", make())


def test_work_begins_with_its_first_step() -> None:
    assert Progress.begin("Nightly", ["extract", "load"]).state == {
        "type": "segmented_progress",
        "title": "Nightly",
        "subtitle": "extract",
        "number_of_steps": 2,
        "current_step": 0,
    }


def test_a_named_step_says_that_those_before_it_are_done() -> None:
    at = Progress.begin("Nightly", ["extract", "check", "load"]).advanced("load")
    assert (at.done, at.step) == (2, "load")
    assert Progress.begin("Nightly", ["extract", "load"]).advanced("extract").done == 0


def test_without_a_name_the_step_being_worked_on_is_done_and_the_next_one_begins() -> None:
    at = Progress.begin("Nightly", ["extract", "load"]).advanced(None)
    assert (at.done, at.step) == (1, "load")
    at = at.advanced(None)
    assert (at.done, at.step) == (2, None)
    assert at.advanced(None).done == 2


def test_a_name_that_is_not_among_the_steps_is_shown_and_moves_no_bar() -> None:
    at = Progress.begin("Nightly", ["extract", "load"]).advanced("load").advanced("index")
    assert (at.done, at.step) == (1, "index")


def test_names_among_counted_steps_end_what_was_worked_on_before() -> None:
    at = Progress.begin("Nightly", 3).advanced("extract")
    assert (at.done, at.step) == (0, "extract")
    at = at.advanced("load")
    assert (at.done, at.step) == (1, "load")
    at = at.advanced(None)
    assert (at.done, at.step) == (2, None)
    assert at.advanced("index").done == 2


def test_a_count_is_kept_within_the_steps_there_are() -> None:
    assert Progress.begin("Nightly", 3).updated(done=7).done == 3
    assert Progress.begin("Nightly", 3).updated(done=-1).done == 0
    assert Progress.begin("Nightly", None).updated(done=7).done == 7


def test_a_count_that_nobody_could_read_is_kept_short() -> None:
    at = Progress.begin("Nightly", 10**5000)
    assert at.updated(done=10**5000).total == at.updated(done=10**5000).done == 10**12
    assert Progress.begin("Nightly", None).updated(done=10**5000).state["subtitle"] == "1000000000000 steps done"


def test_a_note_is_shown_instead_of_the_step_until_the_next_move() -> None:
    at = Progress.begin("Nightly", ["extract", "load"]).updated(note="7 of 9 files")
    assert (at.state["subtitle"], at.step) == ("7 of 9 files", "extract")
    assert at.advanced("load").state["subtitle"] == "load"


def test_work_of_unknown_length_shows_what_is_done_and_no_share_of_it() -> None:
    at = Progress.begin("Nightly", None)
    assert at.state == {"type": "progress", "title": "Nightly", "percentage": 0}
    assert at.advanced(None).state["subtitle"] == "1 step done"
    assert at.advanced("extract").state["subtitle"] == "extract"
    assert at.advanced("extract").advanced("load").state["subtitle"] == "load, 1 step done"
    assert replace(at, done=7, unit="task").state["subtitle"] == "7 tasks done"


def test_work_of_unknown_length_is_shown_at_counts_that_grow() -> None:
    at, history, sent = Progress.begin("Nightly", None), UpdateHistory(), []
    for done in range(2001):
        at = at.updated(done=done)
        if is_due(at, history, 0.0):
            sent.append(done)
            history = history.tried(at, 0.0).delivered(at, _answer("started" if done == 0 else "updated"), 0.0)
    assert sent == [0, 1, 2, 3, 4, 5, 10, 20, 50, 100, 200, 500]


def test_a_failure_is_shown_red_while_other_work_goes_on() -> None:
    at = replace(Progress.begin("Nightly", 3), failed="load")
    assert (at.state["subtitle"], at.state["step_color"]) == ("load failed", "red")
    assert replace(Progress.begin("Nightly", None), failed="load", done=3).state["subtitle"] == (
        "load failed, 3 steps done"
    )


def test_a_failure_comes_before_the_room_for_segments() -> None:
    at = Progress.begin("Nightly", 12)
    assert is_due(replace(at, failed="load"), _shown(at, updates=11), 0)
    assert not is_due(replace(at, failed="load"), _shown(at, updates=12), 0)


@given(st.integers(1, 2000), st.integers(0, 2000), st.text())
def test_every_state_is_one_that_the_service_takes(total: int, done: int, name: str) -> None:
    state: Any = Progress.begin("Nightly", total).updated(done).advanced(name).state
    StreamRequest(content_state=state)


def test_the_start_always_goes_out() -> None:
    at = Progress.begin("Nightly", 2).updated(done=2)
    assert is_due(at, UpdateHistory(), 0)


def test_what_is_shown_already_is_not_sent_again() -> None:
    at = Progress.begin("Nightly", 2)
    assert not is_due(at, _shown(at), 0)


def test_what_the_end_shows_anyway_is_not_sent() -> None:
    at = Progress.begin("Nightly", 2)
    assert is_due(at.updated(done=1), _shown(at), 0)
    assert not is_due(at.updated(done=2), _shown(at), 0)


def test_the_service_is_left_alone_for_as_long_as_it_asks() -> None:
    at = Progress.begin("Nightly", 3)
    history = _shown(at).failed(RateLimitError(429, None, 60), now=100)
    assert not is_due(at.updated(done=1), history, 159)
    assert is_due(at.updated(done=1), history, 160)
    assert is_due(at.updated(done=1), _shown(at).failed(RateLimitError(429), now=100), 100)


def test_an_update_has_no_type_so_that_it_starts_nothing_where_nothing_runs() -> None:
    state = Progress.begin("Nightly", 3).state
    assert without_type(state) == {name: state[name] for name in ("title", "number_of_steps", "current_step")}


def test_what_is_refused_as_an_update_is_started_by_the_next_one() -> None:
    at = Progress.begin("Nightly", 3)
    assert _shown(at).failed(BadRequestError(400), 1).shown is None
    assert _shown(at).failed(APITimeoutError(), 1).shown == at


@pytest.mark.parametrize(
    ("updates", "seconds", "room"),
    [(11, 0, True), (12, 0, False), (12, 13 * 120 - 1, False), (12, 13 * 120, True), (13, 13 * 120, False)],
)
def test_there_is_room_for_12_updates_and_then_for_one_in_2_minutes(updates: int, seconds: float, room: bool) -> None:
    assert may_update(updates, seconds) is room


def test_other_changes_leave_room_for_the_segments_to_come() -> None:
    at = Progress.begin("Nightly", 12)
    text = at.updated(note="7 of 9 files")
    assert is_due(text, _shown(at, updates=2), 0)
    assert not is_due(text, _shown(at, updates=3), 0)  # the 9 segments that the end does not show
    assert is_due(at.updated(done=1), _shown(at), 0)
    assert is_due(text, _shown(at), 13 * 120)


def test_a_new_activity_has_a_budget_of_its_own() -> None:
    at = Progress.begin("Nightly", 3)
    used = UpdateHistory(updates=12, since=0.0, shown=at, may_run=True)
    assert used.delivered(at, _answer("rotated"), 500).updates == 1
    assert used.delivered(at, _answer("rotated"), 500).since == 500
    assert used.delivered(at, _answer("updated"), 500) == used


def test_a_stream_that_ran_before_us_is_no_older_than_our_first_word() -> None:
    at = Progress.begin("Nightly", 3)
    lost = UpdateHistory().tried(at, 0).failed(APITimeoutError(), 1)
    history = lost.tried(at, 9).delivered(at, _answer("updated"), 10)
    assert (history.updates, history.since) == (2, 10)


def test_a_segment_that_was_lost_is_repeated_with_what_those_to_come_leave() -> None:
    at, answer = Progress.begin("Nightly", 10), _answer("started")
    history = UpdateHistory().tried(at, 0.0).delivered(at, answer, 0.0)
    attempts = 0
    for done in range(1, 10):
        at = at.updated(done=done)
        while is_due(at, history, 1.0):
            history, attempts = history.tried(at, 1.0).failed(APITimeoutError(), 1.0), attempts + 1
    assert attempts == 11
    assert history.tried_milestone == at.milestone  # the last segment had its turn


# Seconds until the next move, what it is, and what becomes of a request.
_MOVES = st.tuples(
    st.one_of(st.just(0.0), st.floats(0, 400)),
    st.one_of(st.integers(0, 30), st.text(max_size=3)),
    st.sampled_from(["arrives", "arrives", "fails", "arrives, but its answer does not"]),
)


@given(st.integers(1, 30), st.lists(_MOVES, max_size=120))
def test_no_work_spends_more_than_the_budget_or_sends_what_is_shown(
    total: int, moves: list[tuple[float, int | str, str]]
) -> None:
    at, history, now = Progress.begin("Nightly", total), UpdateHistory(), 0.0
    began, received, shown = 0.0, 0, None
    for seconds, what, fate in moves:
        now += seconds
        at = at.updated(done=what) if isinstance(what, int) else at.updated(note=what)
        if not is_due(at, history, now):
            continue
        history = history.tried(at, now)
        if fate == "fails":
            history = history.failed(APITimeoutError(), now)
            continue
        # What the service knows: it begins to count with the request that starts the activity.
        began = began if received else now
        received += 1
        assert received <= 12 or received * 120 <= now - began
        if fate == "arrives":
            assert at.state != shown
            shown = at.state
            history = history.delivered(at, _answer("started" if received == 1 else "updated"), now)
        else:
            history = history.failed(APITimeoutError(), now)


@given(st.integers(1, 60), st.lists(st.integers(0, 5), max_size=100))
def test_other_changes_never_take_the_place_of_a_segment(total: int, notes: list[int]) -> None:
    at, history = Progress.begin("Nightly", total), UpdateHistory()
    sent = []
    for done, changes in enumerate([*notes, *[0] * total][:total]):
        for number in range(changes + 1):
            at = at.updated(done=done) if number == 0 else at.updated(note=f"change {number}")
            if is_due(at, history, 0.0):
                sent.append(at.state["current_step"])
                history = history.tried(at, 0.0).delivered(at, _answer("started" if len(sent) == 1 else "updated"), 0.0)
    number = at.state["number_of_steps"]
    assert sorted(set(sent)) == list(range(number))
    assert len(sent) <= 12
