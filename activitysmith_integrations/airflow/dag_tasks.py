"""Airflow's DAG objects as plain data: those of a DAG file, and the serialized ones of ``dag.test()``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from activitysmith_integrations.airflow.arguments import plain
from activitysmith_integrations.airflow.task_states import Role, Task, Tasks, in_order

# A serialized operator has no class of ours any more, only its name.
_ROLES: dict[str, Role] = {
    "ActivitySmithEndStreamOperator": "ends_stream",
    "ActivitySmithFollowRunOperator": "follows_run",
}

_PICTURE = ("content_state", "alert")


def plain_tasks(dag: Any) -> Tasks:
    """The tasks of a DAG, each after those that it waits for; none where the context has no real DAG.

    Args:
        dag: The DAG.
    """
    if not hasattr(dag, "tasks"):
        return {str(task_id): Task(str(task_id), str(task_id)) for task_id in getattr(dag, "task_ids", ())}
    found = [_plain_task(task) for task in dag.tasks]
    if all(task.is_ignored_teardown for task in found):
        # Those without others below them decide about the run then (``DagRun._tis_for_dagrun_state``, Airflow 3.3).
        found = [replace(task, is_ignored_teardown=bool(task.downstream)) for task in found]
    return in_order(found)


def _plain_task(task: Any) -> Task:
    group = _closest_mapped_group(task)
    is_teardown = bool(getattr(task, "is_teardown", False))
    return Task(
        task_id=str(task.task_id),
        name=str(getattr(task, "task_display_name", None) or task.task_id),
        upstream=frozenset(task.upstream_task_ids),
        downstream=frozenset(task.downstream_task_ids),
        trigger_rule=str(getattr(task.trigger_rule, "value", task.trigger_rule)),
        is_mapped=bool(getattr(task, "is_mapped", False)) or group is not None,
        mapped_group=group,
        is_empty=is_empty(task),
        is_ignored_teardown=is_teardown and not getattr(task, "on_failure_fail_dagrun", False),
        role=role_of(task),
        stream_key=written_key(task),
    )


def written_key(task: Any) -> str | None:
    """The stream of an operator of ours as the user wrote it; None for the run's own.

    Args:
        task: The operator of the DAG, which no instance has rendered.
    """
    arguments = getattr(task, "partial_kwargs", None) if getattr(task, "is_mapped", False) else None
    if arguments is None:
        key = getattr(task, "stream_key", None)
    elif "stream_key" in arguments:
        key = arguments["stream_key"]
    else:  # each instance may have its own
        key = "expanded" if _is_expanded(task, "stream_key") else None
    return None if key is None else str(plain(key, ("stream_key",)))


def has_own_picture(task: Any) -> bool:
    """Whether the user said what an operator of ours shows or sounds, whatever became of the run.

    Args:
        task: The operator of the DAG.
    """
    if not getattr(task, "is_mapped", False):
        return any(getattr(task, name, None) is not None for name in _PICTURE)
    return any(name in task.partial_kwargs or _is_expanded(task, name) for name in _PICTURE)


def _is_expanded(task: Any, name: str) -> bool:
    """Whether the instances of a mapped task have an argument of their own each, as far as is known by now."""
    expanded = getattr(getattr(task, "expand_input", None), "value", None)
    if isinstance(expanded, Mapping):  # expand(...)
        return name in expanded
    if isinstance(expanded, (list, tuple)):  # expand_kwargs([...])
        return any(name in one for one in expanded if isinstance(one, Mapping))
    return expanded is not None  # expand_kwargs with what another task returns


def role_of(task: Any) -> Role:
    """What a task does for the stream of its run, whether it is mapped or serialized or not."""
    # Airflow keeps the class of a mapped task beside it.
    kind = getattr(task, "operator_class", None) if getattr(task, "is_mapped", False) else type(task)
    role: Role | None = getattr(kind, "stream_role", None)
    return role or _ROLES.get(str(getattr(task, "task_type", "")), "work")


def is_empty(task: Any) -> bool:
    """Whether the scheduler settles a task without a worker, as long as it has no callbacks (Airflow 3.1 to 3.3)."""
    return bool(getattr(task, "inherits_from_empty_operator", False))


def _closest_mapped_group(task: Any) -> str | None:
    find = getattr(task, "get_closest_mapped_task_group", None)
    group = find() if find is not None else None
    return None if group is None else str(group.group_id)
