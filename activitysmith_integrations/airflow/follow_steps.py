"""When the task that follows a run looks, sends and waits: decided once, for a worker's thread and for the triggerer.

Each function is a generator of steps. Whoever takes a step sends its result back, or throws its error.
"""

from __future__ import annotations

import random
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from activitysmith_integrations.airflow.follower import RunFollower
from activitysmith_integrations.airflow.task_states import States
from activitysmith_integrations.core.errors import ActivitySmithError, error_text, may_have_arrived
from activitysmith_integrations.core.models.requests import StreamRequest
from activitysmith_integrations.core.runs.budget import SECONDS_BETWEEN_STARTS
from activitysmith_integrations.core.runs.ending import End, EndResult, missing_stream_response
from activitysmith_integrations.core.runs.log_lines import line_of_end, line_of_unshown_end
from activitysmith_integrations.core.runs.outcome import Result

CALL_SECONDS = 10.0
"""How long a call may repeat itself, before the states are looked at again."""

_SECONDS_BETWEEN_ENDS, _LONGEST_BETWEEN_ENDS = 5.0, 60.0
_RESULTS: dict[str, Result] = {"success": "succeeded", "failed": "failed"}


@dataclass(frozen=True)
class LookAtTasks:
    """Ask Airflow for the states of the run's task instances. It raises where Airflow does not say."""


@dataclass(frozen=True)
class LookAtRun:
    """Ask Airflow for the run's state, which is empty where Airflow does not say."""


@dataclass(frozen=True)
class Send:
    """Start or update the stream, within :data:`CALL_SECONDS`.

    Args:
        request: The request.
    """

    request: StreamRequest


@dataclass(frozen=True)
class SendEnd:
    """End the stream.

    Args:
        end: How.
        seconds: How long it may repeat itself.
    """

    end: End
    seconds: float = CALL_SECONDS


@dataclass(frozen=True)
class Wait:
    """Do nothing for some seconds.

    Args:
        seconds: How many.
    """

    seconds: float


Step: TypeAlias = LookAtTasks | LookAtRun | Send | SendEnd | Wait
_T = TypeVar("_T")
Steps: TypeAlias = Generator[Step, Any, _T]


def show(follower: RunFollower, states: States, log: Any) -> Steps[ActivitySmithError | None]:
    """Send how far the run is, if that is due.

    Args:
        follower: The follower of the run.
        states: The states of the run's task instances.
        log: Where a line about it goes.

    Returns:
        What went wrong.
    """
    request = follower.next_request(states, time.time())
    if request is None:
        return None
    try:
        answer = yield Send(request)
    except ActivitySmithError as error:
        log.log(*follower.failed(error, time.time()))
        return error
    log.log(*follower.delivered(answer, time.time()))
    return None


def follow(follower: RunFollower, poll_interval: float, patience: float, log: Any) -> Steps[EndResult]:
    """Show how far the run is until it is over, and end its stream.

    Args:
        follower: The follower of the run.
        poll_interval: Seconds between two looks.
        patience: Seconds that the end may take to get through to the service, and Airflow to tell the states.
        log: Where lines go.

    Returns:
        What became of the end; its error says where it was not sent, since Airflow did not tell the states.
    """
    try:
        states, result_of_run = yield from _show_until_over(follower, poll_interval, patience, log)
    except ActivitySmithError as error:
        return EndResult(error=error)
    end = follower.end(states, result_of_run).after(was_never_shown=follower.was_never_shown(time.time()))
    key, give_up_at = follower.run.stream_key, time.monotonic() + patience
    if end is None:
        log.log(*line_of_unshown_end(key))
        return EndResult(missing_stream_response(key))
    attempts = 0
    while True:
        attempts += 1
        result: EndResult = yield SendEnd(end)
        log.log(*line_of_end(key, end, result))
        if result.start is not None:  # with it the banner has sounded
            end = end.again()
        elif may_have_arrived(result.error):
            end = end.of_lost_answer()
        seconds = seconds_to_wait(result, give_up_at - time.monotonic(), attempts, random.random())
        if seconds is None:
            return result
        yield Wait(seconds)


def event_of(stream_key: str, result: EndResult) -> dict[str, Any]:
    """What the task is told: the answer that it returns, or the error that it raises.

    Args:
        stream_key: The stream.
        result: What became of its end.
    """
    try:
        return {"answer": result.response(stream_key, missing_ok=True).to_json(), "error": None}
    except Exception as error:
        return {"answer": None, "error": error_text(error)}


def end_if_over(follower: RunFollower, seconds: float, log: Any) -> Steps[None]:
    """End the stream if the run is over, where there is no time to wait for anything.

    Args:
        follower: The follower of the run.
        seconds: How long the end may repeat itself.
        log: Where a line about it goes.
    """
    result_of_run = _RESULTS.get((yield LookAtRun()))
    if result_of_run is not None:
        end = follower.end((yield LookAtTasks()), result_of_run)
        log.log(*line_of_end(follower.run.stream_key, end, (yield SendEnd(end, seconds))))


def seconds_to_wait(result: EndResult, left: float, attempts: int, jitter: float) -> float | None:
    """Seconds before an end is tried again; None where it arrived, cannot succeed, or there is no time for it.

    To what the service asks for comes a random part of a wait that grows, so that many runs do not come back together.

    Args:
        result: What became of it.
        left: Seconds that there are.
        attempts: How often it was tried so far.
        jitter: A random number of 0 to 1.
    """
    error = result.error
    if error is None or not getattr(error, "retryable", False):
        return None
    seconds = getattr(error, "retry_after", None) or _SECONDS_BETWEEN_ENDS
    if result.was_unknown and result.start is None:
        # The account has no place for it, and its requests are for the runs that are shown.
        seconds = max(seconds, SECONDS_BETWEEN_STARTS)
    seconds += jitter * min(_SECONDS_BETWEEN_ENDS * 2 ** min(attempts, 10), _LONGEST_BETWEEN_ENDS)
    return seconds if seconds < left else None


def _show_until_over(
    follower: RunFollower, poll_interval: float, patience: float, log: Any
) -> Steps[tuple[States, Result | None]]:
    """Show how far the run is; in the end the states of its tasks, and how it ended where Airflow ended it by then."""
    silent_since: float | None = None
    while True:
        try:
            states: States = yield LookAtTasks()
        except Exception as error:
            now, text = time.monotonic(), error_text(error)
            if silent_since is None:
                silent_since = now
                log.warning("Airflow does not tell the states of the run's tasks, and is asked again: %s", text)
            if now - silent_since >= patience:
                raise ActivitySmithError(
                    f"Airflow has not told the states of the run's tasks for {patience:g} s, so the run is followed "
                    f"no more: {text}"
                ) from error
        else:
            silent_since = None
            if follower.is_over(states):
                # A timeout of the DAG ends the run first, and then what it skipped, the task that follows it included.
                result_of_run = _RESULTS.get((yield LookAtRun()))
                if result_of_run is not None or not follower.goes_on_with_added_tasks(states):
                    return states, result_of_run
            yield from show(follower, states, log)
        yield Wait(poll_interval)
