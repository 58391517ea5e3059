"""What goes over the wire: states, buttons, requests and answers.

Everything here is as wide as the API's contract and no wider: what the service accepts is accepted and
sent unchanged, what it refuses is refused with an :class:`InvalidRequestError` that names the member and
the rule. Answers tolerate members they do not know.
"""

import difflib
import json
import math
import re
import threading
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictStr,
    StringConstraints,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, PydanticCustomError

from activitysmith_integrations.core.errors import InvalidRequestError, join_path

_BUILDING = threading.RLock()

_MAX_METADATA_ENTRIES = 50
_MAX_METADATA_TEXT = 4000
_MAX_METADATA_BYTES = 16 * 1024

# RFC 3986: the characters a URI is made of.
_URI = re.compile(r"[a-z]+://(?![/?#])(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")


def _text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise PydanticCustomError("text", "holds half a surrogate pair, which UTF-8 cannot carry") from None
    return value


def _number(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise PydanticCustomError("number", "must be a number, not {kind}", {"kind": _kind(value)})
    if isinstance(value, float) and not math.isfinite(value):
        raise PydanticCustomError("number", "must be a finite number")
    return value


def _whole_number(value: Any) -> Any:
    value = _number(value)
    if isinstance(value, float):
        if not value.is_integer():
            raise PydanticCustomError("number", "must be a whole number")
        return int(value)
    return value


def _metric_value(value: Any) -> Any:
    if isinstance(value, str):
        if not 1 <= len(value) <= 64:
            raise PydanticCustomError("metric", "must be a string of 1 to 64 characters or a number")
        return _text(value)
    if _number(value) < 0:
        raise PydanticCustomError("metric", "must be 0 or more")
    return value


def _readout(value: Any) -> Any:
    return _text(value) if isinstance(value, str) else _number(value)


def _list(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _mapping(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _url(*schemes: str) -> AfterValidator:
    def check(url: str) -> str:
        if not url.startswith(schemes):
            raise PydanticCustomError("url", "must start with {schemes}", {"schemes": " or ".join(schemes)})
        if not _URI.fullmatch(url):
            raise PydanticCustomError(
                "url", "is no URL: after the scheme come a host and characters of RFC 3986, others percent-encoded"
            )
        return url

    return AfterValidator(check)


def _kind(value: Any) -> str:
    return {type(None): "null", bool: "a boolean", str: "a string"}.get(type(value), type(value).__name__)


Text: TypeAlias = Annotated[StrictStr, AfterValidator(_text)]
NonEmpty: TypeAlias = Annotated[str, StringConstraints(strict=True, min_length=1)]
ShortText: TypeAlias = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=64)]
Number: TypeAlias = Annotated[int | float, BeforeValidator(_number)]
Count: TypeAlias = Annotated[int, BeforeValidator(_whole_number)]
Color: TypeAlias = Literal["lime", "green", "cyan", "blue", "purple", "magenta", "red", "orange", "yellow", "gray"]
StateType: TypeAlias = Literal["segmented_progress", "progress", "metrics", "stats", "alert", "timer", "value"]


class _Frozen(BaseModel):
    """Frozen, and built on first use: a file that only imports the package does not pay for its validators."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    def __init__(self, /, **members: Any) -> None:
        if not type(self).__pydantic_complete__:
            # Two threads that build one model at a time spoil it for each other (pydantic 2.11).
            with _BUILDING:
                type(self).model_rebuild()
        super().__init__(**members)


class _Model(_Frozen):
    """Knows its members; speaks of a broken rule as :class:`InvalidRequestError`."""

    model_config = ConfigDict(extra="forbid")

    def __init__(self, /, **members: Any) -> None:
        try:
            super().__init__(**members)
        except ValidationError as error:
            raise _as_invalid_request(type(self), error) from None

    def model_post_init(self, context: Any, /) -> None:
        # A class that fixes its type says so on the wire; nothing else is sent that was not given.
        if "type" in type(self).model_fields and getattr(self, "type", None) is not None:
            self.model_fields_set.add("type")

    def to_wire(self) -> dict[str, Any]:
        """The members that were given, as JSON-ready values. ``None`` means not given."""
        return self.model_dump(exclude_unset=True, exclude_none=True)


class Icon(_Model):
    """An icon beside the text.

    Args:
        symbol: Name of an SF Symbol, such as ``checkmark.circle.fill``.
        color: Its color.
    """

    symbol: NonEmpty
    color: Color | None = None


class Badge(_Model):
    """A small label.

    Args:
        title: Its text.
        color: Its color.
    """

    title: NonEmpty
    color: Color | None = None


class Metric(_Model):
    """One labelled figure of a metrics or stats state.

    Args:
        label: What it is.
        value: A number of 0 or more, or a string of 1 to 64 characters that is shown as it is.
        unit: Shown behind the value, such as ``%``.
        color: Its color.
    """

    label: NonEmpty
    value: Annotated[int | float | str, BeforeValidator(_metric_value)]
    unit: Text | None = None
    color: Color | None = None


Steps: TypeAlias = Annotated[Count, Field(ge=1)]
StepsDone: TypeAlias = Annotated[Count, Field(ge=0)]
Delay: TypeAlias = Annotated[Count, Field(ge=0)]
Positive: TypeAlias = Annotated[Number, Field(gt=0)]
Percentage: TypeAlias = Annotated[Number, Field(ge=0, le=100)]
Readout: TypeAlias = Annotated[int | float | str, BeforeValidator(_readout)]
Colors: TypeAlias = Annotated[list[Color], BeforeValidator(_list)]
AnIcon: TypeAlias = Annotated[Icon, BeforeValidator(_mapping)]
ABadge: TypeAlias = Annotated[Badge, BeforeValidator(_mapping)]
Metrics: TypeAlias = Annotated[
    list[Annotated[Metric, BeforeValidator(_mapping)]], BeforeValidator(_list), Field(min_length=1, max_length=8)
]


class _Common(_Model):
    title: Text
    subtitle: Text | None = None
    color: Color | None = None
    icon: AnIcon | None = None
    auto_dismiss_minutes: Delay | None = None
    auto_dismiss_seconds: Delay | None = None


class SegmentedProgressState(_Common):
    """A bar of steps.

    Args:
        title: First line.
        subtitle: Second line.
        number_of_steps: How many steps there are, 1 or more.
        current_step: How many are complete: 0 for none, at most ``number_of_steps``.
        color: Accent color.
        step_color: Color of the current step.
        step_colors: Colors of the completed steps, one for each.
        icon: An icon beside the text.
        badge: A small label.
        auto_dismiss_minutes: Minutes that an ended activity stays; 0 removes it at once. iOS's own default is 2.
        auto_dismiss_seconds: The same in seconds; wins if both are given.

    Raises:
        InvalidRequestError: A member breaks a rule of the API.
    """

    type: Literal["segmented_progress"] = "segmented_progress"
    number_of_steps: Steps | None = None
    current_step: StepsDone | None = None
    step_color: Color | None = None
    step_colors: Colors | None = None
    badge: ABadge | None = None

    @model_validator(mode="after")
    def _rules(self) -> "SegmentedProgressState":
        _check_steps(self.current_step, self.number_of_steps)
        return self


class ProgressState(_Common):
    """A progress bar.

    Args:
        title: First line.
        subtitle: Second line.
        percentage: 0 to 100; wins over ``value`` and ``upper_limit``.
        value: How far it is, out of ``upper_limit``; each needs the other.
        upper_limit: What ``value`` is out of, more than 0.
        color: Accent color.
        icon: An icon beside the text.
        badge: A small label.
        auto_dismiss_minutes: Minutes that an ended activity stays; 0 removes it at once. iOS's own default is 2.
        auto_dismiss_seconds: The same in seconds; wins if both are given.

    Raises:
        InvalidRequestError: A member breaks a rule of the API.
    """

    type: Literal["progress"] = "progress"
    percentage: Percentage | None = None
    value: Number | None = None
    upper_limit: Positive | None = None
    badge: ABadge | None = None

    @model_validator(mode="after")
    def _rules(self) -> "ProgressState":
        _check_value_with_limit(self.value, self.upper_limit)
        return self


class MetricsState(_Common):
    """Figures as bars.

    Args:
        title: First line.
        subtitle: Second line.
        metrics: 1 to 8 figures.
        color: Accent color.
        icon: An icon beside the text.
        auto_dismiss_minutes: Minutes that an ended activity stays; 0 removes it at once. iOS's own default is 2.
        auto_dismiss_seconds: The same in seconds; wins if both are given.

    Raises:
        InvalidRequestError: A member breaks a rule of the API.
    """

    type: Literal["metrics"] = "metrics"
    metrics: Metrics | None = None


class StatsState(_Common):
    """Figures as a grid; its members are those of :class:`MetricsState`.

    Raises:
        InvalidRequestError: A member breaks a rule of the API.
    """

    type: Literal["stats"] = "stats"
    metrics: Metrics | None = None


class AlertState(_Common):
    """A message.

    Args:
        title: First line.
        message: The message; required.
        subtitle: Second line.
        color: Tints the buttons.
        icon: An icon beside the text.
        badge: A small label.
        auto_dismiss_minutes: Minutes that an ended activity stays; 0 removes it at once. iOS's own default is 2.
        auto_dismiss_seconds: The same in seconds; wins if both are given.

    Raises:
        InvalidRequestError: A member breaks a rule of the API.
    """

    type: Literal["alert"] = "alert"
    message: NonEmpty
    badge: ABadge | None = None


class TimerState(_Common):
    """A timer that the phone runs by itself.

    Args:
        title: First line.
        subtitle: Second line.
        duration_seconds: Seconds, more than 0; left out, a running timer keeps its window.
        counts_down: False counts up. The service's default is true.
        is_running: False pauses. The service's default is true.
        color: Accent color.
        icon: An icon beside the text.
        auto_dismiss_minutes: Minutes that an ended activity stays; 0 removes it at once. iOS's own default is 2.
        auto_dismiss_seconds: The same in seconds; wins if both are given.

    Raises:
        InvalidRequestError: A member breaks a rule of the API.
    """

    type: Literal["timer"] = "timer"
    duration_seconds: Positive | None = None
    counts_down: StrictBool | None = None
    is_running: StrictBool | None = None


class ValueState(_Common):
    """One prominent value.

    Args:
        title: First line.
        value: A finite number, or a string that is shown as it is; required.
        subtitle: Second line.
        color: Accent color.
        icon: An icon beside the text.
        badge: A small label.
        auto_dismiss_minutes: Minutes that an ended activity stays; 0 removes it at once. iOS's own default is 2.
        auto_dismiss_seconds: The same in seconds; wins if both are given.

    Raises:
        InvalidRequestError: A member breaks a rule of the API.
    """

    type: Literal["value"] = "value"
    value: Readout
    badge: ABadge | None = None


class ContentState(_Common):
    """Any state, as the API's flat object: every member of every type, ``type`` optional.

    The service infers a missing type from the running activity. The classes for single types, such as
    :class:`ProgressState`, offer only what their type shows.

    Raises:
        InvalidRequestError: A member breaks a rule of the API.
    """

    type: StateType | None = None
    number_of_steps: Steps | None = None
    current_step: StepsDone | None = None
    step_color: Color | None = None
    step_colors: Colors | None = None
    percentage: Percentage | None = None
    value: Readout | None = None
    upper_limit: Positive | None = None
    metrics: Metrics | None = None
    message: NonEmpty | None = None
    duration_seconds: Positive | None = None
    counts_down: StrictBool | None = None
    is_running: StrictBool | None = None
    badge: ABadge | None = None

    @model_validator(mode="after")
    def _rules(self) -> "ContentState":
        _check_steps(self.current_step, self.number_of_steps)
        if self.type == "alert" and self.message is None:
            raise _at("message", "is required for type alert")
        if self.type == "value" and self.value is None:
            raise _at("value", "is required for type value")
        if self.type not in ("value", None):
            if isinstance(self.value, str):
                raise _at("value", f"must be a number for type {self.type}, not a string")
            _check_value_with_limit(self.value, self.upper_limit)
        elif self.upper_limit is not None and self.type is None:
            _check_value_with_limit(self.value, self.upper_limit)
        return self


def _check_steps(done: int | None, total: int | None) -> None:
    if total is not None and done is not None and done > total:
        raise _at("current_step", f"{done} is more than number_of_steps ({total})")


def _check_value_with_limit(value: object, upper_limit: object) -> None:
    if value is not None and upper_limit is None:
        raise _at("value", "needs upper_limit beside it (or give percentage)")
    if upper_limit is not None and value is None:
        raise _at("upper_limit", "needs value beside it (or give percentage)")


AnyState: TypeAlias = (
    SegmentedProgressState
    | ProgressState
    | MetricsState
    | StatsState
    | AlertState
    | TimerState
    | ValueState
    | ContentState
)


class _Action(_Model):
    title: Text
    method: Literal["GET", "POST"] | None = None
    body: Annotated[dict[str, Any], BeforeValidator(_mapping)] | None = None


class OpenURLAction(_Action):
    """A button that opens something on the phone.

    ``method`` and ``body`` mean nothing here; the service passes over them.

    Args:
        title: Its text.
        url: ``https://``, ``http://`` or ``shortcuts://run-shortcut?name=...``.

    Raises:
        InvalidRequestError: A member breaks a rule of the API.
    """

    type: Literal["open_url"] = "open_url"
    url: Annotated[Text, _url("https://", "http://", "shortcuts://")]


class WebhookAction(_Action):
    """A button on which the service calls a URL.

    Args:
        title: Its text.
        url: ``https://`` only.
        method: The service's default is POST.
        body: A JSON object to send.

    Raises:
        InvalidRequestError: A member breaks a rule of the API.
    """

    type: Literal["webhook"] = "webhook"
    url: Annotated[Text, _url("https://")]


AnyAction: TypeAlias = OpenURLAction | WebhookAction


class AlertPayload(_Model):
    """The sound-and-banner notification that goes with a state.

    Args:
        title: Its first line.
        body: Its text.
    """

    title: Text | None = None
    body: Text | None = None


def _state(value: Any) -> Any:
    """A model as it is; a mapping as the flat state."""
    return value if isinstance(value, _Common) else _build(ContentState, value)


_ACTIONS: dict[str, type[AnyAction]] = {"open_url": OpenURLAction, "webhook": WebhookAction}


def _action(value: Any) -> Any:
    """A model as it is; a mapping as the class that its ``type`` names."""
    if isinstance(value, AnyAction):
        return value
    if not isinstance(value, Mapping):
        raise InvalidRequestError(("", f"must be a mapping or an action, not {_kind(value)}"))
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in _ACTIONS:
        raise InvalidRequestError(("type", "is required and must be open_url or webhook"))
    return _build(_ACTIONS[kind], value)


def _metadata_value(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        if len(value) > _MAX_METADATA_TEXT:
            raise PydanticCustomError("metadata", "must be at most 4000 characters")
        return value
    try:
        return _number(value)
    except PydanticCustomError:
        raise PydanticCustomError("metadata", "must be a string, a finite number or a boolean") from None


def _small(metadata: dict[str, Any]) -> dict[str, Any]:
    if len(metadata) > _MAX_METADATA_ENTRIES:
        raise PydanticCustomError("metadata", "has more than 50 entries")
    if len(encode_json(metadata)) > _MAX_METADATA_BYTES:
        raise PydanticCustomError("metadata", "is larger than 16 KB of JSON")
    return metadata


State: TypeAlias = Annotated[AnyState, BeforeValidator(_state)]
Action: TypeAlias = Annotated[AnyAction, BeforeValidator(_action)]
Alert: TypeAlias = Annotated[AlertPayload, BeforeValidator(lambda value: _given(AlertPayload, value))]
Tags: TypeAlias = Annotated[list[ShortText], BeforeValidator(_list)]
MetadataValue: TypeAlias = Annotated[str | bool | int | float, BeforeValidator(_metadata_value)]
Metadata: TypeAlias = Annotated[dict[Text, MetadataValue], BeforeValidator(_mapping), AfterValidator(_small)]
Channels: TypeAlias = Annotated[list[Text], BeforeValidator(_list), Field(min_length=1)]


class EndStreamRequest(_Model):
    """The optional body that ends a stream.

    Args:
        content_state: The last state to show; left out, the latest one that the service knows.
        action: A button.
        secondary_action: A second button, for alert, progress, segmented_progress and value.
        alert: A notification with sound and banner.
        tags: Strings of 1 to 64 characters that the history can be filtered by.
        metadata: Strings of up to 4000 characters, finite numbers and booleans; at most 50 entries and
            16 KB of JSON. ``{}`` clears what was there.

    Raises:
        InvalidRequestError: A member breaks a rule of the API.
    """

    content_state: State | None = None
    action: Action | None = None
    secondary_action: Action | None = None
    alert: Alert | None = None
    tags: Tags | None = None
    metadata: Metadata | None = None


class ChannelTarget(_Model):
    """The older way to say ``channels``."""

    channels: Channels


class StreamRequest(EndStreamRequest):
    """The body that starts or updates a stream: as :class:`EndStreamRequest`, with the state required.

    Args:
        content_state: The state to show now.
        channels: Slugs of the channels whose members see it; left out, the key's scope decides.
        target: The older form of ``channels``; both together must match.

    Raises:
        InvalidRequestError: A member breaks a rule of the API.
    """

    content_state: State
    channels: Channels | None = None
    target: Annotated[ChannelTarget, BeforeValidator(_mapping)] | None = None

    @model_validator(mode="after")
    def _one_target(self) -> "StreamRequest":
        if self.channels is not None and self.target is not None and self.channels != self.target.channels:
            raise _at("target", "differs from channels; give one of them")
        return self


class _Answer(_Frozen):
    """Answers may get new members at any time; they are kept."""

    model_config = ConfigDict(extra="allow")

    success: bool
    operation: str
    stream_key: str
    timestamp: datetime
    activity_id: str | None = None
    devices_queued: int | None = None
    devices_notified: int | None = None
    ignored: bool | None = None
    message: str | None = None
    warning: str | None = None
    errors: list[str] | None = None

    def to_json(self) -> dict[str, Any]:
        """The answer's members as plain JSON values, as the service gave them."""
        return self.model_dump(mode="json", exclude_unset=True)


class EndStreamResponse(_Answer):
    """The service's answer to ending a stream.

    Args:
        success: Whether it worked.
        operation: ``ended``.
        stream_key: The stream.
        timestamp: When.
        activity_id: The activity that ended; None where the stream was already inactive.
        devices_queued: How many devices will be told.
        devices_notified: How many devices were told.
        ignored: Whether the stream had ended before, so that nothing changed.
        forced_completion: Whether the service completed the activity by force.
        message: A remark.
        warning: A warning.
        errors: What went wrong on single devices.
    """

    forced_completion: bool | None = None


class StreamResponse(_Answer):
    """The service's answer to starting or updating a stream.

    Args:
        success: Whether it worked.
        operation: ``started``, ``updated``, ``rotated``, ``noop`` or ``paused``.
        stream_key: The stream.
        timestamp: When.
        activity_id: The activity that shows it.
        previous_activity_id: The activity that it replaced.
        devices_queued: How many devices will be told.
        devices_notified: How many devices were told.
        users_notified: How many people were told.
        effective_channel_slugs: The channels it went to.
        tags: The stream's tags.
        ignored: Whether nothing changed.
        remote_push_sent: Whether a push went out.
        message: A remark.
        warning: A warning, such as one about iOS's update budget.
        errors: What went wrong on single devices.
    """

    previous_activity_id: str | None = None
    users_notified: int | None = None
    effective_channel_slugs: list[str] | None = None
    tags: list[str] | None = None
    remote_push_sent: bool | None = None


def encode_json(value: Any) -> bytes:
    """Compact UTF-8 JSON.

    Raises:
        InvalidRequestError: The value cannot be written as JSON.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequestError(("", f"cannot be written as JSON: {error}")) from None


def _given(model: type[_Model], value: Any) -> Any:
    return value if isinstance(value, model) else _build(model, value)


def _build(model: type[_Model], value: Any) -> _Model:
    """A mapping as the API would read it: ``None`` is null there, and no member may be null."""
    if not isinstance(value, Mapping):
        raise InvalidRequestError(("", f"must be a mapping or a {model.__name__}, not {_kind(value)}"))
    _refuse_nulls(value, "")
    return model(**{_member_name(name): member for name, member in value.items()})


def _member_name(name: Any) -> str:
    if not isinstance(name, str):
        raise InvalidRequestError(("", f"member names must be strings, not {_kind(name)}"))
    return name


def _refuse_nulls(value: Any, path: str) -> None:
    if value is None:
        raise InvalidRequestError((path, "is null; leave it out instead"))
    if isinstance(value, Mapping):
        for name, member in value.items():
            # What is within a webhook's body is the user's own JSON.
            if name != "body" or member is None:
                _refuse_nulls(member, join_path(path, str(name)))
    elif isinstance(value, (list, tuple)):
        for index, member in enumerate(value):
            _refuse_nulls(member, join_path(path, str(index)))


def _at(member: str, rule: str) -> InvalidRequestError:
    return InvalidRequestError((member, rule))


_PLAIN_WORDS = {
    "missing": "is required",
    "string_type": "must be a string",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
}
_PYDANTIC_SUBJECT = re.compile(r"^(Input|String|List|Value) should ")


def _as_invalid_request(model: type[BaseModel], error: ValidationError) -> InvalidRequestError:
    problems: list[tuple[str, str]] = []
    for detail in error.errors(include_url=False):
        path = ".".join(str(part) for part in detail["loc"])
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, InvalidRequestError):
            problems += cause.within(path).problems
        else:
            problems.append((path, _rule(model, detail)))
    return InvalidRequestError(*problems)


def _rule(model: type[BaseModel], detail: ErrorDetails) -> str:
    if detail["type"] == "extra_forbidden":
        name = str(detail["loc"][-1])
        close = difflib.get_close_matches(name, model.model_fields, n=1, cutoff=0.6)
        if close:
            return f"is not a member; did you mean {close[0]}?"
        return f"is not a member; known are {', '.join(model.model_fields)}"
    return _PLAIN_WORDS.get(detail["type"]) or _PYDANTIC_SUBJECT.sub("must ", detail["msg"])
