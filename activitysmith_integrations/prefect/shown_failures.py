"""Whether a failure is on the screen already: only where this process has shown it.

A stream can have been ended by anything else: another run, attempt or process, a time limit, the service itself. What
it shows is then not this failure, as far as anybody knows, and a second banner is better than none.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_URL

from activitysmith_integrations.core.runs.ending import End
from activitysmith_integrations.core.runs.outcome import RunOutcome
from activitysmith_integrations.core.runs.recent_ends import Ended, remember
from activitysmith_integrations.prefect.run_watch import latest_attempt
from activitysmith_integrations.prefect.task_counts import REQUEST_SECONDS, impatient_client


class RunRef(NamedTuple):
    """Which flow run a stream is of.

    Args:
        run_id: Its id.
        parent_id: For a subflow, the task run of its parent's that stands for it.
    """

    run_id: UUID
    parent_id: UUID | None

    @classmethod
    def of(cls, run: FlowRun) -> RunRef:
        """That of a run.

        Args:
            run: The run.
        """
        return cls(run.id, run.parent_task_run_id)

    @classmethod
    def present(cls) -> RunRef | None:
        """That of the run that this code is in, None outside of one."""
        context = FlowRunContext.get()
        return cls.of(context.flow_run) if context and context.flow_run else None


def prepare_end(
    stream_key: str, end: End, outcome: RunOutcome, run: RunRef | None, seconds: float = REQUEST_SECONDS
) -> tuple[End, Ended]:
    """What is to be sent, which counts as the run's end from now on.

    Args:
        stream_key: The stream.
        end: How it is to end.
        outcome: How the run ended.
        run: The run, None outside of one.
        seconds: How long Prefect's API may take for an answer, where it has to be asked.

    Returns:
        The end as it fits what is on the screen, and what to take back if it does not arrive.
    """
    run_id, parent_id = run or (None, None)
    new = Ended(stream_key, outcome.result, run_id, parent_id, (outcome.error_type, outcome.error_text))
    before = remember(new)
    shown = _shown(before, outcome, run, seconds) if run and end.is_failure else None
    if shown is None:
        return end.of_unshown_run(), new
    # A parent goes on between its subflow's end and its own, and may start the stream anew.
    is_subflows = shown.run_id not in (new.run_id, None) and shown.error == new.error
    return end.of_shown_run(is_silent=is_subflows), new


def _shown(before: list[Ended], outcome: RunOutcome, run: RunRef, seconds: float) -> Ended | None:
    """The end that shows a run's failure already, None where none does."""
    own = [end for end in before if end.run_id == run.run_id or _is_of_block_within(end, outcome.started_at)]
    if own and (own[-1].run_id is None or not own[-1].is_failure or _is_of_latest_attempt(own[-1], run, seconds)):
        return own[-1] if own[-1].is_failure else None
    if before and before[-1].is_failure and _is_of_subflow(before[-1], run, seconds):
        return before[-1]
    return None


def _is_of_block_within(end: Ended, began: datetime | None) -> bool:
    """Whether it is that of a LiveActivity, which knows no run, while the run went on."""
    return end.run_id is None and began is not None and end.at >= began


def _is_of_latest_attempt(end: Ended, run: RunRef, seconds: float) -> bool:
    """Whether a run was not run again since; so it is where the API does not tell."""
    if PREFECT_API_URL.value():
        with suppress(Exception), impatient_client(seconds) as api:
            began, over = latest_attempt(api.read_flow_run_states(run.run_id))
            return began is None or over is None or end.at >= began
    return True


def _is_of_subflow(end: Ended, run: RunRef, seconds: float) -> bool:
    """Whether it was the end of a run's subflow, or of one further down."""
    if end.parent_id:
        with suppress(Exception), impatient_client(seconds) as api:
            return _is_within(api, end.parent_id, run.run_id)
    return False


def _is_within(api: SyncPrefectClient, task_run_id: UUID | None, run_id: UUID) -> bool:
    while task_run_id:
        flow_run_id = api.read_task_run(task_run_id).flow_run_id
        if flow_run_id is None or flow_run_id == run_id:
            return flow_run_id is not None
        task_run_id = api.read_flow_run(flow_run_id).parent_task_run_id
    return False
