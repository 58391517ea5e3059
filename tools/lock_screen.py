"""Draw, as text, what a phone's lock screen shows, in a table beside the runs that made it so."""

import textwrap
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

_WIDTH = 44
_CODES = {"blue": 34, "cyan": 36, "gray": 90, "green": 32, "lime": 92, "magenta": 35, "orange": 33, "purple": 35}
_CODES |= {"red": 31, "yellow": 93}

Paint = Callable[[str, Any], str]
"""Gives a text a color, by its name in the API; None is no color."""


@dataclass(frozen=True)
class Row:
    """One stream in the table.

    Args:
        stream: Its key.
        about: Lines that say what it stands for and how it ended.
        content: What the service shows: the stream's ``content_state``, ``action`` and so on. None where that
            cannot be seen from here.
        problem: What is wrong with it; empty if nothing is.
    """

    stream: str
    about: list[str]
    content: Mapping[str, Any] | None
    problem: str = ""


def plain(text: str, color: Any) -> str:
    """The text as it is."""
    return text


def colored(text: str, color: Any) -> str:
    """The text in its color, for a terminal."""
    return f"\033[{_CODES[color]}m{text}\033[0m" if color in _CODES else text


def picture(content: Mapping[str, Any], paint: Paint) -> list[str]:
    """What an activity shows, line by line."""
    state = content["content_state"]
    color, badge = state.get("color"), state.get("badge")
    title = str(state["title"])
    lines = [title if badge is None else f"{title}  {paint('(' + badge['title'] + ')', badge.get('color', color))}"]
    lines += textwrap.wrap(str(state.get("subtitle", "")), _WIDTH)
    lines += _body(state, paint)
    if content.get("action"):
        lines.append(f"[{content['action']['title']}]")
    return lines


def _body(state: Mapping[str, Any], paint: Paint) -> list[str]:
    color = state.get("color")
    match state["type"]:
        case "segmented_progress":
            done, total = int(state["current_step"]), int(state["number_of_steps"])
            segments = [paint("━━━", color), *[paint("━━━", color)] * (done - 1)][:done] + ["┄┄┄"] * (total - done)
            return [f"{' '.join(segments)}  {done} of {total}"]
        case "progress" if "percentage" in state:
            full = round(state["percentage"] / 5)
            return [f"{paint('━' * full, color)}{'┄' * (20 - full)}  {state['percentage']:g} %"]
        case "alert":
            return [paint(line, color) for line in textwrap.wrap(f"! {state['message']}", _WIDTH)]
        case other:
            return [f"<{other}>"]


def table(rows: Iterable[Row], paint: Paint) -> str:
    """The rows as a table: what ran on the left, the lock screen on the right."""
    rows = list(rows)
    left = max(len(line) for row in rows for line in (row.stream, *row.about, "stream")) + 2
    rule = f"  {'─' * left}┼{'─' * (_WIDTH + 2)}"
    lines = [f"  {'stream':<{left}}│ its lock screen", rule]
    for row in rows:
        shown = ["(see your phone)"] if row.content is None else picture(row.content, paint)
        shown += [paint(line, "red") for line in textwrap.wrap(f"WRONG: {row.problem}", _WIDTH)] if row.problem else []
        about = [row.stream, *row.about]
        for index in range(max(len(about), len(shown))):
            first = about[index] if index < len(about) else ""
            lines.append(f"  {first:<{left}}│ {shown[index] if index < len(shown) else ''}".rstrip())
        lines.append(rule)
    return "\n".join([*lines[:-1], rule.replace("┼", "┴")])
