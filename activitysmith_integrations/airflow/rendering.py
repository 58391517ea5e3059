"""Templates, without the engine's traps: nothing is rendered in place, nothing missing becomes empty."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

_NUMBERS = frozenset(
    {
        "auto_dismiss_minutes",
        "auto_dismiss_seconds",
        "current_step",
        "duration_seconds",
        "failure_auto_dismiss_minutes",
        "number_of_steps",
        "percentage",
        "success_auto_dismiss_minutes",
        "upper_limit",
    }
)
_TEXTS = frozenset({"title", "subtitle", "message"})
_BOOLEANS = frozenset({"counts_down", "include_error", "is_running"})

# The names of core.EndOptions, which is not loaded for them: every DAG file that is parsed would pay.
OPTIONS: tuple[str, ...] = (
    "on_success",
    "on_failure",
    "title",
    "subtitle",
    "success_color",
    "failure_color",
    "success_auto_dismiss_minutes",
    "failure_auto_dismiss_minutes",
    "include_error",
    "content_state",
    "action",
    "secondary_action",
    "alert",
    "tags",
    "metadata",
)

# The names of core.StreamMembers, and the first and second line of the picture of a run's progress.
STREAM_OPTIONS: tuple[str, ...] = (
    "content_state",
    "title",
    "subtitle",
    "action",
    "secondary_action",
    "alert",
    "tags",
    "metadata",
    "channels",
)


def plain(value: Any) -> Any:
    """A model as the mapping it stands for, so that templates in it are found and it can be stored as JSON."""
    return value.to_wire() if hasattr(value, "to_wire") else value


def options_of(owner: object, names: Iterable[str] = OPTIONS) -> dict[str, Any]:
    """The options that an operator or notifier was given, as they were given.

    Args:
        owner: The operator or notifier.
        names: Those that it has.
    """
    return {name: value for name in names if (value := getattr(owner, name)) is not None}


def typed(options: Mapping[str, Any]) -> Any:
    """The options with the strings that Jinja makes of numbers and booleans turned back.

    Args:
        options: Rendered options.
    """
    found = {name: _typed(name, value) for name, value in options.items()}
    if isinstance(found.get("content_state"), Mapping):
        found["content_state"] = _typed_state(found["content_state"])
    return found


def name(value: Any) -> Any:
    """A rendered name; a DAG that renders native objects makes a number of one such as ``20261123``."""
    return str(value) if isinstance(value, int) else value


def _typed_state(state: Mapping[str, Any]) -> dict[str, Any]:
    members = {name: _typed(name, value) for name, value in state.items()}
    if "value" in members and ("upper_limit" in members or members.get("type") == "progress"):
        members["value"] = _number(members["value"])
    if members.get("type") == "metrics" and isinstance(members.get("metrics"), (list, tuple)):
        # Bars are drawn from numbers; what stats show stays as it is written.
        members["metrics"] = [
            {**metric, "value": _number(metric["value"])}
            if isinstance(metric, Mapping) and "value" in metric
            else metric
            for metric in members["metrics"]
        ]
    return members


def _typed(name: str, value: Any) -> Any:
    if name in _NUMBERS:
        return _number(value)
    if name in _BOOLEANS and isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower(), value)
    if name in _TEXTS and isinstance(value, (int, float)):
        return str(value)
    return value


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value  # the models say what is wrong with it


def render(value: Any, context: Mapping[str, Any], environment: Any) -> Any:
    """The value with all templates in it rendered; the value itself stays as it is.

    Args:
        value: A string, or lists and mappings of strings.
        context: What templates can name.
        environment: The Jinja environment.
    """
    if isinstance(value, str):
        if "{{" not in value and "{%" not in value:
            return value
        return environment.from_string(value).render(context)
    if isinstance(value, Mapping):
        return {name: render(member, context, environment) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [render(member, context, environment) for member in value]
    return value
