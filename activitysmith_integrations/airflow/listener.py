"""A run that somebody marks as failed or successful by hand ends its stream.

Airflow calls no callback for such a run, only listeners, in the api-server. The same listeners hear of every other end
of a run, in the scheduler's main thread: there they return with their first line, and ask for nothing (Airflow 3.3
rolls back what the scheduler did, or exits, where a listener asks the database there).
"""

import logging
import threading
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

if TYPE_CHECKING:
    from activitysmith_integrations.core.runs.outcome import Result

# How Airflow's message about a run that was marked by hand begins; up to 3.2 there is none.
_BY_HAND = "Dag Run's state was manually set to"

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


def _end(dag_run: Any, result: "Result") -> None:
    """Start a thread that ends the stream; the request that marks the run neither waits for it nor fails with it."""
    try:
        from activitysmith_integrations.airflow import marked_runs

        marked_runs.end_in_background(dag_run, result)
    except Exception:
        log.exception("The Live Activity stream of a run that was marked by hand was not ended.")
