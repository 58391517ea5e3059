"""How wide words are, and how they fit (pure).

Nothing here knows the reader's font. Widths are those of a common sans serif, in units of the font's size, rather
too wide than too narrow; what is unknown is taken for an average letter.
"""

import math
import unicodedata
from functools import lru_cache

from activitysmith_integrations.core.text import characters, line

_LONGEST = 600
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
# XML has no way to write these two.
_UNWRITABLE = str.maketrans("\ufffe\uffff", "\ufffd\ufffd")


def one_line(text: str) -> str:
    """The text as a screen shows it on one line, of at most 600 characters, in characters that XML can hold."""
    return line(text, _LONGEST).translate(_UNWRITABLE)


def width(text: str, size: float, *, bold: bool = False) -> float:
    """How wide a text is about, in the unit of *size*."""
    # What belongs to a letter or an emoji is drawn onto it.
    letters = text if text.isascii() else (character[:1] for character in characters(text))
    return sum(map(_em, letters)) * size * (_BOLD if bold else 1)


def fit(text: str, space: float, size: float, *, bold: bool = False) -> str:
    """As much of a text as there is space for, the rest an ellipsis."""
    text = one_line(text)
    if width(text, size, bold=bold) <= space:
        return text
    kept, left = "", space - width("…", size, bold=bold)
    for character in characters(text):
        left -= width(character, size, bold=bold)
        if left < 0:
            break
        kept += character
    return f"{kept.rstrip()}…"


def size_that_fits(text: str, space: float, largest: int, smallest: int) -> int:
    """The largest size in which a bold text has space; the smallest even if that is too large."""
    needed = width(one_line(text), largest, bold=True)
    return max(smallest, min(largest, math.floor(largest * space / needed))) if needed else largest


def wrap(text: str, space: float, size: float, lines: int) -> list[str]:
    """A text in at most so many lines, broken between words where they are short enough; the last is cut."""
    rest = one_line(text)
    done: list[str] = []
    while rest and len(done) < lines - 1:
        first = _beginning(rest, space, size)
        done.append(first.rstrip())
        rest = rest[len(first) :].lstrip()
    return [*done, fit(rest, space, size)] if rest else done


def _beginning(text: str, space: float, size: float) -> str:
    """What goes into the first line: up to a space, or within a word that is longer than the line."""
    taken, at_space = "", 0
    for character in characters(text):
        if taken and width(taken + character.rstrip(), size) > space:
            return taken[:at_space] or taken
        taken += character
        if character == " " or unicodedata.east_asian_width(character[0]) == "W":
            at_space = len(taken)
    return taken


@lru_cache(maxsize=4096)
def _em(char: str) -> float:
    if char in _WIDTHS:
        return _WIDTHS[char]
    if not char or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0.0
    return _FULL if unicodedata.east_asian_width(char) in ("W", "F") else _AVERAGE
