"""Tag a DAG, write no code: what the tags ``activitysmith`` and ``activitysmith:failures`` give a DAG.

Airflow loads this module wherever it starts, so it imports nothing but Airflow's hook marker.
"""

import logging
from typing import Any

from airflow.policies import hookimpl

TAG = "activitysmith"
"""Shows each run from its first task to its end."""

FAILURES_TAG = "activitysmith:failures"
"""Shows a run only if it fails."""

log = logging.getLogger(__name__)


@hookimpl(trylast=True)
def dag_policy(dag: Any) -> None:
    """Give a tagged DAG the callbacks that show its runs, after those that it has.

    ``[activitysmith] stream_tagged_dags = False`` leaves the end alone, ``end_tagged_dags = False`` nothing.

    Args:
        dag: A DAG that was just parsed; one without a tag is not touched.
    """
    tags = _tags_of(dag)
    if not tags and not _has_ours(dag):
        return
    try:
        from activitysmith_integrations.airflow import tagged_dags, templates

        templates.remember_dag(dag)
        if tags:
            tagged_dags.show(dag, only_failures=TAG not in tags)
    except Exception:
        # An error here would keep the DAG from being parsed.
        log.exception("DAG %s is tagged %s, but does not show its runs.", dag.dag_id, TAG)


@hookimpl(trylast=True)
def task_policy(task: Any) -> None:
    """Give a task of a tagged DAG its callbacks back where another task policy has set its own in their place.

    Args:
        task: A task of a DAG that was just parsed.
    """
    dag = task.get_dag()
    if dag is None or TAG not in _tags_of(dag):
        return
    try:
        from activitysmith_integrations.airflow import tagged_dags

        tagged_dags.show_task_again(dag, task)
    except Exception:
        log.exception("Task %s of DAG %s does not report its progress.", task.task_id, dag.dag_id)


def _tags_of(dag: Any) -> set[str]:
    return {tag.lower() for tag in dag.tags or ()} & {TAG, FAILURES_TAG}


def _has_ours(dag: Any) -> bool:
    every = (getattr(dag, "on_success_callback", None), getattr(dag, "on_failure_callback", None))
    lists = (found if isinstance(found, (list, tuple)) else [found] for found in every)
    return any(type(one).__module__.startswith("activitysmith_integrations.") for found in lists for one in found)
