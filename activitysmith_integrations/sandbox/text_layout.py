"""Text layout: how wide a text is, and how it is cut or wrapped to fit a width (pure).

The reader's font is unknown. Widths are those of a common sans serif in units of the font size, and rather too wide
than too narrow. A character without a width of its own has the average one.
"""

import math
import unicodedata
from functools import lru_cache

from activitysmith_integrations.core.text import characters, line

_MAX_LENGTH = 600
_BOLD = 1.07
_AVERAGE, _FULL = 0.6, 1.1
_WIDTHS = {
    char: width
    for width, chars in (
        (0.24, "ijl|'"),
        (0.3, " !.,:;/\\I`"),
        (0.36, 'ft()[]{}-r"'),
        (0.48, "*^~"),
        (0.52, "ckszxyvJ"),
        (0.58, "abdeghnopquLFTZ0123456789_#$?+<>=“”…—"),
        (0.7, "ABEKPSVXYCDHNRUw&"),
        (0.8, "GOQ"),
        (0.87, "mM%"),
        (0.98, "W@"),
    )
    for char in chars
}
# XML cannot represent these two.
_NOT_IN_XML = str.maketrans("\ufffe\uffff", "\ufffd\ufffd")


def one_line(text: str) -> str:
    """The text on one line of at most 600 characters, all of which XML can represent."""
    return line(text[: _MAX_LENGTH * 5], _MAX_LENGTH).translate(_NOT_IN_XML)


def text_width(text: str, size: float, *, bold: bool = False) -> float:
    """Roughly how wide a text is, in the unit of *size*."""
    # Combining characters take no space of their own.
    letters = text if text.isascii() else (character[:1] for character in characters(text))
    return sum(map(_em, letters)) * size * (_BOLD if bold else 1)


def fit(text: str, space: float, size: float, *, bold: bool = False) -> str:
    """The text, cut with an ellipsis where it is wider than *space*."""
    text = one_line(text)
    if text_width(text, size, bold=bold) <= space:
        return text
    kept, remaining = "", space - text_width("…", size, bold=bold)
    for character in characters(text):
        remaining -= text_width(character, size, bold=bold)
        if remaining < 0:
            break
        kept += character
    return f"{kept.rstrip()}…"


def size_that_fits(text: str, space: float, largest: int, smallest: int) -> int:
    """The largest size in which a bold text fits; *smallest* even where that does not."""
    needed = text_width(one_line(text), largest, bold=True)
    return max(smallest, min(largest, math.floor(largest * space / needed))) if needed else largest


def wrap(text: str, space: float, size: float, lines: int) -> list[str]:
    """A text in at most *lines* lines, broken between words, or within a word that is longer than a line.

    The last line is cut where the text is longer.
    """
    rest = one_line(text)
    wrapped: list[str] = []
    while rest and len(wrapped) < lines - 1:
        first = _first_line(rest, space, size)
        wrapped.append(first.rstrip())
        rest = rest[len(first) :].lstrip()
    return [*wrapped, fit(rest, space, size)] if rest else wrapped


def _first_line(text: str, space: float, size: float) -> str:
    """As much of the text as fits on one line: up to a space, or within a word that is longer than the line."""
    taken, after_space = "", 0
    for character in characters(text):
        if taken and text_width(taken + character.rstrip(), size) > space:
            return taken[:after_space] or taken
        taken += character
        if character == " " or unicodedata.east_asian_width(character[0]) == "W":
            after_space = len(taken)
    return taken


@lru_cache(maxsize=4096)
def _em(char: str) -> float:
    if char in _WIDTHS:
        return _WIDTHS[char]
    if not char or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0.0
    return _FULL if unicodedata.east_asian_width(char) in ("W", "F") else _AVERAGE
