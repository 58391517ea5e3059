"""The SVG elements that a card is made of (pure). Whatever is given as text stays text."""

from typing import Any
from xml.sax.saxutils import escape, quoteattr

from activitysmith_integrations.sandbox.palette import DAY


def bar(x: float, y: float, wide: float, high: float, share: float, color: str, class_more: str = "") -> str:
    """A track, and on it the part that is done. The least part is a dot, and nothing is nothing."""
    full = max(wide * share, high) if share > 0 else 0
    more = {"data_full": round(wide, 2)} if class_more else {}
    track = box(x, y, wide, high, high / 2, "track")
    return track + (box(x, y, full, high, high / 2, color, class_more=class_more, **more) if full or more else "")


def box(
    x: float, y: float, wide: float, high: float, radius: float, color: str, *, class_more: str = "", **more: Any
) -> str:
    """A filled rectangle with round corners."""
    return element(
        "rect", x=x, y=y, width=wide, height=high, rx=radius, fill="currentColor", **paint(color, class_more), **more
    )


def words(
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
    """A line of text; nothing where there is none."""
    if not text:
        return ""
    classes = " ".join(filter(None, (class_more, "figures" if figures else "")))
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
    """The attributes that give a shape its color by day, and let it have another by night."""
    return {"class_": f"{color} {classes}".rstrip(), "color": DAY[color]}


def element(name: str, content: str = "", **attributes: Any) -> str:
    """An element. In names of attributes ``_`` stands for ``-``; those that are None are left out."""
    written = "".join(
        f" {key.rstrip('_').replace('_', '-')}={quoteattr(_written(value))}"
        for key, value in attributes.items()
        if value is not None
    )
    return f"<{name}{written}>{content}</{name}>" if content else f"<{name}{written}/>"


def _written(value: Any) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
