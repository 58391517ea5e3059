"""What Airflow gives a callback, whichever of its processes calls it, in one shape."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any


def normalized(context: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in which templates find ``dag``, ``dag_run`` and ``run_id`` whatever the callback was given.

    Args:
        context: What Airflow gave; it is not changed.
    """
    known = dict(context)
    document = known.get("dag_run")
    if isinstance(document, Mapping):
        # A deadline's: the run's id is called dag_run_id there, and moments are strings.
        known["dag_run"] = SimpleNamespace(**{**document, "run_id": document.get("dag_run_id")})
        known = {**_moments(document.get("logical_date")), **known}
    dag_run, dag = known.get("dag_run"), known.get("dag")
    dag_id = getattr(dag, "dag_id", None) or getattr(dag_run, "dag_id", None)
    run_id = known.get("run_id") or getattr(dag_run, "run_id", None)
    if dag is None:
        known["dag"] = SimpleNamespace(dag_id=dag_id)
    if dag_run is None:
        known["dag_run"] = SimpleNamespace(dag_id=dag_id, run_id=run_id)
    known["run_id"] = run_id
    return known


def _moments(logical_date: str | None) -> dict[str, Any]:
    """What templates call the logical date, as Airflow has it in the contexts of tasks (3.3)."""
    if logical_date is None:
        return {}
    from airflow.sdk import timezone

    moment = timezone.parse(logical_date)
    ds, ts = moment.strftime("%Y-%m-%d"), moment.isoformat()
    return {
        "logical_date": moment,
        "ds": ds,
        "ds_nodash": ds.replace("-", ""),
        "ts": ts,
        "ts_nodash": moment.strftime("%Y%m%dT%H%M%S"),
        "ts_nodash_with_tz": ts.replace("-", "").replace(":", ""),
    }
