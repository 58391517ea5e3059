"""How a stream is ended, whoever ends it: a failure is seen, time is kept, and one line says what happened.

A durable wrapper (operator, task) raises, so that its engine delivers. A callback never raises and has little time, so
it sends the best picture it can and logs one line about the result.
"""

import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal, TypeAlias, TypeVar

from activitysmith_integrations.core.client import ActivitySmithClient, AsyncActivitySmithClient
from activitysmith_integrations.core.errors import (
    ActivitySmithError,
    APITimeoutError,
    InvalidRequestError,
    InvalidResponseError,
    NoRecipientsError,
    NotFoundError,
    error_text,
    on_one_line,
)
from activitysmith_integrations.core.models.requests import EndStreamRequest, StreamRequest
from activitysmith_integrations.core.models.responses import EndStreamResponse, StreamResponse
from activitysmith_integrations.core.retry import patient_retry
from activitysmith_integrations.core.runs.outcome import FAILURES, EndOptions, Result, RunOutcome, given
from activitysmith_integrations.core.runs.picture import end_request, start_of_end, without_banner
from activitysmith_integrations.core.runs.request_flow import async_drive, drive

# What is begun is brought to its end, also where its time is over.
_LEAST_SECONDS = 0.5

ClientT = TypeVar("ClientT", ActivitySmithClient, AsyncActivitySmithClient)

Starts: TypeAlias = Literal["never", "where_unknown", "where_inactive"]
"""When a stream is started to show a failure: never, where the service does not know it, or also where it has ended."""

_EndFlow: TypeAlias = Generator[EndStreamRequest | StreamRequest, EndStreamResponse | StreamResponse, "EndResult"]


@dataclass(frozen=True)
class End:
    """How a run's stream is to end.

    Args:
        result: How the run ended.
        request: What ends the stream.
        starts: When the stream is started to show the failure.
        is_shown: Whether it is known that the failure is on the screen already.
        refused_options: Why the user's options were left out, None where they were not.
    """

    result: Result
    request: EndStreamRequest
    starts: Starts
    is_shown: bool = False
    refused_options: InvalidRequestError | None = None

    @property
    def is_failure(self) -> bool:
        """Whether somebody has to see it: a failure, a crash or a timeout."""
        return self.result in FAILURES

    def after(self, *, was_never_shown: bool) -> "End | None":
        """The same after what was shown of the run; None where there is nothing to end.

        Args:
            was_never_shown: Whether it is certain that nothing was. A failure is shown then all the same.
        """
        if not was_never_shown:
            return self
        return self.of_unshown_run() if self.is_failure else None

    def of_unshown_run(self) -> "End":
        """The same for a run that has not shown or ended the stream: what is inactive was another run's."""
        return self if self.starts == "never" else replace(self, starts="where_inactive")

    def of_shown_run(self, *, is_silent: bool) -> "End":
        """The same for a run whose failure is on the screen already: what is inactive stays so.

        Args:
            is_silent: Whether it makes no sound either where the stream was started anew meanwhile.
        """
        request = without_banner(self.request) if is_silent else self.request
        return replace(self.of_lost_answer(), request=request, is_shown=True)

    def of_lost_answer(self) -> "End":
        """The same after an attempt that got no answer: what is inactive may show how this run ended."""
        return replace(self, starts="where_unknown") if self.starts == "where_inactive" else self

    def again(self) -> "End":
        """The same once its banner has sounded: without it, and starting nothing."""
        return replace(self, request=without_banner(self.request), starts="never")


@dataclass(frozen=True)
class EndResult:
    """What became of an end.

    Args:
        answer: The service's answer to the end, None where there is none.
        error: What went wrong, None where nothing did.
        was_unknown: Whether the service did not know the stream, or it had ended before this run.
        start: The service's answer to the start that was to show the failure, None where there is none.
    """

    answer: EndStreamResponse | None = None
    error: Exception | None = None
    was_unknown: bool = False
    start: StreamResponse | None = None

    def response(self, stream_key: str, *, missing_ok: bool) -> EndStreamResponse:
        """What a durable wrapper returns.

        Args:
            stream_key: The stream.
            missing_ok: Whether a stream that the service does not know counts as ended.

        Raises:
            Exception: What went wrong.
        """
        if self.answer is not None:
            if not self.answer.success:
                remarks = on_one_line(" ".join(self.answer.remarks))
                raise InvalidResponseError(f"ActivitySmith answered without a success. {remarks}".rstrip())
            return self.answer
        if self.is_missing and missing_ok:
            return missing_stream_response(stream_key)
        raise self.error or InvalidResponseError("ActivitySmith did not answer.")

    @property
    def is_shown(self) -> bool:
        """Whether the service has shown it: with a start, or as the end of a stream that had not ended before."""
        if self.start is not None:
            return self.start.success
        if self.answer is None or not self.answer.success:
            return False
        return not self.answer.was_inactive or self.answer.may_have_ended_it

    @property
    def is_missing(self) -> bool:
        """Whether the service does not know the stream, and nobody wanted it started."""
        is_about_stream = isinstance(self.error, NotFoundError) and not isinstance(self.error, NoRecipientsError)
        return self.was_unknown and is_about_stream


def build_end(outcome: RunOutcome, options: EndOptions | None) -> End:
    """How a run's stream is to end.

    Args:
        outcome: What happened.
        options: How it is to look.

    Raises:
        InvalidRequestError: An option is misspelt or breaks a rule of the API.
    """
    request = end_request(outcome, options)
    return _end(outcome, request, may_start=given(options).get("start_unseen_failures", True))


def build_end_or_default(outcome: RunOutcome, options: EndOptions | None) -> End:
    """:func:`build_end` for callbacks: options that cannot be used are left out, so that the stream ends anyway."""
    try:
        return build_end(outcome, options)
    except InvalidRequestError as error:
        refused = error
    except Exception as error:  # whatever a value of the user's own does when it is looked at
        refused = InvalidRequestError(("", error_text(error)))
    return _end(outcome, end_request(outcome), refused_options=refused)


def _end(
    outcome: RunOutcome,
    request: EndStreamRequest,
    *,
    may_start: bool = True,
    refused_options: InvalidRequestError | None = None,
) -> End:
    starts: Starts = "where_unknown" if may_start and outcome.result in FAILURES else "never"
    return End(outcome.result, request, starts, refused_options=refused_options)


def end_stream(
    client: ActivitySmithClient,
    stream_key: str,
    end: End,
    *,
    deadline: float | None = None,
    tries_again: bool = False,
) -> EndResult:
    """End a stream; it never raises what the service or the network does.

    Args:
        client: The client.
        stream_key: The stream.
        end: How.
        deadline: The moment on ``time.monotonic()``'s clock until which calls repeat themselves; None leaves that to
            the client's own retry policy.
        tries_again: Whether whoever calls this tries again later by itself. Then no place on the screen is waited for,
            and a call is repeated twice at most: where many runs end at once, each costs the others an answer.
    """
    return drive(
        _end_flow(end),
        lambda request: _patient(client, deadline, tries_again, request is end.request).send(stream_key, request),
    )


async def async_end_stream(
    client: AsyncActivitySmithClient,
    stream_key: str,
    end: End,
    *,
    deadline: float | None = None,
    tries_again: bool = False,
) -> EndResult:
    """:func:`end_stream` for asyncio."""
    return await async_drive(
        _end_flow(end),
        lambda request: _patient(client, deadline, tries_again, request is end.request).send(stream_key, request),
    )


def _end_flow(end: End) -> _EndFlow:
    """The requests that end a stream, each given the answer to the one before, or thrown its error.

    A stream that the service never knew was refused its start, lost it, or belongs to a run that failed before its
    first task. One that an earlier run ended is the same to this one. A failure is then shown all the same: the start
    carries the banner, and the end only keeps the picture.
    """
    try:
        ended = _end_answer((yield end.request))
        if not (end.starts == "where_inactive" and ended.was_inactive) or ended.may_have_ended_it:
            return EndResult(ended)
    except NotFoundError as error:
        if not error.from_service or end.starts == "never":
            return EndResult(error=error, was_unknown=error.from_service)
    except ActivitySmithError as error:
        return EndResult(error=error)
    try:
        start = yield start_of_end(end.request)
    except ActivitySmithError as error:
        return EndResult(error=error, was_unknown=True)
    try:
        answer = yield without_banner(end.request)
        return EndResult(_end_answer(answer), was_unknown=True, start=_start_answer(start))
    except ActivitySmithError as error:
        return EndResult(error=error, was_unknown=True, start=_start_answer(start))


# The client answers by the kind of request, which its type cannot say of a request that a generator yields.


def _end_answer(answer: EndStreamResponse | StreamResponse) -> EndStreamResponse:
    assert isinstance(answer, EndStreamResponse)  # noqa: S101
    return answer


def _start_answer(answer: EndStreamResponse | StreamResponse) -> StreamResponse:
    assert isinstance(answer, StreamResponse)  # noqa: S101
    return answer


def _patient(client: ClientT, deadline: float | None, tries_again: bool, is_first: bool) -> ClientT:
    if deadline is None:
        return client
    left = deadline - time.monotonic()
    if left <= 0 and is_first:
        raise APITimeoutError("The time for it was over before it could be sent.")
    left = max(left, _LEAST_SECONDS)  # what was started to show a failure has to be ended
    retry = patient_retry(left)
    return client.with_retry(replace(retry, max_retries=2) if tries_again else replace(retry, waits_for_place=True))


def missing_stream_response(stream_key: str) -> EndStreamResponse:
    """The answer of a durable wrapper where the service knows no such stream."""
    return EndStreamResponse(
        success=True,
        operation="ended",
        stream_key=stream_key,
        timestamp=datetime.now(UTC),
        activity_id=None,
        ignored=True,
        message="The service knows no such stream: nothing was left to end.",
    )
