"""A run that somebody marks as failed or successful by hand ends its stream.

Airflow calls no callback for such a run, only listeners, in the api-server. The same listeners hear of every other end
of a run, in the scheduler's main thread: there they return with their first line, and ask for nothing (Airflow 3.3
rolls back what the scheduler did, or exits, where a listener asks the database there).

What is sent goes through the connection ``activitysmith_default``: the api-server knows the serialized DAG alone, which
does not hold the connection of its callbacks.
"""

from __future__ import annotations

import functools
import logging
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, ClassVar

from activitysmith_integrations.airflow import needs_airflow

with needs_airflow():
    from airflow.listeners import hookimpl
    from airflow.plugins_manager import AirflowPlugin

if TYPE_CHECKING:
    from datetime import tzinfo

    from activitysmith_integrations.core.runs.outcome import Result

# How Airflow's message about a run that was marked by hand begins; up to 3.2 there is none.
_BY_HAND = "Dag Run's state was manually set to"
_SHOWN: dict[Result, str] = {"succeeded": "Marked as successful by hand", "failed": "Marked as failed by hand"}

log = logging.getLogger(__name__)


@hookimpl
def on_dag_run_success(dag_run: Any, msg: str) -> None:
    """End the stream of a run that was marked successful by hand.

    Args:
        dag_run: Airflow's database object.
        msg: Why the run ended.
    """
    if _is_marked(msg):
        _end(dag_run, "succeeded")


@hookimpl
def on_dag_run_failed(dag_run: Any, msg: str) -> None:
    """End the stream of a run that was marked failed by hand.

    Args:
        dag_run: Airflow's database object.
        msg: Why the run ended.
    """
    if _is_marked(msg):
        _end(dag_run, "failed")


def _is_marked(msg: str) -> bool:
    """Whether somebody marked the run, which the api-server does in a thread that is not its main one.

    The message alone does not tell: the scheduler of Airflow 3.1 has none about a run that timed out.
    """
    if threading.current_thread() is threading.main_thread():
        return False
    return not msg or msg.startswith(_BY_HAND)


def _end(dag_run: Any, result: Result) -> None:
    """Start a thread that ends the stream; the request that marks the run neither waits for it nor fails with it."""
    try:
        end_in_background(dag_run, result)
    except Exception:
        log.exception("The Live Activity stream of a run that was marked by hand was not ended.")


@dataclass(frozen=True)
class MarkedRun:
    """What was read of a run while its database session was there.

    Args:
        dag_id: The DAG's id.
        run_id: The run's id.
        title: The DAG's name.
        result: What the run was marked as.
        started_at: When it began.
        timezone: The DAG's time zone.
        starts_unseen: Whether a failure whose stream the service does not know is shown.
    """

    dag_id: str
    run_id: str
    title: str
    result: Result
    started_at: datetime | None
    timezone: tzinfo | None
    starts_unseen: bool


def end_in_background(dag_run: Any, result: Result) -> threading.Thread | None:
    """End the stream of a tagged DAG's run, from a thread of its own.

    Args:
        dag_run: Airflow's database object.
        result: What the run was marked as.

    Returns:
        The thread; None where the run shows nothing that could be ended.
    """
    from activitysmith_integrations.airflow.compat import conf
    from activitysmith_integrations.airflow.policy import FAILURES_TAG, TAG, shown_tags

    dag = getattr(dag_run, "dag", None) or getattr(dag_run, "dag_model", None)
    tags = shown_tags(str(getattr(tag, "name", tag)) for tag in getattr(dag, "tags", None) or ())
    is_shown = TAG in tags or (FAILURES_TAG in tags and result == "failed")
    options = ("end_tagged_dags", "end_marked_runs")
    if not is_shown or not all(conf.getboolean("activitysmith", option, fallback=True) for option in options):
        return None
    marked = MarkedRun(
        dag_id=str(dag_run.dag_id),
        run_id=str(dag_run.run_id),
        title=str(getattr(dag, "dag_display_name", None) or dag_run.dag_id),
        result=result,
        started_at=dag_run.start_date,
        timezone=getattr(dag, "timezone", None),
        # Where runs are shown from their start, one that is not known may have a key of its own.
        starts_unseen=TAG not in tags,
    )
    from activitysmith_integrations.core.threads import BackgroundThread

    thread = BackgroundThread(functools.partial(_end_now, marked), "activitysmith-marked-run")
    thread.start()
    return thread


def _end_now(marked: MarkedRun) -> None:
    from activitysmith_integrations.airflow.hooks import ActivitySmithHook
    from activitysmith_integrations.airflow.outcomes import run_url
    from activitysmith_integrations.airflow.run_label import run_label
    from activitysmith_integrations.core.keys import stream_key
    from activitysmith_integrations.core.retry import DEFAULT_PATIENCE, seconds_for_calls
    from activitysmith_integrations.core.runs.ending import EndResult, build_end_or_default, end_stream
    from activitysmith_integrations.core.runs.log_lines import line_of_end
    from activitysmith_integrations.core.runs.outcome import EndOptions, RunOutcome

    deadline = time.monotonic() + seconds_for_calls(DEFAULT_PATIENCE)
    with suppress(Exception):  # a log that is gone
        outcome = RunOutcome(
            pipeline=marked.dag_id,
            result=marked.result,
            run=marked.run_id,
            engine="airflow",
            started_at=marked.started_at,
            ended_at=datetime.now(UTC),
            url=run_url(marked.dag_id, marked.run_id),
        )
        label = run_label(marked.run_id, marked.timezone)
        subtitle = " · ".join(part for part in (label, _SHOWN[marked.result]) if part)
        options: EndOptions = {
            "title": marked.title,
            "subtitle": subtitle,
            "start_unseen_failures": marked.starts_unseen,
        }
        end = build_end_or_default(outcome, options)
        key = stream_key(marked.dag_id, marked.run_id)
        try:
            with ActivitySmithHook().get_conn() as client:
                result = end_stream(client, key, end, deadline=deadline)
        except Exception as error:
            result = EndResult(error=error)
        log.log(*line_of_end(key, end, result))


class ActivitySmithPlugin(AirflowPlugin):
    """The plugin through which Airflow finds this module's listeners."""

    name = "activitysmith"
    listeners: ClassVar[list[object]] = [sys.modules[__name__]]  # type: ignore[misc]
