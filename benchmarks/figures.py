"""What the site shows of a measurement: a file in ``docs/figures``."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comparison import Row, Spread

FIGURES = Path(__file__).resolve().parent.parent / "docs" / "figures"


def keep(name: str, title: str, rows: Iterable[Row]) -> None:
    """Write a figure: of each row what we cost, and what it was compared with; all in the unit of the first one.

    Args:
        name: The name of its file.
        title: What it shows.
        rows: What was measured.
    """
    rows = list(rows)
    unit = rows[0].unit
    bars: dict[str, tuple[Spread, bool]] = {}
    for row in rows:
        if row.unit == unit:
            bars.setdefault(row.what, (row.ours, True))
            bars.setdefault(row.against, (row.theirs, False))
    write(
        name,
        title,
        unit,
        [
            {"name": bar, "value": _round(of.median), "low": _round(of.least), "high": _round(of.most), "ours": ours}
            for bar, (of, ours) in bars.items()
        ],
    )


def write(name: str, title: str, unit: str, rows: list[dict[str, object]]) -> None:
    """Write a figure, with the day and the machine that it was measured on."""
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    about = {"title": title, "unit": unit, "date": time.strftime("%Y-%m-%d"), "machine": machine, "rows": rows}
    FIGURES.mkdir(exist_ok=True)
    (FIGURES / f"{name}.json").write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n")


def _round(value: float) -> float:
    return float(f"{value:.3g}")
