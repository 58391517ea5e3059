"""Airflow's contexts and answers as plain data, whatever their shape.

The shapes of a context (Airflow 3.1 to 3.3): a task's callback on the worker, or in the dag-processor for a task that
was killed; a DAG's callback in the dag-processor, with or without a task instance; a deadline's, whose ``dag_run`` is a
REST document; ``dag.test()``, in whatever process called it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

from activitysmith_integrations.airflow.compat import conf


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
    dag_run, dag = known.get("dag_run"), known.get("dag")
    dag_id = getattr(dag, "dag_id", None) or getattr(dag_run, "dag_id", None)
    run_id = known.get("run_id") or getattr(dag_run, "run_id", None)
    if dag is None:
        known["dag"] = SimpleNamespace(dag_id=dag_id)
    if dag_run is None:
        known["dag_run"] = SimpleNamespace(dag_id=dag_id, run_id=run_id)
    known["run_id"] = run_id
    return known


def plain_states(found: Mapping[str, Any]) -> dict[str, str]:
    """Airflow's answer about the states of a run's task instances, as texts.

    Args:
        found: The answer for one run.
    """
    return {key: text_of(state) or "none" for key, state in found.items() if text_of(state) != "removed"}


def message_of(error: object) -> str | None:
    """The message of an exception, which may fail to say what it is."""
    try:
        return None if error is None else str(error)
    except Exception:  # an exception of the user's own, which must not keep a stream from ending
        return None


def run_url(dag_id: str, run_id: str | None) -> str | None:
    """The page of a run; None where Airflow does not know its own address."""
    base_url = conf.get("api", "base_url", fallback=None)
    if not base_url or not dag_id or not run_id:
        return None
    return f"{base_url.rstrip('/')}/dags/{quote(dag_id)}/runs/{quote(run_id)}"


def text_of(state: Any) -> str | None:
    """A state as text, whether it is an enum's member or not."""
    return None if state is None else str(getattr(state, "value", state))


def map_index_of(ti: Any) -> int:
    """Which instance of its task it is, -1 where the task is not mapped."""
    index = getattr(ti, "map_index", -1)
    return -1 if index is None else int(index)


def moment_of(value: Any) -> datetime | None:
    """A moment, from a datetime or ISO 8601; None where it is neither."""
    if isinstance(value, datetime):
        return value
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
