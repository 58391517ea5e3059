"""Follows a run from the triggerer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

from activitysmith_integrations.airflow import needs_airflow
from activitysmith_integrations.airflow.hooks import ActivitySmithHook

with needs_airflow():
    from airflow.triggers.base import BaseTrigger, TriggerEvent
    from asgiref.sync import sync_to_async

if TYPE_CHECKING:
    from activitysmith_integrations.airflow.follow_steps import Step
    from activitysmith_integrations.airflow.follower import FollowedRun, RunFollower
    from activitysmith_integrations.core.client import AsyncActivitySmithClient
    from activitysmith_integrations.core.runs.ending import EndResult

_SECONDS_AFTER_CANCELLATION = 5.0


class FollowRunTrigger(BaseTrigger):
    """Looks at the states of a run's tasks, shows how far they are, and ends the stream when they are over.

    Args:
        run: The run, see :meth:`FollowedRun.to_json`.
        history: What was sent before, see :attr:`RunFollower.history`.
        poll_interval: Seconds between two looks.
        patience: Seconds that the end may take to get through to the service, and Airflow to tell the states or to find
            the connection.
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
        from activitysmith_integrations.airflow.follow_steps import event_of, follow
        from activitysmith_integrations.airflow.follower import FollowedRun, RunFollower
        from activitysmith_integrations.core.runs.request_flow import async_drive

        follower = RunFollower(FollowedRun.from_json(self.run_data), self.history)
        try:
            found = await self._connected(follower.run.conn_id)
        except RuntimeError as error:
            yield TriggerEvent({"answer": None, "error": str(error)})  # type: ignore[no-untyped-call]
            return
        async with found as client:

            async def perform(step: Step) -> Any:
                return await _perform(step, follower.run, client)

            try:
                result = await async_drive(follow(follower, self.poll_interval, self.patience, self.log), perform)
            except asyncio.CancelledError:
                # Airflow ended the run, or this triggerer is to stop and another one goes on.
                await asyncio.shield(self._end_if_over(follower, perform))
                raise
        yield TriggerEvent(event_of(follower.run.stream_key, result))  # type: ignore[no-untyped-call]

    async def _connected(self, conn_id: str) -> AsyncActivitySmithClient:
        """The client; one bad answer of a secrets backend must not leave a stream that was started without its end."""
        from activitysmith_integrations.core.errors import error_text

        began, has_warned = time.monotonic(), False
        while True:
            try:
                return await ActivitySmithHook(conn_id).get_async_conn()
            except Exception as error:
                text = error_text(error)
                if time.monotonic() - began >= self.patience:
                    raise RuntimeError(
                        f"for {self.patience:g} s the triggerer, which needs the connection {conn_id!r} as workers do, "
                        f"could not get it: {text}"
                    ) from error
            if not has_warned:
                has_warned = True
                self.log.warning("The triggerer cannot get the connection %r, and asks for it again: %s", conn_id, text)
            await asyncio.sleep(self.poll_interval)

    async def _end_if_over(self, follower: RunFollower, perform: Any) -> None:
        from activitysmith_integrations.airflow.follow_steps import end_if_over
        from activitysmith_integrations.core.runs.request_flow import async_drive

        try:
            async with asyncio.timeout(_SECONDS_AFTER_CANCELLATION):
                await async_drive(end_if_over(follower, _SECONDS_AFTER_CANCELLATION, self.log), perform)
        except Exception as error:
            from activitysmith_integrations.core.errors import error_text

            text = "Live Activity stream %r was not ended, since the state of its run is not known: %s"
            self.log.warning(text, follower.run.stream_key, error_text(error))


async def _perform(step: Step, run: FollowedRun, client: AsyncActivitySmithClient) -> Any:
    from activitysmith_integrations.airflow import follow_steps
    from activitysmith_integrations.core.retry import patient_retry
    from activitysmith_integrations.core.runs.ending import async_end_stream

    match step:
        case follow_steps.LookAtTasks():
            return await sync_to_async(states_of)(run)
        case follow_steps.LookAtRun():
            return await sync_to_async(state_of)(run)
        case follow_steps.Send(request):
            return await client.with_retry(patient_retry(follow_steps.CALL_SECONDS)).send(run.stream_key, request)
        case follow_steps.SendEnd(end, seconds):
            deadline = time.monotonic() + seconds
            ending = async_end_stream(client, run.stream_key, end, deadline=deadline, tries_again=True)
            return await _arrived_though_cancelled(asyncio.create_task(ending))
        case follow_steps.Wait(seconds):
            return await asyncio.sleep(seconds)


async def _arrived_though_cancelled(ending: asyncio.Task[EndResult]) -> EndResult:
    """What became of an end that was on its way when this was cancelled, if it arrived.

    Airflow cancels the trigger of a run that timed out about when the trigger sees that. A second end would find the
    stream ended.
    """
    try:
        return await asyncio.shield(ending)
    except asyncio.CancelledError:
        done, _ = await asyncio.wait({ending}, timeout=_SECONDS_AFTER_CANCELLATION)
        if done and ending.result().error is None:
            return ending.result()
        ending.cancel()
        raise


def states_of(run: FollowedRun) -> dict[str, str]:
    """The states of a run's task instances.

    Args:
        run: The run.

    Raises:
        Exception: Airflow does not say at this moment.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    from activitysmith_integrations.airflow.run import plain_states

    found = RuntimeTaskInstance.get_task_states(dag_id=run.dag_id, run_ids=[run.run_id])
    states = plain_states(found.get(run.run_id, {}))
    if not states:  # not even this task's
        raise LookupError(f"it knows no tasks of the run {run.run_id!r}")
    return states


def state_of(run: FollowedRun) -> str:
    """The state of a run; empty where Airflow does not say at this moment.

    Args:
        run: The run.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    from activitysmith_integrations.airflow.run import text_of

    try:
        return text_of(RuntimeTaskInstance.get_dagrun_state(run.dag_id, run.run_id)) or ""
    except Exception:
        return ""
