"""A start that was refused or lost costs little: the account's places and requests are for the runs that are shown."""

from typing import Any

import pytest
from support.service import STARTED

from activitysmith_integrations.core import APITimeoutError, RateLimitError, ServerError, StreamResponse
from activitysmith_integrations.core.runs.budget import SECONDS_BETWEEN_STARTS, UpdateHistory, is_due
from activitysmith_integrations.core.runs.progress import Progress

BAR = Progress("nightly", total=10)
NO_PLACE = RateLimitError(429, {"error": "limit", "limit": 4, "active": 4})


def after(error: Exception, now: float = 100.0) -> UpdateHistory:
    return UpdateHistory().tried(BAR, now).failed(error, now)


@pytest.mark.parametrize("error", [NO_PLACE, ServerError(500), APITimeoutError("slow"), RateLimitError(429)])
def test_a_start_that_failed_is_tried_again_a_minute_later_and_not_before(error: Exception) -> None:
    history = after(error)
    assert history.needs_start
    assert not is_due(BAR.updated(done=5), history, 100 + SECONDS_BETWEEN_STARTS - 1)
    assert is_due(BAR.updated(done=5), history, 100 + SECONDS_BETWEEN_STARTS)


def test_a_service_that_asks_to_wait_longer_is_left_alone_for_longer() -> None:
    history = after(RateLimitError(429, None, retry_after=300))
    assert not is_due(BAR, history, 100 + 299)
    assert is_due(BAR, history, 100 + 300)


@pytest.mark.parametrize(
    ("error", "certain"),
    [(NO_PLACE, True), (RateLimitError(429), True), (APITimeoutError(""), False), (ServerError(502), False)],
)
def test_only_a_start_that_was_refused_for_certain_is_no_stream(error: Exception, certain: bool) -> None:
    assert after(error).was_never_shown is certain


def test_a_lost_start_is_not_forgotten_when_a_later_one_is_refused() -> None:
    history = after(APITimeoutError("slow")).tried(BAR, 170).failed(NO_PLACE, 170)
    assert not history.was_never_shown


def test_a_stream_that_is_shown_at_last_goes_on_as_any_other() -> None:
    answer: Any = STARTED
    history = after(NO_PLACE).tried(BAR, 170).delivered(BAR, StreamResponse(**answer), 170)
    assert not history.needs_start
    assert not history.was_never_shown
    assert is_due(BAR.updated(done=1), history, 171)


def test_many_lost_starts_end_when_ioss_budget_does() -> None:
    history, now = UpdateHistory(), 0.0
    for _ in range(12):
        history = history.tried(BAR, now).failed(APITimeoutError("slow"), now)
        now += SECONDS_BETWEEN_STARTS
    assert not is_due(BAR, history, now)
