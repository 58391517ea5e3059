"""The operators: the durable way to show a run and to end its stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from activitysmith_integrations import core
from activitysmith_integrations.airflow import templates
from activitysmith_integrations.airflow.follow_operator import ActivitySmithFollowRunOperator
from activitysmith_integrations.airflow.hooks import ActivitySmithHook
from activitysmith_integrations.airflow.operator_base import DEFERS, NAMES, Operator, keeps_arguments, options_of

if TYPE_CHECKING:
    from airflow.sdk import XComArg

    from activitysmith_integrations.airflow.run import Run
    from activitysmith_integrations.airflow.task_states import Role
    from activitysmith_integrations.core.models.fields import Color
    from activitysmith_integrations.core.models.requests import ActionInput, AlertInput, MetadataInput, StateInput
    from activitysmith_integrations.core.runs.outcome import FailureForm, SuccessForm

__all__ = ["ActivitySmithEndStreamOperator", "ActivitySmithFollowRunOperator", "ActivitySmithStreamOperator"]


class ActivitySmithEndStreamOperator(Operator):
    """Ends a Live Activity stream, and makes sure that it ends.

    Put it last with ``trigger_rule="all_done"``, or make it a teardown: without a ``content_state`` it looks at
    the run's tasks and shows what happened. Itself and what comes after it are not counted. Where Airflow skips it
    (``dagrun_timeout``, a setup of it that failed), the tag's callback ends the stream; it also shows the failure of
    a task that comes after it. One beside it that fails later is not shown. A failure whose stream the service does
    not know is started and ended, so that it is seen.

    A fault that can pass is left to Airflow's own retries, so give it some (``retries=3``). One that cannot
    (a refused request or key) fails the task at once. When the service asks to wait longer than a task should
    hold its slot, the task is deferred if *deferrable*, else it fails with the wait in its message;
    ``ActivitySmithRetryPolicy`` makes Airflow 3.3 wait exactly that long.

    How the end looks is said with the options of :class:`~activitysmith_integrations.core.EndOptions`, all but
    ``include_error``. They, the stream and the connection are templated.

    Args:
        stream_key: The stream; the run's own, made of the DAG's and the run's id, where left out.
        missing_ok: Whether a stream that the service does not know counts as ended.
        deferrable: Whether to leave the worker while the service asks to wait; the default is
            ``[operators] default_deferrable``.
        activitysmith_conn_id: The connection.
        kwargs: As for every operator.

    Returns:
        The service's answer as plain JSON.

    Raises:
        InvalidRequestError: A value that is no template breaks a rule of the API, or a setting is no bool.
    """

    ui_color = "#d7f0dd"
    stream_role: ClassVar[Role] = "ends_stream"
    missing_ok: bool

    @keeps_arguments
    def __init__(
        self,
        *,
        stream_key: str | XComArg | None = None,
        content_state: StateInput | None = None,
        on_success: SuccessForm | str | None = None,
        on_failure: FailureForm | str | None = None,
        title: str | None = None,
        subtitle: str | None = None,
        success_color: Color | str | None = None,
        failure_color: Color | str | None = None,
        success_auto_dismiss_minutes: int | str | None = None,
        failure_auto_dismiss_minutes: int | str | None = None,
        start_unseen_failures: bool | str | None = None,
        action: ActionInput | None = None,
        secondary_action: ActionInput | None = None,
        alert: AlertInput | None = None,
        tags: Sequence[str] | None = None,
        metadata: MetadataInput | None = None,
        missing_ok: bool = True,
        deferrable: bool = DEFERS,
        activitysmith_conn_id: str = ActivitySmithHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)

    option_names = options_of(__init__)
    template_fields: Sequence[str] = (*NAMES, *option_names)

    def _call(self, hook: ActivitySmithHook, key: str, run: Run) -> core.EndStreamResponse:
        from activitysmith_integrations.airflow.dag_callbacks import task_ends
        from activitysmith_integrations.airflow.interrupted_dag_test import forget
        from activitysmith_integrations.airflow.outcomes import outcome_so_far
        from activitysmith_integrations.airflow.run_memory import RunMemory
        from activitysmith_integrations.core.runs.ending import build_end, end_stream
        from activitysmith_integrations.core.runs.log_lines import line_of_end

        options: Any = {"title": run.title, **templates.typed(self._options())}
        end = build_end(outcome_so_far(run), options)
        is_new = self.stream_key is not None or run.clear_number > 0
        if is_new and not run.is_ended_by_another and not task_ends(run.dag, run.written_key):
            # An earlier run ended the stream, or this one before it was cleared, since nothing else of it has.
            end = end.of_unshown_run()
        with hook.get_conn() as client:
            result = end_stream(client, key, end)
        forget(key)
        self.log.log(*line_of_end(key, end, result))
        answer = result.response(key, missing_ok=self.missing_ok)
        RunMemory(run).note_end()
        return answer


class ActivitySmithStreamOperator(Operator):
    """Starts a Live Activity stream, or updates it.

    Without a ``content_state`` it shows how far the run is: put first, it starts the stream with an empty bar.
    Whatever ends the stream has to come after it.

    A fault is treated as by :class:`ActivitySmithEndStreamOperator`. A task that only shows something need not fail a
    run, or hold it up: make it a teardown beside the work, or let what comes next have ``trigger_rule="all_done"``.

    The state and what goes with it are the members of :class:`~activitysmith_integrations.core.StreamRequest`. They,
    the two lines, the stream and the connection are templated.

    Args:
        stream_key: The stream; the run's own, made of the DAG's and the run's id, where left out.
        title: First line of the run's progress instead of the DAG's name.
        subtitle: Second line of the run's progress.
        deferrable: Whether to leave the worker while the service asks to wait; the default is
            ``[operators] default_deferrable``.
        activitysmith_conn_id: The connection.
        kwargs: As for every operator.

    Returns:
        The service's answer as plain JSON.

    Raises:
        InvalidRequestError: A value that is no template breaks a rule of the API, or a setting is no bool.
    """

    ui_color = "#d7e5f0"
    # 404 is "no recipients" here: nobody has the app, or no channel fits (API contract).
    fail_at_once: ClassVar[frozenset[int]] = Operator.fail_at_once | {404}

    @keeps_arguments
    def __init__(
        self,
        *,
        stream_key: str | XComArg | None = None,
        content_state: StateInput | None = None,
        title: str | None = None,
        subtitle: str | None = None,
        action: ActionInput | None = None,
        secondary_action: ActionInput | None = None,
        alert: AlertInput | None = None,
        tags: Sequence[str] | None = None,
        metadata: MetadataInput | None = None,
        channels: Sequence[str] | None = None,
        deferrable: bool = DEFERS,
        activitysmith_conn_id: str = ActivitySmithHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)

    option_names = options_of(__init__)
    template_fields: Sequence[str] = (*NAMES, *option_names)

    @staticmethod
    def _check_literals(options: Mapping[str, Any]) -> None:
        from activitysmith_integrations.airflow import literals

        literals.check_stream(options)

    def _call(self, hook: ActivitySmithHook, key: str, run: Run) -> core.StreamResponse:
        from activitysmith_integrations.airflow.outcomes import running
        from activitysmith_integrations.core.runs.log_lines import line_of_update
        from activitysmith_integrations.core.runs.picture import running_labels

        options = templates.typed(self._options())
        beside = {name: value for name, value in options.items() if name not in ("title", "subtitle")}
        known = running_labels(running(run), options)
        request = core.StreamRequest(**{"content_state": self._progress(run, options), **beside, **known})
        with hook.get_conn() as client:
            answer = client.send(key, request)
        self.log.log(*line_of_update(key, request.content_state.to_wire(), answer))
        return answer

    def _progress(self, run: Run, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """How far the run is."""
        from dataclasses import replace

        from activitysmith_integrations.airflow.outcomes import running
        from activitysmith_integrations.airflow.reporting import progress_of
        from activitysmith_integrations.core.runs.picture import shown_title

        title = shown_title(running(run), {"title": run.title, **options})
        progress = progress_of(run.tasks, run.bar, run.instance, run.states, title=title, run_label=run.label)
        state: Mapping[str, Any] = replace(progress, note=options.get("subtitle") or progress.note).state
        return state
