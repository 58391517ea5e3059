"""What the hooks do when Prefect calls them: start a run's stream, and end it. Nothing here raises.

Prefect bounds no hook's time (3.8): an end is awaited no longer than the hook's patience, and a start is never awaited.
"""

from __future__ import annotations

import contextvars
import logging
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from prefect import Flow
from prefect.client.schemas.objects import FlowRun, State, TaskRun
from prefect.context import FlowRunContext
from prefect.settings import PREFECT_API_URL

from activitysmith_integrations.core.errors import error_text
from activitysmith_integrations.core.keys import check_stream_key
from activitysmith_integrations.core.retry import seconds_for_calls
from activitysmith_integrations.core.runs.log_lines import line_of_failed_update
from activitysmith_integrations.core.runs.outcome import Result, RunOutcome
from activitysmith_integrations.prefect import open_runs
from activitysmith_integrations.prefect.ending import Subject, end_run, log_to_page
from activitysmith_integrations.prefect.follower import Follower
from activitysmith_integrations.prefect.hooks import HookSettings, StreamKey
from activitysmith_integrations.prefect.run_watch import latest_attempt
from activitysmith_integrations.prefect.runs import hook_outcome, key_or_default, running_outcome
from activitysmith_integrations.prefect.shown_failures import RunRef
from activitysmith_integrations.prefect.task_counts import impatient_client
from activitysmith_integrations.prefect.time_limit import within

# Prefect may call these hooks in another process than the run's, with the run as it was before it began (3.8).
_ENDS_ELSEWHERE: tuple[Result, ...] = ("crashed", "cancelled")
# For the flow's other hooks, and the state itself.
_SECONDS_BEFORE_TIMEOUT = 1.0


def start(settings: HookSettings, flow: Flow[..., object], run: FlowRun) -> None:
    """Start a run's stream, and follow the run. It returns at once.

    Args:
        settings: What the hook was made with.
        flow: The flow.
        run: Its run.
    """
    key = str(run.id)  # for the log, until there is a stream key
    context = contextvars.copy_context()  # what is logged from other threads is to find Prefect's settings

    def log(level: int, line: str) -> None:
        context.copy().run(log_to_page, flow, run, level, line)

    try:
        key = _key_of(settings.stream_key, flow, run)
        outcome = running_outcome(flow, run)
        open_runs.begin(run.id, settings, lambda: Follower(key, outcome, run, settings, log, open_runs.leave))
    except Exception as error:
        log(*line_of_failed_update(key, "started", error))


async def end(settings: HookSettings, subject: Subject, run: FlowRun | TaskRun, state: State[Any]) -> None:
    """End a run's stream, and log one line about it.

    Args:
        settings: What the hook was made with.
        subject: The flow or task.
        run: Its run.
        state: The state that it enters.
    """
    deadline = time.monotonic() + seconds_for_calls(settings.patience)
    key = str(run.id)  # for the log, until there is a stream key
    try:
        outcome = hook_outcome(subject, run, state)
        follower = open_runs.take(run.id, settings) if outcome else None
        key = follower.stream_key if follower else _key_of(settings.stream_key, subject, run)
        if outcome is None:
            line = f"Live Activity stream {key!r} goes on: {state.name} is no end of a run."
            log_to_page(subject, run, logging.WARNING, line)
            return
        work = partial(_end_and_log, key, settings, outcome, subject, run, _ref_of(run), follower, deadline)
        seconds = _seconds_left(subject, run, outcome)
        if seconds is None or seconds >= settings.patience:
            await within(settings.patience, work)
        else:
            with suppress(TimeoutError):
                await within(seconds, work, daemon=False)
    except TimeoutError as error:
        log_to_page(subject, run, logging.ERROR, f"Live Activity stream {key!r} may not have been ended: {error}")
    except Exception as error:
        log_to_page(subject, run, *_line_of_failure(key, error))


def _seconds_left(subject: Subject, run: FlowRun | TaskRun, outcome: RunOutcome) -> float | None:
    """How long a hook may keep a flow with a timeout; None where there is none.

    Prefect's timeout goes on while these hooks run (3.6 to 3.9): a flow that is done, or that has returned a failure,
    would be taken for timed out because of our waiting, and all its hooks would run again. It begins anew with each
    attempt, as the flow's context does.
    """
    if not isinstance(subject, Flow) or not subject.timeout_seconds or outcome.result not in ("succeeded", "failed"):
        return None
    attempt = FlowRunContext.get()
    if attempt is None or attempt.flow_run is None or attempt.flow_run.id != run.id:
        return None  # it failed before it began, such as by wrong parameters
    age = (datetime.now(UTC) - attempt.start_time).total_seconds()
    return max(0.0, subject.timeout_seconds - age - _SECONDS_BEFORE_TIMEOUT)


def _end_and_log(
    key: str,
    settings: HookSettings,
    outcome: RunOutcome,
    subject: Subject,
    run: FlowRun | TaskRun,
    ref: RunRef | None,
    follower: Follower | None,
    deadline: float,
) -> None:
    # In the thread that ends it: whoever waits for that may be cancelled.
    try:
        line = _end(key, settings, outcome, run, ref, follower, deadline)
    except Exception as error:
        line = _line_of_failure(key, error)
    log_to_page(subject, run, *line)


def _line_of_failure(key: str, error: Exception) -> tuple[int, str]:
    return logging.ERROR, f"Live Activity stream {key!r} was not ended: {error_text(error)}"


def _end(
    key: str,
    settings: HookSettings,
    outcome: RunOutcome,
    run: FlowRun | TaskRun,
    ref: RunRef | None,
    follower: Follower | None,
    deadline: float,
) -> tuple[int, str]:
    beside = None if follower else open_runs.find(ref.run_id if ref else None, key)
    if beside:  # a task's hook, or a subflow's, ends what the flow's hooks keep moving
        beside.stop_for_end(outcome, open_tasks=1)
        ref = beside.run
    elif follower is None and isinstance(run, FlowRun) and (outcome.result in _ENDS_ELSEWHERE or run.run_count > 1):
        known = _known_to_api(run, settings.patience / 4)
        if known and not known.run.run_count and outcome.result == "cancelled":
            return logging.INFO, f"Live Activity stream {key!r} goes on: the cancelled run had not begun."
        if known:
            started_at = known.attempt_began or outcome.started_at
            outcome = replace(outcome, run=known.run.name, label=known.run.name, started_at=started_at)
    return end_run(key, settings, outcome, ref, follower, deadline)


def _ref_of(run: FlowRun | TaskRun) -> RunRef | None:
    """The flow's run, which a task's hook knows only by its id where Prefect calls it without the flow's context."""
    if isinstance(run, FlowRun):
        return RunRef.of(run)
    present = RunRef.present()
    if present and present.run_id == run.flow_run_id:
        return present
    return RunRef(run.flow_run_id, None) if run.flow_run_id else None


@dataclass(frozen=True)
class _Known:
    """What the API knows of a run: the run, and when its latest attempt began."""

    run: FlowRun
    attempt_began: datetime | None


def _known_to_api(run: FlowRun, seconds: float) -> _Known | None:
    """The run with its present name and its start; None where the API does not answer."""
    if not PREFECT_API_URL.value():
        return None  # a temporary server, which asking would start, knows no runs of another process
    with suppress(Exception), impatient_client(seconds) as api:
        began, _ = latest_attempt(api.read_flow_run_states(run.id))
        return _Known(api.read_flow_run(run.id), began)
    return None


def _key_of(key: StreamKey, subject: Subject, run: FlowRun | TaskRun) -> str:
    """The stream key that the user chose; the run's own where a function makes none, so that failures are seen."""
    if not callable(key):
        return key_or_default(key, subject.name, run.id)
    try:
        return check_stream_key(key(subject, run))
    except Exception as error:
        own = key_or_default(None, subject.name, run.id)
        line = f"The function for the stream key failed, so the stream is {own!r}: {error_text(error)}"
        log_to_page(subject, run, logging.WARNING, line)
        return own
