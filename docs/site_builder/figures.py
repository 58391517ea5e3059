"""Measured figures as charts: one file of ``docs/figures`` each, written by the benchmarks."""

import json
from pathlib import Path
from typing import Any

from site_builder.members import table

FIGURES = Path(__file__).parents[1] / "figures"
_NOT_MEASURED = "Not measured yet for this version. To measure it: `{command}`."
_WIDTH, _ROW, _LABELS, _NUMBERS = 720, 34, 270, 90


def figure(name: str, command: str) -> str:
    """A measurement as a chart and a table, or how to measure where there is none.

    Args:
        name: The name of a file in ``docs/figures``.
        command: The command that measures it.
    """
    file = FIGURES / f"{name}.json"
    if not file.exists():
        return _NOT_MEASURED.format(command=command)
    return chart(json.loads(file.read_text()), command)


def chart(measured: dict[str, Any], command: str) -> str:
    """A measurement as a chart, its table, and how it was made.

    Args:
        measured: ``title``, ``unit``, ``date``, ``machine``, and ``rows`` of ``name``, ``value`` and perhaps ``low``,
            ``high`` and ``ours``.
        command: The command that measures it.
    """
    unit = measured["unit"]
    rows = [(row["name"], f"{row['value']:g} {unit}", _spread(row, unit)) for row in measured["rows"]]
    how = f"{measured['date']}, {measured['machine']}. To measure it again: `{command}`."
    numbers = table(("what", "median", "least to most"), rows)
    return f"{_bars(measured)}\n\n{numbers}\n\n{how}"


def _spread(row: dict[str, Any], unit: str) -> str:
    return f"{row['low']:g} to {row['high']:g} {unit}" if "low" in row else ""


def _bars(measured: dict[str, Any]) -> str:
    rows = measured["rows"]
    most = max(row["value"] for row in rows) or 1
    drawn = ""
    for number, row in enumerate(rows):
        y = number * _ROW
        width = max(2.0, (_WIDTH - _LABELS - _NUMBERS) * row["value"] / most)
        kind = "ours" if row.get("ours") else "theirs"
        drawn += (
            f'<text x="{_LABELS - 10}" y="{y + 21}" text-anchor="end">{_escaped(row["name"])}</text>'
            f'<rect class="{kind}" x="{_LABELS}" y="{y + 7}" width="{width:.1f}" height="20" rx="4"/>'
            f'<text x="{_LABELS + width + 8:.1f}" y="{y + 21}">{row["value"]:g} {measured["unit"]}</text>'
        )
    return (
        f'<svg class="bars" viewBox="0 0 {_WIDTH} {len(rows) * _ROW}" role="img" '
        f'aria-label="{_escaped(measured["title"])}">{drawn}</svg>'
    )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
