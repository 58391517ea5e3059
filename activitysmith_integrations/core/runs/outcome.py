"""What happened in a run, and what its user wants shown of it: the same words for every engine."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, TypeAlias, TypedDict, get_args

from activitysmith_integrations.core.counts import check_count
from activitysmith_integrations.core.errors import InvalidRequestError, quoted
from activitysmith_integrations.core.models.fields import Color, to_list
from activitysmith_integrations.core.models.requests import ActionInput, AlertInput, MetadataInput, StateInput
from activitysmith_integrations.core.suggest import check_names, unknown_name

Result: TypeAlias = Literal["succeeded", "failed", "crashed", "timed_out", "cancelled"]
FAILURES: frozenset[Result] = frozenset({"failed", "crashed", "timed_out"})
"""The results that somebody has to see."""
SuccessForm: TypeAlias = Literal["segmented_progress", "progress"]
FailureForm: TypeAlias = Literal["alert", "segmented_progress", "progress"]


@dataclass(frozen=True)
class RunOutcome:
    """What happened in one run.

    Args:
        pipeline: The name of the DAG, flow or script.
        result: How it ended.
        run: The run's id or name.
        label: What tells the run from others of its pipeline on the screen, such as its date or name.
        engine: What ran it, such as ``airflow``.
        steps_done: How many steps are complete, None where they cannot be counted.
        steps_total: How many there are in all, None where they cannot be counted.
        unit: What those are called, such as ``step``.
        failed_step: The name of the step that failed.
        tasks_failed: How many tasks failed, although the run went on.
        started_at: When it began.
        ended_at: When it ended.
        url: The run's page.
        error_type: The class of the error, such as ``ValueError``.
        error_text: The error's message. It can hold secrets, so it is shown only when asked for.
    """

    pipeline: str
    result: Result
    run: str | None = None
    label: str | None = None
    engine: str | None = None
    steps_done: int | None = None
    steps_total: int | None = None
    unit: str = "step"
    failed_step: str | None = None
    tasks_failed: int = 0
    started_at: datetime | None = None
    ended_at: datetime | None = None
    url: str | None = None
    error_type: str | None = None
    error_text: str | None = None


class EndOptions(TypedDict, total=False):
    """How the end of a stream looks; the same options everywhere. None means not given."""

    on_success: SuccessForm | None
    """The picture of a success. ``segmented_progress`` (default) shows all steps complete; where steps cannot be
    counted it becomes ``progress``, which shows 100 percent."""
    on_failure: FailureForm | None
    """The picture of a failure, crash, timeout or cancellation. ``alert`` (default) says what failed; the other two
    show where it stopped, and become ``alert`` where steps cannot be counted."""
    title: str | None
    """First line instead of the pipeline's name."""
    subtitle: str | None
    """Second line instead of the duration."""
    success_color: Color | None
    """Green by default."""
    failure_color: Color | None
    """Red by default; a cancellation is gray."""
    success_auto_dismiss_minutes: int | None
    """Minutes that a success (or a cancellation) stays on screen; iOS's own two minutes by default, 0 removes it at
    once."""
    failure_auto_dismiss_minutes: int | None
    """Minutes that a failure stays, 240 by default, so that somebody sees it."""
    include_error: bool | None
    """Whether the message quotes the error. Off by default: errors can hold secrets and personal data, and a lock
    screen is public."""
    start_unseen_failures: bool | None
    """Whether a failure whose stream the service does not know (its start was refused or lost) is shown all the same:
    the stream is started for it and ended. On by default."""
    content_state: StateInput | None
    """A whole state of your own instead of the picture."""
    action: ActionInput | None
    """A button of your own instead of the one that opens a failed run's page."""
    secondary_action: ActionInput | None
    """A second button."""
    alert: AlertInput | None
    """A banner of your own instead of the one for failures."""
    tags: Sequence[str] | None
    """Tags beside the engine's name."""
    metadata: MetadataInput | None
    """Metadata beside engine, pipeline, run and result."""


def check_options(
    options: Mapping[str, Any], *, other: Sequence[str] = (), synonyms: Mapping[str, str] | None = None
) -> None:
    """Refuse options that are misspelt or of the wrong kind.

    What goes to the service as it is (buttons, states) is checked with the request.

    Args:
        options: The options.
        other: The other parameters of the function that takes them, which may be meant by a misspelt one.
        synonyms: What other functions call some of those parameters.

    Raises:
        InvalidRequestError: An option is not among :class:`EndOptions`, or its value is not among its choices.
    """
    check_names(options, EndOptions.__annotations__, other=other, synonyms=synonyms)
    for name, choices in (("on_success", get_args(SuccessForm)), ("on_failure", get_args(FailureForm))):
        if options.get(name) is not None and not (isinstance(options[name], str) and options[name] in choices):
            raise InvalidRequestError((name, f"{quoted(options[name])} is not among {', '.join(choices)}"))
    for name in ("success_color", "failure_color"):
        color = options.get(name)
        if color is not None and not (isinstance(color, str) and color in get_args(Color)):
            hint = unknown_name(color if isinstance(color, str) else "", get_args(Color))
            raise InvalidRequestError((name, f"{quoted(color)} is not a color; {hint}"))
    for name in ("success_auto_dismiss_minutes", "failure_auto_dismiss_minutes"):
        if options.get(name) is not None:
            check_count(name, options[name], least=0)
    for name, (fits, kind) in _KINDS.items():
        if options.get(name) is not None and not fits(options[name]):
            raise InvalidRequestError((name, f"must be {kind}, not {quoted(options[name])}"))
    tags = options.get("tags")
    wrong = [
        (f"tags.{index}", f"must be a string, not {quoted(tag)}")
        for index, tag in enumerate(() if tags is None else to_list(tags))
        if not isinstance(tag, str)
    ]
    if wrong:
        raise InvalidRequestError(*wrong)


def given(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options that were given: None as a value means not given."""
    return {name: value for name, value in (options or {}).items() if value is not None}


# What the picture is made with, so that its kind must be right before the request can be checked.
_KINDS: dict[str, tuple[Callable[[object], bool], str]] = {
    "title": (lambda value: isinstance(value, str), "a string"),
    "subtitle": (lambda value: isinstance(value, str), "a string"),
    "include_error": (lambda value: isinstance(value, bool), "True or False"),
    "start_unseen_failures": (lambda value: isinstance(value, bool), "True or False"),
    "tags": (lambda value: isinstance(to_list(value), list), "a list of strings"),
    "metadata": (lambda value: isinstance(value, Mapping), "a mapping"),
}
