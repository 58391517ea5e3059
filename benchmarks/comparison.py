"""Measurements side by side: the median of each, their ratio, and whether an aim is met. Pure."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

HOLD_SECONDS = 60.0
"""The cap of what is measured for as long as it lasts."""


@dataclass(frozen=True)
class Spread:
    """The median of some measurements, the least and the most; infinite where a cap was reached."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of one or more values."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        if math.isinf(self.median):
            return f"> {HOLD_SECONDS:g}"
        return f"{_short(self.median)} ({_short(self.least)} to {_short(self.most)})"


@dataclass(frozen=True)
class Row:
    """One comparison.

    Args:
        what: What was measured.
        unit: Its unit.
        ours: Our values.
        against: Who the others are.
        theirs: Their values.
        ratio: Our median to theirs.
        aim: What we want it to be, in words.
        met: Whether it is; None without an aim.
    """

    what: str
    unit: str
    ours: Spread
    against: str
    theirs: Spread
    ratio: float
    aim: str = ""
    met: bool | None = None


def compare(
    what: str,
    unit: str,
    ours: Sequence[float],
    against: str,
    theirs: Sequence[float],
    *,
    most: float | None = None,
    most_ratio: float | None = None,
) -> Row:
    """A row of the table.

    Args:
        what: What was measured.
        unit: Its unit.
        ours: Our values.
        against: Who the others are.
        theirs: Their values.
        most: The aim for our median, if it has one.
        most_ratio: The aim for the ratio, if it has one.
    """
    us, them = Spread.of(ours), Spread.of(theirs)
    ratio = us.median / them.median
    if most is not None:
        return Row(what, unit, us, against, them, ratio, f"<= {most:g} {unit}", us.median <= most)
    if most_ratio is not None:
        return Row(what, unit, us, against, them, ratio, f"<= {most_ratio:.2f} x", ratio <= most_ratio)
    return Row(what, unit, us, against, them, ratio)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def table(rows: Sequence[Row]) -> str:
    """The rows for people."""
    lines = [("what", "ours", "against", "theirs", "", "ratio", "aim", ""), *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _cells(row: Row) -> tuple[str, ...]:
    verdict = {True: "met", False: "MISSED", None: ""}[row.met]
    ratio = _short(row.ratio) if math.isfinite(row.ratio) else "-"
    return (row.what, str(row.ours), row.against, str(row.theirs), row.unit, ratio, row.aim, verdict)
