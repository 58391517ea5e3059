"""A Live Activity as a picture: a content state and its buttons become an SVG card (pure).

The page shows it within its lock screen, and ``preview`` writes it as a file. Every text of a state is escaped. Lengths
are points, as on a phone. A member that the state leaves out is not drawn.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

from activitysmith_integrations.sandbox.describe import (
    NOT_STARTED,
    Clock,
    accent,
    counts_up,
    describe,
    duration_of,
    fraction_of,
    metric_share,
    progress_share,
    progress_text,
    steps_text,
    timer_digits,
    timer_seconds,
    value_text,
    with_unit,
)
from activitysmith_integrations.sandbox.palette import stylesheet
from activitysmith_integrations.sandbox.shapes import bar, box, element, paint, text_line
from activitysmith_integrations.sandbox.symbols import SYMBOLS
from activitysmith_integrations.sandbox.text_layout import fit, one_line, size_that_fits, text_width, wrap

WIDTH = 364
_PAD, _GAP = 16, 12
_LEFT, _RIGHT = _PAD, WIDTH - _PAD
_INSIDE = _RIGHT - _LEFT
_ICON, _BUTTON, _BAR = 30, 36, 8
_MAX_SEGMENTS, _MAX_MESSAGE_LINES = 40, 4
FONTS = "-apple-system, 'SF Pro Text', 'Segoe UI', Roboto, 'Helvetica Neue', Helvetica, Arial, sans-serif"
_TWO_BUTTONS = ("alert", "progress", "segmented_progress", "value")
_WITH_BADGE = _TWO_BUTTONS


def draw(content: Mapping[str, Any], clock: Clock = NOT_STARTED, *, standalone: bool = False) -> str:
    """The card of an activity.

    Args:
        content: Its ``content_state`` with its ``type``, and its buttons ``action`` and ``secondary_action``.
        clock: How far its timer is. A running one gets attributes (``data-counts`` and so on) for a script to count on.
        standalone: Whether it is a file of its own, which needs a stylesheet within it.
    """
    state = content["content_state"]
    kind = state.get("type")
    head, y = _header(state)
    body, y = _BODIES.get(kind, _empty_body)(state, y, clock)
    buttons, y = _buttons(content, y)
    height = round(y + _PAD)
    card = box(0.5, 0.5, WIDTH - 1, height - 1, 24, "surface") + element(
        "rect",
        x=0.5,
        y=0.5,
        width=WIDTH - 1,
        height=height - 1,
        rx=24,
        fill="none",
        stroke="currentColor",
        **paint("edge"),
    )
    timer = _timer_attributes(state, clock) if kind == "timer" else {}
    return element(
        "svg",
        (element("style", stylesheet()) if standalone else "") + card + head + body + buttons,
        xmlns="http://www.w3.org/2000/svg",
        class_="card",
        viewBox=f"0 0 {WIDTH} {height}",
        width=WIDTH,
        height=height,
        role="img",
        aria_label=describe(content, clock),
        font_family=FONTS,
        **timer,
    )


# -- the parts of a card: each returns its elements and the y coordinate below them --


def _header(state: Mapping[str, Any]) -> tuple[str, float]:
    drawn, x = _icon(state)
    subtitle = one_line(state.get("subtitle") or "")
    baseline = _PAD + (13 if subtitle else 20.5)
    right = float(_RIGHT)
    badge = state.get("badge")
    if badge and state.get("type") in _WITH_BADGE:
        color = badge.get("color") or accent(state)
        capsule, right = _badge(badge["title"], color, baseline)
        drawn += capsule
    drawn += text_line(x, baseline, fit(state["title"], right - x, 16, bold=True), 16, weight=600)
    if subtitle:
        drawn += text_line(x, _PAD + 30, fit(subtitle, _RIGHT - x, 13), 13, color="dim")
    # The same height without a subtitle, so that the card keeps its size when an update adds or removes one.
    return drawn, float(_PAD + _ICON)


def _icon(state: Mapping[str, Any]) -> tuple[str, float]:
    """The symbol, or its name where there is no drawing of it, and the x coordinate of the text beside it."""
    icon = state.get("icon")
    if not icon:
        return "", float(_LEFT)
    color = icon.get("color") or accent(state)
    symbol = SYMBOLS.get(icon["symbol"])
    if symbol is not None:
        placed = f"translate({_LEFT} {_PAD}) scale({_ICON / 24:g})"
        return element("g", symbol, transform=placed, **paint(color)), float(_LEFT + _ICON + 10)
    name = fit(icon["symbol"], 92, 9)
    chip_width = max(text_width(name, 9) + 12, _ICON)
    chip = box(_LEFT, _PAD, chip_width, _ICON, 8, color, fill_opacity=0.16)
    chip += text_line(_LEFT + chip_width / 2, _PAD + 18, name, 9, color=f"{color}-ink", anchor="middle")
    return chip, _LEFT + chip_width + 10


def _badge(title: str, color: str, baseline: float) -> tuple[str, float]:
    shown = fit(title, 110, 12, bold=True)
    badge_width = text_width(shown, 12, bold=True) + 18
    x = _RIGHT - badge_width
    capsule = box(x, baseline - 16.2, badge_width, 22, 11, color, fill_opacity=0.18)
    capsule += text_line(x + badge_width / 2, baseline - 1, shown, 12, f"{color}-ink", weight=600, anchor="middle")
    return capsule, x - 8


def _empty_body(state: Mapping[str, Any], y: float, clock: Clock) -> tuple[str, float]:
    return "", y


def _segmented_progress(state: Mapping[str, Any], y: float, clock: Clock) -> tuple[str, float]:
    text = "".join(steps_text(state, clock))
    y += _GAP + 2
    space = _INSIDE - text_width(text, 13, bold=True) - (10 if text else 0)
    drawn = text_line(_RIGHT, y + 8.5, text, 13, weight=600, anchor="end", figures=True)
    done, total = state.get("current_step") or 0, state.get("number_of_steps")
    if total is None:
        return drawn + box(_LEFT, y, space, _BAR, _BAR / 2, "track"), y + _BAR
    if total > _MAX_SEGMENTS:
        return drawn + bar(_LEFT, y, space, _BAR, fraction_of(done, total), accent(state)), y + _BAR
    gap = 4 if total <= 16 else 2
    segment_width = (space - gap * (total - 1)) / total
    segments = "".join(
        box(_LEFT + index * (segment_width + gap), y, segment_width, _BAR, min(_BAR, segment_width) / 2, **style)
        for index, style in enumerate(_segments(state, done, total))
    )
    return drawn + segments, y + _BAR


def _segments(state: Mapping[str, Any], done: int, total: int) -> list[dict[str, Any]]:
    """The attributes of the segments: completed ones, then the current one, then the rest."""
    colors = state.get("step_colors") or []
    # An update that leaves out the number of steps may have a current step beyond it.
    done = min(done, total)
    styles = [{"color": colors[index] if index < len(colors) else accent(state)} for index in range(done)]
    if done < total:
        current = state.get("step_color")
        styles.append({"color": current} if current else {"color": accent(state), "fill_opacity": 0.35})
    return styles + [{"color": "track"}] * (total - len(styles))


def _progress(state: Mapping[str, Any], y: float, clock: Clock) -> tuple[str, float]:
    share = progress_share(state)
    text = "".join(progress_text(state, clock))
    y += _GAP + 2
    space = _INSIDE - (text_width(text, 15, bold=True) + 10 if text else 0)
    drawn = text_line(_RIGHT, y + 9.2, text, 15, weight=600, anchor="end", figures=True)
    return drawn + bar(_LEFT, y, space, _BAR, share or 0, accent(state)), y + _BAR


def _metrics(state: Mapping[str, Any], y: float, clock: Clock) -> tuple[str, float]:
    metrics = state.get("metrics") or []
    if not metrics:
        return "", y
    columns = 1 if len(metrics) <= 4 else 2
    rows = math.ceil(len(metrics) / columns)
    space = (_INSIDE - 24 * (columns - 1)) / columns
    label_space = min(max(text_width(one_line(metric["label"]), 13) for metric in metrics), space * 0.4)
    bar_from = label_space + 10
    drawn = ""
    for index, metric in enumerate(metrics):
        x, top = _LEFT + (index // rows) * (space + 24), y + _GAP + (index % rows) * 21
        share = metric_share(metric, metrics)
        # A text has no bar, and the space of one.
        value = fit(with_unit(metric), space - bar_from if share is None else space * 0.36, 13, bold=True)
        drawn += text_line(x, top + 12, fit(metric["label"], label_space, 13), 13, color="dim")
        drawn += text_line(x + space, top + 12, value, 13, weight=600, anchor="end", figures=True)
        if share is not None:
            color = metric.get("color") or accent(state)
            drawn += bar(x + bar_from, top + 4.5, space - bar_from - _value_space(metrics, space) - 10, 7, share, color)
    return drawn, y + _GAP + rows * 21 - 5


def _value_space(metrics: list[dict[str, Any]], space: float) -> float:
    """The width of the column of numbers: the same for all, so that their bars are equally long."""
    numbers = [one_line(with_unit(metric)) for metric in metrics if not isinstance(metric["value"], str)]
    return min(max(text_width(number, 13, bold=True) for number in numbers), space * 0.36)


def _stats(state: Mapping[str, Any], y: float, clock: Clock) -> tuple[str, float]:
    metrics = state.get("metrics") or []
    if not metrics:
        return "", y
    columns = len(metrics) if len(metrics) <= 4 else math.ceil(len(metrics) / 2)
    space = (_INSIDE - 10 * (columns - 1)) / columns
    drawn = ""
    for index, metric in enumerate(metrics):
        x = _LEFT + (index % columns) * (space + 10)
        top = y + _GAP + (index // columns) * 46
        color = f"{metric['color']}-ink" if metric.get("color") else "ink"
        size = size_that_fits(with_unit(metric), space, 20, 14)
        drawn += text_line(
            x, top + 18, fit(with_unit(metric), space, size, bold=True), size, color, weight=600, figures=True
        )
        drawn += text_line(x, top + 34, fit(metric["label"], space, 12), 12, color="dim")
    return drawn, y + _GAP + math.ceil(len(metrics) / columns) * 46 - 9


def _alert(state: Mapping[str, Any], y: float, clock: Clock) -> tuple[str, float]:
    lines = wrap(state["message"], _INSIDE, 15, _MAX_MESSAGE_LINES)
    drawn = "".join(text_line(_LEFT, y + _GAP + 13 + index * 20, line, 15) for index, line in enumerate(lines))
    return drawn, y + _GAP + len(lines) * 20 - 3 if lines else y


def _timer(state: Mapping[str, Any], y: float, clock: Clock) -> tuple[str, float]:
    color = accent(state)
    digits = timer_digits(timer_seconds(state, clock), up=counts_up(state))
    drawn = text_line(
        _LEFT - 1, y + _GAP + 27, digits, 36, f"{color}-ink", weight=500, figures=True, classes="timer-digits"
    )
    if state.get("is_running") is False:
        drawn += text_line(_RIGHT, y + _GAP + 27, "Paused", 13, color="dim", anchor="end")
    y += _GAP + 40
    if "duration_seconds" not in state:
        return drawn, y - 8
    share = timer_seconds(state, clock) / duration_of(state)
    return drawn + bar(_LEFT, y, _INSIDE, 6, share, color, classes="timer-bar"), y + 6


def _value(state: Mapping[str, Any], y: float, clock: Clock) -> tuple[str, float]:
    text = "".join(value_text(state, clock))
    size = size_that_fits(text, _INSIDE, 40, 20)
    drawn = text_line(
        _LEFT - 1,
        y + _GAP + 31,
        fit(text, _INSIDE, size, bold=True),
        size,
        f"{accent(state)}-ink",
        weight=600,
        figures=True,
    )
    return drawn, y + _GAP + 34


_BODIES: dict[Any, Callable[[Mapping[str, Any], float, Clock], tuple[str, float]]] = {
    "segmented_progress": _segmented_progress,
    "progress": _progress,
    "metrics": _metrics,
    "stats": _stats,
    "alert": _alert,
    "timer": _timer,
    "value": _value,
}


def _buttons(content: Mapping[str, Any], y: float) -> tuple[str, float]:
    state = content["content_state"]
    color = accent(state)
    buttons = [(content.get("action"), color, f"{color}-ink")]
    if state.get("type") in _TWO_BUTTONS:
        buttons.append((content.get("secondary_action"), "gray", "ink"))
    buttons = [button for button in buttons if button[0]]
    if not buttons:
        return "", y
    y += _GAP + 2
    button_width = (_INSIDE - 8 * (len(buttons) - 1)) / len(buttons)
    drawn = ""
    for index, (button, fill, ink) in enumerate(buttons):
        x = _LEFT + index * (button_width + 8)
        title = fit(button["title"], button_width - 28, 14, bold=True) if button else ""
        drawn += box(x, y, button_width, _BUTTON, _BUTTON / 2, fill, fill_opacity=0.18)
        drawn += text_line(x + button_width / 2, y + 23, title, 14, ink, weight=600, anchor="middle")
    return drawn, y + _BUTTON


def _timer_attributes(state: Mapping[str, Any], clock: Clock) -> dict[str, Any]:
    """The attributes from which a script counts on."""
    if clock.started_at is None:
        return {}
    limit = {"data_duration": duration_of(state)} if "duration_seconds" in state else {}
    return {"data_counts": "up" if counts_up(state) else "down", "data_started": round(clock.started_at, 3), **limit}
