"""What the tasks that start or update a stream can show, and the request made of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from activitysmith_integrations import core
from activitysmith_integrations.core.counts import check_count, check_total
from activitysmith_integrations.core.errors import InvalidRequestError
from activitysmith_integrations.core.models.requests import BesideStreamState, StateInput
from activitysmith_integrations.core.suggest import check_names, value_at, with_value
from activitysmith_integrations.prefect.runs import task_outcome


class StreamOptions(BesideStreamState, total=False):
    """What a running stream shows, with the members of :class:`~activitysmith_integrations.core.StreamRequest` beside.

    None means not given. Tags and metadata go beside the engine's name, the pipeline and the run.
    """

    content_state: StateInput | None
    """A whole state of your own, instead of the picture that the next four make."""
    total: int | None
    """How many steps there are, which makes a bar of segments; without it their count is shown."""
    done: int | None
    """How many of them are complete, 0 by default."""
    title: str | None
    """First line; the flow's name by default."""
    subtitle: str | None
    """Second line."""


# What LiveActivity and the client call them.
_SYNONYMS = {"steps": "total", "api_key": "credentials"}
# What a picture is made of where no whole state is given.
_PICTURE = ("total", "done", "title", "subtitle")
# Of what breaks a rule, these are not quoted.
_MAY_BE_SECRET = frozenset({"url", "body", "metadata"})


def build_stream_request(stream_key: str, options: StreamOptions, *, other: Sequence[str]) -> core.StreamRequest:
    """The request that starts or updates a stream.

    Args:
        stream_key: The stream.
        options: What it shows.
        other: The other parameters of the function that takes them, which may be meant by a misspelt one.

    Raises:
        InvalidRequestError: An option is not known, breaks a rule, or would not be shown.
    """
    from activitysmith_integrations.core.runs.outcome import check_options
    from activitysmith_integrations.core.runs.picture import running_labels, shown_title
    from activitysmith_integrations.core.runs.progress import Progress

    check_names(options, StreamOptions.__annotations__, other=other, synonyms=_SYNONYMS)
    chosen: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    check_options({name: value for name, value in chosen.items() if name in ("title", "subtitle", "tags")})
    picture = {name: chosen.pop(name) for name in _PICTURE if name in chosen}
    if picture and "content_state" in chosen:
        raise InvalidRequestError((next(iter(picture)), "is not shown beside content_state; leave one of them out"))
    run = task_outcome(stream_key, None)
    shown = Progress(shown_title(run, picture), total=check_total(picture.get("total")), label=run.label)
    shown = shown.updated(check_count("done", picture.get("done", 0), least=0), picture.get("subtitle"))
    try:
        return core.StreamRequest(**{"content_state": shown.state, **chosen, **running_labels(run, chosen)})
    except InvalidRequestError as error:
        raise InvalidRequestError(*(_with_value(chosen, *problem) for problem in error.problems)) from None


def _with_value(options: Mapping[str, Any], member: str, rule: str) -> tuple[str, str]:
    """A broken rule with the value that breaks it, unless that may be a secret that the flow has loaded."""
    is_told = _MAY_BE_SECRET.isdisjoint(member.split("."))
    return member, with_value(rule, value_at(options, member)) if is_told else rule
