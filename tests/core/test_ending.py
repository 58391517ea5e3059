import logging
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


@pytest.mark.parametrize("options", [{"titel": "x"}, {"content_state": {"title": 7}}, {"tags": [""]}])
def test_options_that_are_refused_leave_the_default_picture_and_the_reason(options: Any) -> None:
    members, refused = plan(OUTCOME, options)
    assert members == end_request(OUTCOME)
    assert refused is not None


@pytest.mark.parametrize(
    ("came_of_it", "level", "line"),
    [
        (EndStreamResponse(**ANSWER, activity_id="a1"), logging.INFO, "Ended Live Activity stream 'nightly'."),
        (EndStreamResponse(**ANSWER), logging.INFO, "Live Activity stream 'nightly' was already inactive."),
        (NotFoundError(404), logging.INFO, "nothing to end. Was it started with this key?"),
        (APITimeoutError("No answer."), logging.ERROR, "Live Activity stream 'nightly' was not ended: No answer."),
        (KeyError("x"), logging.ERROR, "was not ended: KeyError: 'x'"),
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
