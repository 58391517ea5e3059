"""The API's ten colors, and what else a lock screen is painted with, by day and by night (pure).

A shape's color is its attribute ``color``, which any viewer of SVG understands, and a class, by which
:func:`night` repaints it in the dark.
"""

from collections.abc import Mapping

DAY: Mapping[str, str] = {
    "lime": "#84cc16",
    "green": "#34c759",
    "cyan": "#32ade6",
    "blue": "#007aff",
    "purple": "#af52de",
    "magenta": "#ff2d92",
    "red": "#ff3b30",
    "orange": "#ff9500",
    "yellow": "#ffcc00",
    "gray": "#8e8e93",
    # For words, which need more contrast than shapes do.
    "lime-ink": "#406b0a",
    "green-ink": "#196c32",
    "cyan-ink": "#0b6284",
    "blue-ink": "#0054c2",
    "purple-ink": "#8433ad",
    "magenta-ink": "#b8125f",
    "red-ink": "#bf1d14",
    "orange-ink": "#8f4700",
    "yellow-ink": "#735400",
    "gray-ink": "#58585c",
    "ink": "#000000",
    "dim": "#636368",
    "track": "#e3e3e8",
    "surface": "#ffffff",
    "edge": "#d4d4da",
}
NIGHT: Mapping[str, str] = {
    "lime": "#a3e635",
    "green": "#30d158",
    "cyan": "#64d2ff",
    "blue": "#0a84ff",
    "purple": "#bf5af2",
    "magenta": "#ff4fa3",
    "red": "#ff453a",
    "orange": "#ff9f0a",
    "yellow": "#ffd60a",
    "gray": "#98989d",
    "lime-ink": "#b6ee5c",
    "green-ink": "#4be070",
    "cyan-ink": "#7ad9ff",
    "blue-ink": "#6cb4ff",
    "purple-ink": "#dda3ff",
    "magenta-ink": "#ff8fc5",
    "red-ink": "#ff8a82",
    "orange-ink": "#ffb84d",
    "yellow-ink": "#ffe04a",
    "gray-ink": "#bcbcc2",
    "ink": "#ffffff",
    "dim": "#a8a8b0",
    "track": "#3d3d41",
    "surface": "#1c1c1e",
    "edge": "#38383b",
}


def night(scope: str) -> str:
    """The CSS rules that paint the shapes below *scope*, a CSS selector, as in the dark."""
    return "".join(f"{scope} .{name}{{color:{color}}}" for name, color in NIGHT.items())


def stylesheet() -> str:
    """The CSS of a picture that stands alone: dark where the reader's screen is."""
    return f"{FIGURES}@media (prefers-color-scheme:dark){{{night('.card')}}}"


def page_stylesheet() -> str:
    """The CSS of pictures on a page whose root says ``data-look="light"`` or ``"dark"``, or nothing."""
    by_system = f"@media (prefers-color-scheme:dark){{{night(':root:not([data-look=light]) .card')}}}"
    return f"{FIGURES}{by_system}{night(':root[data-look=dark] .card')}"


FIGURES = ".card .figures{font-variant-numeric:tabular-nums}"
"""Digits of one width, so that a number that changes does not shiver."""
