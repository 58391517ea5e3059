"""The operator that shows a run durably: one task that follows it from the triggerer."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from activitysmith_integrations import core
from activitysmith_integrations.airflow import templates
from activitysmith_integrations.airflow.compat import AirflowFailException
from activitysmith_integrations.airflow.hooks import ActivitySmithHook
from activitysmith_integrations.airflow.operator_base import TASKS_TEST_SHOWS_NOTHING, Operator
from activitysmith_integrations.core.retry import check_seconds

if TYPE_CHECKING:
    from airflow.sdk import Context

    from activitysmith_integrations.airflow.follower import FollowedRun, RunFollower
    from activitysmith_integrations.airflow.run import Run
    from activitysmith_integrations.airflow.task_states import Role
    from activitysmith_integrations.core.models.fields import Color
    from activitysmith_integrations.core.models.requests import ActionInput, AlertInput, MetadataInput, StateInput
    from activitysmith_integrations.core.runs.ending import EndResult
    from activitysmith_integrations.core.runs.outcome import FailureForm, SuccessForm

_POLL_SECONDS = 5.0
_PATIENCE = 600.0
_DAGS_TEST_SHOWS_NOTHING = (
    "`airflow dags test` and `dag.test()` run one task at a time, so this one follows nothing and shows nothing."
)


class ActivitySmithFollowRunOperator(Operator):
    """Shows the run that it is a part of, from its start to its end, durably.

    One task without dependencies, anywhere in the DAG. It starts the stream, leaves its worker for the triggerer, looks
    at the states of the run's other tasks every few seconds, shows how far they are as often as iOS allows, and ends
    the stream once they are over. No callback is needed, a rate limit is waited out, and Airflow starts it again
    elsewhere when a triggerer dies.

    It is a teardown that never fails a run, which ``fail_fast`` does not skip, and the run ends a few seconds after its
    last other task; longer only while the service cannot be reached for the end, *patience* seconds at most.

    All arguments but *deferrable*, *poll_interval* and *patience* are templated.

    Args:
        stream_key: The stream; the run's own, made of the DAG's and the run's id, where left out.
        content_state: A whole state of your own instead of the last picture.
        on_success: ``segmented_progress`` (default) or ``progress``.
        on_failure: ``alert`` (default), ``segmented_progress`` or ``progress``.
        title: First line instead of the DAG's name.
        subtitle: Second line of the last picture instead of the duration.
        success_color: Green by default.
        failure_color: Red by default.
        success_auto_dismiss_minutes: Minutes that a success stays on screen; iOS's own two by default.
        failure_auto_dismiss_minutes: Minutes that a failure stays; 240 by default.
        start_unseen_failures: Whether a failure whose stream the service does not know is shown; on by default.
        action: A button of the last picture instead of the one that opens a failed run's page.
        secondary_action: A second button.
        alert: A banner instead of the one for failures.
        tags: Tags beside the engine's name.
        metadata: Metadata beside engine, pipeline, run and result.
        deferrable: Whether to follow the run from the triggerer; else the task keeps its worker's slot.
        poll_interval: Seconds between two looks at the states.
        patience: Seconds that the end may take to get through to the service, and Airflow to tell the states.
        activitysmith_conn_id: The connection.
        kwargs: As for every operator; ``execution_timeout`` is not heeded.

    Returns:
        The service's answer to the end as plain JSON.

    Raises:
        InvalidRequestError: A value that is no template breaks a rule of the API.
        ConfigurationError: *poll_interval*, *patience* or the connection's id is no such thing.
    """

    template_fields: Sequence[str] = (
        "stream_key",
        "activitysmith_conn_id",
        *(name for name in templates.END_OPTIONS if name != "include_error"),
    )
    ui_color = "#e6def5"
    stream_role: ClassVar[Role] = "follows_run"

    def __init__(
        self,
        *,
        stream_key: str | None = None,
        content_state: StateInput | None = None,
        on_success: SuccessForm | None = None,
        on_failure: FailureForm | None = None,
        title: str | None = None,
        subtitle: str | None = None,
        success_color: Color | None = None,
        failure_color: Color | None = None,
        success_auto_dismiss_minutes: int | str | None = None,
        failure_auto_dismiss_minutes: int | str | None = None,
        start_unseen_failures: bool | str | None = None,
        action: ActionInput | None = None,
        secondary_action: ActionInput | None = None,
        alert: AlertInput | None = None,
        tags: Sequence[str] | None = None,
        metadata: MetadataInput | None = None,
        deferrable: bool = True,
        poll_interval: float = _POLL_SECONDS,
        patience: float = _PATIENCE,
        activitysmith_conn_id: str = ActivitySmithHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.stream_key = stream_key
        self.content_state = templates.plain(content_state)
        self.on_success = on_success
        self.on_failure = on_failure
        self.title = title
        self.subtitle = subtitle
        self.success_color = success_color
        self.failure_color = failure_color
        self.success_auto_dismiss_minutes = success_auto_dismiss_minutes
        self.failure_auto_dismiss_minutes = failure_auto_dismiss_minutes
        self.start_unseen_failures = start_unseen_failures
        self.action = templates.plain(action)
        self.secondary_action = templates.plain(secondary_action)
        self.alert = templates.plain(alert)
        self.tags = tags
        self.metadata = metadata
        self.deferrable = deferrable
        self.poll_interval = poll_interval
        self.patience = patience
        self.activitysmith_conn_id = activitysmith_conn_id
        self._check()
        for name, seconds in (("poll_interval", poll_interval), ("patience", patience)):
            check_seconds(name, seconds)
        if poll_interval == 0:
            raise core.ConfigurationError(
                ("poll_interval", "0 s would ask Airflow without a pause; leave it out for 5 s")
            )
        # In its slot it lives as long as its run: a timeout of ``default_args`` would leave the stream to nobody.
        self.execution_timeout = None
        # A teardown decides nothing about its run, and runs where others are skipped because one failed.
        self.as_teardown()

    def _check_literals(self, options: Mapping[str, Any]) -> None:
        """Refuse values that are wrong, when the DAG is parsed.

        Args:
            options: Those that were given, by name.
        """
        from activitysmith_integrations.airflow import literals

        literals.check_end(options)

    def execute(self, context: Context, deferrals: int = 0) -> dict[str, Any]:
        """Start the stream and follow the run.

        Args:
            context: Airflow's.
            deferrals: Not used.

        Returns:
            The service's answer to the end; nothing where a developer command runs one task at a time, since a task
            that waits for the others would wait for ever there.

        Raises:
            AirflowFailException: The request, the key or the account has to change first.
            ActivitySmithError: The stream was not ended.
        """
        from activitysmith_integrations.airflow.follower import RunFollower
        from activitysmith_integrations.airflow.run import Run

        run = Run(context)
        if run.is_temporary or run.is_in_process:
            self.log.info(TASKS_TEST_SHOWS_NOTHING if run.is_temporary else _DAGS_TEST_SHOWS_NOTHING)
            return {}
        try:
            followed = self._followed(run)
            follower = RunFollower(followed)
            if not follower.is_over(run.states):
                self._start(follower, run)
        except (core.InvalidRequestError, core.ConfigurationError) as error:
            raise AirflowFailException(str(error)) from error
        if self.deferrable and not follower.is_over(run.states):
            from activitysmith_integrations.airflow.triggers import FollowRunTrigger

            trigger = FollowRunTrigger(followed.to_json(), follower.history, self.poll_interval, self.patience)
            self.defer(trigger=trigger, method_name="resume")
        return self._follow_here(follower)

    def resume(self, context: Context, event: Mapping[str, Any] | None = None, deferrals: int = 1) -> dict[str, Any]:
        """Return what became of the end.

        Args:
            context: Airflow's.
            event: The trigger's.
            deferrals: Not used.

        Raises:
            RuntimeError: The stream was not ended; the message says why.
        """
        found = event or {}
        if found.get("answer") is not None:
            return dict(found["answer"])
        raise RuntimeError(f"The Live Activity stream of the run was not ended: {found.get('error')}")

    def _followed(self, run: Run) -> FollowedRun:
        from activitysmith_integrations.airflow.context import run_url
        from activitysmith_integrations.airflow.follower import FollowedRun
        from activitysmith_integrations.airflow.outcomes import running

        started_at = running(run).started_at
        return FollowedRun(
            dag_id=run.dag_id,
            run_id=run.run_id or "",
            stream_key=self.stream_key if self.stream_key is not None else run.stream_key,
            conn_id=self.activitysmith_conn_id,
            title=run.title,
            label=run.label,
            url=run_url(run.dag_id, run.run_id),
            started_at=None if started_at is None else started_at.isoformat(),
            is_fail_fast=run.is_fail_fast,
            tasks=run.tasks,
            options=templates.typed(self._options()),
        )

    def _start(self, follower: RunFollower, run: Run) -> None:
        """Start the stream; a fault that can pass is left to the look at the states that comes next."""
        from activitysmith_integrations.core.retry import patient_retry
        from activitysmith_integrations.core.runs.log_lines import line_of_failed_update, line_of_update

        request = follower.next_request(run.states, time.time())
        if request is None:
            return
        key = follower.run.stream_key
        try:
            with ActivitySmithHook(follower.run.conn_id).get_conn() as client:
                answer = client.with_retry(patient_retry(10.0)).send(key, request)
        except core.ActivitySmithError as error:
            follower.refused(error, time.time())
            if isinstance(error, core.APIStatusError) and not error.retryable:
                raise AirflowFailException(str(error)) from error
            self.log.log(*line_of_failed_update(key, "started", error))
            return
        follower.delivered(answer, time.time())
        self.log.log(*line_of_update(key, follower.pending_state, answer))

    def _follow_here(self, follower: RunFollower) -> dict[str, Any]:
        """Follow the run from the worker."""
        from activitysmith_integrations.airflow.triggers import (
            CALL_SECONDS,
            RESULTS,
            Look,
            seconds_to_wait,
            state_of,
            unshown_end,
        )
        from activitysmith_integrations.core.retry import patient_retry
        from activitysmith_integrations.core.runs.ending import end_stream
        from activitysmith_integrations.core.runs.log_lines import line_of_end, line_of_failed_update, line_of_update

        key, look = follower.run.stream_key, Look(follower.run, self.patience, self.log)
        with ActivitySmithHook(follower.run.conn_id).get_conn() as client:
            while not follower.is_over(states := look()):
                request = follower.next_request(states, time.time()) if states else None
                if request is not None:
                    try:
                        answer = client.with_retry(patient_retry(CALL_SECONDS)).send(key, request)
                        follower.delivered(answer, time.time())
                        self.log.log(*line_of_update(key, follower.pending_state, answer))
                    except core.ActivitySmithError as error:
                        what = "started" if follower.is_starting else "updated"
                        follower.refused(error, time.time())
                        self.log.log(*line_of_failed_update(key, what, error))
                time.sleep(self.poll_interval)
            end = follower.end(states, RESULTS.get(state_of(follower.run)))
            unshown = unshown_end(self.log, follower, end)
            if unshown is not None:
                return unshown.response(key, missing_ok=True).to_json()
            give_up_at = time.monotonic() + self.patience
            while True:
                result: EndResult = end_stream(
                    client, key, end, deadline=time.monotonic() + CALL_SECONDS, waits_for_place=False
                )
                self.log.log(*line_of_end(key, end, result))
                seconds = seconds_to_wait(result, give_up_at - time.monotonic())
                if seconds is None:
                    return result.response(key, missing_ok=True).to_json()
                time.sleep(seconds)
