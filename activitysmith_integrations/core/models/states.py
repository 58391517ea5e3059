"""The states that a stream can show: one class for each type, and one for the API's flat object."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, model_validator

from activitysmith_integrations.core.errors import InvalidRequestError
from activitysmith_integrations.core.models.base import LazyMember, Model, from_mapping, to_model
from activitysmith_integrations.core.models.fields import (
    Color,
    Colors,
    DisplayValue,
    Flag,
    MetricValue,
    NonEmptyText,
    Number,
    Percentage,
    PositiveNumber,
    StateType,
    Steps,
    Text,
    WholeNumber,
    to_list,
)


class Icon(Model):
    """An icon beside the text.

    Raises:
        InvalidRequestError: A member breaks a rule of the API.
    """

    symbol: NonEmptyText
    """The name of an SF Symbol, such as ``checkmark.circle.fill``."""
    color: Color | None = None
    """Its color."""


class Badge(Model):
    """A small label.

    Raises:
        InvalidRequestError: A member breaks a rule of the API.
    """

    title: NonEmptyText
    """Its text."""
    color: Color | None = None
    """Its color."""


class Metric(Model):
    """One labelled figure of a metrics or stats state.

    Raises:
        InvalidRequestError: A member breaks a rule of the API.
    """

    label: NonEmptyText
    """What it is."""
    value: MetricValue
    """A number of 0 or more, or a string of 1 to 64 characters that is shown as it is."""
    unit: Text | None = None
    """Shown behind the value, such as ``%``."""
    color: Color | None = None
    """Its color."""


# A mapping is taken for each of them, too, and kept as the model.
_Icon: TypeAlias = Annotated[Icon | Mapping[str, Any], LazyMember(to_model(Icon))]
_Badge: TypeAlias = Annotated[Badge | Mapping[str, Any], LazyMember(to_model(Badge))]
_Metric: TypeAlias = Annotated[Metric | Mapping[str, Any], LazyMember(to_model(Metric))]
if TYPE_CHECKING:
    _Metrics: TypeAlias = Sequence[_Metric]
else:
    _Metrics = Annotated[list[_Metric], BeforeValidator(to_list), Field(strict=True, min_length=1, max_length=8)]


class _State(Model):
    title: Text
    """First line."""
    subtitle: Text | None = None
    """Second line."""
    color: Color | None = None
    """Accent color; on an alert it tints the buttons."""
    icon: _Icon | None = None
    """An icon beside the text."""
    auto_dismiss_minutes: WholeNumber | None = None
    """Minutes that an ended activity stays; 0 removes it at once. iOS's own default is 2."""
    auto_dismiss_seconds: WholeNumber | None = None
    """Seconds that an ended activity stays; 0 removes it at once, and it wins over ``auto_dismiss_minutes``."""


class _WithBadge(_State):
    badge: _Badge | None = None
    """A small label."""


class _WithSteps(Model):
    number_of_steps: Steps | None = None
    """How many steps there are, 1 or more."""
    current_step: WholeNumber | None = None
    """How many steps are complete: 0 for none, at most ``number_of_steps``."""
    step_color: Color | None = None
    """Color of the current step."""
    step_colors: Colors | None = None
    """Colors of the completed steps, one for each."""

    @model_validator(mode="after")
    def _check_steps(self) -> "_WithSteps":
        done, total = self.current_step, self.number_of_steps
        if total is not None and done is not None and done > total:
            raise InvalidRequestError(("current_step", f"{done} is more than number_of_steps ({total})"))
        return self


class _WithPercentage(Model):
    percentage: Percentage | None = None
    """0 to 100 percent; wins over ``value`` and ``upper_limit``."""
    upper_limit: PositiveNumber | None = None
    """What ``value`` is out of, more than 0; each needs the other."""


class _WithMetrics(Model):
    metrics: _Metrics | None = None
    """1 to 8 figures."""


class _WithTimer(Model):
    duration_seconds: PositiveNumber | None = None
    """Seconds, more than 0; left out, a running timer keeps its window."""
    counts_down: Flag | None = None
    """False counts up. The service's default is true."""
    is_running: Flag | None = None
    """False pauses. The service's default is true."""


class SegmentedProgressState(_WithSteps, _WithBadge):
    """A bar of steps.

    Raises:
        InvalidRequestError: A member breaks a rule of the API.
    """

    type: Literal["segmented_progress"] = "segmented_progress"


class ProgressState(_WithPercentage, _WithBadge):
    """A progress bar.

    Raises:
        InvalidRequestError: A member breaks a rule of the API.
    """

    type: Literal["progress"] = "progress"
    value: Number | None = None
    """How far it is, out of ``upper_limit``; each needs the other."""

    @model_validator(mode="after")
    def _check_value(self) -> "ProgressState":
        _check_value_with_limit(self.value, self.upper_limit)
        return self


class MetricsState(_WithMetrics, _State):
    """Figures as bars.

    Raises:
        InvalidRequestError: A member breaks a rule of the API.
    """

    type: Literal["metrics"] = "metrics"


class StatsState(_WithMetrics, _State):
    """Figures as a grid.

    Raises:
        InvalidRequestError: A member breaks a rule of the API.
    """

    type: Literal["stats"] = "stats"


class AlertState(_WithBadge):
    """A message.

    Raises:
        InvalidRequestError: A member breaks a rule of the API.
    """

    type: Literal["alert"] = "alert"
    message: NonEmptyText
    """The message of an alert."""


class TimerState(_WithTimer, _State):
    """A timer that the phone runs by itself.

    Raises:
        InvalidRequestError: A member breaks a rule of the API.
    """

    type: Literal["timer"] = "timer"


class ValueState(_WithBadge):
    """One prominent value.

    Raises:
        InvalidRequestError: A member breaks a rule of the API.
    """

    type: Literal["value"] = "value"
    value: DisplayValue
    """A finite number, or a string that is shown as it is."""


class ContentState(_WithTimer, _WithMetrics, _WithPercentage, _WithSteps, _WithBadge):
    """Any state, as the API's flat object: every member of every type, ``type`` optional.

    The service infers a missing type from the running activity. The classes for single types, such as
    :class:`ProgressState`, offer only what their type shows.

    Raises:
        InvalidRequestError: A member breaks a rule of the API.
    """

    type: StateType | None = None
    """What the state shows; left out, the service takes that of the running activity."""
    value: DisplayValue | None = None
    """For type progress how far it is, out of ``upper_limit``; for type value a finite number or a string."""
    message: NonEmptyText | None = None
    """The message of an alert."""

    @model_validator(mode="after")
    def _check_type(self) -> "ContentState":
        if self.type == "alert" and self.message is None:
            raise InvalidRequestError(("message", "is required for type alert"))
        if self.type == "value" and self.value is None:
            raise InvalidRequestError(("value", "is required for type value"))
        if self.type not in ("value", None):
            if isinstance(self.value, str):
                raise InvalidRequestError(("value", f"must be a number for type {self.type}, not a string"))
            _check_value_with_limit(self.value, self.upper_limit)
        elif self.upper_limit is not None and self.type is None:
            _check_value_with_limit(self.value, self.upper_limit)
        return self


def _check_value_with_limit(value: object, upper_limit: object) -> None:
    if value is not None and upper_limit is None:
        raise InvalidRequestError(("value", "needs upper_limit beside it, or percentage in place of both"))
    if upper_limit is not None and value is None:
        raise InvalidRequestError(("upper_limit", "needs value beside it, or percentage in place of both"))


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


def _to_state(value: Any) -> Any:
    """A model as it is; a mapping as the flat state."""
    return value if isinstance(value, _State) else from_mapping(ContentState, value)


State: TypeAlias = Annotated[AnyState, LazyMember(_to_state)]
