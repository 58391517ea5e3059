"""What happened in a run becomes the last picture on the lock screen: the same for every engine.

Everything here is pure. Lengths are what a lock screen shows, in code points; texts are cut between characters
as a reader sees them.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias, TypedDict, get_args

from activitysmith_integrations.core.errors import InvalidRequestError
from activitysmith_integrations.core.models import (
    AlertPayload,
    AnyAction,
    AnyState,
    Color,
    EndStreamRequest,
    OpenURLAction,
)
from activitysmith_integrations.core.segments import fold_steps
from activitysmith_integrations.core.text import cut, line

Result: TypeAlias = Literal["succeeded", "failed", "crashed", "timed_out", "cancelled"]
SuccessForm: TypeAlias = Literal["segmented_progress", "progress"]
FailureForm: TypeAlias = Literal["alert", "segmented_progress", "progress"]

FAILURE_STAYS_MINUTES = 240

_TITLE, MAX_SUBTITLE, _MESSAGE, _STEP, _ERROR = 60, 80, 200, 40, 120
_METADATA, _TAG = 250, 64


@dataclass(frozen=True)
class RunOutcome:
    """What happened in one run, in no engine's words.

    Args:
        pipeline: The name of the DAG, flow or script.
        result: How it ended.
        run: The run's id or name.
        engine: What ran it, such as ``airflow``.
        steps_done: How many steps are complete, None where they cannot be counted.
        steps_total: How many there are in all, None where they cannot be counted.
        failed_step: The name of the step that failed.
        started_at: When it began.
        ended_at: When it ended.
        url: The run's page.
        error_type: The class of the error, such as ``ValueError``.
        error_text: What the error says. It can hold secrets, so it is shown only when asked for.
    """

    pipeline: str
    result: Result
    run: str | None = None
    engine: str | None = None
    steps_done: int | None = None
    steps_total: int | None = None
    failed_step: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    url: str | None = None
    error_type: str | None = None
    error_text: str | None = None


class EndOptions(TypedDict, total=False):
    """What a user may say about the end of a stream; the same words everywhere.

    Attributes:
        on_success: The picture of a success. ``segmented_progress`` (default) shows all steps complete;
            where steps cannot be counted it becomes ``progress``, which shows 100 percent.
        on_failure: The picture of a failure, crash, timeout or cancellation. ``alert`` (default) says what
            failed; the other two show where it stopped, and become ``alert`` where steps cannot be counted.
        title: First line instead of the pipeline's name.
        subtitle: Second line instead of the duration.
        success_color: Green by default.
        failure_color: Red by default; a cancellation is gray.
        success_auto_dismiss_minutes: Minutes that a success (or a cancellation) stays on screen; iOS's own
            two minutes by default, 0 removes it at once.
        failure_auto_dismiss_minutes: Minutes that a failure stays, 240 by default, so that somebody sees it.
        include_error: Whether the message says what the error says. Off by default: errors can hold
            secrets and personal data, and a lock screen is public.
        content_state: A whole state of your own instead of the picture.
        action: A button of your own instead of the one that opens a failed run's page.
        secondary_action: A second button.
        alert: A banner of your own instead of the one for failures.
        tags: Tags beside the engine's name.
        metadata: Metadata beside engine, pipeline, run and result.
    """

    on_success: SuccessForm
    on_failure: FailureForm
    title: str
    subtitle: str
    success_color: Color
    failure_color: Color
    success_auto_dismiss_minutes: int
    failure_auto_dismiss_minutes: int
    include_error: bool
    content_state: AnyState | Mapping[str, Any]
    action: AnyAction | Mapping[str, Any]
    secondary_action: AnyAction | Mapping[str, Any]
    alert: AlertPayload | Mapping[str, Any]
    tags: Sequence[str]
    metadata: Mapping[str, str | int | float | bool]


@dataclass(frozen=True)
class _Look:
    verb: str
    badge: str
    symbol: str
    color: Color
    loud: bool


_LOOKS: dict[Result, _Look] = {
    "failed": _Look("failed", "Failed", "exclamationmark.triangle.fill", "red", loud=True),
    "crashed": _Look("crashed", "Crashed", "bolt.trianglebadge.exclamationmark.fill", "red", loud=True),
    "timed_out": _Look("timed out", "Timed out", "clock.badge.exclamationmark.fill", "red", loud=True),
    "cancelled": _Look("cancelled", "Cancelled", "stop.circle.fill", "gray", loud=False),
}


def check_options(options: Mapping[str, Any]) -> None:
    """Refuse options that are misspelt or choose what there is not.

    What goes to the service as it is (colors, buttons, states) is checked with the request.

    Raises:
        InvalidRequestError: An option is not among :class:`EndOptions`, or its value is not among its choices.
    """
    known = EndOptions.__annotations__
    for name in options:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            meant = f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"
            raise InvalidRequestError((name, f"is no option; {meant}"))
    for name, choices in (("on_success", get_args(SuccessForm)), ("on_failure", get_args(FailureForm))):
        if options.get(name) is not None and options[name] not in choices:
            raise InvalidRequestError((name, f"{options[name]!r} is not among {', '.join(choices)}"))
    for name, (fits, kind) in _KINDS.items():
        if options.get(name) is not None and not fits(options[name]):
            raise InvalidRequestError((name, f"must be {kind}, not {options[name]!r}"))


def _is_list_of_strings(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(one, str) for one in value)


# What the picture is made with, so that its kind must be right before the request can be checked.
_KINDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "title": (lambda value: isinstance(value, str), "a string"),
    "subtitle": (lambda value: isinstance(value, str), "a string"),
    "include_error": (lambda value: isinstance(value, bool), "True or False"),
    "tags": (_is_list_of_strings, "a list of strings"),
    "metadata": (lambda value: isinstance(value, Mapping), "a mapping"),
}


def end_request(outcome: RunOutcome, options: EndOptions | None = None) -> dict[str, Any]:
    """The members of the request that ends a run's stream, ready for ``end_stream(key, **members)``.

    Args:
        outcome: What happened.
        options: What the user said about it; None as a value means not said.

    Raises:
        InvalidRequestError: An option is misspelt or chooses what there is not.
    """
    check_options(options or {})
    said: dict[str, Any] = {name: value for name, value in (options or {}).items() if value is not None}
    members = {"content_state": said["content_state"]} if "content_state" in said else _picture(outcome, said)
    members |= {name: said[name] for name in ("action", "secondary_action", "alert") if name in said}
    members["tags"] = _tags(outcome, said.get("tags"))
    members["metadata"] = _both(said.get("metadata"), _run_metadata(outcome))
    return members


def live_members(run: RunOutcome, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What goes beside the state while a run goes on: the tags and metadata of its end, without a result.

    Args:
        run: What is known of it; its result is not looked at.
        options: What the user said about it; ``tags`` and ``metadata`` are used.
    """
    said = options or {}
    known = {name: value for name, value in _run_metadata(run).items() if name != "result"}
    return {"tags": _tags(run, said.get("tags")), "metadata": _both(said.get("metadata"), known)}


def _both(metadata: Mapping[str, Any] | None, known: Mapping[str, Any]) -> Mapping[str, Any]:
    """The user's metadata and the run's; the user's alone where the service would not take both."""
    both = {**known, **(metadata or {})}
    try:
        EndStreamRequest(metadata=both)
    except InvalidRequestError:
        return metadata or {}
    return both


def _tags(outcome: RunOutcome, tags: Sequence[str] | None) -> list[str]:
    engine = line(outcome.engine, _TAG)
    return list(dict.fromkeys([*([engine] if engine else []), *(tags or ())]))


def _run_metadata(outcome: RunOutcome) -> dict[str, str]:
    values = {
        "engine": outcome.engine,
        "pipeline": outcome.pipeline,
        "run": outcome.run,
        "result": outcome.result,
    }
    lines = {name: line(value, _METADATA) for name, value in values.items()}
    return {name: line for name, line in lines.items() if line}


def _picture(outcome: RunOutcome, said: Mapping[str, Any]) -> dict[str, Any]:
    if outcome.result == "succeeded":
        return {"content_state": _success(outcome, said)}
    look = _LOOKS[outcome.result]
    message = _message(outcome, look, include_error=bool(said.get("include_error")))
    members: dict[str, Any] = {"content_state": _failure(outcome, said, look, message)}
    if look.loud:
        members["alert"] = {"title": shown_title(outcome, said), "body": message}
    button = _open_run(outcome.url)
    if button is not None:
        members["action"] = button
    return members


def shown_title(outcome: RunOutcome, said: Mapping[str, Any]) -> str:
    """The first line: the user's own, else the pipeline's name."""
    return line(said.get("title"), _TITLE) or line(outcome.pipeline, _TITLE) or "Run"


def _success(outcome: RunOutcome, said: Mapping[str, Any]) -> dict[str, Any]:
    took = duration(outcome.started_at, outcome.ended_at)
    color = said.get("success_color", "green")
    state: dict[str, Any] = {
        "title": shown_title(outcome, said),
        "subtitle": line(said.get("subtitle"), MAX_SUBTITLE) or (f"Done in {took}" if took else "Done"),
        "color": color,
        "icon": {"symbol": "checkmark.circle.fill", "color": color},
        **_stays(said.get("success_auto_dismiss_minutes")),
    }
    total = outcome.steps_total
    done = total if outcome.steps_done is None else outcome.steps_done
    steps = fold_steps(done, total)
    if steps and said.get("on_success", "segmented_progress") == "segmented_progress":
        return {**state, "type": "segmented_progress", "number_of_steps": steps[1], "current_step": steps[0]}
    return {**state, "type": "progress", "percentage": _percentage(done, total) if steps else 100}


def _failure(outcome: RunOutcome, said: Mapping[str, Any], look: _Look, message: str) -> dict[str, Any]:
    color = said.get("failure_color", look.color) if look.loud else look.color
    stays = (
        said.get("failure_auto_dismiss_minutes", FAILURE_STAYS_MINUTES)
        if look.loud
        else said.get("success_auto_dismiss_minutes")
    )
    state: dict[str, Any] = {
        "title": shown_title(outcome, said),
        "color": color,
        "icon": {"symbol": look.symbol, "color": color},
        "badge": {"title": look.badge, "color": color},
        **_stays(stays),
    }
    subtitle = line(said.get("subtitle"), MAX_SUBTITLE)
    form = said.get("on_failure", "alert")
    total = outcome.steps_total
    done = None if outcome.steps_done is None else min(outcome.steps_done, (total or 1) - 1)  # what failed is not done
    steps = fold_steps(done, total)
    if form == "alert" or steps is None:
        return {**state, "type": "alert", "message": message, **({"subtitle": subtitle} if subtitle else {})}
    state["subtitle"] = subtitle or cut(message, MAX_SUBTITLE)
    if form == "progress":
        return {**state, "type": "progress", "percentage": _percentage(done, total)}
    completed = {"step_colors": [said.get("success_color", "green")] * steps[0]} if steps[0] else {}
    return {
        **state,
        "type": "segmented_progress",
        "number_of_steps": steps[1],
        "current_step": steps[0],
        "step_color": color,
        **completed,
    }


def _stays(minutes: int | None) -> dict[str, int]:
    return {} if minutes is None else {"auto_dismiss_minutes": minutes}


def _percentage(done: int | None, total: int | None) -> int:
    share = max(0, min(done or 0, total or 1)) * 100 // (total or 1)
    return max(share, 1 if (done or 0) > 0 else 0)  # something done is never nothing


def _message(outcome: RunOutcome, look: _Look, *, include_error: bool) -> str:
    """``load failed after 2 of 5 steps, 3 m 10 s``, or as much of it as is known."""
    step = line(outcome.failed_step, _STEP)
    what = f"{step} {look.verb}" if step else look.badge
    after = [_steps_in_words(outcome), duration(outcome.started_at, outcome.ended_at)]
    known = ", ".join(part for part in after if part)
    said = f"{what} after {known}" if known else what
    if include_error:
        error = line(": ".join(part for part in (outcome.error_type, outcome.error_text) if part), _ERROR)
        said = f"{said}: {error}" if error else said
    return cut(said, _MESSAGE)


def _steps_in_words(outcome: RunOutcome) -> str:
    done, total = outcome.steps_done, outcome.steps_total
    if done is None or done < 0:
        return ""
    if total is None or total < done:
        return f"{done} step{'' if done == 1 else 's'}"
    return f"{done} of {total} step{'' if total == 1 else 's'}"


def _open_run(url: str | None) -> OpenURLAction | None:
    if not url:
        return None
    try:
        return OpenURLAction(title="Open run", url=url)
    except InvalidRequestError:
        return None


def duration(started_at: datetime | None, ended_at: datetime | None) -> str:
    """The time between two moments in words, such as ``12 m 03 s``; empty where it is not known.

    A negative one, which is a skewed clock's, counts as not known; so do moments of which only one has a
    time zone.
    """
    if started_at is None or ended_at is None or (started_at.tzinfo is None) != (ended_at.tzinfo is None):
        return ""
    took = ended_at - started_at
    if took < timedelta(0):
        return ""
    if took < timedelta(seconds=1):
        return "less than 1 s"
    minutes, seconds = divmod(int(took.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours:02} h"
    if hours:
        return f"{hours} h {minutes:02} m"
    if minutes:
        return f"{minutes} m {seconds:02} s"
    return f"{seconds} s"
