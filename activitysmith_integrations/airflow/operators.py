"""The operators: the durable way to show a run and to end its stream."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from activitysmith_integrations import core
from activitysmith_integrations.airflow import context as contexts
from activitysmith_integrations.airflow import progress, rendering
from activitysmith_integrations.airflow.compat import AirflowFailException, conf
from activitysmith_integrations.airflow.hooks import ActivitySmithHook

if TYPE_CHECKING:
    from airflow.sdk import Context

_MAX_DEFERRALS = 10
_JSON_FIELDS = dict.fromkeys(("content_state", "action", "secondary_action", "alert", "metadata"), "json")


class _Operator(BaseOperator):
    """What both have in common: what a failed call means for the task."""

    stream_key: str | None
    activitysmith_conn_id: str
    deferrable: bool
    fail_at_once = frozenset({400, 401, 402, 403})
    """Statuses after which somebody has to change something before the call can succeed."""

    def execute(self, context: Context, deferrals: int = 0) -> dict[str, Any]:
        """Make the call.

        Args:
            context: Airflow's.
            deferrals: How often this try has waited already.

        Raises:
            AirflowFailException: The request, the key or the account has to change first.
            APIStatusError: The service failed, or asks to wait longer than this call may take.
            APIConnectionError: No answer arrived.
            NotFoundError: The service does not know the stream, and *missing_ok* is off.
        """
        try:
            key = rendering.name(self.stream_key) if self.stream_key is not None else core.stream_key(self.dag_id)
            hook = ActivitySmithHook(rendering.name(self.activitysmith_conn_id))
            answer = self._call(hook, key, contexts.normalized(context))
        except core.InvalidRequestError as error:
            raise AirflowFailException(str(error)) from error
        except core.APIStatusError as error:
            if error.status_code in self.fail_at_once:
                raise AirflowFailException(str(error)) from error
            if self.deferrable and error.retryable and error.retry_after is not None and deferrals < _MAX_DEFERRALS:
                self._come_back_after(error.retry_after, deferrals + 1)
            raise
        return answer.to_json()

    def resume(self, context: Context, event: Mapping[str, Any] | None = None, deferrals: int = 1) -> dict[str, Any]:
        """Make the call after the wait that the service asked for.

        Args:
            context: Airflow's.
            event: The trigger's; it says nothing of use.
            deferrals: How often this try has waited.
        """
        return self.execute(context, deferrals)

    def _call(
        self, hook: ActivitySmithHook, key: str, context: Mapping[str, Any]
    ) -> core.EndStreamResponse | core.StreamResponse:
        raise NotImplementedError

    def _come_back_after(self, seconds: float, deferrals: int) -> None:
        from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

        self.log.info("ActivitySmith asks to wait %.0f s; the task is deferred for that long.", seconds)
        trigger = TimeDeltaTrigger(timedelta(seconds=seconds))
        self.defer(trigger=trigger, method_name="resume", kwargs={"deferrals": deferrals})


class ActivitySmithEndStreamOperator(_Operator):
    """Ends a Live Activity stream, and makes sure that it ends.

    Put it last with ``trigger_rule="all_done"``, or make it a teardown: without a ``content_state`` it looks at
    the run's tasks and shows what happened. Itself and what comes after it are not counted.

    A fault that can pass is left to Airflow's own retries, so give it some (``retries=3``). One that cannot
    (a refused request or key) fails the task at once. When the service asks to wait longer than a task should
    hold its slot, the task is deferred if *deferrable*, else it fails with the wait in its message;
    ``ActivitySmithRetryPolicy`` makes Airflow 3.3 wait exactly that long.

    All arguments but *deferrable* and *missing_ok* are templated.

    Args:
        stream_key: The stream; made from the DAG's id where left out.
        content_state: A whole state of your own instead of the picture of what happened.
        on_success: ``segmented_progress`` (default) or ``progress``.
        on_failure: ``alert`` (default), ``segmented_progress`` or ``progress``.
        title: First line instead of the DAG's id.
        subtitle: Second line instead of the duration.
        success_color: Green by default.
        failure_color: Red by default.
        success_auto_dismiss_minutes: Minutes that a success stays on screen; iOS's own two by default.
        failure_auto_dismiss_minutes: Minutes that a failure stays; 240 by default.
        action: A button instead of the one that opens a failed run's page.
        secondary_action: A second button.
        alert: A banner instead of the one for failures.
        tags: Tags beside the engine's name.
        metadata: Metadata beside engine, pipeline, run and result.
        missing_ok: Whether a stream that the service does not know counts as ended.
        deferrable: Whether to leave the worker while the service asks to wait; the default is
            ``[operators] default_deferrable``.
        activitysmith_conn_id: The connection.
        kwargs: As for every operator.

    Returns:
        The service's answer as plain JSON.
    """

    template_fields: Sequence[str] = (
        "stream_key",
        "activitysmith_conn_id",
        *(name for name in rendering.OPTIONS if name != "include_error"),
    )
    template_fields_renderers: ClassVar[dict[str, str]] = _JSON_FIELDS
    ui_color = "#d7f0dd"

    ends_the_stream = True

    # A task that ends a stream has no exception to show: that of the failed task stayed in its process.
    include_error = None

    def __init__(
        self,
        *,
        stream_key: str | None = None,
        content_state: core.StateInput | None = None,
        on_success: core.SuccessForm | None = None,
        on_failure: core.FailureForm | None = None,
        title: str | None = None,
        subtitle: str | None = None,
        success_color: core.Color | None = None,
        failure_color: core.Color | None = None,
        success_auto_dismiss_minutes: int | str | None = None,
        failure_auto_dismiss_minutes: int | str | None = None,
        action: core.ActionInput | None = None,
        secondary_action: core.ActionInput | None = None,
        alert: core.AlertInput | None = None,
        tags: Sequence[str] | None = None,
        metadata: core.MetadataInput | None = None,
        missing_ok: bool = True,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        activitysmith_conn_id: str = ActivitySmithHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.stream_key = stream_key
        self.content_state = rendering.plain(content_state)
        self.on_success = on_success
        self.on_failure = on_failure
        self.title = title
        self.subtitle = subtitle
        self.success_color = success_color
        self.failure_color = failure_color
        self.success_auto_dismiss_minutes = success_auto_dismiss_minutes
        self.failure_auto_dismiss_minutes = failure_auto_dismiss_minutes
        self.action = rendering.plain(action)
        self.secondary_action = rendering.plain(secondary_action)
        self.alert = rendering.plain(alert)
        self.tags = tags
        self.metadata = metadata
        self.missing_ok = missing_ok
        self.deferrable = deferrable
        self.activitysmith_conn_id = activitysmith_conn_id

    def _call(self, hook: ActivitySmithHook, key: str, context: Mapping[str, Any]) -> core.EndStreamResponse:
        outcome = contexts.outcome_so_far(context, self.task_id, self.get_flat_relative_ids(upstream=False))
        outcome = progress.completed(outcome, context["dag"])
        members = core.end_request(outcome, rendering.typed(rendering.options_of(self)))
        core.EndStreamRequest(**members)
        time.sleep(progress.seconds_on_its_way(context, getattr(context.get("task_instance"), "start_date", None)))
        try:
            answer = hook.end_stream(key, **members)
        except core.NotFoundError as error:
            if not (self.missing_ok and error.from_service):
                raise
            self.log.log(*core.report(key, error))
            return core.nothing_left(key)
        self.log.log(*core.report(key, answer))
        return answer


class ActivitySmithStreamOperator(_Operator):
    """Starts a Live Activity stream, or updates it.

    Without a ``content_state`` it shows how far the run is: put first, it starts the stream with an empty bar.
    Whatever ends the stream has to come after it.

    A fault is treated as by :class:`ActivitySmithEndStreamOperator`; a task that only shows something need not
    fail a run, so let what comes next have ``trigger_rule="all_done"`` where that matters.

    All arguments but *deferrable* are templated.

    Args:
        stream_key: The stream; made from the DAG's id where left out.
        content_state: A whole state of your own instead of the run's progress.
        title: First line instead of the DAG's id.
        subtitle: Second line.
        action: A button.
        secondary_action: A second button.
        alert: A banner.
        tags: Tags beside the engine's name.
        metadata: Metadata beside engine, pipeline and run.
        channels: The channels to show it in; all that the key may use where left out.
        deferrable: Whether to leave the worker while the service asks to wait; the default is
            ``[operators] default_deferrable``.
        activitysmith_conn_id: The connection.
        kwargs: As for every operator.

    Returns:
        The service's answer as plain JSON.
    """

    template_fields: Sequence[str] = ("stream_key", "activitysmith_conn_id", *rendering.STREAM_OPTIONS)
    template_fields_renderers: ClassVar[dict[str, str]] = _JSON_FIELDS
    ui_color = "#d7e5f0"
    # 404 is "no recipients" here: nobody has the app, or no channel fits (API contract).
    fail_at_once = _Operator.fail_at_once | {404}

    def __init__(
        self,
        *,
        stream_key: str | None = None,
        content_state: core.StateInput | None = None,
        title: str | None = None,
        subtitle: str | None = None,
        action: core.ActionInput | None = None,
        secondary_action: core.ActionInput | None = None,
        alert: core.AlertInput | None = None,
        tags: Sequence[str] | None = None,
        metadata: core.MetadataInput | None = None,
        channels: Sequence[str] | None = None,
        deferrable: bool = conf.getboolean("operators", "default_deferrable", fallback=False),
        activitysmith_conn_id: str = ActivitySmithHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.stream_key = stream_key
        self.content_state = rendering.plain(content_state)
        self.title = title
        self.subtitle = subtitle
        self.action = rendering.plain(action)
        self.secondary_action = rendering.plain(secondary_action)
        self.alert = rendering.plain(alert)
        self.tags = tags
        self.metadata = metadata
        self.channels = channels
        self.deferrable = deferrable
        self.activitysmith_conn_id = activitysmith_conn_id

    def _call(self, hook: ActivitySmithHook, key: str, context: Mapping[str, Any]) -> core.StreamResponse:
        options = rendering.typed(rendering.options_of(self, rendering.STREAM_OPTIONS))
        state = progress.state(context, options, None)
        answer = hook.stream(key, **progress.members(context, options, state))
        self.log.info("Live Activity stream %r is up to date (%s).", key, answer.operation)
        return answer
