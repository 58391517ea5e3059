"""The flow runs that this process shows, and what happens to those that are still open when it exits.

They are kept here and not in a hook, because hooks are pickled, and one serves several runs at once.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from uuid import UUID

from prefect import runtime
from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun

from activitysmith_integrations.core import forks
from activitysmith_integrations.core.errors import error_text
from activitysmith_integrations.core.retry import seconds_for_calls
from activitysmith_integrations.core.runs.outcome import RunOutcome
from activitysmith_integrations.prefect.ending import end_run
from activitysmith_integrations.prefect.follower import Follower
from activitysmith_integrations.prefect.hooks import HookSettings
from activitysmith_integrations.prefect.runs import result_of, run_url
from activitysmith_integrations.prefect.task_counts import impatient_client


class _OpenRuns:
    """What shows the runs: one for each stream that a run has."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start with none: what a parent shows is not its forked child's to end."""
        self.followers: list[Follower] = []
        self.lock = threading.Lock()


_open = _OpenRuns()
forks.in_child(_open.forget)


def begin(run_id: UUID, settings: HookSettings, make: Callable[[], Follower]) -> None:
    """Show a run until :func:`take`; one that is shown already, since its flow is retried, counts from zero.

    Args:
        run_id: The run.
        settings: What its hooks were made with.
        make: Makes its follower.
    """
    with _open.lock:
        known = _of_hooks(run_id, settings)
        if known and not known.is_stopped:
            known.begin_again()
            return
        if known:
            _open.followers.remove(known)
            known.close()
        follower = make()
        # Before it starts: a Ctrl-C right after that leaves nothing that nobody stops.
        _open.followers.append(follower)
        try:
            follower.start()
        except RuntimeError:  # the machine has no thread to give; the run's end goes out without a follower
            _open.followers.remove(follower)
            raise


def take(run_id: UUID, settings: HookSettings) -> Follower | None:
    """The run, which whoever takes it has to end; None where these hooks do not show it in this process.

    Args:
        run_id: The run.
        settings: What the hook that ends it was made with.
    """
    with _open.lock:
        follower = _of_hooks(run_id, settings)
        if follower:
            _open.followers.remove(follower)
        return follower


def _of_hooks(run_id: UUID, settings: HookSettings) -> Follower | None:
    of_run = (follower for follower in _open.followers if follower.run_id == run_id)
    return next((follower for follower in of_run if follower.settings.are_of_stream_of(settings)), None)


def find(run_id: UUID | None, stream_key: str) -> Follower | None:
    """What hooks show in a stream: the run itself, else another one of this process, such as a subflow's parent.

    Args:
        run_id: The run's id, None outside of a run.
        stream_key: The stream.
    """
    with _open.lock:
        found = [follower for follower in _open.followers if follower.stream_key == stream_key]
    return next((follower for follower in found if follower.run_id == run_id), found[-1] if found else None)


def leave(follower: Follower) -> None:
    """What is left to do for a run that no hook will be called for in this process.

    Args:
        follower: What shows it.
    """
    with _open.lock:
        if follower not in _open.followers:
            return
        _open.followers.remove(follower)
    _end_as_known(follower)


@atexit.register
def _end_open_runs() -> None:
    """At the exit of the process: no hook was called for these runs, which all have the same time.

    That happens where a run returns ``Cancelled()``, where the console of a killed worker's flow broke within
    Prefect's own log line about the hook (3.9), and where the process exits in the middle of a run.
    """
    followers = list(_open.followers)
    for follower in followers:
        follower.leave()  # in its own thread: none can be started any more (Python 3.12)
    began = time.monotonic()
    for follower in followers:
        follower.join(max(0.0, began + follower.settings.patience - time.monotonic()))


def _end_as_known(follower: Follower) -> None:
    """End a run's stream as the API says that the run went; one that goes on later is only no longer followed."""
    try:
        deadline = time.monotonic() + seconds_for_calls(follower.settings.patience)
        with impatient_client(follower.settings.patience / 4) as api:
            run = api.read_flow_run(follower.run_id)
            outcome = None if _goes_on(api, run) else _outcome_of(run, follower.outcome)
        if outcome is None:
            follower.stop(follower.outcome)
            follower.close()
            return
        line = end_run(follower.stream_key, follower.settings, outcome, follower.run, follower, deadline)
    except Exception as error:
        text = f"Live Activity stream {follower.stream_key!r} may not have been ended: {error_text(error)}"
        line = (logging.WARNING, text)
    follower.log(*line)


def _goes_on(api: SyncPrefectClient, run: FlowRun) -> bool:
    """Whether a run that left its process is not over, or somebody else will tell how it ended.

    A runner or worker that started this process for the run calls the hooks of a run that it cancels, and of one that
    is not over by now (Prefect 3.8). Where it suspends or reschedules the run, Prefect leaves the subflows running, and
    they go on with it (3.8, 3.9).
    """
    if run.state is None or run.state.is_final():
        return False
    root = _root_of(api, run)
    is_of_runner = runtime.flow_run.id in (str(run.id), str(root.id))
    return is_of_runner or (root.state is not None and not root.state.is_running() and result_of(root.state) is None)


def _root_of(api: SyncPrefectClient, run: FlowRun) -> FlowRun:
    """The run that a subflow belongs to in the end, as far as the API tells; the run itself where it is none."""
    with suppress(Exception):
        while run.parent_task_run_id and (parent_id := api.read_task_run(run.parent_task_run_id).flow_run_id):
            run = api.read_flow_run(parent_id)
    return run


def _outcome_of(run: FlowRun, known: RunOutcome) -> RunOutcome | None:
    """How a run ended that left its process; None where it is paused, suspended or scheduled: it goes on later."""
    result = None if run.state is None else "crashed" if run.state.is_running() else result_of(run.state)
    if run.state is None or result is None:
        return None
    return replace(
        known,
        result=result,
        run=run.name,
        label=run.name,
        started_at=run.start_time,
        ended_at=run.state.timestamp if run.state.is_final() else None,
        url=run_url("flow-run", run.id),
        error_text=run.state.message,
    )
