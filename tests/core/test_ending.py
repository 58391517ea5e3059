import logging
from collections import UserDict
from typing import Any

import pytest

from activitysmith_integrations.core import (
    APITimeoutError,
    BadRequestError,
    EndStreamResponse,
    InvalidResponseError,
    NoRecipientsError,
    NotFoundError,
    ServerError,
    StreamResponse,
)
from activitysmith_integrations.core.runs.ending import (
    EndResult,
    build_end,
    build_end_or_default,
    missing_stream_response,
)
from activitysmith_integrations.core.runs.log_lines import (
    line_of_end,
    line_of_failed_update,
    line_of_interrupted_end,
    line_of_unshown_end,
    line_of_update,
)
from activitysmith_integrations.core.runs.outcome import Result, RunOutcome
from activitysmith_integrations.core.runs.picture import end_request

OUTCOME = RunOutcome("nightly", "failed")
ANSWER: dict[str, Any] = {
    "success": True,
    "operation": "ended",
    "stream_key": "nightly",
    "timestamp": "2026-11-23T12:10:00.000Z",
}
STARTED: dict[str, Any] = {**ANSWER, "operation": "started"}


def test_an_end_is_what_the_options_make_of_the_outcome() -> None:
    end = build_end(OUTCOME, {"title": "Nightly"})
    assert end.request == end_request(OUTCOME, {"title": "Nightly"})
    assert end.refused_options is None


class _Unreadable(UserDict[str, Any]):
    def __iter__(self) -> Any:
        raise RuntimeError("no")


@pytest.mark.parametrize(
    "options",
    [
        {"titel": "x"},
        {"title": 5},
        {"include_error": "no"},
        {"content_state": {"title": 7}},
        {"tags": [""]},
        {"tags": [["a"]]},
        {"metadata": _Unreadable(a=1)},
    ],
)
def test_options_that_are_refused_leave_the_default_picture_and_the_reason(options: Any) -> None:
    end = build_end_or_default(OUTCOME, options)
    assert end.request == end_request(OUTCOME)
    assert end.refused_options is not None


class _Broken:
    def __iter__(self) -> Any:
        raise RuntimeError("no")


def test_whatever_an_option_of_the_users_own_does_the_stream_ends() -> None:
    options: Any = _Broken()
    end = build_end_or_default(OUTCOME, options)
    assert end.request == end_request(OUTCOME)


def line(result: EndResult, *, ended_as: Result = "succeeded") -> tuple[int, str]:
    return line_of_end("nightly", build_end(RunOutcome("nightly", ended_as), None), result)


@pytest.mark.parametrize(
    ("answer", "level", "text"),
    [
        ({"activity_id": "a1"}, logging.INFO, "Ended Live Activity stream 'nightly' as succeeded."),
        ({}, logging.INFO, "Ended Live Activity stream 'nightly' as succeeded."),
        ({"activity_id": None}, logging.INFO, "'nightly' was already inactive."),
        ({"activity_id": "a1", "ignored": True}, logging.INFO, "was already inactive."),
        (
            {"activity_id": "a1", "warning": "Slow\ndown.", "errors": ["device 1"]},
            logging.WARNING,
            "as succeeded. ActivitySmith says: Slow down. device 1",
        ),
        ({"success": False}, logging.WARNING, "answered without a success"),
    ],
)
def test_one_line_says_what_the_service_answered(answer: dict[str, Any], level: int, text: str) -> None:
    found, said = line(EndResult(answer=EndStreamResponse(**{**ANSWER, **answer})))
    assert found == level
    assert text in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (NotFoundError(404, "<html>"), "was not ended: ActivitySmith answered 404 (<html>)"),
        (BadRequestError(400), "was not ended: ActivitySmith answered 400"),
        (APITimeoutError("No answer."), "Live Activity stream 'nightly' may not have been ended: No answer."),
        (ServerError(502), "may not have been ended: ActivitySmith answered 502"),
        (KeyError("x"), "was not ended: KeyError: 'x'"),
        (OSError("two\nlines"), "was not ended: OSError: two lines"),
    ],
)
def test_one_line_says_what_went_wrong(error: Exception, text: str) -> None:
    level, said = line(EndResult(error=error))
    assert level == logging.ERROR
    assert text in said


def test_a_failure_that_had_ended_before_says_what_to_do() -> None:
    level, said = line(EndResult(answer=EndStreamResponse(**ANSWER, ignored=True)), ended_as="failed")
    assert level == logging.WARNING
    assert "If several runs use this key, give each run a stream of its own" in said


@pytest.mark.parametrize(
    ("state", "answer", "text"),
    [
        (
            {"title": "t", "number_of_steps": 5, "current_step": 2},
            {"operation": "updated"},
            "Updated Live Activity stream 'nightly': 2 of 5.",
        ),
        ({"title": "t", "number_of_steps": 5}, {}, "Started Live Activity stream 'nightly': 0 of 5."),
        (
            {"title": "t", "percentage": 60.0},
            {"operation": "rotated"},
            "Started anew Live Activity stream 'nightly': 60 %.",
        ),
        (
            {"title": "t", "percentage": 0, "subtitle": "load"},
            {"operation": "noop"},
            "Nothing changed in Live Activity stream 'nightly': 'load'.",
        ),
        ({"title": "t", "message": "m"}, {"operation": "paused"}, "Paused Live Activity stream 'nightly': 'm'."),
        ({"title": "t", "value": 7}, {"operation": "merged"}, "Merged Live Activity stream 'nightly': 7."),
        ({"title": "t"}, {}, "Started Live Activity stream 'nightly': 't'."),
    ],
)
def test_one_line_says_what_is_shown(state: dict[str, Any], answer: dict[str, Any], text: str) -> None:
    assert line_of_update("nightly", state, StreamResponse(**{**STARTED, **answer})) == (logging.INFO, text)


def test_an_update_that_the_service_warns_of_says_so() -> None:
    for answer in ({"warning": "too often"}, {"success": False, "warning": "too often"}):
        level, said = line_of_update("nightly", {"title": "t"}, StreamResponse(**{**STARTED, **answer}))
        assert level == logging.WARNING
        assert said.endswith("ActivitySmith says: too often")


def test_what_was_not_sent_says_that_the_work_goes_on() -> None:
    assert line_of_failed_update("nightly", "started", BadRequestError(400))[1].startswith(
        "Live Activity stream 'nightly' was not started; the work goes on: ActivitySmith answered 400"
    )
    assert (
        "may not have been updated; the work goes on" in line_of_failed_update("k", "updated", APITimeoutError("x"))[1]
    )
    assert line_of_unshown_end("nightly") == (
        logging.INFO,
        "Live Activity stream 'nightly' was never shown, so there is nothing to end.",
    )
    assert line_of_interrupted_end("nightly", KeyboardInterrupt()) == (
        logging.WARNING,
        "Live Activity stream 'nightly' may not have been ended: KeyboardInterrupt while it was sent.",
    )


def test_what_a_durable_wrapper_returns_reads_like_an_answer_that_says_so() -> None:
    answer = missing_stream_response("nightly").to_json()
    assert (answer["success"], answer["ignored"], answer["activity_id"]) == (True, True, None)


def test_a_durable_wrapper_raises_what_went_wrong_and_takes_an_unknown_stream_for_an_end_only_where_it_may() -> None:
    unknown = EndResult(error=NotFoundError(404, {"error": "Not Found"}), was_unknown=True)
    assert unknown.response("nightly", missing_ok=True).ignored
    with pytest.raises(NotFoundError):
        unknown.response("nightly", missing_ok=False)
    for error in (ServerError(500), NoRecipientsError(404, {"error": "No recipients found", "message": "Nobody"})):
        with pytest.raises(type(error)):
            EndResult(error=error, was_unknown=True).response("nightly", missing_ok=True)
    answer = EndStreamResponse(**ANSWER)
    assert EndResult(answer=answer).response("nightly", missing_ok=False) is answer


def test_a_durable_end_without_a_success_is_raised_with_what_the_service_says() -> None:
    answer = EndStreamResponse(**{**ANSWER, "success": False, "warning": "No device took it."})
    with pytest.raises(InvalidResponseError, match=r"answered without a success\. No device took it\."):
        EndResult(answer).response("nightly", missing_ok=True)
