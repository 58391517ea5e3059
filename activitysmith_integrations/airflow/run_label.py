"""What tells the runs of a DAG apart on the screen. Pure, without Airflow."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import tzinfo

# What Airflow calls the runs that it makes, such as scheduled__2026-11-27T00:00:00+00:00: a member of DagRunType, a
# moment, for some the key of a partition, and for some eight random characters (Airflow 3.1 to 3.3).
_MOMENT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:[+-]\d\d:\d\d|Z)?"
_MADE_BY_AIRFLOW = re.compile(
    rf"(scheduled|manual|backfill|asset_triggered|asset_materialization|operator_triggered)__({_MOMENT})"
    rf"(?:__(.+)(?=__))?(?:__?[A-Za-z0-9]{{8}})?"
)
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def run_label(run_id: str | None, timezone: tzinfo | None) -> str | None:
    """A run's date and time, such as ``27 Nov 03:00``, or the id that somebody gave it.

    Where the DAG's time zone is not known, the time is that of the run's id, and says so: ``27 Nov 02:00 UTC``.

    Args:
        run_id: The run's id.
        timezone: The DAG's time zone, None where that is not known.

    Returns:
        The label, to the millisecond for a run that was triggered, since such runs may follow each other closely; None
        where there is no id.
    """
    made = _MADE_BY_AIRFLOW.fullmatch(run_id or "")
    if made is None:
        return run_id or None
    kind, text, partition = made.groups()
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.astimezone(timezone) if timezone is not None and moment.tzinfo is not None else moment
    except (ValueError, OverflowError):
        return run_id
    seconds = "" if kind in ("scheduled", "backfill") else f":{moment.second:02}.{moment.microsecond // 1000:03}"
    # strftime would name the month in the language of the process.
    zone = " UTC" if timezone is None and moment.utcoffset() == timedelta(0) else ""
    part = f" {partition}" if partition and not text.startswith(partition) else ""
    return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.hour:02}:{moment.minute:02}{seconds}{zone}{part}"
