"""What somebody probably meant by a name that is not known."""

import itertools
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from activitysmith_integrations.core.errors import InvalidRequestError, quoted

# Comparing takes microseconds for each name and letter, and callers have little time.
_MAX_COMPARED, _MAX_LENGTH = 500, 100
# A word that more options have in common tells nothing.
_MAX_MEANT = 3
# What other libraries call an option; it counts where there is such an option.
_SYNONYMS = {"timeout": "patience"}


def unknown_name(name: str, known: Iterable[str]) -> str:
    """The second half of a message about a name that is not known: what was meant, or what there is.

    Args:
        name: The name.
        known: The names that there are.
    """
    meant = closest(name, known)
    return _did_you_mean(name, meant) if meant else f"known are {', '.join(known)}"


def _did_you_mean(name: str, meant: str) -> str:
    if not name.isascii():  # letters of another alphabet may look the same
        return f"did you mean {meant}? What stands there is {name[:_MAX_LENGTH]!a}"
    return f"did you mean {meant}?"


def meant_option(name: str, known: Collection[str], synonyms: Mapping[str, str] | None = None) -> str | None:
    """What was meant by an option that is not known: other options, or members of a state; None where it is like none.

    Args:
        name: The option.
        known: The options that there are.
        synonyms: What other libraries, or other functions of this one, call some of them.
    """
    from activitysmith_integrations.core.models.states import ContentState

    members = list(ContentState.model_fields) if "content_state" in known else []
    others = {word: meant for word, meant in {**_SYNONYMS, **(synonyms or {})}.items() if meant in known}
    for word in (name, closest(name, [*known, *others, *members]) or name):
        if word in others:
            return _did_you_mean(name, others[word])
        for names, place in ((known, ""), (members, " in content_state")):
            found = _with_word(word, names)
            if 0 < len(found) <= _MAX_MEANT:
                return _did_you_mean(name, " or ".join(found) + place)
    return None


def _with_word(word: str, names: Collection[str]) -> list[str]:
    """The name that a word is, or those that it is a part of, such as ``color`` of ``success_color``."""
    return [word] if word in names else [name for name in names if f"_{word}_" in f"_{name}_"]


def closest(name: str, known: Iterable[str], *, similarity: float = 0.65) -> str | None:
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
        hint = meant_option(name, [*other, *names], synonyms) or f"known are {', '.join([*other, *names])}"
        raise InvalidRequestError((name, f"is not an option; {hint}"))


def value_at(options: Any, path: str, default: Any = None) -> Any:
    """The value that a member of options has.

    Args:
        options: The options.
        path: The member, such as ``action.url`` or ``tags.1``.
        default: What a member has that is not there.
    """
    for name in path.split("."):
        if isinstance(options, Mapping):
            options = options.get(name, default)
        elif isinstance(options, (list, tuple)) and name.isdigit() and int(name) < len(options):
            options = options[int(name)]
        else:
            return default
    return options


def with_value(rule: str, value: Any) -> str:
    """A broken rule, and the value that breaks it.

    Args:
        rule: The rule.
        value: The value, None where it is not known.
    """
    is_told = value is None or isinstance(value, (Mapping, list, tuple)) or quoted(value) in rule
    return rule if is_told else f"{rule}; it is {quoted(value)}"
