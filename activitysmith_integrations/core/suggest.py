"""What somebody probably meant by a name that is not known."""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

from activitysmith_integrations.core.errors import InvalidRequestError, quoted

# Comparing takes microseconds for each name and letter, and callers have little time.
_MAX_COMPARED, _MAX_LENGTH = 500, 100


def unknown_name(name: str, known: Iterable[str]) -> str:
    """The second half of a message about a name that is not known: what was meant, or what there is.

    Args:
        name: The name.
        known: The names that there are.
    """
    meant = closest(name, known)
    if meant and not name.isascii():  # letters of another alphabet may look the same
        return f"did you mean {meant}? What stands there is {name[:_MAX_LENGTH]!a}"
    return f"did you mean {meant}?" if meant else f"known are {', '.join(known)}"


def closest(name: str, known: Iterable[str], *, similarity: float = 0.6) -> str | None:
    """The known name that is most like another one; None where none is.

    Args:
        name: The name.
        known: The names that there are.
        similarity: How much alike they must be, from 0 to 1.
    """
    import difflib  # most programs misspell nothing

    compared = list(itertools.islice(known, _MAX_COMPARED))
    found = difflib.get_close_matches(name[:_MAX_LENGTH], compared, n=1, cutoff=similarity)
    return found[0] if found else None


def check_names(
    options: Mapping[str, Any],
    known: Iterable[str],
    *,
    other: Iterable[str] = (),
    synonyms: Mapping[str, str] | None = None,
) -> None:
    """Refuse options that are not known.

    Args:
        options: The options by name.
        known: The options that there are.
        other: The other parameters of the function that takes them, which may be meant as well.
        synonyms: What other libraries, or other functions of this one, call some of them.

    Raises:
        InvalidRequestError: One is not known; the message says which was meant.
    """
    names = [*known]
    for name in options:
        if name in names:
            continue
        meant = (synonyms or {}).get(name)
        hint = f"did you mean {meant}?" if meant else unknown_name(name, [*other, *names])
        raise InvalidRequestError((name, f"is not an option; {hint}"))


def value_at(options: Any, path: str) -> Any:
    """The value that a member of options has, None where it has none.

    Args:
        options: The options.
        path: The member, such as ``action.url`` or ``tags.1``.
    """
    for name in path.split("."):
        if isinstance(options, Mapping):
            options = options.get(name)
        elif isinstance(options, (list, tuple)) and name.isdigit() and int(name) < len(options):
            options = options[int(name)]
        else:
            return None
    return options


def with_value(rule: str, value: Any) -> str:
    """A broken rule, and the value that breaks it.

    Args:
        rule: The rule.
        value: The value, None where it is not known.
    """
    is_told = value is None or isinstance(value, (Mapping, list, tuple)) or quoted(value) in rule
    return rule if is_told else f"{rule}; it is {quoted(value)}"
