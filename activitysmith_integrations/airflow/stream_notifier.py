"""The notifier that shows a state of one's own from callbacks, and never at the pipeline's expense."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

from activitysmith_integrations import core
from activitysmith_integrations.airflow.callback_budget import MAX_PATIENCE
from activitysmith_integrations.airflow.callbacks import (
    NO_TIME,
    OTHER_PARAMETERS,
    Allowance,
    Callback,
    Target,
    allowance,
    allowance_of_its_own,
    rendered_options,
    say,
    say_unknown_failure,
    target_of,
)
from activitysmith_integrations.airflow.dag_callbacks import own_end
from activitysmith_integrations.airflow.developer_commands import TASKS_TEST_SHOWS_NOTHING
from activitysmith_integrations.airflow.hooks import ActivitySmithHook
from activitysmith_integrations.core.retry import DEFAULT_PATIENCE, check_patience, patient_retry

if TYPE_CHECKING:
    from airflow.sdk import Context

    from activitysmith_integrations.airflow.run import Run


@dataclass(frozen=True)
class _Update:
    """A state that is ready to be sent."""

    run: Run
    target: Target
    request: core.StreamRequest


class ActivitySmithStreamNotifier(Callback):
    """Shows a state of your own when its callback fires: it starts the stream, or updates it.

    For any callback of a task, or a ``DeadlineAlert``; a DAG's own callbacks show nothing, since the run is over. Of
    the run's own stream, and of one that its DAG ends, the run's last task shows nothing either: the end is next. How
    far a run is needs no code: the tag ``activitysmith`` shows it, and ``ActivitySmithFollowRunOperator`` does so
    durably.

    It takes *patience* seconds at most, logs one line, and never raises. iOS has room for 12 updates of a run of less
    than 24 minutes, so give it to a few tasks.

    Args:
        stream_key: The stream; the run's own, made of the DAG's and the run's id, where left out. Templated.
        activitysmith_conn_id: The connection. Templated.
        patience: Seconds that it may take, from 2 to 40.
        context: Airflow's own, for asynchronous callbacks.
        members: What to show (``content_state`` is required), and what goes with it: the members of
            :class:`~activitysmith_integrations.core.StreamRequest`. Tags and metadata are beside those that name
            engine, pipeline and run. All of it is templated.

    Raises:
        InvalidRequestError: A value that is no template breaks a rule of the API.
        ConfigurationError: *patience* is no such number of seconds.
    """

    def __init__(
        self,
        stream_key: str | None = None,
        *,
        activitysmith_conn_id: str = ActivitySmithHook.default_conn_name,
        patience: float = DEFAULT_PATIENCE,
        context: Context | None = None,
        **members: Unpack[core.StreamMembers],
    ) -> None:
        super().__init__(stream_key, activitysmith_conn_id, members, context)
        from activitysmith_integrations.airflow import literals

        literals.check_key(stream_key)
        literals.check_state(members, other=OTHER_PARAMETERS)
        self.patience = check_patience(patience, at_most=MAX_PATIENCE)

    def notify(self, context: Context) -> None:
        """Show the state, from a process that may wait.

        Args:
            context: Airflow's context; it is not changed.
        """
        from activitysmith_integrations.airflow.late_start import end_if_over

        with allowance(context, self.patience) as allowed:
            update = self._prepare(context)
            if update is None:
                return
            key = update.target.stream_key
            try:
                with ActivitySmithHook(update.target.conn_id).get_conn() as client:
                    answer = _within(client, allowed).send(key, update.request)
                    self._say_answer(update, answer)
                    if update.run.is_on_worker and answer.operation == "started" and self._is_ended_by_dag(update.run):
                        end_if_over(update.run, key, client, self)
            except Exception as error:
                self._say_failure(key, error)

    async def async_notify(self, context: Context) -> None:
        """Show the state, from the triggerer.

        Args:
            context: Airflow's context; it is not changed.
        """
        allowed = allowance_of_its_own(self.patience)
        update = self._prepare(context)
        if update is None:
            return
        try:
            hook = ActivitySmithHook(update.target.conn_id)
            async with await hook.get_async_conn() as client:
                answer = await _within(client, allowed).send(update.target.stream_key, update.request)
            self._say_answer(update, answer)
        except Exception as error:
            self._say_failure(update.target.stream_key, error)

    def _prepare(self, context: Mapping[str, Any]) -> _Update | None:
        from activitysmith_integrations.airflow.outcomes import running
        from activitysmith_integrations.airflow.run import Run

        try:
            run = Run(context, self.stream_key)
            reason = self._reason_to_send_nothing(run)
            if reason is not None:
                say(self, (logging.INFO, reason))
                return None
            from activitysmith_integrations.core.runs.picture import running_labels

            target, options = target_of(self, run), rendered_options(self, run)
            return _Update(run, target, core.StreamRequest(**{**options, **running_labels(running(run), options)}))
        except Exception as error:
            say_unknown_failure(self, error)
            return None

    def _reason_to_send_nothing(self, run: Run) -> str | None:
        if run.is_temporary:
            return TASKS_TEST_SHOWS_NOTHING
        if run.is_of_dag:
            return "The run is over, so its Live Activity stream shows no more states."
        if run.is_resuming:
            return "The task goes on that began before, so the Live Activity stream shows what it showed."
        ends_with_run = self.stream_key is None or run.is_ended_by_task or self._is_ended_by_dag(run)
        if ends_with_run and run.is_of_task and run.result is not None and run.states and not run.goes_on:
            # A start after the end would be ended by nobody.
            return "The end of the run is next, so its Live Activity stream shows no more states."
        return None

    def _is_ended_by_dag(self, run: Run) -> bool:
        """Whether a notifier of the DAG ends the stream."""
        ends = (own_end(run.dag, when) for when in ("success", "failure"))
        return any(end is not None and end.stream_key == self.stream_key for end in ends)

    def _say_answer(self, update: _Update, answer: core.StreamResponse) -> None:
        from activitysmith_integrations.core.runs.log_lines import line_of_update

        say(self, line_of_update(update.target.stream_key, update.request.content_state.to_wire(), answer))

    def _say_failure(self, stream_key: str, error: Exception) -> None:
        from activitysmith_integrations.core.runs.log_lines import line_of_failed_update

        say(self, line_of_failed_update(stream_key, "updated", error))


def _within(client: Any, allowed: Allowance) -> Any:
    """The client for calls that keep to a callback's time."""
    if allowed.is_too_short:
        raise core.APITimeoutError(NO_TIME)
    return client.with_retry(patient_retry(max(allowed.deadline - time.monotonic(), 0.001)))
