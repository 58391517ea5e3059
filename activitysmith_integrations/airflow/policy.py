"""Tag a DAG, write no code: a DAG tagged ``activitysmith`` ends its stream by itself.

Airflow loads this module wherever it starts, so it imports nothing but Airflow's hook marker.
"""

import logging
from typing import Any

from airflow.policies import hookimpl

TAG = "activitysmith"

log = logging.getLogger(__name__)


@hookimpl
def dag_policy(dag: Any) -> None:
    """Give a tagged DAG the notifier on success and failure, after the callbacks that it has.

    ``[activitysmith] end_tagged_dags = False`` turns this off.

    Args:
        dag: A DAG that was just parsed; one without the tag is not touched.
    """
    if TAG not in (dag.tags or ()):
        return
    try:
        _end_when_over(dag)
    except Exception:
        # An error here would keep the DAG from being parsed.
        log.exception("DAG %s is tagged %s, but will not end its Live Activity stream.", dag.dag_id, TAG)


def _end_when_over(dag: Any) -> None:
    from activitysmith_integrations.airflow.compat import conf
    from activitysmith_integrations.airflow.notifications import ActivitySmithEndStreamNotifier

    if not conf.getboolean("activitysmith", "end_tagged_dags", fallback=True):
        return
    for when in ("success", "failure"):
        callbacks = _as_list(getattr(dag, f"on_{when}_callback"))
        if not any(isinstance(callback, ActivitySmithEndStreamNotifier) for callback in callbacks):
            setattr(dag, f"on_{when}_callback", [*callbacks, ActivitySmithEndStreamNotifier()])
            # Airflow computes this when the DAG is made, and asks for no callback where it is False.
            setattr(dag, f"has_on_{when}_callback", True)


def _as_list(callbacks: Any) -> list[Any]:
    if callbacks is None:
        return []
    return list(callbacks) if isinstance(callbacks, (list, tuple)) else [callbacks]
