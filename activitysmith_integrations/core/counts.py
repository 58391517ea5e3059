"""Whole numbers, in any form that Python counts with, such as numpy's integers and 5.0."""

from __future__ import annotations

import numbers
import operator

from activitysmith_integrations.core.errors import InvalidRequestError, quoted


def whole_number(value: object) -> int | None:
    """The number, None where it is none, or an object of the user's own that fails to be one."""
    try:
        if isinstance(value, bool):
            return None
        if isinstance(value, numbers.Number) and value == int(value):  # type: ignore[call-overload]
            return int(value)  # type: ignore[call-overload, no-any-return]
        return operator.index(value)  # type: ignore[arg-type]
    except Exception:
        return None


def check_count(name: str, count: object, *, least: int) -> int:
    """A number of steps or minutes.

    Args:
        name: What the user calls it.
        count: What the user gave.
        least: The smallest that makes sense.

    Raises:
        InvalidRequestError: It is no whole number, or a smaller one.
    """
    number = whole_number(count)
    if number is None or number < least:
        raise InvalidRequestError((name, f"must be a whole number of {least} or more, not {quoted(count)}"))
    return number


def check_total(total: object) -> int | None:
    """How many steps there are; None where that is not known, or where there are none, as on a day without files.

    Args:
        total: What the user gave, None included.

    Raises:
        InvalidRequestError: It is no whole number, or a negative one.
    """
    return None if total is None else check_count("total", total, least=0) or None
