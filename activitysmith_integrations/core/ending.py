"""How a wrapper ends a stream: what every engine's operator, task and callback decide alike. Pure.

A durable wrapper (operator, task) raises, so that its engine delivers. A callback never raises and has
little time, so it sends the best picture it can and says in one line what became of it.
"""

import logging
from datetime import UTC, datetime
from typing import Any

from activitysmith_integrations.core.errors import (
    ActivitySmithError,
    InvalidRequestError,
    NotFoundError,
)
from activitysmith_integrations.core.models import EndStreamRequest, EndStreamResponse
from activitysmith_integrations.core.outcome import EndOptions, RunOutcome, end_request


def plan(outcome: RunOutcome, options: EndOptions | None) -> tuple[dict[str, Any], InvalidRequestError | None]:
    """The members to end a stream with from a callback; it never raises.

    Args:
        outcome: What happened.
        options: What the user said about it.

    Returns:
        The members, and the error in the options if they cannot be used. The members are then those
        without options: a typing error must not leave a stream running.
    """
    try:
        members = end_request(outcome, options)
        EndStreamRequest(**members)
    except InvalidRequestError as error:
        return end_request(outcome), error
    except Exception as error:  # whatever a value of the user's own does when it is looked at
        return end_request(outcome), InvalidRequestError(("", f"{type(error).__name__}: {error}"))
    return members, None


def nothing_left(stream_key: str) -> EndStreamResponse:
    """The answer that a durable wrapper gives where the service knows no such stream."""
    return EndStreamResponse(
        success=True,
        operation="ended",
        stream_key=stream_key,
        timestamp=datetime.now(UTC),
        activity_id=None,
        ignored=True,
        message="The service knows no such stream: nothing was left to end.",
    )


def report(stream_key: str, came_of_it: EndStreamResponse | Exception) -> tuple[int, str]:
    """The level and the one line to log about an end.

    Args:
        stream_key: The stream.
        came_of_it: The answer, or what went wrong.
    """
    name = f"Live Activity stream {stream_key!r}"
    if isinstance(came_of_it, EndStreamResponse):
        return _report_answer(name, came_of_it)
    if isinstance(came_of_it, NotFoundError) and came_of_it.from_service:
        return logging.INFO, f"{name} is not known to ActivitySmith: nothing to end. Was it started with this key?"
    if isinstance(came_of_it, ActivitySmithError):
        return logging.ERROR, f"{name} was not ended: {came_of_it}"
    said = " ".join(str(came_of_it).split())
    return logging.ERROR, f"{name} was not ended: {type(came_of_it).__name__}: {said}"


def _report_answer(name: str, answer: EndStreamResponse) -> tuple[int, str]:
    # Null means inactive (API contract); left out means nothing.
    inactive = answer.ignored or ("activity_id" in answer.model_fields_set and answer.activity_id is None)
    line = f"{name} was already inactive." if inactive else f"Ended {name}."
    if not answer.success:
        line = f"{name} was not ended: ActivitySmith answered without a success."
    remarks = [remark for remark in (answer.warning, *(answer.errors or ())) if remark]
    level = logging.WARNING if remarks or not answer.success else logging.INFO
    return level, " ".join([line, *(["ActivitySmith says:"] if remarks else []), *remarks])
