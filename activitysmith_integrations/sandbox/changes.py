"""What a request changed on the lock screen, in words (pure)."""

from collections.abc import Iterator, Mapping
from typing import Any

from activitysmith_integrations.core.text import line
from activitysmith_integrations.sandbox.streams import Stream

_MOST, _LONGEST = 6, 60


def what_changed(before: Stream | None, after: Stream | None) -> list[str]:
    """Each member that changed, such as ``percentage 40 → 60``; a few of them, and how many more there are.

    Of an activity that is new, what it is.

    Args:
        before: The stream as it was; None where there was none.
        after: The stream as it is.
    """
    if after is None or after is before:
        return []
    if before is None or before.activity_id != after.activity_id:
        return [f"{after.type}: {line(after.state['title'], _LONGEST)}"]
    old, new = dict(_members(before)), dict(_members(after))
    said = [
        _difference(name, old.get(name), new.get(name)) for name in {**new, **old} if old.get(name) != new.get(name)
    ]
    return said if len(said) <= _MOST else [*said[:_MOST], f"and {len(said) - _MOST} more"]


def _members(stream: Stream) -> Iterator[tuple[str, str]]:
    yield from _flat("", stream.state)
    for name, button in (("action", stream.action), ("secondary_action", stream.secondary_action)):
        yield from _flat(name, button or {})


def _flat(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, member in value.items():
            yield from _flat(f"{path}.{name}" if path else name, member)
    elif isinstance(value, list):
        for index, member in enumerate(value):
            yield from _flat(f"{path}.{index}", member)
    else:
        yield path, line(str(value), _LONGEST)


def _difference(name: str, old: str | None, new: str | None) -> str:
    if old is None:
        return f"{name} {new}"
    return f"{name} {old} → {new}" if new is not None else f"{name} gone"
