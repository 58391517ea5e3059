"""Tag a DAG, write no code: what the tags ``activitysmith`` and ``activitysmith:failures`` give a DAG and its tasks.

Airflow loads this module wherever it starts, so it imports nothing but Airflow's hook marker.
"""

from __future__ import annotations

import logging
import pkgutil
import re
from typing import TYPE_CHECKING, Any

from activitysmith_integrations.airflow import needs_airflow

with needs_airflow():
    from airflow.policies import hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from activitysmith_integrations.airflow.follow_operator import ActivitySmithFollowRunOperator
    from activitysmith_integrations.airflow.notifications import ActivitySmithEndStreamNotifier
    from activitysmith_integrations.airflow.reporter import ProgressReporter

TAG = "activitysmith"
"""Shows each run from its first task to its end."""

FAILURES_TAG = "activitysmith:failures"
"""Shows a run only if it fails."""

log = logging.getLogger(__name__)

_UNRESOLVED_INLETS = frozenset({"AssetAlias", "AssetNameRef", "AssetUriRef"})

# Where a DAG keeps the reporter that its tasks were given.
_REPORTER = "_activitysmith_reporter"


@hookimpl(trylast=True)
def dag_policy(dag: Any) -> None:
    """Give a tagged DAG the callbacks that show its runs, after those that it has.

    ``[activitysmith] stream_tagged_dags = False`` leaves the end alone, ``end_tagged_dags = False`` nothing.

    Args:
        dag: A DAG that was just parsed; one without a tag or a notifier of ours is not touched.
    """
    _call_notifier_classes(dag)
    _check_deadlines(dag)
    tags = _tags_of(dag)
    if not tags:
        _warn_of_misspelt_tags(dag)
    if not tags and not _has_ours(dag):
        return
    try:
        from activitysmith_integrations.airflow import templates

        templates.remember_dag(dag)
        if tags:
            _show(dag, only_failures=TAG not in tags)
    except Exception:
        # An error here would keep the DAG from being parsed.
        log.exception("DAG %s is tagged %s, but does not show its runs.", dag.dag_id, TAG)


@hookimpl(trylast=True)
def task_policy(task: Any) -> None:
    """Give a task of a tagged DAG its callbacks back where another task policy has set its own in their place.

    A DAG with an operator that follows the run gets a callback that ends its stream where the operator cannot.

    Args:
        task: A task of a DAG that was just parsed.
    """
    _call_notifier_classes(task)
    dag = task.get_dag()
    if dag is None:
        return
    if getattr(task, "stream_role", None) == "follows_run":
        _show_followed(dag, task)
    if TAG not in _tags_of(dag):
        return
    try:
        reporter: ProgressReporter | None = getattr(dag, _REPORTER, None)
        if reporter is not None:
            _report(task, reporter)
    except Exception:
        log.exception("Task %s of DAG %s does not report its progress.", task.task_id, dag.dag_id)


def _tags_of(dag: Any) -> set[str]:
    return shown_tags(dag.tags or ())


def shown_tags(tags: Iterable[str]) -> set[str]:
    """Which of a DAG's tags are ours, however they are written.

    Args:
        tags: All tags of the DAG.
    """
    return {"".join(tag.lower().split()) for tag in tags} & {TAG, FAILURES_TAG}


def _warn_of_misspelt_tags(dag: Any) -> None:
    for tag in dag.tags or ():
        if re.sub("[^a-z]", "", tag.lower()).startswith(TAG):
            log.warning(
                "DAG %s is tagged %r, which shows nothing. Known are %s and %s.", dag.dag_id, tag, TAG, FAILURES_TAG
            )


def _has_ours(dag: Any) -> bool:
    from activitysmith_integrations.airflow.dag_callbacks import PACKAGE, callbacks_of

    every = (one for when in ("success", "failure") for one in callbacks_of(dag, when))
    return any(type(one).__module__.startswith(PACKAGE) for one in every)


def _call_notifier_classes(owner: Any) -> None:
    """Make notifiers of classes: somebody wrote ``on_failure_callback=end_activitysmith_stream`` and left out the ().

    Args:
        owner: The DAG or task.
    """
    from activitysmith_integrations.airflow.dag_callbacks import OCCASIONS, callbacks_of

    for when in (*OCCASIONS, "retry"):
        found = callbacks_of(owner, when)
        if any(map(_is_end_class, found)):
            setattr(owner, f"on_{when}_callback", [one() if _is_end_class(one) else one for one in found])


def _check_deadlines(dag: Any) -> None:
    """Refuse a notifier of ours that could not be made once a deadline is missed: Airflow makes it only then."""
    from activitysmith_integrations.airflow.dag_callbacks import own_deadlines

    for path, arguments in own_deadlines(dag):
        try:
            pkgutil.resolve_name(path)(**arguments)
        except Exception as error:  # Airflow shows its text as the file's import error
            raise ValueError(f"A deadline of DAG {dag.dag_id} cannot be shown: {error}") from error


def _is_end_class(one: Any) -> bool:
    """Whether it is to be called for a notifier: the class, or a partial of it."""
    from activitysmith_integrations.airflow.dag_callbacks import PACKAGE

    one = getattr(one, "func", one)
    return isinstance(one, type) and one.__module__.startswith(PACKAGE) and getattr(one, "ends_stream", False)


def _show(dag: Any, *, only_failures: bool) -> None:
    """Have a DAG show its runs.

    Args:
        dag: The DAG.
        only_failures: Whether to send nothing while all is well.
    """
    from activitysmith_integrations.airflow.compat import conf
    from activitysmith_integrations.airflow.dag_callbacks import callbacks_of, own_end, reports_progress
    from activitysmith_integrations.airflow.dag_tasks import role_of

    follows_itself = any(role_of(task) == "follows_run" for task in dag.tasks)
    if follows_itself or not conf.getboolean("activitysmith", "end_tagged_dags", fallback=True):
        return
    if _hangs_in_callbacks(dag):
        log.warning(
            "DAG %s is tagged, but its runs are not shown: a task of it has an asset alias or a reference to an asset "
            "among its inlets, as an @asset function with a parameter has, and Airflow hangs in the callbacks of such "
            "a DAG. Where a task can be added, ActivitySmithFollowRunOperator shows its runs.",
            dag.dag_id,
        )
        return
    success, failure = own_end(dag, "success"), own_end(dag, "failure")
    model = _model_of(dag, success, failure)
    if failure is None:
        dag.on_failure_callback = [*callbacks_of(dag, "failure"), _end_like(model)]
        # Airflow computes this when the DAG is made, and asks for no callback where it is False.
        dag.has_on_failure_callback = True
    if only_failures:
        return
    reports = conf.getboolean("activitysmith", "stream_tagged_dags", fallback=True)
    if reports:
        from activitysmith_integrations.airflow.reporter import ProgressReporter

        reporter = ProgressReporter(model.stream_key, model.activitysmith_conn_id, **_title_of(model))
        setattr(dag, _REPORTER, reporter)
        for task in dag.tasks:
            _report(task, reporter)
    # Where no task reports, as in a DAG of empty operators, the stream has no start that a success could end.
    if success is None and (not reports or any(reports_progress(task) for task in dag.tasks)):
        dag.on_success_callback = [*callbacks_of(dag, "success"), _end_like(model)]
        dag.has_on_success_callback = True


def _show_followed(dag: Any, task: ActivitySmithFollowRunOperator) -> None:
    """Have a DAG with an operator that follows its runs show what that operator cannot, and say if it shows nothing."""
    try:
        _end_if_not_followed(dag, task)
        _warn_of_late_follower(dag, task)
    except Exception:
        log.exception("A failure of DAG %s may not be shown.", dag.dag_id)


def _end_if_not_followed(dag: Any, task: ActivitySmithFollowRunOperator) -> None:
    """Give a DAG that is followed a callback for the runs whose stream the operator cannot end."""
    from activitysmith_integrations.airflow.dag_callbacks import callbacks_of
    from activitysmith_integrations.airflow.unfollowed_runs import EndUnfollowedRun

    found = callbacks_of(dag, "failure")
    if not any(isinstance(one, EndUnfollowedRun) for one in found) and not _hangs_in_callbacks(dag):
        dag.on_failure_callback = [*found, EndUnfollowedRun.of(task)]
        dag.has_on_failure_callback = True


def _warn_of_late_follower(dag: Any, task: ActivitySmithFollowRunOperator) -> None:
    """Say that an operator which comes last shows nothing of the runs that it follows."""
    others = {other.task_id for other in dag.tasks} - {task.task_id}
    if others and others <= task.get_flat_relative_ids(upstream=True):
        log.warning(
            "DAG %s shows nothing of its runs while they go on: %s waits for all other tasks. Let it wait for none.",
            dag.dag_id,
            task.task_id,
        )


def _hangs_in_callbacks(dag: Any) -> bool:
    """Whether Airflow's dag-processor hangs before it calls a DAG's own callbacks, whoever has given it those.

    For their context it asks for the assets that such inlets stand for, which nobody answers there: it is killed after
    50 s, and with it what was to be called for other runs (Airflow 3.3.2).
    """
    return any(type(inlet).__name__ in _UNRESOLVED_INLETS for task in dag.tasks for inlet in task.inlets or ())


def _model_of(
    dag: Any, success: ActivitySmithEndStreamNotifier | None, failure: ActivitySmithEndStreamNotifier | None
) -> ActivitySmithEndStreamNotifier:
    """The notifier whose stream, connection and title the others take over: rather one with a key of its own."""
    from activitysmith_integrations.airflow.notifications import ActivitySmithEndStreamNotifier

    own = [end for end in (success, failure) if end is not None]
    model = max(own, key=lambda end: end.stream_key is not None, default=ActivitySmithEndStreamNotifier())
    if len({end.stream_key for end in own}) > 1:
        text = "DAG %s ends one stream on success and another on failure; %r is shown."
        log.warning(text, dag.dag_id, model.stream_key)
    return model


def _report(task: Any, reporter: ProgressReporter) -> None:
    """Have a task call a reporter when it begins and ends, after the callbacks that it has."""
    from activitysmith_integrations.airflow.dag_callbacks import OCCASIONS, callbacks_of, reports_progress
    from activitysmith_integrations.airflow.dag_tasks import is_empty, role_of, written_key

    # The scheduler settles an empty operator without a worker, unless it has callbacks (Airflow 3.1 to 3.3).
    ends_run = role_of(task) == "ends_stream" and written_key(task) == reporter.stream_key
    if is_empty(task) or ends_run or role_of(task) == "follows_run" or reports_progress(task):
        return
    for when in OCCASIONS:
        setattr(task, f"on_{when}_callback", [*callbacks_of(task, when), reporter])


def _end_like(model: ActivitySmithEndStreamNotifier) -> ActivitySmithEndStreamNotifier:
    from activitysmith_integrations.airflow.notifications import ActivitySmithEndStreamNotifier

    return ActivitySmithEndStreamNotifier(
        model.stream_key,
        activitysmith_conn_id=model.activitysmith_conn_id,
        patience=model.patience,
        **_title_of(model),
    )


def _title_of(model: ActivitySmithEndStreamNotifier) -> dict[str, Any]:
    return {name: value for name, value in model.options.items() if name == "title"}
