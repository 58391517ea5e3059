"""What users give, as plain values, in which templates are found and which Airflow can store as JSON."""

from __future__ import annotations

import operator
from collections import UserString
from collections.abc import Iterable, Mapping, Sequence, Set as AbstractSet, ValuesView
from typing import Any, TypeAlias

from activitysmith_integrations.core.errors import InvalidRequestError

Path: TypeAlias = tuple[str | int, ...]

# Python and pydantic-core themselves stop at a few hundred; requests need five levels, and a webhook's body some more.
_MAX_LEVELS = 100
# What the models take as a list, so that templates in it have to be found; and what only looks like it.
_COLLECTIONS = (Sequence, AbstractSet, ValuesView)
_NO_COLLECTIONS = (list, tuple, UserString, bytes, bytearray, memoryview)


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given, as plain values.

    Args:
        values: Options by name; None means not given.

    Raises:
        InvalidRequestError: One holds itself.
    """
    return {name: plain(value, (name,)) for name, value in values.items() if value is not None}


def plain(value: Any, path: Path) -> Any:
    """A value as strings, lists and mappings, such as an enum, a set or a model; what is one stays the same object.

    Airflow tells another task's data from templates by identity, so what needs no change stays the same object.

    Args:
        value: What was given.
        path: The argument that it is, and the members and positions below it.

    Raises:
        InvalidRequestError: It holds itself, or is as deep as if it did.
    """
    if isinstance(value, str):
        return _string(value)
    if is_resolved_later(value):
        return value
    if not isinstance(value, type) and hasattr(value, "to_wire"):
        value = value.to_wire()
    elif is_own_json(path):
        value = _in_json(value)
    elif isinstance(value, _COLLECTIONS) and not isinstance(value, _NO_COLLECTIONS):
        value = list(value)
    if not isinstance(value, (Mapping, list, tuple)):
        return value
    if len(path) > _MAX_LEVELS:
        rule = f"is nested more than {_MAX_LEVELS} levels deep; it may hold itself"
        raise InvalidRequestError((str(path[0]), rule))
    if isinstance(value, Mapping):
        members = {_name(name): plain(member, (*path, _name(name))) for name, member in value.items()}
        return value if _same_objects(value, members) and _same_objects(value.values(), members.values()) else members
    entries = [plain(entry, (*path, index)) for index, entry in enumerate(value)]
    return value if _same_objects(value, entries) else entries


def is_own_json(path: Path) -> bool:
    """Whether what stands there is in a webhook's body, which is the user's own JSON.

    Args:
        path: The argument, and the members and positions below it.
    """
    return path[:2] in (("action", "body"), ("secondary_action", "body"))


def is_resolved_later(value: Any) -> bool:
    """Whether a value is an argument that Airflow resolves when a task runs, such as another task's output.

    Args:
        value: The value.
    """
    # Both of Airflow's own, as a pathlib.Path can be resolved as well.
    return hasattr(type(value), "resolve") and hasattr(type(value), "iter_references")


def _name(name: Any) -> Any:
    return _string(name) if isinstance(name, str) else name


def _string(value: str) -> str:
    if type(value) is str:
        return value
    from activitysmith_integrations.core.keys import plain_string  # a DAG file without options does not load it

    return plain_string(value)


def _same_objects(old: Iterable[Any], new: Iterable[Any]) -> bool:
    return all(map(operator.is_, old, new))


def _in_json(value: Any) -> Any:
    """What JSON has for a value, such as one of pydantic; the value itself where it is plain or JSON has nothing."""
    if value is None or isinstance(value, (bool, int, float, Mapping, list, tuple)):
        return value
    from activitysmith_integrations.core.models.fields import in_json

    try:
        return in_json(value)
    except Exception:  # the models say what is wrong with it
        return value
