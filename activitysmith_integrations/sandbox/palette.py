"""The colors of a card, light and dark: the API's ten, and those of text, tracks and the card itself (pure).

A shape has its light color as the attribute ``color``, which any viewer of SVG understands, and a class, by which
:func:`dark_rules` gives it the dark one.
"""

from collections.abc import Mapping

LIGHT: Mapping[str, str] = {
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
    # Of text, which needs more contrast than shapes.
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
DARK: Mapping[str, str] = {
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


def dark_rules(scope: str) -> str:
    """The CSS rules that give the shapes below *scope*, a CSS selector, their dark colors."""
    return "".join(f"{scope} .{name}{{color:{color}}}" for name, color in DARK.items())


def stylesheet() -> str:
    """The CSS of a card in a file of its own: dark where the reader's system is."""
    return f"{FIGURES}@media (prefers-color-scheme:dark){{{dark_rules('.card')}}}"


def page_stylesheet() -> str:
    """The CSS of cards, and of dots in their colors, on a page.

    Dark as ``data-look`` of its root says, or as the system is where that is missing.
    """
    dots = "".join(f".dot.{name}{{color:{color}}}" for name, color in LIGHT.items())
    by_system = f"@media (prefers-color-scheme:dark){{{dark_rules(':root:not([data-look=light]) .card')}}}"
    return f"{FIGURES}{dots}{by_system}{dark_rules(':root[data-look=dark] .card')}"


FIGURES = ".card .figures{font-variant-numeric:tabular-nums}"
"""Digits of equal width, so that a changing number does not move."""
