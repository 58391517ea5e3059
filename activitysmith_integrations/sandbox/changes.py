"""What a request changed on the lock screen, in the words of who looks at it, for the page's log (pure)."""

from collections.abc import Iterator, Mapping
from typing import Any

from activitysmith_integrations.core.text import line
from activitysmith_integrations.sandbox.describe import metrics_of, text_of
from activitysmith_integrations.sandbox.models import Stream

_MAX_CHANGES, _MAX_LENGTH = 6, 60
_KINDS = {
    "segmented_progress": "a bar of steps",
    "progress": "a progress bar",
    "metrics": "figures as bars",
    "stats": "figures as a grid",
    "alert": "an alert",
    "timer": "a timer",
    "value": "a value",
}
_BUTTONS = {"action": "button", "secondary_action": "second button"}


def changes(before: Stream | None, after: Stream | None) -> list[str]:
    """What is different now, such as ``40 % → 60 %`` or ``now an alert: load failed``.

    A few changes, and how many more there are. A new activity is what it shows.

    Args:
        before: The stream as it was; None where there was none.
        after: The stream as it is.
    """
    if after is None or after is before:
        return []
    if before is None or not before.live:
        return [_whole(after)]
    found = list(_changes(before, after))
    return found if len(found) <= _MAX_CHANGES else [*found[:_MAX_CHANGES], f"and {len(found) - _MAX_CHANGES} more"]


def _whole(stream: Stream) -> str:
    """What an activity shows, as in ``a bar of steps: Load, 1 of 5``."""
    parts = (_cut(stream.state["title"]), _text(stream.state))
    return f"{_KINDS[stream.type]}: {', '.join(filter(None, parts))}"


def _changes(before: Stream, after: Stream) -> Iterator[str]:
    old, new = before.state, after.state
    if before.type != after.type:
        yield ": ".join(filter(None, (f"now {_KINDS[after.type]}", _text(new))))
    for name, words in (("title", "title"), ("subtitle", "second line")):
        if old.get(name) != new.get(name):
            yield _named(words, new.get(name))
    if before.type == after.type:
        yield from _changes_of_body(old, new)
    for name, words in (("badge", "badge"), ("icon", "icon")):
        if old.get(name) != new.get(name):
            shown = new.get(name) or {}
            yield _named(words, shown.get("title") or shown.get("symbol"))
    yield from _changes_of_colors(old, new)
    for name, words in _BUTTONS.items():
        earlier, later = (getattr(stream, name) for stream in (before, after))
        if earlier != later:
            yield _named(words, (later or {}).get("title"))
    yield from _changes_of_stay(old, new)


def _changes_of_body(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    if new["type"] == "timer":
        yield from _changes_of_timer(old, new)
        return
    earlier, later = metrics_of(old), metrics_of(new)
    if earlier or later:
        for label in {**later, **earlier}:
            if earlier.get(label) != later.get(label):
                yield f"{_cut(label)} {_from_to(earlier.get(label), later.get(label))}"
    elif _text(old) != _text(new):
        yield _cut(new["message"]) if "message" in new else _from_to(_text(old), _text(new))


def _changes_of_timer(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    if old.get("duration_seconds") != new.get("duration_seconds"):
        yield f"now {_text({**new, 'is_running': True})}"
    if old.get("is_running", True) != new.get("is_running", True):
        yield "runs on" if new.get("is_running", True) else "paused"


def _changes_of_colors(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    if old.get("color") != new.get("color"):
        yield f"now {new.get('color') or 'in the default color'}"
    if any(old.get(name) != new.get(name) for name in ("step_color", "step_colors")):
        yield "steps in other colors"


def _changes_of_stay(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for unit in ("seconds", "minutes"):
        number = new.get(f"auto_dismiss_{unit}")
        if number is not None and number != old.get(f"auto_dismiss_{unit}"):
            yield f"stays for {_cut(number)} {unit.removesuffix('s') if number == 1 else unit}"
            return


def _named(what: str, text: Any) -> str:
    return f"no {what}" if text is None else f"{what} “{_cut(text)}”"


def _from_to(old: str | None, new: str | None) -> str:
    if not old:
        return _cut(new)
    return f"{_cut(old)} → {_cut(new)}" if new else "is gone"


def _text(state: Mapping[str, Any]) -> str:
    return _cut(text_of(state))


def _cut(text: Any) -> str:
    return line(str(text), _MAX_LENGTH) or ""
