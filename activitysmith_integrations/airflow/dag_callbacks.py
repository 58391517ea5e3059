"""Which callbacks a DAG and its tasks have, and which of them are ours."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from activitysmith_integrations.airflow.callbacks import Callback


PACKAGE = "activitysmith_integrations."


def callbacks_of(owner: Any, when: str) -> list[Any]:
    """The callbacks of a DAG or task for one occasion, as a list of their own.

    Args:
        owner: The DAG or task.
        when: ``execute``, ``success``, ``failure`` or ``skipped``.
    """
    found = getattr(owner, f"on_{when}_callback", None)
    if found is None:
        return []
    return list(found) if isinstance(found, (list, tuple)) else [found]


def own_end(dag: Any, when: str) -> Any:
    """The notifier with which a DAG ends its stream.

    Args:
        dag: The DAG; a serialized one has none.
        when: ``success`` or ``failure``.

    Returns:
        An :class:`~activitysmith_integrations.airflow.notifications.ActivitySmithEndStreamNotifier`, or None.
    """
    return next((one for one in _ours(callbacks_of(dag, when)) if one.ends_stream), None)


OCCASIONS = ("execute", "success", "failure", "skipped")
"""When a task calls something that reports how far its run is."""


def task_ends(dag: Any, stream_key: str | None) -> bool:
    """Whether callbacks of tasks end a stream as well.

    Args:
        dag: The DAG; a serialized one has no callbacks.
        stream_key: The stream, as the user wrote it; None for the run's own.
    """
    return any(one.ends_stream and one.stream_key == stream_key for one in _of_tasks(dag))


def own_deadlines(dag: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The notifiers that a DAG's deadlines make once they are missed.

    Args:
        dag: The DAG; a serialized one has none.

    Returns:
        The path and the arguments of each.
    """
    for alert in getattr(dag, "deadline", None) or ():
        callback = getattr(alert, "callback", None)
        path = str(getattr(callback, "path", ""))
        if path.startswith(PACKAGE):
            yield path, getattr(callback, "kwargs", None) or {}


def reports_progress(task: Any) -> bool:
    """Whether a task calls something that reports how far its run is."""
    return any(one.reports_progress for one in _of_task(task))


def is_shown(dag: Any) -> bool:
    """Whether tasks of a DAG report how far its runs are."""
    return any(one.reports_progress for one in _of_tasks(dag))


def is_shown_as(dag: Any, stream_key: str | None) -> bool:
    """Whether tasks of a DAG report how far its runs are to a stream.

    Args:
        dag: The DAG; a serialized one has no callbacks.
        stream_key: The stream, as the user wrote it; None for the run's own.
    """
    return any(one.reports_progress and one.stream_key == stream_key for one in _of_tasks(dag))


def _of_tasks(dag: Any) -> Iterator[Callback]:
    return (one for task in getattr(dag, "tasks", ()) for one in _of_task(task))


def _of_task(task: Any) -> Iterator[Callback]:
    return _ours(one for when in OCCASIONS for one in callbacks_of(task, when))


def _ours(callbacks: Iterable[Any]) -> Iterator[Callback]:
    from activitysmith_integrations.airflow.callbacks import Callback  # which a DAG without a tag does not load

    return (one for one in callbacks if isinstance(one, Callback))
