"""A content state in words and numbers: its progress, its figures, and the whole card as a text (pure)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from activitysmith_integrations.sandbox.text_layout import one_line

_MAX_TIMER_SECONDS = 100 * 3600 - 1  # more digits would not fit on the card


@dataclass(frozen=True)
class Clock:
    """How far a timer is.

    Args:
        elapsed: Seconds that have elapsed.
        started_at: When it would have started had it never paused, in Unix seconds; None where it is paused.
    """

    elapsed: float = 0.0
    started_at: float | None = None


NOT_STARTED = Clock()


def describe(content: Mapping[str, Any], clock: Clock = NOT_STARTED) -> str:
    """The text of the whole card, for screen readers."""
    state = content["content_state"]
    badge, buttons = state.get("badge") or {}, [content.get("action"), content.get("secondary_action")]
    parts = [state["title"], badge.get("title"), state.get("subtitle"), *_TEXTS[state.get("type")](state, clock)]
    parts += [f"button {button['title']}" for button in buttons if button]
    return ", ".join(filter(None, (one_line(str(word or "")) for word in parts))) or "Live Activity"


def text_of(state: Mapping[str, Any]) -> str:
    """What the body of a card says, such as ``3 of 5``; of a timer its window."""
    return ", ".join(one_line(text) for text in _TEXTS[state.get("type")](state, NOT_STARTED))


def metrics_of(state: Mapping[str, Any]) -> dict[str, str]:
    """The figures of a state with their units, by their labels."""
    return {one_line(metric["label"]): one_line(with_unit(metric)) for metric in state.get("metrics") or []}


def accent(state: Mapping[str, Any]) -> str:
    """A state's main color, by its name in the API."""
    return str(state.get("color") or "blue")


def steps_text(state: Mapping[str, Any], clock: Clock) -> list[str]:
    """``3 of 5``, or the part of it that is known."""
    done, total = state.get("current_step"), state.get("number_of_steps")
    if total is None:
        return [] if done is None else [f"step {_short(done)}"]
    return [f"{_short(done or 0)} of {_short(total)}"]


def progress_text(state: Mapping[str, Any], clock: Clock) -> list[str]:
    """``42 %``; nothing where the state does not tell."""
    share = progress_share(state)
    # Rounded down: 99.99 % is not 100 %.
    return [] if share is None else [f"{math.floor(round(share * 1000, 6)) / 10:g} %"]


def _metrics_text(state: Mapping[str, Any], clock: Clock) -> list[str]:
    return [f"{metric['label']} {with_unit(metric)}" for metric in state.get("metrics") or []]


def _message_text(state: Mapping[str, Any], clock: Clock) -> list[str]:
    return [state["message"]]


def _timer_text(state: Mapping[str, Any], clock: Clock) -> list[str]:
    paused = ["paused"] if state.get("is_running") is False else []
    return [f"timer {timer_digits(timer_seconds(state, clock), up=counts_up(state))}", *paused]


def value_text(state: Mapping[str, Any], clock: Clock) -> list[str]:
    """The value."""
    return [_number(state["value"])]


_TEXTS: dict[Any, Callable[[Mapping[str, Any], Clock], list[str]]] = {
    "segmented_progress": steps_text,
    "progress": progress_text,
    "metrics": _metrics_text,
    "stats": _metrics_text,
    "alert": _message_text,
    "timer": _timer_text,
    "value": value_text,
    None: lambda state, clock: [],
}


def progress_share(state: Mapping[str, Any]) -> float | None:
    """How much is done, from 0 to 1; None where the state does not tell."""
    if state.get("percentage") is not None:
        return float(state["percentage"]) / 100
    if state.get("value") is None or state.get("upper_limit") is None:
        return None
    return fraction_of(state["value"], state["upper_limit"])


def metric_share(metric: Mapping[str, Any], metrics: list[dict[str, Any]]) -> float | None:
    """The length of a figure's bar, from 0 to 1: a percentage as it is, others compared with the largest of their unit.

    None for a text, which has no bar.
    """
    value = metric["value"]
    if isinstance(value, str):
        return None
    if metric.get("unit") == "%":
        return fraction_of(value, 100)
    same_unit = [other["value"] for other in metrics if other.get("unit") == metric.get("unit")]
    return fraction_of(value, max(number for number in same_unit if not isinstance(number, str)))


def fraction_of(value: float, whole: float) -> float:
    """A part of a whole, from 0 to 1. Exact for numbers of any size."""
    return float(min(max(Fraction(value) / Fraction(whole), Fraction(0)), Fraction(1))) if whole else 0.0


def with_unit(metric: Mapping[str, Any]) -> str:
    """A figure with its unit, as in ``3 GB`` and ``7%``."""
    unit = metric.get("unit") or ""
    without_space = unit == "%" or not unit[:1].isalpha()
    return f"{_number(metric['value'])}{'' if without_space else ' '}{unit}"


def _number(value: float | str) -> str:
    if isinstance(value, float):
        return _short(int(value)) if value.is_integer() else f"{value:.10g}"
    return value if isinstance(value, str) else _short(value)


def _short(number: int) -> str:
    return str(number) if abs(number) < 10**15 else f"{float(max(-(10**300), min(number, 10**300))):.4g}"


def counts_up(state: Mapping[str, Any]) -> bool:
    """Whether a timer counts up: it says so, or there is nothing to count down from."""
    return state.get("counts_down") is False or "duration_seconds" not in state


def duration_of(state: Mapping[str, Any]) -> float:
    """The length of a timer's window in seconds."""
    return float(min(state.get("duration_seconds") or _MAX_TIMER_SECONDS, _MAX_TIMER_SECONDS))


def timer_seconds(state: Mapping[str, Any], clock: Clock) -> float:
    """The seconds that a timer shows."""
    elapsed = min(max(clock.elapsed, 0), duration_of(state))
    return elapsed if counts_up(state) else duration_of(state) - elapsed


def timer_digits(seconds: float, *, up: bool) -> str:
    """``4:05`` or ``1:04:05``. Counting down, 0:00 is shown when the time is over, not a second before."""
    whole = math.floor(seconds) if up else math.ceil(seconds)
    minutes, second = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{second:02}" if hours else f"{minutes}:{second:02}"
