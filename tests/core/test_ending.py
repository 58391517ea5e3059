import logging
from collections import UserDict
from typing import Any

import pytest

from activitysmith_integrations.core import (
    APITimeoutError,
    EndStreamResponse,
    NotFoundError,
    RunOutcome,
    end_request,
    nothing_left,
    plan,
    report,
)

OUTCOME = RunOutcome("nightly", "failed")
ANSWER: dict[str, Any] = {
    "success": True,
    "operation": "ended",
    "stream_key": "nightly",
    "timestamp": "2026-11-23T12:10:00.000Z",
}


def test_a_plan_is_what_the_options_say() -> None:
    assert plan(OUTCOME, {"title": "Nightly"}) == (end_request(OUTCOME, {"title": "Nightly"}), None)


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
    members, refused = plan(OUTCOME, options)
    assert members == end_request(OUTCOME)
    assert refused is not None


@pytest.mark.parametrize(
    ("came_of_it", "level", "line"),
    [
        (EndStreamResponse(**ANSWER, activity_id="a1"), logging.INFO, "Ended Live Activity stream 'nightly'."),
        (EndStreamResponse(**ANSWER), logging.INFO, "Ended Live Activity stream 'nightly'."),
        (EndStreamResponse(**ANSWER, activity_id=None), logging.INFO, "'nightly' was already inactive."),
        (EndStreamResponse(**ANSWER, activity_id="a1", ignored=True), logging.INFO, "was already inactive."),
        (
            EndStreamResponse(**ANSWER, activity_id="a1", warning="Slow down.", errors=["device 1"]),
            logging.WARNING,
            "Ended Live Activity stream 'nightly'. ActivitySmith says: Slow down. device 1",
        ),
        (EndStreamResponse(**{**ANSWER, "success": False}), logging.WARNING, "answered without a success"),
        (NotFoundError(404, {"error": "Not Found"}), logging.INFO, "nothing to end. Was it started with this key?"),
        (NotFoundError(404, "<html>"), logging.ERROR, "check that base_url is the address of its API"),
        (APITimeoutError("No answer."), logging.ERROR, "Live Activity stream 'nightly' was not ended: No answer."),
        (KeyError("x"), logging.ERROR, "was not ended: KeyError: 'x'"),
        (OSError("two\nlines"), logging.ERROR, "was not ended: OSError: two lines"),
    ],
)
def test_one_line_says_what_came_of_it(came_of_it: Any, level: int, line: str) -> None:
    reported, said = report("nightly", came_of_it)
    assert reported == level
    assert line in said
    assert "\n" not in said


def test_nothing_left_reads_like_an_answer_that_says_so() -> None:
    answer = nothing_left("nightly").to_json()
    assert (answer["success"], answer["ignored"], answer["activity_id"]) == (True, True, None)
