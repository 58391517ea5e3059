"""DAGs as the rules see them, and runs of them."""

import itertools
from collections.abc import Mapping

from activitysmith_integrations.airflow.task_states import Task, Tasks, in_order


def dag(*edges: str, **more: Mapping[str, object]) -> Tasks:
    """The tasks of a DAG.

    Args:
        edges: Such as ``a >> b >> c``.
        more: What else there is to say of a task, by its id.
    """
    upstream: dict[str, set[str]] = {}
    downstream: dict[str, set[str]] = {}
    for edge in edges:
        names = edge.split(" >> ")
        for name in names:
            upstream.setdefault(name, set())
            downstream.setdefault(name, set())
        for above, below in itertools.pairwise(names):
            upstream[below].add(above)
            downstream[above].add(below)
    return in_order(
        Task(
            name,
            **{  # type: ignore[arg-type]
                "name": name,
                "upstream": frozenset(upstream[name]),
                "downstream": frozenset(downstream[name]),
                **more.get(name, {}),
            },
        )
        for name in upstream
    )
