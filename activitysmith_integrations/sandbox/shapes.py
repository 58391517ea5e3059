"""The SVG elements of a card (pure). Every text is escaped."""

from typing import Any
from xml.sax.saxutils import escape, quoteattr

from activitysmith_integrations.sandbox.palette import LIGHT


def bar(x: float, y: float, width: float, height: float, share: float, color: str, classes: str = "") -> str:
    """A track, and on it the share that is done: at least a dot where it is more than 0."""
    full = max(width * share, height) if share > 0 else 0
    more = {"data_full": round(width, 2)} if classes else {}
    track = box(x, y, width, height, height / 2, "track")
    return track + (box(x, y, full, height, height / 2, color, classes=classes, **more) if full or more else "")


def box(
    x: float, y: float, width: float, height: float, radius: float, color: str, *, classes: str = "", **more: Any
) -> str:
    """A filled rectangle with round corners."""
    return element(
        "rect",
        x=x,
        y=y,
        width=width,
        height=height,
        rx=radius,
        fill="currentColor",
        **paint(color, classes),
        **more,
    )


def text_line(
    x: float,
    y: float,
    text: str,
    size: float,
    color: str = "ink",
    *,
    weight: int | None = None,
    anchor: str | None = None,
    figures: bool = False,
    classes: str = "",
) -> str:
    """A line of text; no element where the text is empty."""
    if not text:
        return ""
    classes = " ".join(filter(None, (classes, "figures" if figures else "")))
    return element(
        "text",
        escape(text),
        x=x,
        y=y,
        font_size=size,
        font_weight=weight,
        text_anchor=anchor,
        fill="currentColor",
        **paint(color, classes),
    )


def paint(color: str, classes: str = "") -> dict[str, str]:
    """The attributes that give a shape its light color, and let a stylesheet give it the dark one."""
    return {"class_": f"{color} {classes}".rstrip(), "color": LIGHT[color]}


def element(name: str, content: str = "", **attributes: Any) -> str:
    """An element. ``_`` in an attribute's name stands for ``-``; attributes that are None are left out."""
    rendered = "".join(
        f" {key.rstrip('_').replace('_', '-')}={quoteattr(_attribute_value(value))}"
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{rendered}>{content}</{name}>" if content else f"<{name}{rendered}/>"


def _attribute_value(value: Any) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
