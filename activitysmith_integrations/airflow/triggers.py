"""Follows a run from the triggerer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from activitysmith_integrations.airflow.hooks import ActivitySmithHook
from activitysmith_integrations.core.runs.budget import SECONDS_BETWEEN_STARTS

if TYPE_CHECKING:
    from activitysmith_integrations.airflow.follower import FollowedRun, RunFollower
    from activitysmith_integrations.core.client import AsyncActivitySmithClient
    from activitysmith_integrations.core.runs.ending import End, EndResult
    from activitysmith_integrations.core.runs.outcome import Result

CALL_SECONDS = 10.0
"""How long one call repeats itself, before the states are looked at again."""

_SECONDS_AFTER_CANCELLATION = 5.0
_SECONDS_BETWEEN_ENDS = 5.0
RESULTS: dict[str, Result] = {"success": "succeeded", "failed": "failed"}


class FollowRunTrigger(BaseTrigger):
    """Looks at the states of a run's tasks, shows how far they are, and ends the stream when they are over.

    Args:
        run: The run, see :meth:`FollowedRun.to_json`.
        history: What was sent before, see :attr:`RunFollower.history`.
        poll_interval: Seconds between two looks.
        patience: Seconds that the end may take to get through to the service, and Airflow to tell the states.
    """

    def __init__(
        self, run: Mapping[str, Any], history: Mapping[str, Any], poll_interval: float, patience: float
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.run_data = dict(run)
        self.history = dict(history)
        self.poll_interval = poll_interval
        self.patience = patience

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """How Airflow stores it; nothing of it is secret."""
        return f"{type(self).__module__}.{type(self).__name__}", {
            "run": self.run_data,
            "history": self.history,
            "poll_interval": self.poll_interval,
            "patience": self.patience,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Follow the run to its end."""
        from activitysmith_integrations.airflow.follower import FollowedRun, RunFollower

        follower = RunFollower(FollowedRun.from_json(self.run_data), self.history)
        async with await ActivitySmithHook(follower.run.conn_id).get_async_conn() as client:
            try:
                states = await self._follow(client, follower)
                # A timeout of the DAG ends the run first, and then what it skipped, this trigger included.
                ended_as = RESULTS.get(await sync_to_async(state_of)(follower.run))
                end = follower.end(states, ended_as)
                result = unshown_end(self.log, follower, end) or await self._end(client, follower, end)
            except asyncio.CancelledError:
                # Airflow ended the run, or this triggerer is to stop and another one goes on.
                await asyncio.shield(self._end_if_over(client, follower))
                raise
        yield TriggerEvent(_event(follower.run.stream_key, result))  # type: ignore[no-untyped-call]

    async def _follow(self, client: AsyncActivitySmithClient, follower: RunFollower) -> dict[str, str]:
        from activitysmith_integrations.core.errors import ActivitySmithError
        from activitysmith_integrations.core.retry import patient_retry
        from activitysmith_integrations.core.runs.log_lines import line_of_failed_update, line_of_update

        key, look = follower.run.stream_key, Look(follower.run, self.patience, self.log)
        while True:
            states = await sync_to_async(look)()
            if follower.is_over(states):
                return states
            request = follower.next_request(states, time.time()) if states else None
            if request is not None:
                try:
                    answer = await client.with_retry(patient_retry(CALL_SECONDS)).send(key, request)
                    follower.delivered(answer, time.time())
                    self.log.log(*line_of_update(key, follower.pending_state, answer))
                except ActivitySmithError as error:
                    what = "started" if follower.is_starting else "updated"
                    follower.refused(error, time.time())
                    self.log.log(*line_of_failed_update(key, what, error))
            await asyncio.sleep(self.poll_interval)

    async def _end(self, client: AsyncActivitySmithClient, follower: RunFollower, end: End) -> EndResult:
        """End the stream; a fault that can pass is waited out."""
        from activitysmith_integrations.core.runs.ending import async_end_stream
        from activitysmith_integrations.core.runs.log_lines import line_of_end

        key, give_up_at = follower.run.stream_key, time.monotonic() + self.patience
        while True:
            result = await async_end_stream(
                client, key, end, deadline=time.monotonic() + CALL_SECONDS, waits_for_place=False
            )
            self.log.log(*line_of_end(key, end, result))
            seconds = seconds_to_wait(result, give_up_at - time.monotonic())
            if seconds is None:
                return result
            await asyncio.sleep(seconds)

    async def _end_if_over(self, client: AsyncActivitySmithClient, follower: RunFollower) -> None:
        from activitysmith_integrations.core.runs.ending import async_end_stream
        from activitysmith_integrations.core.runs.log_lines import line_of_end

        try:
            async with asyncio.timeout(_SECONDS_AFTER_CANCELLATION):
                result_of_run = RESULTS.get(await sync_to_async(state_of)(follower.run))
                if result_of_run is None:
                    return
                states = await sync_to_async(Look(follower.run, self.patience, self.log))()
                end = follower.end(states, result_of_run)
                deadline = time.monotonic() + _SECONDS_AFTER_CANCELLATION
                result = await async_end_stream(client, follower.run.stream_key, end, deadline=deadline)
                self.log.log(*line_of_end(follower.run.stream_key, end, result))
        except Exception as error:
            self.log.warning("The run's state is not known, so its stream was not ended: %s", error)


def seconds_to_wait(result: EndResult, left: float) -> float | None:
    """Seconds before an end is tried again; None where it arrived, cannot succeed, or there is no time for it.

    Args:
        result: What became of it.
        left: Seconds that there are.
    """
    error = result.error
    if error is None or not getattr(error, "retryable", False):
        return None
    seconds = getattr(error, "retry_after", None) or _SECONDS_BETWEEN_ENDS
    if result.was_unknown and result.start is None:
        # The account has no place for it, and its requests are for the runs that are shown.
        seconds = max(seconds, SECONDS_BETWEEN_STARTS)
    return seconds if seconds < left else None


def unshown_end(log: Any, follower: RunFollower, end: End) -> EndResult | None:
    """What became of an end for which there is nothing to send, with a line about it; None where there is something.

    Args:
        log: Where the line goes.
        follower: The follower of the run.
        end: How the stream was to end.
    """
    from activitysmith_integrations.core.runs.ending import EndResult, missing_stream_response
    from activitysmith_integrations.core.runs.log_lines import line_of_unshown_end

    if end.is_needed(was_never_shown=follower.was_never_shown(time.time())):
        return None
    log.log(*line_of_unshown_end(follower.run.stream_key))
    return EndResult(missing_stream_response(follower.run.stream_key))


def _event(stream_key: str, result: EndResult) -> dict[str, Any]:
    """What the task is told: the answer that it returns, or the error that it raises."""
    from activitysmith_integrations.core.errors import error_text

    try:
        return {"answer": result.response(stream_key, missing_ok=True).to_json(), "error": None}
    except Exception as error:
        return {"answer": None, "error": error_text(error)}


class Look:
    """Asks for the states of a run's task instances, and bears an Airflow that does not say for a while.

    Args:
        run: The run.
        patience: Seconds without an answer after which it raises.
        log: Where the first failure is told.
    """

    def __init__(self, run: FollowedRun, patience: float, log: Any) -> None:
        self._run = run
        self._patience = patience
        self._log = log
        self._silent_since: float | None = None

    def __call__(self) -> dict[str, str]:
        """The states; empty where Airflow does not say at this moment.

        Raises:
            RuntimeError: It has not said for too long.
        """
        from activitysmith_integrations.core.errors import error_text

        try:
            states = self._ask()
        except Exception as error:
            now, text = time.monotonic(), error_text(error)
            if self._silent_since is None:
                self._silent_since = now
                self._log.warning("Airflow does not tell the states of the run's tasks, and is asked again: %s", text)
            if now - self._silent_since >= self._patience:
                raise RuntimeError(
                    f"Airflow has not told the states of the run's tasks for {self._patience:g} s, so the run is "
                    f"followed no more, and its Live Activity stream {self._run.stream_key!r} was not ended: {text}"
                ) from error
            return {}
        self._silent_since = None
        return states

    def _ask(self) -> dict[str, str]:
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

        from activitysmith_integrations.airflow.context import plain_states

        found = RuntimeTaskInstance.get_task_states(dag_id=self._run.dag_id, run_ids=[self._run.run_id])
        states = plain_states(found.get(self._run.run_id, {}))
        if not states:  # not even this task's
            raise LookupError(f"it knows no tasks of the run {self._run.run_id!r}")
        return states


def state_of(run: FollowedRun) -> str:
    """The state of a run; empty where Airflow does not say at this moment."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    try:
        found = RuntimeTaskInstance.get_dagrun_state(run.dag_id, run.run_id)
    except Exception:
        return ""
    return str(getattr(found, "value", found))
