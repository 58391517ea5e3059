"""What is logged about a stream: one line that a person can act on, the same for every engine. Pure."""

import logging
from collections.abc import Mapping
from typing import Any

from activitysmith_integrations.core.errors import (
    InvalidResponseError,
    error_text,
    may_have_arrived,
    on_one_line,
)
from activitysmith_integrations.core.models.responses import EndStreamResponse, StreamResponse
from activitysmith_integrations.core.runs.ending import End, EndResult

_OPERATIONS = {
    "started": "Started",
    "updated": "Updated",
    "rotated": "Started anew",
    "noop": "Nothing changed in",
    "paused": "Paused",
}


def line_of_update(stream_key: str, state: Mapping[str, Any], answer: StreamResponse) -> tuple[int, str]:
    """The level and the line about a start or an update that was delivered.

    Args:
        stream_key: The stream.
        state: The state that was sent.
        answer: The service's answer.
    """
    verb = _OPERATIONS.get(answer.operation) or on_one_line(answer.operation).capitalize()
    text = f"{verb} Live Activity stream {stream_key!r}: {_describe(state)}."
    if not answer.success:
        text = f"Live Activity stream {stream_key!r} was not updated: ActivitySmith answered without a success."
    return _with_remarks(text, answer)


def line_of_failed_update(stream_key: str, what: str, error: BaseException) -> tuple[int, str]:
    """The level and the line about a start or an update that was not delivered.

    Args:
        stream_key: The stream.
        what: ``started`` or ``updated``.
        error: What went wrong.
    """
    return (
        logging.WARNING,
        f"Live Activity stream {stream_key!r} {_not(what, error)}; the work goes on: {error_text(error)}",
    )


def line_of_end(stream_key: str, end: End, result: EndResult) -> tuple[int, str]:
    """The level and the line about an end.

    Args:
        stream_key: The stream.
        end: How it was to end.
        result: What became of it.
    """
    level, text = _line_of_end(f"Live Activity stream {stream_key!r}", end, result)
    if end.refused_options is not None:
        level = max(level, logging.WARNING)
        text = f"{text} Its options were left out, because they cannot be used: {end.refused_options}"
    return level, text


def line_of_unshown_end(stream_key: str) -> tuple[int, str]:
    """The level and the line where nothing is ended: no start was accepted, and the run did not fail."""
    return logging.INFO, f"Live Activity stream {stream_key!r} was never shown, so there is nothing to end."


def line_of_interrupted_end(stream_key: str, error: BaseException) -> tuple[int, str]:
    """The level and the line where whoever waits for the end's answer is interrupted.

    Args:
        stream_key: The stream.
        error: What interrupted it, such as a Ctrl-C.
    """
    name = type(error).__name__
    return logging.WARNING, f"Live Activity stream {stream_key!r} may not have been ended: {name} while it was sent."


def _line_of_end(name: str, end: End, result: EndResult) -> tuple[int, str]:
    as_what = end.result.replace("_", " ")
    if result.answer is None or result.error is not None:
        return _line_of_failed_end(name, end, result, result.error or InvalidResponseError("no answer"))
    if not result.answer.success:
        return _with_remarks(f"{name} was not ended: ActivitySmith answered without a success.", result.answer)
    if result.start is not None:
        text = f"{name} had not been started; it was, to show that the run {as_what}."
        return _with_remarks(text, result.start, result.answer)
    if result.answer.was_inactive:
        if end.is_shown:
            return _with_remarks(f"{name} had been ended by this run already, with its failure.", result.answer)
        if end.is_failure:
            text = (
                f"{name} had ended before, so this failure may not be on the phone. If several runs use this key, "
                "give each run a stream of its own: leave the key out, or make it with stream_key(name, run_id)."
            )
            return logging.WARNING, _with_remarks(text, result.answer)[1]
        return _with_remarks(f"{name} was already inactive.", result.answer)
    return _with_remarks(f"Ended {name} as {as_what}.", result.answer)


def _line_of_failed_end(name: str, end: End, result: EndResult, error: Exception) -> tuple[int, str]:
    if result.start is not None:
        return logging.ERROR, f"{name} was started to show the failure, but {_not('ended', error)}: {error_text(error)}"
    if result.was_unknown and end.starts != "never":
        text = f"{name} had not been started, and {_not('started', error)} to show the failure: {error_text(error)}"
        return logging.ERROR, text
    if result.was_unknown:
        hint = "" if not end.is_failure else " The failure is not on the phone, because start_unseen_failures is off."
        return logging.INFO, f"{name} is not known to ActivitySmith: nothing to end.{hint}"
    return logging.ERROR, f"{name} {_not('ended', error)}: {error_text(error)}"


def _not(what: str, error: BaseException) -> str:
    """``was not ended``, or ``may not have been ended`` where the request may have arrived."""
    return f"may not have been {what}" if may_have_arrived(error) else f"was not {what}"


def _with_remarks(text: str, *answers: EndStreamResponse | StreamResponse) -> tuple[int, str]:
    """The line with what the service warns about."""
    remarks = on_one_line(" ".join(remark for answer in answers for remark in answer.remarks))
    level = logging.INFO if not remarks and all(answer.success for answer in answers) else logging.WARNING
    return level, f"{text} ActivitySmith says: {remarks}" if remarks else text


def _describe(state: Mapping[str, Any]) -> str:
    """A state in a few words: ``3 of 10``, ``60 %``, or its second line, message or value."""
    if "number_of_steps" in state:
        return f"{state.get('current_step', 0)} of {state['number_of_steps']}"
    if state.get("percentage"):
        return f"{state['percentage']:g} %"
    text = state.get("subtitle") or state.get("message") or state.get("value") or state.get("title")
    return repr(text) if isinstance(text, str) else str(text)
