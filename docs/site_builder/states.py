"""The reference of all states, generated from the models."""

import inspect
import json
from collections.abc import Collection
from typing import get_args

from pydantic import BaseModel

from activitysmith_integrations import core
from activitysmith_integrations.core.models.fields import Color
from site_builder.cards import card_of, picture, swatch
from site_builder.members import table_of

_STATES: tuple[type[BaseModel], ...] = (
    core.SegmentedProgressState,
    core.ProgressState,
    core.AlertState,
    core.MetricsState,
    core.StatsState,
    core.TimerState,
    core.ValueState,
)
_PARTS: tuple[type[BaseModel], ...] = (core.Icon, core.Badge, core.Metric)
_BUTTONS: tuple[type[BaseModel], ...] = (core.OpenURLAction, core.WebhookAction, core.AlertPayload)
_REQUESTS: tuple[type[BaseModel], ...] = (core.StreamRequest, core.EndStreamRequest)


def states() -> str:
    """Each type with its picture, the state that it is drawn from, and its members."""
    common = set.intersection(*(set(model.model_fields) for model in _STATES))
    own = set(_STATES[0].model_fields) - common
    every = f"### Members of every type\n\n{table_of(_STATES[0], left_out=own)}"
    return "\n\n".join((*(_state(model, common) for model in _STATES), every))


def _state(model: type[BaseModel], common: Collection[str]) -> str:
    kind = str(model.model_fields["type"].default)
    request = picture(kind)
    source = json.dumps(request, indent=2, ensure_ascii=False)
    return (
        f"### {kind} {{ #{kind} }}\n\n{_summary(model)} In Python: `{model.__name__}`.\n\n"
        f"{card_of(request)}\n\n{table_of(model, left_out=common)}\n\n"
        f'??? example "The request that is drawn here"\n\n{_indented(f"```json{chr(10)}{source}{chr(10)}```")}'
    )


def parts() -> str:
    """What states are made of."""
    return _each(_PARTS)


def buttons() -> str:
    """Buttons and banner."""
    return _each(_BUTTONS)


def requests() -> str:
    """What goes beside a state."""
    return _each(_REQUESTS)


def colors() -> str:
    """The colors, light or dark as the page is."""
    return " &nbsp; ".join(swatch(color) for color in get_args(Color))


def _each(models: tuple[type[BaseModel], ...]) -> str:
    return "\n\n".join(f"### {model.__name__}\n\n{_summary(model)}\n\n{table_of(model)}" for model in models)


def _summary(model: type[BaseModel]) -> str:
    return (inspect.getdoc(model) or "").partition("\n")[0]


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" if line else "" for line in text.splitlines())
