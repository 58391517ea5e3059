"""A failure whose stream the service never knew is shown all the same, by whoever ends it."""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from support.service import ENDED, KEY, QUICK, STARTED, Service

from activitysmith_integrations.core import (
    ActivitySmithClient,
    AsyncActivitySmithClient,
    NotFoundError,
    RateLimitError,
    client as client_module,
)
from activitysmith_integrations.core.retry import next_delay, patient_retry
from activitysmith_integrations.core.runs.ending import (
    End,
    EndResult,
    async_end_stream,
    build_end,
    build_end_or_default,
    end_stream,
)
from activitysmith_integrations.core.runs.log_lines import line_of_end
from activitysmith_integrations.core.runs.outcome import RunOutcome

UNKNOWN = {"error": "Not Found", "message": "Stream not found"}
NO_PLACE = {"error": "Too Many", "message": "Live Activity limit reached", "limit": 4, "active": 4}
FAILED = RunOutcome("nightly", "failed", failed_step="load", url="https://example.com/run")

Ends = Callable[..., EndResult]


def answer(status: int, body: Any) -> httpx.Response:
    return httpx.Response(status, json=body)


@pytest.fixture(params=["sync", "async"])
def ends(request: pytest.FixtureRequest, service: Service) -> Ends:
    """Ends the stream ``nightly`` through one of the two clients."""

    def through(end: End, *, seconds: float | None = None) -> EndResult:
        deadline = None if seconds is None else time.monotonic() + seconds
        transport = httpx.MockTransport(service)
        if request.param == "sync":
            with httpx.Client(transport=transport) as http_client:
                client = ActivitySmithClient(KEY, retry=QUICK, http_client=http_client)
                return end_stream(client, "nightly", end, deadline=deadline)

        async def run() -> EndResult:
            async with httpx.AsyncClient(transport=transport) as http_client:
                client = AsyncActivitySmithClient(KEY, retry=QUICK, http_client=http_client)
                return await async_end_stream(client, "nightly", end, deadline=deadline)

        return asyncio.run(run())

    return through


def methods(service: Service) -> list[str]:
    return [request.method for request in service.requests]


@pytest.mark.parametrize("result", ["failed", "crashed", "timed_out"])
def test_a_failure_of_an_unknown_stream_is_started_and_ended_with_one_picture_and_one_banner(
    ends: Ends, service: Service, result: Any
) -> None:
    service.will_answer(answer(404, UNKNOWN), answer(200, STARTED), answer(200, ENDED))
    end = build_end(RunOutcome("nightly", result, url="https://example.com/run"), {"tags": ["etl"]})
    found = ends(end)
    assert methods(service) == ["DELETE", "PUT", "DELETE"]
    _, start, last = service.bodies
    assert start["content_state"] == last["content_state"]
    assert (start["content_state"]["type"], start["content_state"]["auto_dismiss_minutes"]) == ("alert", 240)
    assert start["alert"]["title"] == "nightly"
    assert "alert" not in last
    for name in ("action", "tags", "metadata"):
        assert start[name] == last[name]
    level, line = line_of_end("nightly", end, found)
    assert (level, "to show that the run " in line) == (logging.INFO, True)


@pytest.mark.parametrize("result", ["succeeded", "cancelled"])
def test_what_is_no_failure_starts_nothing(ends: Ends, service: Service, result: Any) -> None:
    service.will_answer(answer(404, UNKNOWN))
    end = build_end(RunOutcome("nightly", result), None)
    found = ends(end)
    assert methods(service) == ["DELETE"]
    assert line_of_end("nightly", end, found) == (
        logging.INFO,
        "Live Activity stream 'nightly' is not known to ActivitySmith: nothing to end.",
    )
    assert found.response("nightly", missing_ok=True).ignored


def test_a_failure_starts_nothing_where_the_user_does_not_want_it(ends: Ends, service: Service) -> None:
    service.will_answer(answer(404, UNKNOWN))
    end = build_end(FAILED, {"start_unseen_failures": False})
    found = ends(end)
    assert methods(service) == ["DELETE"]
    assert "start_unseen_failures is off" in line_of_end("nightly", end, found)[1]


def test_a_404_that_is_not_the_services_own_starts_nothing(ends: Ends, service: Service) -> None:
    service.will_answer(httpx.Response(404, text="<html>not here</html>"))
    end = build_end(FAILED, None)
    found = ends(end)
    assert methods(service) == ["DELETE"]
    level, line = line_of_end("nightly", end, found)
    assert level == logging.ERROR
    assert "check that base_url" in line
    with pytest.raises(NotFoundError):
        found.response("nightly", missing_ok=True)


def test_a_failure_that_is_refused_its_place_names_the_limit_and_is_tried_once(ends: Ends, service: Service) -> None:
    service.will_answer(answer(404, UNKNOWN), answer(429, NO_PLACE))
    end = build_end(FAILED, None)
    found = ends(end, seconds=2)
    assert methods(service) == ["DELETE", "PUT"]
    level, line = line_of_end("nightly", end, found)
    assert level == logging.ERROR
    assert "had not been started, and was not started to show the failure" in line
    assert "shows 4 of its 4 Live Activities already" in line
    with pytest.raises(RateLimitError):
        found.response("nightly", missing_ok=True)


def test_a_failure_waits_for_a_place_while_its_time_lasts(
    ends: Ends, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "SECONDS_FOR_PLACE", 0.01)
    service.will_answer(answer(404, UNKNOWN), *[answer(429, NO_PLACE)] * 3, answer(200, STARTED), answer(200, ENDED))
    found = ends(build_end(FAILED, None), seconds=30)
    assert methods(service) == ["DELETE", "PUT", "PUT", "PUT", "PUT", "DELETE"]
    assert found.start is not None


def test_a_start_that_may_have_arrived_without_an_end_says_so(ends: Ends, service: Service) -> None:
    service.will_answer(answer(404, UNKNOWN), answer(200, STARTED), *[httpx.ReadTimeout("slow")] * 3)
    end = build_end(FAILED, None)
    level, line = line_of_end("nightly", end, ends(end))
    assert level == logging.ERROR
    assert "was started to show the failure, but may not have been ended: No answer" in line


def test_two_ends_of_one_run_are_one_end_and_a_failure_that_hears_it_is_a_warning(ends: Ends, service: Service) -> None:
    already = {**ENDED, "activity_id": None, "ignored": True}
    for outcome, level in ((FAILED, logging.WARNING), (RunOutcome("nightly", "succeeded"), logging.INFO)):
        service.will_answer(answer(200, already))
        end = build_end(outcome, None)
        assert line_of_end("nightly", end, ends(end))[0] == level
    assert methods(service) == ["DELETE", "DELETE"]


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ({"title": "t", "message": "m"}, "alert"),
        ({"title": "t", "number_of_steps": 3, "current_step": 1}, "segmented_progress"),
        ({"title": "t", "percentage": 30}, "progress"),
        ({"title": "t", "value": 3, "upper_limit": 5}, "progress"),
        ({"title": "t", "metrics": [{"label": "l", "value": 1}]}, "metrics"),
        ({"title": "t", "duration_seconds": 5}, "timer"),
        ({"title": "t", "value": "3"}, "value"),
        ({"title": "t"}, "progress"),
        ({"title": "t", "type": "stats"}, "stats"),
    ],
)
def test_a_state_of_the_users_own_names_its_type_when_it_has_to_start_the_stream(
    service: Service, state: dict[str, Any], kind: str
) -> None:
    service.will_answer(answer(404, UNKNOWN), answer(200, STARTED))
    with httpx.Client(transport=httpx.MockTransport(service)) as http_client:
        client = ActivitySmithClient(KEY, http_client=http_client)
        end_stream(client, "nightly", build_end(FAILED, {"content_state": state}))
    assert service.bodies[1]["content_state"] == {"type": kind, **state}
    ends = [service.bodies[at]["content_state"] for at in (0, 2)]
    is_told = len(state) > 1 and "metrics" not in state
    assert ends == [service.bodies[1]["content_state"] if is_told else state] * 2


def test_an_end_repeats_itself_until_its_time_is_over(ends: Ends, service: Service) -> None:
    service.will_answer(httpx.ConnectError("refused"), answer(500, None))
    found = ends(build_end(FAILED, None), seconds=60)
    assert found.answer is not None
    assert len(service.requests) == 3
    at_last = next_delay(patient_retry(60), retryable=True, retry_after=None, attempts=100, elapsed=57.9, jitter=1.0)
    assert at_last == 2.0


def test_an_end_whose_time_is_over_sends_nothing_and_says_so(ends: Ends, service: Service) -> None:
    end = build_end(FAILED, None)
    found = ends(end, seconds=-1)
    assert service.requests == []
    assert "The time for it was over" in line_of_end("nightly", end, found)[1]


def test_what_was_started_to_show_a_failure_is_ended_though_its_time_is_over(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.will_answer(answer(404, UNKNOWN), answer(200, STARTED), answer(200, ENDED))
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)

    def slow_to_start(request: httpx.Request) -> httpx.Response:
        nonlocal now
        now += 9.99 if request.method == "PUT" else 0.0 if not service.requests else 0.1
        return service(request)

    with httpx.Client(transport=httpx.MockTransport(slow_to_start)) as http_client:
        client = ActivitySmithClient(KEY, retry=QUICK, http_client=http_client)
        found = end_stream(client, "nightly", build_end(FAILED, None), deadline=now + 10)
    assert methods(service) == ["DELETE", "PUT", "DELETE"]
    assert found.answer is not None


def test_options_that_cannot_be_used_leave_the_default_picture_and_a_warning_that_quotes_them() -> None:
    options: Any = {"titel": "x"}
    end = build_end_or_default(FAILED, options)
    assert end.starts == "where_unknown"
    assert end.request == build_end(FAILED, None).request
    level, line = line_of_end("nightly", end, EndResult(error=RuntimeError("x")))
    assert level == logging.ERROR
    assert "titel: is not an option; did you mean title?" in line


INACTIVE = {**ENDED, "activity_id": None, "ignored": True}


def test_a_failure_whose_stream_an_earlier_run_ended_is_shown(ends: Ends, service: Service) -> None:
    service.will_answer(answer(200, INACTIVE), answer(200, STARTED), answer(200, ENDED))
    end = build_end(FAILED, None).of_unshown_run()
    found = ends(end)
    assert methods(service) == ["DELETE", "PUT", "DELETE"]
    assert ["alert" in body for body in service.bodies[1:]] == [True, False]
    assert "had not been started; it was, to show that the run failed" in line_of_end("nightly", end, found)[1]


@pytest.mark.parametrize("lost", [lambda: httpx.ReadError("lost"), lambda: answer(502, {})])
def test_an_end_whose_answer_was_lost_sounds_once(
    lost: Callable[[], httpx.Response | Exception], ends: Ends, service: Service
) -> None:
    service.will_answer(lost(), answer(200, INACTIVE))
    ends(build_end(FAILED, None).of_unshown_run())
    assert methods(service) == ["DELETE", "DELETE"]


@pytest.mark.parametrize(
    "end",
    [
        build_end(FAILED, None),  # the run may have ended it itself
        build_end(FAILED, None).of_unshown_run().again(),
        build_end(FAILED, None).of_unshown_run().of_shown_run(is_silent=False),
        build_end(FAILED, {"start_unseen_failures": False}).of_unshown_run(),
        build_end(RunOutcome("nightly", "succeeded"), None).of_unshown_run(),
    ],
)
def test_whatever_else_finds_its_stream_ended_starts_nothing(end: End, ends: Ends, service: Service) -> None:
    service.will_answer(answer(200, INACTIVE))
    assert ends(end).start is None
    assert methods(service) == ["DELETE"]


@pytest.mark.parametrize(("is_silent", "banners"), [(False, [True]), (True, [False])])
def test_a_failure_that_is_on_the_screen_already_is_no_warning(
    is_silent: bool, banners: list[bool], ends: Ends, service: Service
) -> None:
    service.will_answer(answer(200, INACTIVE))
    end = build_end(FAILED, None).of_shown_run(is_silent=is_silent)
    line = "Live Activity stream 'nightly' had been ended by this run already, with its failure."
    assert line_of_end("nightly", end, ends(end)) == (logging.INFO, line)
    assert ["alert" in body for body in service.bodies] == banners
