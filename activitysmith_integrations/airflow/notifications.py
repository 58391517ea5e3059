"""The notifiers: end a stream, or show a state, from callbacks, and never at the pipeline's expense."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Unpack

from activitysmith_integrations import core
from activitysmith_integrations.airflow import dag_callbacks, templates
from activitysmith_integrations.airflow.callback_budget import MAX_PATIENCE
from activitysmith_integrations.airflow.callbacks import (
    NO_TIME,
    OTHER_PARAMETERS,
    Allowance,
    Callback,
    Target,
    allowance,
    allowance_of_its_own,
    options_to_show,
    say,
    stream_in_words,
    target_of,
)
from activitysmith_integrations.airflow.developer_commands import TASKS_TEST_SHOWS_NOTHING
from activitysmith_integrations.airflow.hooks import ActivitySmithHook
from activitysmith_integrations.airflow.stream_notifier import ActivitySmithStreamNotifier
from activitysmith_integrations.core.errors import error_text
from activitysmith_integrations.core.retry import DEFAULT_PATIENCE, check_patience

if TYPE_CHECKING:
    from airflow.sdk import Context

    from activitysmith_integrations.airflow.end_options import TemplatedEndOptions
    from activitysmith_integrations.airflow.run import Run
    from activitysmith_integrations.airflow.run_memory import FailedStart
    from activitysmith_integrations.core.runs.ending import End, EndResult
    from activitysmith_integrations.core.runs.outcome import RunOutcome
    from activitysmith_integrations.core.runs.recent_ends import Ended

__all__ = ["ActivitySmithEndStreamNotifier", "ActivitySmithStreamNotifier", "end_activitysmith_stream"]


FOLLOWER_ENDS = "The task that follows the run ends its Live Activity stream."


@dataclass(frozen=True)
class Ending:
    """An end that is ready to be sent.

    Args:
        target: Where it goes.
        end: How the stream is to end.
        start_may_come: Whether a start got no answer, so that the service may still take it up.
        is_second: Whether a task of the run, or its callback, ends the stream as well, and has shown this if it ran.
        remembered: What later ends in this process know of it; None for a stream that a task has for itself.
    """

    target: Target
    end: End
    start_may_come: bool = False
    is_second: bool = False
    remembered: Ended | None = None


class ActivitySmithEndStreamNotifier(Callback):
    """Ends a Live Activity stream when a DAG or task is over, with the picture of what happened.

    One instance serves ``on_success_callback``, ``on_failure_callback`` and ``on_skipped_callback``, on a DAG or a
    task, and a ``DeadlineAlert`` (as ``AsyncCallback``; as ``SyncCallback`` from Airflow 3.2 on, since the scheduler
    of 3.1 stops at one): it tells success from failure by itself. On a start or a retry, where nothing is over, it does
    nothing.

    It takes *patience* seconds at most whatever the network does (and what Airflow itself takes to hand out a
    connection), logs one line, and never raises. Many callbacks in one process share 40 seconds.

    Args:
        stream_key: The stream; the run's own, made of the DAG's and the run's id, where left out. Templated. A task's
            callback with a key ends that stream with what happened in the task; without one it is about the run's
            stream, so a success ends it only once all other tasks of the run are over.
        activitysmith_conn_id: The connection. Templated.
        patience: Seconds that it may take, from 2 to 40, to get through to the service; 18 of them in a task's own
            callbacks together, since Airflow kills those after 20.
        context: Airflow's own, for asynchronous callbacks.
        options: What to show instead of the default picture: see
            :class:`~activitysmith_integrations.core.EndOptions`. All of it is templated.

    Raises:
        InvalidRequestError: An option is misspelt, or a value that is no template breaks a rule of the API.
        ConfigurationError: *patience* is no such number of seconds.
    """

    ends_stream = True

    def __init__(
        self,
        stream_key: str | None = None,
        *,
        activitysmith_conn_id: str = ActivitySmithHook.default_conn_name,
        patience: float = DEFAULT_PATIENCE,
        context: Context | None = None,
        **options: Unpack[TemplatedEndOptions],
    ) -> None:
        super().__init__(stream_key, activitysmith_conn_id, options, context)
        if stream_key is not None or options:
            from activitysmith_integrations.airflow import literals

            literals.check_key(stream_key)
            literals.check_end(options, other=OTHER_PARAMETERS)
        self.patience = check_patience(patience, at_most=MAX_PATIENCE)

    def notify(self, context: Context) -> None:
        """End the stream, from a process that may wait.

        Args:
            context: Airflow's context; it is not changed.
        """
        with allowance(context, self.patience) as allowed:
            ending = self._prepare(context)
            if ending is not None:
                self._say_result(ending, self._send(ending, allowed))

    async def async_notify(self, context: Context) -> None:
        """End the stream, from the triggerer.

        Args:
            context: Airflow's context; it is not changed.
        """
        allowed = allowance_of_its_own(self.patience)
        ending = self._prepare(context)
        if ending is not None:
            self._say_result(ending, await self._async_send(ending, allowed))

    def _prepare(self, context: Mapping[str, Any]) -> Ending | None:
        """What to send; None, and a line in the log, where nothing is to be sent or it cannot be said what."""
        from activitysmith_integrations.airflow.run import Run

        try:
            return self._ending_of(Run(context, self.stream_key))
        except Exception as error:
            say(self, (logging.ERROR, f"{stream_in_words(self)} was not ended: {error_text(error)}"))
            return None

    def _ending_of(self, run: Run) -> Ending | None:
        from activitysmith_integrations.airflow.outcomes import outcome_of

        reason = self._reason_to_send_nothing(run)
        if reason is not None:
            say(self, (logging.INFO, reason))
            return None
        outcome = outcome_of(run, of_the_run=is_about_run(self, run))
        if outcome is None:
            say(self, (logging.INFO, "Other tasks of the run are not over, so its Live Activity stream goes on."))
            return None
        target = target_of(self, run)
        end, failed_start, is_news = end_for(self, run, outcome), self._failed_start(run), self._is_news(run)
        if is_news:
            end = end.of_unshown_run()
        if failed_start is not None and not failed_start.may_run and not end.is_failure:
            from activitysmith_integrations.core.runs.log_lines import line_of_unshown_end

            say(self, line_of_unshown_end(target.stream_key))
            return None
        may_come = failed_start is not None and failed_start.may_run and failed_start.is_recent(time.time())
        is_by_callback = run.is_of_dag and dag_callbacks.task_ends(run.dag, self.stream_key)
        is_second = (run.is_ended_by_task or is_by_callback) and not is_news
        ending = Ending(target, end, start_may_come=may_come, is_second=is_second)
        return _after_earlier_ends(ending, run) if is_about_run(self, run) else ending

    def _reason_to_send_nothing(self, run: Run) -> str | None:
        if run.is_temporary:
            return TASKS_TEST_SHOWS_NOTHING
        if run.result is None:
            return "Nothing is over yet, so the Live Activity stream goes on."
        if run.is_of_task and self.stream_key is None and run.is_followed:
            return FOLLOWER_ENDS
        if self._is_left_to_dag(run):
            return "The run is not over, so its Live Activity stream goes on."
        return None

    def _is_left_to_dag(self, run: Run) -> bool:
        """Whether a task's failure is no end yet, and the DAG itself ends its stream.

        Other tasks report on, or the run does not fail with this one.
        """
        if self.stream_key is not None or not run.is_of_task or run.result == "succeeded":
            return False
        if run.is_ignored_failure:
            return dag_callbacks.own_end(run.dag, "failure" if run.has_failed else "success") is not None
        return dag_callbacks.own_end(run.dag, "failure") is not None and dag_callbacks.is_shown(run.dag) and run.goes_on

    def _is_news(self, run: Run) -> bool:
        """Whether a stream that has ended does not show this failure, since it was ended before.

        By an earlier run, by this one before it was cleared, by its deadline, or by a task of it that ran before
        anything failed.
        """
        from activitysmith_integrations.airflow.run_memory import RunMemory

        if run.is_deadline or run.result == "succeeded":
            return False
        if run.is_of_task:
            # Tasks may share a callback and its key; a templated one is taken for the task's own.
            is_own = self.stream_key is not None and (templates.is_template(self.stream_key) or run.is_only_failure)
            return is_own and not run.is_ended_by_task
        is_shown_by_callback = dag_callbacks.task_ends(run.dag, self.stream_key)
        if not run.is_ended_by_task or run.is_end_skipped or RunMemory(run).was_ended_before_clear(run.ending_tasks):
            has_deadline = any(dag_callbacks.own_deadlines(run.dag))
            was_ended_before = self.stream_key is not None or run.clear_number > 0 or has_deadline
            return was_ended_before and not is_shown_by_callback
        if run.has_failed or run.may_show_handled_failure or not run.posted_states:
            return False
        # Where the task that ends it succeeded, callbacks of later tasks found an ended stream and left it to this one.
        return "success" in run.ending_states or not is_shown_by_callback

    def _failed_start(self, run: Run) -> FailedStart | None:
        from activitysmith_integrations.airflow.run_memory import RunMemory

        # The start that is remembered is that of the stream to which the tasks report.
        is_known = dag_callbacks.is_shown_as(run.dag, self.stream_key)
        return RunMemory(run).failed_start() if is_known else None

    def _send(self, ending: Ending, allowed: Allowance) -> EndResult:
        from activitysmith_integrations.airflow.interrupted_dag_test import forget
        from activitysmith_integrations.airflow.late_start import end_once_started
        from activitysmith_integrations.core.runs.ending import EndResult, end_stream

        if allowed.is_too_short:
            return EndResult(error=core.APITimeoutError(NO_TIME))
        try:
            with ActivitySmithHook(ending.target.conn_id).get_conn() as client:
                result = end_stream(client, ending.target.stream_key, ending.end, deadline=allowed.deadline)
                forget(ending.target.stream_key)
                if result.was_unknown and ending.start_may_come:
                    return end_once_started(client, ending.target.stream_key, ending.end, allowed.deadline) or result
                return result
        except Exception as error:
            return EndResult(error=error)

    async def _async_send(self, ending: Ending, allowed: Allowance) -> EndResult:
        from activitysmith_integrations.core.runs.ending import EndResult, async_end_stream

        try:
            async with await ActivitySmithHook(ending.target.conn_id).get_async_conn() as client:
                return await async_end_stream(client, ending.target.stream_key, ending.end, deadline=allowed.deadline)
        except Exception as error:
            return EndResult(error=error)

    def _say_result(self, ending: Ending, result: EndResult) -> None:
        from activitysmith_integrations.core.runs.log_lines import line_of_end
        from activitysmith_integrations.core.runs.recent_ends import take_back

        if ending.remembered is not None and not result.is_shown:
            take_back(ending.remembered)
        level, text = line_of_end(ending.target.stream_key, ending.end, result)
        if ending.is_second and result.answer is not None and result.answer.activity_id is None:
            level, text = logging.INFO, f"Live Activity stream {ending.target.stream_key!r} was ended by a task before."
        say(self, (level, text))


def is_about_run(notifier: ActivitySmithEndStreamNotifier, run: Run) -> bool:
    """Whether a notifier ends the stream of a run, rather than one that a task has for itself."""
    return notifier.stream_key is None or not run.is_of_task


def end_for(notifier: ActivitySmithEndStreamNotifier, run: Run, outcome: RunOutcome) -> End:
    """How a notifier ends a stream; options that cannot be rendered or used are left out, and the log line says why.

    Args:
        notifier: The notifier.
        run: The run.
        outcome: What happened in it.
    """
    from activitysmith_integrations.core.runs.ending import build_end_or_default

    title = run.title if is_about_run(notifier, run) else run.instance_name
    options: Any = {"title": title, **options_to_show(notifier, run)}
    return build_end_or_default(outcome, options)


def _after_earlier_ends(ending: Ending, run: Run) -> Ending:
    """An end as it fits what this process has sent of the run, such as from a function of the user's own."""
    from activitysmith_integrations.core.runs.recent_ends import Ended, remember

    new = Ended(ending.target.stream_key, ending.end.result, run.identity)
    is_shown = new.is_failure and any(end.is_failure and end.run_id == new.run_id for end in remember(new))
    end = ending.end.of_shown_run(is_silent=True) if is_shown else ending.end
    return replace(ending, end=end, remembered=new)


end_activitysmith_stream = ActivitySmithEndStreamNotifier
