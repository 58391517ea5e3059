import unicodedata
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, strategies as st

from activitysmith_integrations.core import EndOptions, InvalidRequestError, StreamRequest
from activitysmith_integrations.core.runs.outcome import RunOutcome
from activitysmith_integrations.core.runs.picture import end_request, running_labels
from activitysmith_integrations.core.runs.segments import fold_steps
from activitysmith_integrations.core.text import duration

BEGAN = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
URL = "https://airflow.example.com/dags/nightly/runs/r1"


def _outcome(result: Any = "failed", **facts: Any) -> RunOutcome:
    known: dict[str, Any] = {
        "run": "r1",
        "engine": "airflow",
        "steps_done": 2,
        "steps_total": 5,
        "failed_step": "load",
        "started_at": BEGAN,
        "ended_at": BEGAN + timedelta(minutes=3, seconds=10),
        "url": URL,
        "error_type": "ValueError",
        "error_text": "password=hunter2",
    }
    return RunOutcome("nightly_etl", result, **{**known, **facts})


def _sent(outcome: RunOutcome, **options: Any) -> dict[str, Any]:
    return end_request(outcome, options).to_wire()  # type: ignore[arg-type]


def test_a_success_is_green_with_every_step_complete() -> None:
    assert _sent(_outcome("succeeded", steps_done=5)) == {
        "content_state": {
            "title": "nightly_etl",
            "subtitle": "Done in 3 m 10 s",
            "type": "segmented_progress",
            "number_of_steps": 5,
            "current_step": 5,
            "color": "green",
            "icon": {"symbol": "checkmark.circle.fill", "color": "green"},
        },
        "tags": ["airflow"],
        "metadata": {"engine": "airflow", "pipeline": "nightly_etl", "run": "r1", "result": "succeeded"},
    }


def test_a_failure_is_an_alert_that_names_the_step_is_heard_and_stays() -> None:
    message = "load failed after 2 of 5 steps, 3 m 10 s"
    assert _sent(_outcome()) == {
        "content_state": {
            "title": "nightly_etl",
            "type": "alert",
            "message": message,
            "color": "red",
            "icon": {"symbol": "exclamationmark.triangle.fill", "color": "red"},
            "badge": {"title": "Failed", "color": "red"},
            "auto_dismiss_minutes": 240,
        },
        "alert": {"title": "nightly_etl", "body": message},
        "action": {"title": "Open run", "type": "open_url", "url": URL},
        "tags": ["airflow"],
        "metadata": {"engine": "airflow", "pipeline": "nightly_etl", "run": "r1", "result": "failed"},
    }


@pytest.mark.parametrize(
    ("result", "message", "badge"),
    [
        ("crashed", "load crashed after 2 of 5 steps, 3 m 10 s", "Crashed"),
        ("timed_out", "load timed out after 2 of 5 steps, 3 m 10 s", "Timed out"),
    ],
)
def test_a_crash_and_a_timeout_are_alerts_alike(result: str, message: str, badge: str) -> None:
    sent = _sent(_outcome(result))
    assert sent["content_state"]["message"] == message
    assert sent["content_state"]["badge"]["title"] == badge
    assert sent["alert"]["body"] == message


def test_a_cancellation_is_gray_and_quiet_and_goes_soon() -> None:
    sent = _sent(_outcome("cancelled", failed_step=None))
    assert sent["content_state"]["message"] == "Cancelled after 2 of 5 steps, 3 m 10 s"
    assert sent["content_state"]["color"] == "gray"
    assert "auto_dismiss_minutes" not in sent["content_state"]
    assert "alert" not in sent


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"failed_step": None}, "Failed after 2 of 5 steps, 3 m 10 s"),
        ({"steps_done": None}, "load failed after 3 m 10 s"),
        ({"steps_total": None}, "load failed after 2 steps, 3 m 10 s"),
        ({"steps_total": None, "steps_done": 1}, "load failed after 1 step, 3 m 10 s"),
        ({"steps_total": 1, "steps_done": 0}, "load failed after 0 of 1 step, 3 m 10 s"),
        ({"unit": "task"}, "load failed after 2 of 5 tasks, 3 m 10 s"),
        ({"unit": "task", "steps_total": None, "steps_done": 1}, "load failed after 1 task, 3 m 10 s"),
        ({"steps_done": 7}, "load failed after 7 steps, 3 m 10 s"),
        ({"steps_done": -1}, "load failed after 3 m 10 s"),
        ({"started_at": None}, "load failed after 2 of 5 steps"),
        ({"started_at": None, "steps_done": None}, "load failed"),
        ({"started_at": None, "steps_done": None, "failed_step": " \n"}, "Failed"),
    ],
)
def test_a_message_says_as_much_as_is_known(facts: dict[str, Any], message: str) -> None:
    assert _sent(_outcome(**facts))["content_state"]["message"] == message


def test_a_success_whose_steps_cannot_be_counted_is_a_full_bar() -> None:
    for facts in ({"steps_total": None}, {"steps_total": 0}, {"steps_total": None, "steps_done": None}):
        state = _sent(_outcome("succeeded", **facts))["content_state"]
        assert (state["type"], state["percentage"]) == ("progress", 100)


def test_an_unknown_duration_is_left_out() -> None:
    assert _sent(_outcome("succeeded", ended_at=None))["content_state"]["subtitle"] == "Done"


# The user's choices


def test_a_success_may_be_a_full_bar() -> None:
    for done in (5, None):
        state = _sent(_outcome("succeeded", steps_done=done), on_success="progress")["content_state"]
        assert (state["type"], state["percentage"]) == ("progress", 100)


def test_a_success_shown_before_all_steps_are_over_shows_no_more_than_is_done() -> None:
    outcome = _outcome("succeeded", steps_done=2)
    assert _sent(outcome)["content_state"]["current_step"] == 2
    assert _sent(outcome, on_success="progress")["content_state"]["percentage"] == 40


def test_a_failure_may_show_where_it_stopped() -> None:
    state = _sent(_outcome(), on_failure="segmented_progress", success_color="lime")["content_state"]
    assert (state["type"], state["number_of_steps"], state["current_step"]) == ("segmented_progress", 5, 2)
    assert (state["step_color"], state["step_colors"]) == ("red", ["lime", "lime"])
    assert state["subtitle"] == "load failed after 2 of 5 steps, 3 m 10 s"
    bar = _sent(_outcome(), on_failure="progress")["content_state"]
    assert (bar["type"], bar["percentage"], bar["color"]) == ("progress", 40, "red")


def test_a_failure_before_the_first_step_shows_no_step_complete() -> None:
    state = _sent(_outcome(steps_done=0), on_failure="segmented_progress")["content_state"]
    assert state["current_step"] == 0
    assert "step_colors" not in state
    assert _sent(_outcome(steps_done=0), on_failure="progress")["content_state"]["percentage"] == 0


def test_a_failure_after_the_last_step_does_not_look_complete() -> None:
    assert _sent(_outcome(steps_done=5), on_failure="segmented_progress")["content_state"]["current_step"] == 4


def test_a_failure_that_cannot_be_drawn_is_an_alert() -> None:
    assert _sent(_outcome(steps_done=None), on_failure="progress")["content_state"]["type"] == "alert"


@pytest.mark.parametrize(("done", "total", "percentage"), [(1, 1000, 1), (999, 1000, 99), (1000, 1000, 99)])
def test_a_failed_bar_is_neither_empty_nor_full_once_something_is_done(done: int, total: int, percentage: int) -> None:
    outcome = _outcome(steps_done=done, steps_total=total)
    assert _sent(outcome, on_failure="progress")["content_state"]["percentage"] == percentage


def test_title_subtitle_colors_and_minutes_are_the_users() -> None:
    choices = {
        "title": "Nightly",
        "subtitle": "Warehouse",
        "success_color": "lime",
        "failure_color": "orange",
        "success_auto_dismiss_minutes": 0,
        "failure_auto_dismiss_minutes": 5,
    }
    success = _sent(_outcome("succeeded"), **choices)["content_state"]
    failure = _sent(_outcome(), **choices)["content_state"]
    assert [(state["title"], state["subtitle"]) for state in (success, failure)] == [("Nightly", "Warehouse")] * 2
    assert (success["color"], success["auto_dismiss_minutes"]) == ("lime", 0)
    assert (failure["color"], failure["auto_dismiss_minutes"]) == ("orange", 5)


def test_the_error_is_shown_only_when_asked_for_on_one_line_and_cut() -> None:
    outcome = _outcome(error_text="first\nsecond " + "x" * 500)
    assert "first" not in str(_sent(outcome))
    message = _sent(outcome, include_error=True)["content_state"]["message"]
    assert ": ValueError: first second xxx" in message
    assert len(message) <= 200
    bare = _outcome(error_type=None, error_text=None)
    assert _sent(bare, include_error=True) == _sent(bare)


def test_buttons_banner_tags_and_metadata_are_the_users() -> None:
    action = {"title": "Runbook", "type": "open_url", "url": "https://example.com"}
    sent = _sent(
        _outcome(), action=action, secondary_action=action, alert={"title": "!"}, tags=["prod"], metadata={"team": "x"}
    )
    assert (sent["action"], sent["secondary_action"], sent["alert"]) == (action, action, {"title": "!"})
    assert sent["tags"] == ["airflow", "prod"]
    assert sent["metadata"]["team"] == "x"


def test_a_state_of_the_users_own_is_sent_as_it_is_without_our_banner_and_button() -> None:
    state = {"title": "Mine", "type": "value", "value": "$5"}
    sent = _sent(_outcome(), content_state=state)
    assert sent["content_state"] == state
    assert set(sent) == {"content_state", "tags", "metadata"}


def test_none_means_not_said() -> None:
    assert _sent(_outcome(), title=None, action=None) == _sent(_outcome())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"on_sucess": "progress"}, "on_sucess: is not an option; did you mean on_success?"),
        ({"zzz": 1}, "zzz: is not an option; known are on_success,"),
        ({"on_failure": "loud"}, "on_failure: 'loud' is not among alert, segmented_progress, progress"),
        ({"tags": "prod"}, "tags: must be a list of strings, not 'prod'"),
        ({"tags": ["etl", ["prod"]]}, "tags.1: must be a string, not ['prod']"),
        ({"metadata": ["a"]}, "metadata: must be a mapping"),
        ({"title": 5}, "title: must be a string, not 5"),
        ({"subtitle": 5}, "subtitle: must be a string, not 5"),
        ({"include_error": "no"}, "include_error: must be True or False, not 'no'"),
        ({"success_auto_dismiss_minutes": 5.5}, "auto_dismiss_minutes: must be a whole number of 0 or more, not 5.5"),
        ({"failure_auto_dismiss_minutes": True}, "auto_dismiss_minutes: must be a whole number of 0 or more, not True"),
        ({"failure_auto_dismiss_minutes": -1.0}, "auto_dismiss_minutes: must be a whole number of 0 or more, not -1.0"),
        ({"success_auto_dismiss_minutes": "5"}, "auto_dismiss_minutes: must be a whole number of 0 or more, not '5'"),
    ],
)
def test_a_wrong_choice_is_refused(options: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        end_request(_outcome(), options)
    assert message in str(refused.value)


class _Five:
    def __index__(self) -> int:
        return 5


@pytest.mark.parametrize("minutes", [5, 5.0, Decimal(5), _Five()])
def test_whole_minutes_are_taken_in_any_form(minutes: Any) -> None:
    options = {"success_auto_dismiss_minutes": minutes, "failure_auto_dismiss_minutes": minutes}
    for result in ("succeeded", "failed", "cancelled"):
        sent = _sent(_outcome(result), **options)["content_state"]["auto_dismiss_minutes"]
        assert (sent, type(sent)) == (5, int)


@pytest.mark.parametrize("tags", [["nightly"], ("nightly",), {"nightly"}, {"nightly": 1}.keys()])
def test_tags_are_any_collection_of_strings_as_for_a_request(tags: Any) -> None:
    assert StreamRequest(content_state={"title": "t"}, tags=tags).to_wire()["tags"] == ["nightly"]
    assert _sent(_outcome(), tags=tags)["tags"] == ["airflow", "nightly"]


@pytest.mark.parametrize("tags", ["nightly", b"nightly", {"nightly": 1}, iter(["nightly"]), 5])
def test_tags_that_are_no_collection_are_refused_as_for_a_request(tags: Any) -> None:
    with pytest.raises(InvalidRequestError, match="tags: must be a list"):
        StreamRequest(content_state={"title": "t"}, tags=tags)
    with pytest.raises(InvalidRequestError, match="tags: must be a list"):
        _sent(_outcome(), tags=tags)


def test_metadata_that_leaves_no_room_keeps_the_users_alone() -> None:
    full = {str(number): number for number in range(48)}
    assert _sent(_outcome(), metadata=full)["metadata"] == full


def test_while_a_run_goes_on_its_tags_and_metadata_are_those_of_its_end_without_a_result() -> None:
    run = _outcome()
    options: EndOptions = {"tags": ["nightly"], "metadata": {"team": "data"}}
    end, running = end_request(run, options).to_wire(), running_labels(run, options)
    assert running["tags"] == end["tags"]
    assert running["metadata"] == {name: value for name, value in end["metadata"].items() if name != "result"}
    assert "result" in end["metadata"]
    assert set(running) == {"tags", "metadata"}


# Words on a lock screen


@pytest.mark.parametrize(
    ("done", "total", "folded"),
    [
        (0, 10, (0, 10)),
        (10, 10, (10, 10)),
        (9, 11, (8, 10)),
        (0, 500, (0, 10)),
        (1, 500, (1, 10)),
        (250, 500, (5, 10)),
        (499, 500, (9, 10)),
        (500, 500, (10, 10)),
        (9, 5, (5, 5)),
        (-1, 5, (0, 5)),
        (None, 5, None),
        (1, None, None),
        (0, 0, None),
    ],
)
def test_many_steps_fold_into_few_segments(done: int | None, total: int | None, folded: Any) -> None:
    assert fold_steps(done, total) == folded


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_folding_never_shows_complete_what_is_not_nor_nothing_when_something_is_done(done: int, total: int) -> None:
    done = min(done, total)
    segments, of = fold_steps(done, total) or (-1, -1)
    assert 1 <= of <= 10
    assert (segments == of) == (done == total)
    assert (segments == 0) == (done == 0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "less than 1 s"),
        (0.9, "less than 1 s"),
        (1, "1 s"),
        (59.9, "59 s"),
        (60, "1 m 00 s"),
        (723, "12 m 03 s"),
        (3600, "1 h 00 m"),
        (86399, "23 h 59 m"),
        (86400 * 2 + 3600 * 4, "2 d 04 h"),
        (-5, ""),
    ],
)
def test_durations_read_well(seconds: float, words: str) -> None:
    assert duration(BEGAN, BEGAN + timedelta(seconds=seconds)) == words


def test_a_duration_that_cannot_be_computed_is_empty() -> None:
    assert duration(None, BEGAN) == duration(BEGAN, None) == duration(BEGAN, BEGAN.replace(tzinfo=None)) == ""


def _title(text: str) -> str:
    return str(_sent(_outcome("succeeded"), title=text)["content_state"]["title"])


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\tc\x00d\u2028e", "a b c d e"),
        ("  spaced   out  ", "spaced out"),
        ("\ud800", "\N{REPLACEMENT CHARACTER}"),
        ("ليلي", "ليلي"),
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 59 + "…"),
        ("x" * 58 + " yz", "x" * 58 + "…"),
        ("x" * 58 + "👩‍🚀zz", "x" * 58 + "…"),
        ("x" * 57 + "e\u0301zzzz", "x" * 57 + "e\u0301…"),
        ("x" * 58 + "e\u0301zz", "x" * 58 + "…"),
        ("x" * 58 + "e" + "\u0301" * 9, "x" * 58 + "…"),
        ("🇩🇪" * 30 + "!", "🇩🇪" * 29 + "…"),
        ("👍🏽" * 31, "👍🏽" * 29 + "…"),
        ("\u1112\u1161\u11ab" * 21, "\u1112\u1161\u11ab" * 19 + "…"),
        ("", "nightly_etl"),
        (" \n ", "nightly_etl"),
    ],
)
def test_titles_are_one_line_cut_between_characters(text: str, shown: str) -> None:
    assert _title(text) == shown


def test_a_run_without_a_name_still_has_a_title() -> None:
    assert _sent(RunOutcome("", "succeeded"))["content_state"]["title"] == "Run"


@pytest.mark.parametrize("url", [None, "", "ftp://x", "https://", "https://exa mple"])
def test_a_page_that_cannot_be_opened_gets_no_button(url: str | None) -> None:
    assert "action" not in _sent(_outcome(url=url))


# Any outcome at all

TEXT = st.text(st.characters(), max_size=300)
MAYBE_TEXT = st.none() | TEXT
MOMENTS = st.none() | st.datetimes(timezones=st.none() | st.just(UTC))
COUNTS = st.none() | st.integers(-5, 10_000)
OUTCOMES = st.builds(
    RunOutcome,
    pipeline=TEXT,
    result=st.sampled_from(["succeeded", "failed", "crashed", "timed_out", "cancelled"]),
    run=MAYBE_TEXT,
    engine=MAYBE_TEXT,
    steps_done=COUNTS,
    steps_total=COUNTS,
    failed_step=MAYBE_TEXT,
    started_at=MOMENTS,
    ended_at=MOMENTS,
    url=MAYBE_TEXT | st.just(URL),
    error_type=MAYBE_TEXT,
    error_text=MAYBE_TEXT,
)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={
        "on_success": st.sampled_from(["segmented_progress", "progress"]),
        "on_failure": st.sampled_from(["alert", "segmented_progress", "progress"]),
        "title": TEXT,
        "subtitle": TEXT,
        "include_error": st.booleans(),
        "success_auto_dismiss_minutes": st.integers(0, 10_000),
    },
)


@given(OUTCOMES, OPTIONS)
def test_any_outcome_gives_a_request_that_the_contract_accepts(outcome: RunOutcome, options: dict[str, Any]) -> None:
    sent = _sent(outcome, **options)
    shown = [text for text in (*sent["content_state"].values(), *sent["metadata"].values()) if isinstance(text, str)]
    assert all(len(text) <= 250 for text in shown)
    assert not any(unicodedata.category(char) in ("Cc", "Cs") for text in shown for char in text)


@given(OUTCOMES, OPTIONS)
def test_the_picture_does_not_depend_on_the_engine(outcome: RunOutcome, options: dict[str, Any]) -> None:
    from dataclasses import replace

    airflow, prefect = (_sent(replace(outcome, engine=engine), **options) for engine in ("airflow", "prefect"))
    for member in ("content_state", "alert", "action"):
        assert airflow.get(member) == prefect.get(member)


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ({"title": "Nightly", "value": "see log"}, "value"),
        ({"title": "Nightly", "percentage": 100}, "progress"),
        ({"title": "Nightly", "value": 12, "upper_limit": 15}, "progress"),
        ({"title": "Nightly", "message": "12,000 rows are loaded"}, "alert"),
        ({"title": "Nightly", "type": "progress", "percentage": 100}, "progress"),
        ({"title": "Nightly"}, None),
        ({"title": "Nightly", "metrics": [{"label": "Rows", "value": 3}]}, None),
        ({"title": "Nightly", "percentage": 100, "value": 15}, None),
    ],
)
def test_a_state_of_ones_own_is_of_the_type_that_its_members_show(state: dict[str, Any], kind: str | None) -> None:
    for result in ("succeeded", "failed"):
        sent = _sent(_outcome(result), content_state=state)["content_state"]
        assert sent.get("type") == kind
        assert sent.items() >= state.items()
