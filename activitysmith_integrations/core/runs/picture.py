"""What happened in a run becomes the last picture on the lock screen. Pure.

Lengths are what a lock screen shows, in code points; texts are cut between characters as a reader sees them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from activitysmith_integrations.core.counts import check_count
from activitysmith_integrations.core.errors import InvalidRequestError
from activitysmith_integrations.core.models.fields import Color
from activitysmith_integrations.core.models.requests import EndStreamRequest, OpenURLAction, StreamRequest
from activitysmith_integrations.core.runs.outcome import EndOptions, Result, RunOutcome, check_options, given
from activitysmith_integrations.core.runs.segments import fold_steps
from activitysmith_integrations.core.text import cut, duration, line

FAILURE_AUTO_DISMISS_MINUTES = 240
MAX_SUBTITLE = 80

_LABELS = frozenset({"tags", "metadata"})

_MAX_LABEL = 30
_MAX_TITLE, _MAX_MESSAGE, _MAX_STEP, _MAX_ERROR = 60, 200, 40, 120
_MAX_METADATA, _MAX_TAG = 250, 64


@dataclass(frozen=True)
class _Style:
    verb: str
    badge: str
    symbol: str
    color: Color
    alerts: bool


_STYLES: dict[Result, _Style] = {
    "failed": _Style("failed", "Failed", "exclamationmark.triangle.fill", "red", alerts=True),
    "crashed": _Style("crashed", "Crashed", "bolt.trianglebadge.exclamationmark.fill", "red", alerts=True),
    "timed_out": _Style("timed out", "Timed out", "clock.badge.exclamationmark.fill", "red", alerts=True),
    "cancelled": _Style("cancelled", "Cancelled", "stop.circle.fill", "gray", alerts=False),
}


def end_request(outcome: RunOutcome, options: EndOptions | None = None) -> EndStreamRequest:
    """The request that ends a run's stream.

    Args:
        outcome: What happened.
        options: How it is to look.

    Raises:
        InvalidRequestError: An option is misspelt or breaks a rule of the API.
    """
    check_options(options or {})
    chosen = given(options)
    members = {} if "content_state" in chosen else _picture(outcome, chosen)
    members |= {name: chosen[name] for name in EndStreamRequest.model_fields if name in chosen and name not in _LABELS}
    return _typed(EndStreamRequest(**members, **_labels(outcome, chosen, _run_metadata(outcome))))


def _typed(end: EndStreamRequest) -> EndStreamRequest:
    """The request with the type of a state that names none: else the service takes the stream's, which may not fit.

    It is left to the service where the members do not tell.
    """
    state = end.content_state.to_wire() if end.content_state else {}
    kind = _type_of(state)
    if kind is None or "type" in state or "metrics" in state:  # metrics or stats
        return end
    try:
        return EndStreamRequest(content_state={"type": kind, **state}, alert=end.alert, **_beside_state(end))
    except InvalidRequestError:
        return end


def check_end_options(
    options: EndOptions, *, other: Sequence[str] = (), synonyms: Mapping[str, str] | None = None
) -> None:
    """Refuse options with which no end can be shown, before there is a run.

    Args:
        options: The options.
        other: The other parameters of the function that takes them, which may be meant by a misspelt one.
        synonyms: What other functions call some of those parameters.

    Raises:
        InvalidRequestError: An option is misspelt or breaks a rule of the API.
    """
    check_options(options, other=other, synonyms=synonyms)
    results: tuple[Result, ...] = ("succeeded", "failed")
    for result in results:
        end_request(RunOutcome("checked", result), options)


def running_labels(run: RunOutcome, options: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The tags and metadata of a run that goes on: those of its end, without a result.

    Args:
        run: What is known of it; its result is not looked at.
        options: The user's; ``tags`` and ``metadata`` are used.
    """
    known = {name: value for name, value in _run_metadata(run).items() if name != "result"}
    return _labels(run, given(options), known)


def shown_title(outcome: RunOutcome, options: Mapping[str, Any]) -> str:
    """The first line: the user's own, else the pipeline's name."""
    return line(options.get("title"), _MAX_TITLE) or line(outcome.pipeline, _MAX_TITLE) or "Run"


def with_label(label: str | None, text: str | None) -> str:
    """The second line: what tells the run from others of its pipeline, and what there is to say of it.

    Args:
        label: The run's label, such as its date or name.
        text: What there is to say.
    """
    parts = (line(label, _MAX_LABEL), line(text, MAX_SUBTITLE))
    return cut(" · ".join(part for part in parts if part), MAX_SUBTITLE)


def start_of_end(end: EndStreamRequest) -> StreamRequest:
    """The request that starts a stream with the picture that it ends with, banner included.

    Args:
        end: The request that ends it; it has a state.
    """
    state = end.content_state.to_wire() if end.content_state else {}
    kind = _type_of(state) or "progress"
    return StreamRequest(content_state={"type": kind, **state}, alert=end.alert, **_beside_state(end))


def without_banner(end: EndStreamRequest) -> EndStreamRequest:
    """The request that ends a stream, without its banner, which the start has shown."""
    return EndStreamRequest(content_state=end.content_state, **_beside_state(end))


def _beside_state(end: EndStreamRequest) -> dict[str, Any]:
    return {name: getattr(end, name) for name in end.model_fields_set - {"content_state", "alert"}}


# The members by which a state of the user's own that names no type shows what it is.
_TYPE_BY_MEMBER = {
    "message": "alert",
    "number_of_steps": "segmented_progress",
    "current_step": "segmented_progress",
    "percentage": "progress",
    "upper_limit": "progress",
    "metrics": "metrics",
    "duration_seconds": "timer",
    "value": "value",
}


def _type_of(state: Mapping[str, Any]) -> str | None:
    return next((kind for member, kind in _TYPE_BY_MEMBER.items() if member in state), None)


def _labels(run: RunOutcome, options: Mapping[str, Any], known: Mapping[str, str]) -> dict[str, Any]:
    engine = line(run.engine, _MAX_TAG)
    tags = list(dict.fromkeys([*([engine] if engine else []), *options.get("tags", ())]))
    labels = {"metadata": _with_known(options.get("metadata", {}), known)}
    # An empty list would clear the stream's tags.
    return {"tags": tags, **labels} if tags or "tags" in options else labels


def _with_known(metadata: Mapping[str, Any], known: Mapping[str, str]) -> Mapping[str, Any]:
    """The user's metadata beside the run's; the user's alone where the service would not take both."""
    if not metadata:
        return known
    try:
        both = {**known, **metadata}
        EndStreamRequest(metadata=both)
    except Exception:  # too much for the service, or a mapping of the user's own that fails to be read
        return metadata
    return both


def _run_metadata(outcome: RunOutcome) -> dict[str, str]:
    values = {
        "engine": outcome.engine,
        "pipeline": outcome.pipeline,
        "run": outcome.run,
        "result": outcome.result,
    }
    lines = {name: line(value, _MAX_METADATA) for name, value in values.items()}
    return {name: text for name, text in lines.items() if text}


def _picture(outcome: RunOutcome, options: Mapping[str, Any]) -> dict[str, Any]:
    if outcome.result == "succeeded":
        return {"content_state": _success(outcome, options)}
    style = _STYLES[outcome.result]
    message = _message(outcome, style, include_error=bool(options.get("include_error")))
    members: dict[str, Any] = {"content_state": _failure(outcome, options, style, message)}
    if style.alerts:
        members["alert"] = {"title": shown_title(outcome, options), "body": message}
    button = _open_run_or_none(outcome.url)
    if button is not None:
        members["action"] = button
    return members


def _success(outcome: RunOutcome, options: Mapping[str, Any]) -> dict[str, Any]:
    color = options.get("success_color", "green")
    state: dict[str, Any] = {
        "title": shown_title(outcome, options),
        "subtitle": line(options.get("subtitle"), MAX_SUBTITLE) or with_label(outcome.label, _done(outcome)),
        "color": color,
        "icon": {"symbol": "checkmark.circle.fill", "color": color},
        **_auto_dismiss(options.get("success_auto_dismiss_minutes")),
    }
    total = outcome.steps_total
    done = total if outcome.steps_done is None else outcome.steps_done
    steps = fold_steps(done, total)
    if steps and options.get("on_success", "segmented_progress") == "segmented_progress":
        return {**state, "type": "segmented_progress", "number_of_steps": steps[1], "current_step": steps[0]}
    return {**state, "type": "progress", "percentage": _percentage(done, total) if steps else 100}


def _done(outcome: RunOutcome) -> str:
    """``Done in 12 s, 1 task failed``, or as much of it as is known."""
    took = duration(outcome.started_at, outcome.ended_at)
    failed = outcome.tasks_failed
    done = f"Done in {took}" if took else "Done"
    return f"{done}, {failed} task{'' if failed == 1 else 's'} failed" if failed > 0 else done


def _failure(outcome: RunOutcome, options: Mapping[str, Any], style: _Style, message: str) -> dict[str, Any]:
    color = options.get("failure_color", style.color) if style.alerts else style.color
    state: dict[str, Any] = {
        "title": shown_title(outcome, options),
        "color": color,
        "icon": {"symbol": style.symbol, "color": color},
        "badge": {"title": style.badge, "color": color},
        **_auto_dismiss(_minutes_of_failure(options, style)),
    }
    subtitle = line(options.get("subtitle"), MAX_SUBTITLE)
    form = options.get("on_failure", "alert")
    total = outcome.steps_total
    done = None if outcome.steps_done is None else min(outcome.steps_done, (total or 1) - 1)  # what failed is not done
    steps = fold_steps(done, total)
    if form == "alert" or steps is None:
        subtitle = subtitle or with_label(outcome.label, None)
        return {**state, "type": "alert", "message": message, **({"subtitle": subtitle} if subtitle else {})}
    state["subtitle"] = subtitle or with_label(outcome.label, message)
    if form == "progress":
        return {**state, "type": "progress", "percentage": _percentage(done, total)}
    completed = {"step_colors": [options.get("success_color", "green")] * steps[0]} if steps[0] else {}
    return {
        **state,
        "type": "segmented_progress",
        "number_of_steps": steps[1],
        "current_step": steps[0],
        "step_color": color,
        **completed,
    }


def _minutes_of_failure(options: Mapping[str, Any], style: _Style) -> int | None:
    if not style.alerts:
        return options.get("success_auto_dismiss_minutes")
    minutes: int = options.get("failure_auto_dismiss_minutes", FAILURE_AUTO_DISMISS_MINUTES)
    return minutes


def _auto_dismiss(minutes: int | None) -> dict[str, int]:
    return {} if minutes is None else {"auto_dismiss_minutes": check_count("auto_dismiss_minutes", minutes, least=0)}


def _percentage(done: int | None, total: int | None) -> int:
    share = max(0, min(done or 0, total or 1)) * 100 // (total or 1)
    return max(share, 1 if (done or 0) > 0 else 0)  # something done is never nothing


def _message(outcome: RunOutcome, style: _Style, *, include_error: bool) -> str:
    """``load failed after 2 of 5 steps, 3 m 10 s``, or as much of it as is known."""
    step = line(outcome.failed_step, _MAX_STEP)
    what = f"{step} {style.verb}" if step else style.badge
    after = [_steps_in_words(outcome), duration(outcome.started_at, outcome.ended_at)]
    known = ", ".join(part for part in after if part)
    message = f"{what} after {known}" if known else what
    if include_error:
        error = line(": ".join(part for part in (outcome.error_type, outcome.error_text) if part), _MAX_ERROR)
        message = f"{message}: {error}" if error else message
    return cut(message, _MAX_MESSAGE)


def _steps_in_words(outcome: RunOutcome) -> str:
    done, total = outcome.steps_done, outcome.steps_total
    if done is None or done < 0:
        return ""
    if total is None or total < done:
        return f"{done} {outcome.unit}{'' if done == 1 else 's'}"
    return f"{done} of {total} {outcome.unit}{'' if total == 1 else 's'}"


def open_run(url: str | None) -> OpenURLAction | None:
    """The button that opens the run's page; None where there is no page.

    Args:
        url: The page.

    Raises:
        InvalidRequestError: A button cannot open it.
    """
    return None if url in (None, "") else OpenURLAction(title="Open run", url=url)


def _open_run_or_none(url: str | None) -> OpenURLAction | None:
    try:
        return open_run(url)
    except InvalidRequestError:
        return None
