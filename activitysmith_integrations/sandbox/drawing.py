"""A Live Activity as a picture: a content state and its buttons become an SVG card (pure).

The one drawing that there is: the page shows it within its lock screen, and ``preview`` writes it as a file. Every
word of a state goes in as text. Lengths are points, as on a phone; what is left out of a state is left out here.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from activitysmith_integrations.sandbox.lettering import fit, one_line, width, wrap
from activitysmith_integrations.sandbox.palette import DAY, stylesheet
from activitysmith_integrations.sandbox.symbols import SYMBOLS

WIDTH = 364
_PAD, _GAP = 16, 12
_LEFT, _RIGHT = _PAD, WIDTH - _PAD
_INSIDE = _RIGHT - _LEFT
_ICON, _BUTTON, _BAR = 30, 36, 8
_MOST_SEGMENTS, _MESSAGE_LINES = 40, 4
_LONGEST_TIMER = 100 * 3600 - 1  # its digits are to fit
_FONTS = "-apple-system, 'SF Pro Text', 'Segoe UI', Roboto, 'Helvetica Neue', Helvetica, Arial, sans-serif"
_TWO_BUTTONS = ("alert", "progress", "segmented_progress", "value")
_BADGED = _TWO_BUTTONS


@dataclass(frozen=True)
class Clock:
    """How far a timer is.

    Args:
        elapsed: Seconds that have gone by.
        began_at: When it would have begun had it never paused, in Unix seconds; None where it stands still.
    """

    elapsed: float = 0.0
    began_at: float | None = None


_AT_ITS_BEGINNING = Clock()


def draw(content: Mapping[str, Any], clock: Clock = _AT_ITS_BEGINNING, *, alone: bool = False) -> str:
    """The card of an activity.

    Args:
        content: Its ``content_state`` with its ``type``, and its buttons ``action`` and ``secondary_action``.
        clock: How far its timer is. A running one leaves marks (``data-counts`` and so on) for a script to count on.
        alone: Whether it is a file of its own, which brings its styles along.
    """
    state = content["content_state"]
    kind = state.get("type")
    head, y = _header(state)
    body, y = _BODIES.get(kind, _nothing)(state, y, clock)
    buttons, y = _buttons(content, y)
    height = round(y + _PAD)
    card = _box(0.5, 0.5, WIDTH - 1, height - 1, 24, "surface") + _element(
        "rect",
        x=0.5,
        y=0.5,
        width=WIDTH - 1,
        height=height - 1,
        rx=24,
        fill="none",
        stroke="currentColor",
        **_paint("edge"),
    )
    marks = _marks(state, clock) if kind == "timer" else {}
    return _element(
        "svg",
        (_element("style", stylesheet()) if alone else "") + card + head + body + buttons,
        xmlns="http://www.w3.org/2000/svg",
        class_="card",
        viewBox=f"0 0 {WIDTH} {height}",
        width=WIDTH,
        height=height,
        role="img",
        aria_label=describe(content, clock),
        font_family=_FONTS,
        **marks,
    )


def describe(content: Mapping[str, Any], clock: Clock = _AT_ITS_BEGINNING) -> str:
    """What the card shows, in words: for those who cannot see it."""
    state = content["content_state"]
    badge, buttons = state.get("badge") or {}, [content.get("action"), content.get("secondary_action")]
    words = [state["title"], badge.get("title"), state.get("subtitle"), *_READINGS[state.get("type")](state, clock)]
    words += [f"button {button['title']}" for button in buttons if button]
    return ", ".join(filter(None, (one_line(str(word or "")) for word in words))) or "Live Activity"


# -- the parts of a card: each returns its elements and where it ends --


def _header(state: Mapping[str, Any]) -> tuple[str, float]:
    drawn, x = _icon(state)
    subtitle = one_line(state.get("subtitle") or "")
    baseline = _PAD + (13 if subtitle else 20.5)
    right = float(_RIGHT)
    badge = state.get("badge")
    if badge and state.get("type") in _BADGED:
        color = badge.get("color") or _accent(state)
        capsule, right = _badge(badge["title"], color, baseline)
        drawn += capsule
    drawn += _text(x, baseline, fit(state["title"], right - x, 16, bold=True), 16, weight=600)
    if subtitle:
        drawn += _text(x, _PAD + 30, fit(subtitle, _RIGHT - x, 13), 13, color="dim")
    # As high without a subtitle as with one, so that the card keeps its size when one comes or goes.
    return drawn, float(_PAD + _ICON)


def _icon(state: Mapping[str, Any]) -> tuple[str, float]:
    """The symbol, or its name where there is no drawing of it, and where the words beside it begin."""
    icon = state.get("icon")
    if not icon:
        return "", float(_LEFT)
    color = icon.get("color") or _accent(state)
    symbol = SYMBOLS.get(icon["symbol"])
    if symbol is not None:
        placed = f"translate({_LEFT} {_PAD}) scale({_ICON / 24:g})"
        return _element("g", symbol, transform=placed, **_paint(color)), float(_LEFT + _ICON + 10)
    name = fit(icon["symbol"], 92, 9)
    wide = max(width(name, 9) + 12, _ICON)
    chip = _box(_LEFT, _PAD, wide, _ICON, 8, color, fill_opacity=0.16)
    chip += _text(_LEFT + wide / 2, _PAD + 18, name, 9, color=f"{color}-ink", anchor="middle")
    return chip, _LEFT + wide + 10


def _badge(title: str, color: str, baseline: float) -> tuple[str, float]:
    shown = fit(title, 110, 12, bold=True)
    wide = width(shown, 12, bold=True) + 18
    x = _RIGHT - wide
    capsule = _box(x, baseline - 16.2, wide, 22, 11, color, fill_opacity=0.18)
    return capsule + _text(x + wide / 2, baseline - 1, shown, 12, f"{color}-ink", weight=600, anchor="middle"), x - 8


def _nothing(state: Mapping[str, Any], y: float, clock: Clock) -> tuple[str, float]:
    return "", y


def _segmented_progress(state: Mapping[str, Any], y: float, clock: Clock) -> tuple[str, float]:
    reading = "".join(_read_steps(state, clock))
    y += _GAP + 2
    space = _INSIDE - width(reading, 13, bold=True) - (10 if reading else 0)
    drawn = _text(_RIGHT, y + 8.5, reading, 13, weight=600, anchor="end", figures=True)
    done, total = state.get("current_step") or 0, state.get("number_of_steps")
    if total is None:
        return drawn + _box(_LEFT, y, space, _BAR, _BAR / 2, "track"), y + _BAR
    if total > _MOST_SEGMENTS:
        return drawn + _bar(_LEFT, y, space, _BAR, _share(done, total), _accent(state)), y + _BAR
    gap = 4 if total <= 16 else 2
    wide = (space - gap * (total - 1)) / total
    segments = "".join(
        _box(_LEFT + index * (wide + gap), y, wide, _BAR, min(_BAR, wide) / 2, **look)
        for index, look in enumerate(_segments(state, done, total))
    )
    return drawn + segments, y + _BAR


def _segments(state: Mapping[str, Any], done: int, total: int) -> list[dict[str, Any]]:
    """The looks of the segments: the completed ones, the current one if it has a color of its own, the rest."""
    colors = state.get("step_colors") or []
    # An update that leaves out the number of steps may say more than there are.
    done = min(done, total)
    looks = [{"color": colors[index] if index < len(colors) else _accent(state)} for index in range(done)]
    if done < total:
        current = state.get("step_color")
        looks.append({"color": current} if current else {"color": _accent(state), "fill_opacity": 0.35})
    return looks + [{"color": "track"}] * (total - len(looks))


def _progress(state: Mapping[str, Any], y: float, clock: Clock) -> tuple[str, float]:
    share = _progress_share(state)
    reading = "".join(_read_progress(state, clock))
    y += _GAP + 2
    space = _INSIDE - (width(reading, 15, bold=True) + 10 if reading else 0)
    drawn = _text(_RIGHT, y + 9.2, reading, 15, weight=600, anchor="end", figures=True)
    return drawn + _bar(_LEFT, y, space, _BAR, share or 0, _accent(state)), y + _BAR


def _metrics(state: Mapping[str, Any], y: float, clock: Clock) -> tuple[str, float]:
    metrics = state.get("metrics") or []
    if not metrics:
        return "", y
    columns = 1 if len(metrics) <= 4 else 2
    rows = math.ceil(len(metrics) / columns)
    space = (_INSIDE - 24 * (columns - 1)) / columns
    label_space = min(max(width(one_line(metric["label"]), 13) for metric in metrics), space * 0.4)
    bar_from = label_space + 10
    drawn = ""
    for index, metric in enumerate(metrics):
        x, top = _LEFT + (index // rows) * (space + 24), y + _GAP + (index % rows) * 21
        share = _metric_share(metric, metrics)
        # What is no number has no bar, and the space for its words.
        value = fit(_with_unit(metric), space - bar_from if share is None else space * 0.36, 13, bold=True)
        drawn += _text(x, top + 12, fit(metric["label"], label_space, 13), 13, color="dim")
        drawn += _text(x + space, top + 12, value, 13, weight=600, anchor="end", figures=True)
        if share is not None:
            color = metric.get("color") or _accent(state)
            drawn += _bar(
                x + bar_from, top + 4.5, space - bar_from - _value_space(metrics, space) - 10, 7, share, color
            )
    return drawn, y + _GAP + rows * 21 - 5


def _value_space(metrics: list[dict[str, Any]], space: float) -> float:
    """The width of the column of numbers, the same for each so that their bars are."""
    numbers = [one_line(_with_unit(metric)) for metric in metrics if not isinstance(metric["value"], str)]
    return min(max(width(number, 13, bold=True) for number in numbers), space * 0.36)


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
        size = _size_that_fits(_with_unit(metric), space, 20, 14)
        drawn += _text(
            x, top + 18, fit(_with_unit(metric), space, size, bold=True), size, color, weight=600, figures=True
        )
        drawn += _text(x, top + 34, fit(metric["label"], space, 12), 12, color="dim")
    return drawn, y + _GAP + math.ceil(len(metrics) / columns) * 46 - 9


def _alert(state: Mapping[str, Any], y: float, clock: Clock) -> tuple[str, float]:
    lines = wrap(state["message"], _INSIDE, 15, _MESSAGE_LINES)
    drawn = "".join(_text(_LEFT, y + _GAP + 13 + index * 20, line, 15) for index, line in enumerate(lines))
    return drawn, y + _GAP + len(lines) * 20 - 3 if lines else y


def _timer(state: Mapping[str, Any], y: float, clock: Clock) -> tuple[str, float]:
    color = _accent(state)
    digits = digits_of(_seconds_shown(state, clock), up=_counts_up(state))
    drawn = _text(
        _LEFT - 1, y + _GAP + 27, digits, 36, f"{color}-ink", weight=500, figures=True, class_more="timer-digits"
    )
    if state.get("is_running") is False:
        drawn += _text(_RIGHT, y + _GAP + 27, "Paused", 13, color="dim", anchor="end")
    y += _GAP + 40
    if "duration_seconds" not in state:
        return drawn, y - 8
    share = _seconds_shown(state, clock) / _duration(state)
    return drawn + _bar(_LEFT, y, _INSIDE, 6, share, color, class_more="timer-bar"), y + 6


def _value(state: Mapping[str, Any], y: float, clock: Clock) -> tuple[str, float]:
    text = "".join(_read_value(state, clock))
    size = _size_that_fits(text, _INSIDE, 40, 20)
    drawn = _text(
        _LEFT - 1,
        y + _GAP + 31,
        fit(text, _INSIDE, size, bold=True),
        size,
        f"{_accent(state)}-ink",
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
    color = _accent(state)
    looks = [(content.get("action"), color, f"{color}-ink")]
    if state.get("type") in _TWO_BUTTONS:
        looks.append((content.get("secondary_action"), "gray", "ink"))
    looks = [look for look in looks if look[0]]
    if not looks:
        return "", y
    y += _GAP + 2
    wide = (_INSIDE - 8 * (len(looks) - 1)) / len(looks)
    drawn = ""
    for index, (button, fill, ink) in enumerate(looks):
        x = _LEFT + index * (wide + 8)
        title = fit(button["title"], wide - 28, 14, bold=True) if button else ""
        drawn += _box(x, y, wide, _BUTTON, _BUTTON / 2, fill, fill_opacity=0.18)
        drawn += _text(x + wide / 2, y + 23, title, 14, ink, weight=600, anchor="middle")
    return drawn, y + _BUTTON


# -- what a state says --


def _accent(state: Mapping[str, Any]) -> str:
    return str(state.get("color") or "blue")


def _read_steps(state: Mapping[str, Any], clock: Clock) -> list[str]:
    done, total = state.get("current_step"), state.get("number_of_steps")
    if total is None:
        return [] if done is None else [f"step {_short(done)}"]
    return [f"{_short(done or 0)} of {_short(total)}"]


def _read_progress(state: Mapping[str, Any], clock: Clock) -> list[str]:
    share = _progress_share(state)
    # Rounded down: what is not all done is not 100 %.
    return [] if share is None else [f"{math.floor(share * 1000) / 10:g} %"]


def _read_metrics(state: Mapping[str, Any], clock: Clock) -> list[str]:
    return [f"{metric['label']} {_with_unit(metric)}" for metric in state.get("metrics") or []]


def _read_message(state: Mapping[str, Any], clock: Clock) -> list[str]:
    return [state["message"]]


def _read_timer(state: Mapping[str, Any], clock: Clock) -> list[str]:
    paused = ["paused"] if state.get("is_running") is False else []
    return [f"timer {digits_of(_seconds_shown(state, clock), up=_counts_up(state))}", *paused]


def _read_value(state: Mapping[str, Any], clock: Clock) -> list[str]:
    return [_number(state["value"])]


_READINGS: dict[Any, Callable[[Mapping[str, Any], Clock], list[str]]] = {
    "segmented_progress": _read_steps,
    "progress": _read_progress,
    "metrics": _read_metrics,
    "stats": _read_metrics,
    "alert": _read_message,
    "timer": _read_timer,
    "value": _read_value,
    None: lambda state, clock: [],
}


def _progress_share(state: Mapping[str, Any]) -> float | None:
    """0 to 1; None where nothing says."""
    if state.get("percentage") is not None:
        return float(state["percentage"]) / 100
    if state.get("value") is None or state.get("upper_limit") is None:
        return None
    return _share(state["value"], state["upper_limit"])


def _metric_share(metric: Mapping[str, Any], metrics: list[dict[str, Any]]) -> float | None:
    """How long a figure's bar is: a percentage as it is, others beside the largest of their unit. None for words."""
    value = metric["value"]
    if isinstance(value, str):
        return None
    if metric.get("unit") == "%":
        return _share(value, 100)
    alike = [other["value"] for other in metrics if other.get("unit") == metric.get("unit")]
    return _share(value, max(number for number in alike if not isinstance(number, str)))


def _share(value: float, whole: float) -> float:
    """A part of a whole, from 0 to 1; exact whatever the numbers' size."""
    return float(min(max(Fraction(value) / Fraction(whole), Fraction(0)), Fraction(1))) if whole else 0.0


def _with_unit(metric: Mapping[str, Any]) -> str:
    unit = metric.get("unit") or ""
    close = unit == "%" or not unit[:1].isalpha()
    return f"{_number(metric['value'])}{'' if close else ' '}{unit}"


def _number(value: float | str) -> str:
    if isinstance(value, float):
        return _short(int(value)) if value.is_integer() else f"{value:.10g}"
    return value if isinstance(value, str) else _short(value)


def _short(number: int) -> str:
    return str(number) if abs(number) < 10**15 else f"{float(min(number, 10**300)):.4g}"


def _counts_up(state: Mapping[str, Any]) -> bool:
    """Whether the number grows: as told, or because there is nothing to count down from."""
    return state.get("counts_down") is False or "duration_seconds" not in state


def _duration(state: Mapping[str, Any]) -> float:
    return float(min(state.get("duration_seconds") or _LONGEST_TIMER, _LONGEST_TIMER))


def _seconds_shown(state: Mapping[str, Any], clock: Clock) -> float:
    elapsed = min(max(clock.elapsed, 0), _duration(state))
    return elapsed if _counts_up(state) else _duration(state) - elapsed


def digits_of(seconds: float, *, up: bool) -> str:
    """``4:05`` or ``1:04:05``. A clock shows 0:00 when it is over, not a second before."""
    whole = math.floor(seconds) if up else math.ceil(seconds)
    minutes, second = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{second:02}" if hours else f"{minutes}:{second:02}"


def _marks(state: Mapping[str, Any], clock: Clock) -> dict[str, Any]:
    """What a script needs to count on."""
    if clock.began_at is None:
        return {}
    limit = {"data_duration": _duration(state)} if "duration_seconds" in state else {}
    return {"data_counts": "up" if _counts_up(state) else "down", "data_began": round(clock.began_at, 3), **limit}


# -- shapes and words --


def _size_that_fits(text: str, space: float, largest: int, smallest: int) -> int:
    needed = width(one_line(text), largest, bold=True)
    return max(smallest, min(largest, math.floor(largest * space / needed))) if needed else largest


def _bar(x: float, y: float, wide: float, high: float, share: float, color: str, class_more: str = "") -> str:
    """A track, and on it the part that is done. The least part is a dot, and nothing is nothing."""
    full = max(wide * share, high) if share > 0 else 0
    more = {"data_full": round(wide, 2)} if class_more else {}
    track = _box(x, y, wide, high, high / 2, "track")
    return track + (_box(x, y, full, high, high / 2, color, class_more=class_more, **more) if full or more else "")


def _box(
    x: float, y: float, wide: float, high: float, radius: float, color: str, *, class_more: str = "", **more: Any
) -> str:
    return _element(
        "rect", x=x, y=y, width=wide, height=high, rx=radius, fill="currentColor", **_paint(color, class_more), **more
    )


def _text(
    x: float,
    y: float,
    text: str,
    size: float,
    color: str = "ink",
    *,
    weight: int | None = None,
    anchor: str | None = None,
    figures: bool = False,
    class_more: str = "",
) -> str:
    if not text:
        return ""
    classes = " ".join(filter(None, (class_more, "figures" if figures else "")))
    return _element(
        "text",
        escape(text),
        x=x,
        y=y,
        font_size=size,
        font_weight=weight,
        text_anchor=anchor,
        fill="currentColor",
        **_paint(color, classes),
    )


def _paint(color: str, classes: str = "") -> dict[str, str]:
    return {"class_": f"{color} {classes}".rstrip(), "color": DAY[color]}


def _element(name: str, content: str = "", **attributes: Any) -> str:
    """An element. In names of attributes ``_`` stands for ``-``; those that are None are left out."""
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}={quoteattr(_written(value))}"
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


def _written(value: Any) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
