"""Tag a DAG, write no code: a DAG tagged ``activitysmith`` shows its runs from start to end by itself.

Airflow loads this module wherever it starts, so it imports nothing but Airflow's hook marker.
"""

import logging
from typing import Any

from airflow.policies import hookimpl

TAG = "activitysmith"

log = logging.getLogger(__name__)


@hookimpl
def dag_policy(dag: Any) -> None:
    """Give a tagged DAG the notifiers that start, move and end its stream, after the callbacks that it has.

    ``[activitysmith] stream_tagged_dags = False`` leaves the end alone, ``end_tagged_dags = False`` nothing.

    Args:
        dag: A DAG that was just parsed; one without the tag is not touched.
    """
    if TAG not in (dag.tags or ()):
        return
    try:
        _show_from_start_to_end(dag)
    except Exception:
        # An error here would keep the DAG from being parsed.
        log.exception("DAG %s is tagged %s, but does not show its Live Activity stream.", dag.dag_id, TAG)


def _show_from_start_to_end(dag: Any) -> None:
    from activitysmith_integrations.airflow import progress
    from activitysmith_integrations.airflow.compat import conf
    from activitysmith_integrations.airflow.notifications import (
        ActivitySmithEndStreamNotifier,
        ActivitySmithStreamNotifier,
    )

    if not conf.getboolean("activitysmith", "end_tagged_dags", fallback=True):
        return
    callbacks = {when: progress.as_list(getattr(dag, f"on_{when}_callback")) for when in ("success", "failure")}
    ends = {
        when: next((one for one in several if isinstance(one, ActivitySmithEndStreamNotifier)), None)
        for when, several in callbacks.items()
    }
    # Whoever ends the stream in words of their own means the same stream with the rest.
    own = [end for end in ends.values() if end is not None]
    mine = max(own, key=lambda end: end.stream_key is not None, default=ActivitySmithEndStreamNotifier())
    if len({end.stream_key for end in own}) > 1:
        log.warning(
            "DAG %s ends one stream on success and another on failure; %r is shown.", dag.dag_id, mine.stream_key
        )

    title = {} if mine.title is None else {"title": mine.title}

    def named(kind: Any) -> Any:
        return kind(mine.stream_key, activitysmith_conn_id=mine.activitysmith_conn_id, **title)

    for when, end in ends.items():
        if end is None:
            setattr(dag, f"on_{when}_callback", [*callbacks[when], named(ActivitySmithEndStreamNotifier)])
            # Airflow computes this when the DAG is made, and asks for no callback where it is False.
            setattr(dag, f"has_on_{when}_callback", True)
    if conf.getboolean("activitysmith", "stream_tagged_dags", fallback=True):
        progress.show(dag, named(ActivitySmithStreamNotifier))
