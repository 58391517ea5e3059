"""An Airflow callback's context, whatever its shape, becomes a RunOutcome.

The shapes (Airflow 3.1 to 3.3): a task's callback on the worker, or in the dag-processor for a task that was
killed; a DAG's callback in the dag-processor, with or without a task instance; a deadline's, whose ``dag_run``
is a REST document; ``dag.test()``, in whatever process called it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

from activitysmith_integrations import core
from activitysmith_integrations.airflow.compat import conf

_BY_REASON: dict[str, core.Result] = {"success": "succeeded", "timed_out": "timed_out"}
_BY_STATE: dict[str, core.Result] = {"success": "succeeded", "skipped": "succeeded", "failed": "failed"}
FAILED = ("failed", "upstream_failed")
_DONE = ("success", "skipped")
OVER = (*_DONE, *FAILED)


def normalized(context: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in which templates find ``dag``, ``dag_run``, ``run_id`` whatever the callback was given.

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


def result(context: Mapping[str, Any]) -> core.Result | None:
    """How the run or task of a context ended; None if it goes on (it starts, or it will be tried again).

    Args:
        context: A normalized context.
    """
    if "reason" in context:
        return _BY_REASON.get(str(context["reason"]), "failed")
    if "deadline" in context:
        return "timed_out"
    ti = context.get("task_instance")
    state = _text(getattr(ti, "state", None))
    if state in _BY_STATE:
        ended = _BY_STATE[state]
        return "timed_out" if ended == "failed" and _is_timeout(context.get("exception")) else ended
    if state is not None:
        return None
    if ti is None:
        return _BY_STATE.get(_text(getattr(context.get("dag_run"), "state", None)) or "", "failed")
    # A task that was killed: the dag-processor runs its callback and does not say which.
    return None if getattr(ti, "try_number", 0) <= (getattr(ti, "max_tries", None) or 0) else "failed"


def is_running(context: Mapping[str, Any]) -> bool:
    """Whether a normalized context is one of a task instance that has just begun."""
    return "reason" not in context and state_of(context.get("task_instance")) == "running"


def outcome(context: Mapping[str, Any], ended_as: core.Result, *, of_the_run: bool) -> core.RunOutcome | None:
    """What happened, as far as a callback can know it without asking anything that may hang.

    Args:
        context: A normalized context.
        ended_as: How its run or task ended.
        of_the_run: Whether the stream is the DAG's. Else it is the one of the task whose callback this is.

    Returns:
        None if the stream is the DAG's, and a task of it succeeded while others are not over.
    """
    ti = context.get("task_instance")
    if ti is None or "reason" in context:
        return _outcome_of_dag(context, ended_as)
    if not of_the_run:
        return _outcome(context, ended_as, failed_step=label(ti), started_at=getattr(ti, "start_date", None))
    # The state of a failed task is posted only after its callbacks.
    own: core.Result = "succeeded" if ended_as == "succeeded" else "failed"
    states = run_states(context)
    if own == "failed":
        return _with_states(context, ended_as, states and {**states, state_key(ti): "failed"}, label(ti))
    if any(state not in OVER for key, state in states.items() if key != state_key(ti)):
        return None
    return _with_states(context, _result_of(states), {**states, state_key(ti): "success"} if states else {}, None)


def _outcome_of_dag(context: Mapping[str, Any], ended_as: core.Result) -> core.RunOutcome:
    dag, ti = context["dag"], context.get("task_instance")
    if ended_as == "succeeded":
        # A successful run is complete without a look at its tasks.
        total = len(getattr(dag, "task_ids", ())) or None
        return _outcome(context, ended_as, done=total, total=total)
    states = run_states(context)
    failed = label(ti) if not states and ti is not None and context.get("reason") == "task_failure" else None
    return _with_states(context, ended_as, states, failed)


def outcome_so_far(context: Mapping[str, Any], task_id: str, not_counted: Iterable[str]) -> core.RunOutcome:
    """What happened so far, for a task that ends the stream.

    Args:
        context: A normalized context.
        task_id: That task.
        not_counted: Tasks that come after it.
    """
    states = run_states(context)
    task_ids = set(getattr(context["dag"], "task_ids", ()))
    apart = {task_id, *not_counted}
    counted = {key: state for key, state in states.items() if task_of(key, task_ids) not in apart}
    return _with_states(context, _result_of(counted), counted, None)


def task_states(ti: Any, dag_id: str | None, run_id: str | None) -> dict[str, str]:
    """The state of every task instance of a run, by ``task_id`` or ``task_id_mapindex``; empty where unknown.

    Airflow answers this on workers and in the dag-processor alike, where most other questions hang; 3.1.0, which
    hangs on this one too, is not supported.
    """
    if ti is None or not dag_id or not run_id:
        return {}
    try:
        found = ti.get_task_states(dag_id=dag_id, run_ids=[run_id]).get(run_id, {})
    except Exception:
        # dag.test() calls DAG callbacks where there is nobody to ask (NameError in 3.3).
        return {}
    return {key: _text(state) or "none" for key, state in found.items() if _text(state) != "removed"}


def run_states(context: Mapping[str, Any]) -> dict[str, str]:
    """:func:`task_states` of a normalized context's run."""
    return task_states(context.get("task_instance"), context["dag"].dag_id, context["run_id"])


def count(context: Mapping[str, Any], **which: list[str]) -> int:
    """How many task instances the run of a normalized context has.

    Args:
        context: The context of one of them.
        which: ``task_ids`` or ``states`` to count; the states as far as they are posted.
    """
    ti, dag_id, run_id = context["task_instance"], context["dag"].dag_id, context["run_id"]
    try:
        return int(ti.get_ti_count(dag_id=dag_id, run_ids=[run_id], **which))
    except Exception:
        # The dag-processor, which runs the callbacks of killed tasks, does not answer this (Airflow 3.3).
        tasks, states = which.get("task_ids"), which.get("states")
        known = run_states(context)
        task_ids = set(getattr(context["dag"], "task_ids", ()))
        return sum(
            (tasks is None or task_of(key, task_ids) in tasks) and (states is None or state in states)
            for key, state in known.items()
        )


def _result_of(states: Mapping[str, str]) -> core.Result:
    return "failed" if any(state in FAILED for state in states.values()) else "succeeded"


def run_so_far(context: Mapping[str, Any]) -> core.RunOutcome:
    """The run of a normalized context, while it goes on; what its result says means nothing."""
    return replace(_outcome(context, "succeeded"), ended_at=None)


def _with_states(
    context: Mapping[str, Any], ended_as: core.Result, states: Mapping[str, str], failed_step: str | None
) -> core.RunOutcome:
    if not states:
        return _outcome(context, ended_as, failed_step=failed_step)
    count = Counter(states.values())
    # A DAG's timeout sets what is unfinished to skipped, so there skipped is not done.
    done = sum(count[state] for state in (("success",) if context.get("reason") == "timed_out" else _DONE))
    if failed_step is None and ended_as == "failed":
        failed_step = _first_failed(context["dag"], states)
    return _outcome(context, ended_as, done=done, total=len(states), failed_step=failed_step)


def _outcome(
    context: Mapping[str, Any],
    ended_as: core.Result,
    *,
    done: int | None = None,
    total: int | None = None,
    failed_step: str | None = None,
    started_at: datetime | None = None,
) -> core.RunOutcome:
    dag_run, ti, error = context["dag_run"], context.get("task_instance"), context.get("exception")
    ended_at = getattr(dag_run, "end_date", None) or getattr(ti, "end_date", None)
    dag_id, run_id = context["dag"].dag_id, context["run_id"]
    return core.RunOutcome(
        pipeline=dag_id or "",
        result=ended_as,
        run=run_id,
        engine="airflow",
        steps_done=done,
        steps_total=total,
        failed_step=failed_step,
        started_at=_moment(started_at or getattr(dag_run, "start_date", None)),
        ended_at=_moment(ended_at) or datetime.now(UTC),
        url=_run_url(dag_id, run_id),
        error_type=type(error).__name__ if isinstance(error, BaseException) else None,
        error_text=_words(error),
    )


def _words(error: object) -> str | None:
    try:
        return None if error is None else str(error)
    except Exception:  # an exception of the user's own, which must not keep a stream from ending
        return None


def state_of(ti: Any) -> str:
    """The state of a task instance as its callbacks see it; ``none`` where they do not."""
    return _text(getattr(ti, "state", None)) or "none"


def label(ti: Any) -> str:
    """A task instance in words: ``task``, or ``task[index]`` where it is mapped."""
    index = map_index(ti)
    return str(ti.task_id) if index < 0 else f"{ti.task_id}[{index}]"


def _run_url(dag_id: str | None, run_id: str | None) -> str | None:
    base_url = conf.get("api", "base_url", fallback=None)
    if not base_url or not dag_id or not run_id:
        return None
    return f"{base_url.rstrip('/')}/dags/{quote(dag_id)}/runs/{quote(run_id)}"


def _is_timeout(error: object) -> bool:
    return type(error).__name__ == "AirflowTaskTimeout"


def _text(state: Any) -> str | None:
    return None if state is None else str(getattr(state, "value", state))


def map_index(ti: Any) -> int:
    """Which instance of its task it is, -1 where the task is not mapped."""
    index = getattr(ti, "map_index", -1)
    return -1 if index is None else int(index)


def state_key(ti: Any) -> str:
    """The key of a task instance among :func:`task_states`."""
    index = map_index(ti)
    return str(ti.task_id) if index < 0 else f"{ti.task_id}_{index}"


def task_of(key: str, task_ids: Iterable[str]) -> str:
    """The task of a key of :func:`task_states`: Airflow joins a mapped one's index to it with an underscore."""
    task_id, _, index = key.rpartition("_")
    return task_id if key not in task_ids and index.isdigit() and task_id in task_ids else key


def _first_failed(dag: Any, states: Mapping[str, str]) -> str | None:
    """The failed task that comes first in the DAG, as ``task`` or ``task[index]``."""
    ranks = order(dag)
    failed = [key for key, state in states.items() if state == "failed"]
    if not failed:
        return None
    first = min(failed, key=lambda key: ranks.index(task_id) if (task_id := task_of(key, ranks)) in ranks else -1)
    task_id = task_of(first, ranks)
    return first if task_id == first else f"{task_id}[{first[len(task_id) + 1 :]}]"


def order(dag: Any) -> list[str]:
    """The tasks of a DAG, each after those that it waits for."""
    if hasattr(dag, "topological_sort"):
        return [task.task_id for task in dag.topological_sort()]
    return list(getattr(dag, "task_ids", ()))


def _moment(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return value
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
