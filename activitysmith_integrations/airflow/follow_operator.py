"""The operator that shows a run durably: one task that follows it from the triggerer."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from activitysmith_integrations import core
from activitysmith_integrations.airflow import templates
from activitysmith_integrations.airflow.compat import AirflowFailException, AirflowSkipException
from activitysmith_integrations.airflow.developer_commands import DAGS_TEST_FOLLOWS_NOTHING, TASKS_TEST_SHOWS_NOTHING
from activitysmith_integrations.airflow.hooks import ActivitySmithHook
from activitysmith_integrations.airflow.operator_base import NAMES, Operator, keeps_arguments, options_of
from activitysmith_integrations.core.errors import error_text
from activitysmith_integrations.core.retry import check_seconds

if TYPE_CHECKING:
    from airflow.sdk import Context, XComArg

    from activitysmith_integrations.airflow.follow_steps import Step
    from activitysmith_integrations.airflow.follower import FollowedRun, RunFollower
    from activitysmith_integrations.airflow.run import Run
    from activitysmith_integrations.airflow.task_states import Role
    from activitysmith_integrations.core.client import ActivitySmithClient
    from activitysmith_integrations.core.models.fields import Color
    from activitysmith_integrations.core.models.requests import ActionInput, AlertInput, MetadataInput, StateInput
    from activitysmith_integrations.core.runs.outcome import FailureForm, SuccessForm

# What is meant for the operator alone: these win over ``default_args``, which are meant for the DAG's work.
_DEFAULTS: Mapping[str, Any] = {
    "pool": "default_pool",
    "pool_slots": 1,
    "priority_weight": 1000,
    "retries": 2,
    "retry_delay": timedelta(seconds=10),
    "retry_exponential_backoff": False,
}


class ActivitySmithFollowRunOperator(Operator):
    """Shows the run that it is a part of, from its start to its end, durably.

    One task that no other waits for, anywhere in the DAG. It starts the stream, leaves its worker for the triggerer,
    looks at the states of the run's other tasks every few seconds, shows how far they are as often as iOS allows, and
    ends the stream once they are over. No callback is needed, a rate limit is waited out, and Airflow starts it again
    elsewhere when a triggerer or a worker dies.

    It is a teardown that never fails a run, which ``fail_fast`` does not skip, and the run ends a few seconds after its
    last other task; longer only while the service cannot be reached for the end or refuses it for now (a rate limit, no
    free place), *patience* seconds at most.

    How the end looks is said with the options of :class:`~activitysmith_integrations.core.EndOptions`, all but
    ``include_error``; ``title``, ``tags`` and ``metadata`` count before as well. They, the stream and the connection
    are templated, and rendered when the task begins, before the others have returned anything.

    Args:
        stream_key: The stream; the run's own, made of the DAG's and the run's id, where left out.
        deferrable: Whether to follow the run from the triggerer; else the task keeps its worker's slot.
        poll_interval: Seconds between two looks at the states.
        patience: Seconds that the end may take to get through to the service, and Airflow to tell the states or, in the
            triggerer, to find the connection.
        activitysmith_conn_id: The connection.
        kwargs: As for every operator. What would keep it from its run is not heeded: ``execution_timeout``,
            ``depends_on_past``, ``wait_for_downstream`` and ``max_active_tis_per_dag``. What it is not given itself
            is not taken from ``default_args``: ``priority_weight`` is 1000, since the task needs its worker for a
            second, and one that waits behind others shows its run late or not at all; ``pool`` is the default one,
            since a pool that counts deferred tasks may be filled by tasks that each wait for work without a slot;
            ``retries`` is 2 and ``retry_delay`` 10 s, for a worker that is lost. An end that was not delivered in time
            is not tried again: that would keep the run from its end for another *patience*.

    Returns:
        The service's answer to the end as plain JSON.

    Raises:
        InvalidRequestError: A value that is no template breaks a rule of the API, or *deferrable* is no bool.
        ConfigurationError: *poll_interval*, *patience* or the connection's id is no such thing; or another task is to
            wait for this one (``>>``, ``chain``, its ``output``): it would wait for that one, and the run for both.
    """

    ui_color = "#e6def5"
    stream_role: ClassVar[Role] = "follows_run"
    poll_interval: float
    patience: float

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
        deferrable: bool = True,
        poll_interval: float = 5.0,
        patience: float = 600.0,
        activitysmith_conn_id: str = ActivitySmithHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**{**_DEFAULTS, **kwargs})
        # Meant for the DAG's work, ``default_args`` would keep this task from its run, and so the run from its end.
        self.execution_timeout = None
        self.depends_on_past = self.wait_for_downstream = False
        self.max_active_tis_per_dag = self.max_active_tis_per_dagrun = None
        # A teardown decides nothing about its run, and runs where others are skipped because one failed.
        self.as_teardown()

    option_names = options_of(__init__)
    template_fields: Sequence[str] = (*NAMES, *option_names)

    @classmethod
    def _check(cls, arguments: Mapping[str, Any]) -> None:
        super()._check(arguments)
        for name in ("poll_interval", "patience"):
            check_seconds(name, arguments.get(name, 1))
        if arguments.get("poll_interval") == 0:
            raise core.ConfigurationError(("poll_interval", "0 s asks Airflow without a pause; leave it out for 5 s"))

    def set_downstream(self, task_or_task_list: Any, edge_modifier: Any = None) -> None:
        """Refuse a task that would wait for this one.

        Args:
            task_or_task_list: What would wait.
            edge_modifier: Airflow's.

        Raises:
            ConfigurationError: Always.
        """
        raise self._no_task_can_wait()

    def update_relative(self, other: Any, upstream: bool = True, edge_modifier: Any = None) -> None:
        """Refuse a task that would wait for this one, where Airflow is told so from the other side.

        Args:
            other: The other task.
            upstream: Whether this one waits for the other.
            edge_modifier: Airflow's.

        Raises:
            ConfigurationError: The other would wait for this one.
        """
        if not upstream:
            raise self._no_task_can_wait()

    def _no_task_can_wait(self) -> core.ConfigurationError:
        problem = (
            "it follows its run to the end, so no task can wait for it. Set no task downstream of it; for one that "
            f"waits for all others write [one for one in dag.tasks if one.task_id != {self.task_id!r}] >> watcher"
        )
        return core.ConfigurationError((self.task_id, problem))

    def execute(self, context: Context, deferrals: int = 0) -> dict[str, Any]:
        """Start the stream and follow the run.

        Args:
            context: Airflow's.
            deferrals: Not used.

        Returns:
            The service's answer to the end; nothing where a developer command runs one task at a time, since a task
            that waits for the others would wait for ever there.

        Raises:
            AirflowFailException: The request, the key or the account has to change first, or the stream was not ended.
            AirflowSkipException: The same, in a DAG with ``fail_fast``.
        """
        from activitysmith_integrations.airflow.follow_steps import event_of, follow
        from activitysmith_integrations.airflow.follower import RunFollower
        from activitysmith_integrations.airflow.run import Run
        from activitysmith_integrations.core.runs.request_flow import drive

        run = Run(context, self._written_key)
        if run.is_temporary or run.is_in_process:
            self.log.info(TASKS_TEST_SHOWS_NOTHING if run.is_temporary else DAGS_TEST_FOLLOWS_NOTHING)
            return {}
        try:
            follower = RunFollower(self._followed(run))
            is_over = follower.is_over(run.states)
            with ActivitySmithHook(self.activitysmith_conn_id).get_conn() as client:

                def perform(step: Step) -> Any:
                    return _perform(step, follower.run, client)

                if not is_over:
                    if run.states:  # else an earlier try may have ended the stream
                        self._start(follower, run, perform)
                    if self.deferrable:
                        self._defer(follower)
                result = drive(follow(follower, self.poll_interval, self.patience, self.log), perform)
        except Exception as error:
            if _can_pass(error) and run.is_tried_again:
                raise
            raise self._failure(error_text(error)) from error
        return self.resume(context, event_of(follower.run.stream_key, result))

    def resume(self, context: Context, event: Mapping[str, Any] | None = None, deferrals: int = 1) -> dict[str, Any]:
        """Return what became of the end.

        Args:
            context: Airflow's.
            event: The trigger's.
            deferrals: Not used.

        Raises:
            AirflowFailException: The stream was not ended; the message says why.
            AirflowSkipException: The same, in a DAG with ``fail_fast``.
        """
        from activitysmith_integrations.airflow.run import Run
        from activitysmith_integrations.airflow.run_memory import RunMemory

        found = event or {}
        if found.get("answer") is not None:
            RunMemory(Run(context, self._written_key)).note_end()
            return dict(found["answer"])
        raise self._failure(f"The Live Activity stream of the run was not ended: {found.get('error')}")

    def _failure(self, text: str) -> Exception:
        """What a try raises that is not repeated."""
        if not getattr(self.dag, "fail_fast", False):
            return AirflowFailException(text)
        # Airflow would stop the work: it skips the rest of such a DAG where any task fails (3.1 to 3.3).
        self.log.error(text)
        return AirflowSkipException(text)

    def _followed(self, run: Run) -> FollowedRun:
        from activitysmith_integrations.airflow.follower import FollowedRun
        from activitysmith_integrations.airflow.outcomes import run_url, running

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
            other_tasks=run.other_tasks,
            options=templates.typed(self._options()),
        )

    def _defer(self, follower: RunFollower) -> None:
        from activitysmith_integrations.airflow.triggers import FollowRunTrigger

        trigger = FollowRunTrigger(follower.run.to_json(), follower.history, self.poll_interval, self.patience)
        self.defer(trigger=trigger, method_name="resume")

    def _start(self, follower: RunFollower, run: Run, perform: Any) -> None:
        """Start the stream; a fault that can pass is left to the look at the states that comes next."""
        from activitysmith_integrations.airflow.follow_steps import show
        from activitysmith_integrations.core.runs.request_flow import drive

        error = drive(show(follower, run.states, self.log), perform)
        if isinstance(error, core.APIStatusError) and not error.retryable:
            raise error


def _can_pass(error: Exception) -> bool:
    if isinstance(error, core.APIStatusError):
        return error.retryable
    return not isinstance(error, (core.InvalidRequestError, core.ConfigurationError))


def _perform(step: Step, run: FollowedRun, client: ActivitySmithClient) -> Any:
    from activitysmith_integrations.airflow import follow_steps
    from activitysmith_integrations.airflow.triggers import state_of, states_of
    from activitysmith_integrations.core.retry import patient_retry
    from activitysmith_integrations.core.runs.ending import end_stream

    match step:
        case follow_steps.LookAtTasks():
            return states_of(run)
        case follow_steps.LookAtRun():
            return state_of(run)
        case follow_steps.Send(request):
            return client.with_retry(patient_retry(follow_steps.CALL_SECONDS)).send(run.stream_key, request)
        case follow_steps.SendEnd(end, seconds):
            deadline = time.monotonic() + seconds
            return end_stream(client, run.stream_key, end, deadline=deadline, tries_again=True)
        case follow_steps.Wait(seconds):
            return time.sleep(seconds)
