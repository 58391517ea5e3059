"""What is wrong with the values in a DAG file, said when it is parsed; templates are looked at when they are rendered.

Nothing here is loaded for a DAG that gives no options.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from activitysmith_integrations.airflow.arguments import given
from activitysmith_integrations.airflow.templates import is_template, templates_in, typed
from activitysmith_integrations.core.errors import InvalidRequestError
from activitysmith_integrations.core.keys import check_stream_key
from activitysmith_integrations.core.models.requests import StreamRequest
from activitysmith_integrations.core.runs.outcome import check_options
from activitysmith_integrations.core.runs.picture import check_end_options
from activitysmith_integrations.core.suggest import check_names, value_at, with_value

_NOT_THERE = object()


def check_key(stream_key: Any) -> None:
    """Refuse a stream key that the service would refuse.

    Args:
        stream_key: The key as it is written, None where the run's own is meant.

    Raises:
        InvalidRequestError: It is no template and no key.
    """
    if stream_key is not None and not is_template(stream_key):
        check_stream_key(stream_key)


def check_end(options: Mapping[str, Any], *, other: Sequence[str] = ()) -> None:
    """Refuse options with which no end can be shown.

    Args:
        options: Those that were given.
        other: The other parameters of the class that takes them, which may be meant by a misspelt one.

    Raises:
        InvalidRequestError: One is misspelt, or a value that is no template breaks a rule.
    """
    check_options(dict.fromkeys(options), other=other)
    literal: Any = _literal(given(options))
    with _of_literals(literal):
        check_end_options(literal)


def check_stream(options: Mapping[str, Any]) -> None:
    """Refuse what the service would refuse of a state and what goes with it.

    Args:
        options: Those that were given: ``title`` and ``subtitle``, and the members of a request.

    Raises:
        InvalidRequestError: A value that is no template breaks a rule.
    """
    literal = _literal(options)
    lines: dict[str, Any] = {name: literal.pop(name) for name in ("title", "subtitle") if name in literal}
    with _of_literals(literal):
        check_options(lines)
        StreamRequest(**{"content_state": {"title": "checked"}, **literal})


def check_state(members: Mapping[str, Any], *, other: Sequence[str]) -> None:
    """:func:`check_stream` for a notifier, which has to be given a state and no lines.

    Args:
        members: The members of a request.
        other: The other parameters of the class that takes them, which may be meant by a misspelt one.

    Raises:
        InvalidRequestError: One is misspelt or missing, or a value that is no template breaks a rule.
    """
    check_names(members, StreamRequest.model_fields, other=other)
    if members.get("content_state") is None:
        raise InvalidRequestError(("content_state", "is required"))
    check_stream(given(members))


@contextmanager
def _of_literals(options: dict[str, Any]) -> Iterator[None]:
    """Let the broken rules pass that a template may have broken, and say with the others which value broke them."""
    try:
        yield
    except InvalidRequestError as error:
        broken = [
            (member, with_value(rule, value_at(options, member)))
            for member, rule in error.problems
            if _is_of_literal(options, member, rule)
        ]
        if broken:
            raise InvalidRequestError(*broken) from None


def _is_of_literal(options: dict[str, Any], member: str, rule: str) -> bool:
    """Whether a rule is broken whatever templates render to: by a value that is given, or a name that is written."""
    if not templates_in(options.get(member.partition(".")[0])):
        return True
    value = value_at(options, member, _NOT_THERE)
    if value is _NOT_THERE:
        return rule.startswith("is required")
    return rule.startswith("is not a member") or not templates_in(value)


def _literal(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that are no templates, though parts of them may be."""
    return dict(typed({name: value for name, value in options.items() if not is_template(value)}))
