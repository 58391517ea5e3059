"""What a content state says: how far it is, what its figures are, and all of it in words (pure)."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from activitysmith_integrations.sandbox.lettering import one_line

_LONGEST_TIMER = 100 * 3600 - 1  # its digits are to fit


@dataclass(frozen=True)
class Clock:
    """How far a timer is.

    Args:
        elapsed: Seconds that have gone by.
        began_at: When it would have begun had it never paused, in Unix seconds; None where it stands still.
    """

    elapsed: float = 0.0
    began_at: float | None = None


AT_ITS_BEGINNING = Clock()


def describe(content: Mapping[str, Any], clock: Clock = AT_ITS_BEGINNING) -> str:
    """What the card shows, in words: for those who cannot see it."""
    state = content["content_state"]
    badge, buttons = state.get("badge") or {}, [content.get("action"), content.get("secondary_action")]
    parts = [state["title"], badge.get("title"), state.get("subtitle"), *_READINGS[state.get("type")](state, clock)]
    parts += [f"button {button['title']}" for button in buttons if button]
    return ", ".join(filter(None, (one_line(str(word or "")) for word in parts))) or "Live Activity"


def accent(state: Mapping[str, Any]) -> str:
    """Its main color, by its name in the API."""
    return str(state.get("color") or "blue")


def read_steps(state: Mapping[str, Any], clock: Clock) -> list[str]:
    """``3 of 5``, or as much of it as is known."""
    done, total = state.get("current_step"), state.get("number_of_steps")
    if total is None:
        return [] if done is None else [f"step {_short(done)}"]
    return [f"{_short(done or 0)} of {_short(total)}"]


def read_progress(state: Mapping[str, Any], clock: Clock) -> list[str]:
    """``42 %``, where it is known."""
    share = progress_share(state)
    # Rounded down: what is not all done is not 100 %.
    return [] if share is None else [f"{math.floor(round(share * 1000, 6)) / 10:g} %"]


def _read_metrics(state: Mapping[str, Any], clock: Clock) -> list[str]:
    return [f"{metric['label']} {with_unit(metric)}" for metric in state.get("metrics") or []]


def _read_message(state: Mapping[str, Any], clock: Clock) -> list[str]:
    return [state["message"]]


def _read_timer(state: Mapping[str, Any], clock: Clock) -> list[str]:
    paused = ["paused"] if state.get("is_running") is False else []
    return [f"timer {digits_of(seconds_shown(state, clock), up=counts_up(state))}", *paused]


def read_value(state: Mapping[str, Any], clock: Clock) -> list[str]:
    """The value."""
    return [_number(state["value"])]


_READINGS: dict[Any, Callable[[Mapping[str, Any], Clock], list[str]]] = {
    "segmented_progress": read_steps,
    "progress": read_progress,
    "metrics": _read_metrics,
    "stats": _read_metrics,
    "alert": _read_message,
    "timer": _read_timer,
    "value": read_value,
    None: lambda state, clock: [],
}


def progress_share(state: Mapping[str, Any]) -> float | None:
    """0 to 1; None where nothing says."""
    if state.get("percentage") is not None:
        return float(state["percentage"]) / 100
    if state.get("value") is None or state.get("upper_limit") is None:
        return None
    return share_of(state["value"], state["upper_limit"])


def metric_share(metric: Mapping[str, Any], metrics: list[dict[str, Any]]) -> float | None:
    """How long a figure's bar is: a percentage as it is, others beside the largest of their unit. None for words."""
    value = metric["value"]
    if isinstance(value, str):
        return None
    if metric.get("unit") == "%":
        return share_of(value, 100)
    alike = [other["value"] for other in metrics if other.get("unit") == metric.get("unit")]
    return share_of(value, max(number for number in alike if not isinstance(number, str)))


def share_of(value: float, whole: float) -> float:
    """A part of a whole, from 0 to 1; exact whatever the numbers' size."""
    return float(min(max(Fraction(value) / Fraction(whole), Fraction(0)), Fraction(1))) if whole else 0.0


def with_unit(metric: Mapping[str, Any]) -> str:
    """A figure with its unit, as in ``3 GB`` and ``7%``."""
    unit = metric.get("unit") or ""
    close = unit == "%" or not unit[:1].isalpha()
    return f"{_number(metric['value'])}{'' if close else ' '}{unit}"


def _number(value: float | str) -> str:
    if isinstance(value, float):
        return _short(int(value)) if value.is_integer() else f"{value:.10g}"
    return value if isinstance(value, str) else _short(value)


def _short(number: int) -> str:
    return str(number) if abs(number) < 10**15 else f"{float(max(-(10**300), min(number, 10**300))):.4g}"


def counts_up(state: Mapping[str, Any]) -> bool:
    """Whether the number grows: as told, or because there is nothing to count down from."""
    return state.get("counts_down") is False or "duration_seconds" not in state


def duration_of(state: Mapping[str, Any]) -> float:
    """The seconds of a timer's window."""
    return float(min(state.get("duration_seconds") or _LONGEST_TIMER, _LONGEST_TIMER))


def seconds_shown(state: Mapping[str, Any], clock: Clock) -> float:
    """The seconds that a timer's digits show."""
    elapsed = min(max(clock.elapsed, 0), duration_of(state))
    return elapsed if counts_up(state) else duration_of(state) - elapsed


def digits_of(seconds: float, *, up: bool) -> str:
    """``4:05`` or ``1:04:05``. A clock shows 0:00 when it is over, not a second before."""
    whole = math.floor(seconds) if up else math.ceil(seconds)
    minutes, second = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{second:02}" if hours else f"{minutes}:{second:02}"
