"""What Prefect's API knows of a flow run that goes on in this process: how far it is, and what people call it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.objects import FlowRun, State
from prefect.exceptions import PrefectHTTPStatusError

from activitysmith_integrations.core.runs.outcome import RunOutcome
from activitysmith_integrations.prefect.failed_task import UNNAMED_TASK
from activitysmith_integrations.prefect.task_counts import CLOCK_DIFFERENCE, TaskCounts, count_tasks, first_failed_task

# A look at a run that is a minute old shows a twentieth of it; one of five minutes or more is looked at every 15 s.
_LOOKS_PER_AGE = 20
_SECONDS_BETWEEN_LOOKS = (1.0, 15.0)
# So many runs, such as a flow and its subflow, are looked at as often as one.
_RUNS_AT_FULL_RATE = 2
# Long enough for a run that is over to call its hooks.
_TIME_FOR_HOOKS = timedelta(minutes=2)
# The API learns of the last tasks a moment after the run's end. One that is busy answers late, and learns late.
_SECONDS_UNCHANGED, _SECONDS_UNCHANGED_IF_UNFINISHED, _ANSWERS_UNCHANGED = 0.5, 2.0, 10
_SECONDS_BETWEEN_LAST_LOOKS = (0.2, 0.8)

_ADVICE: dict[int, str] = {
    HTTPStatus.UNAUTHORIZED: "Set PREFECT_API_KEY, or PREFECT_API_AUTH_STRING for a server of your own, where it runs.",
    HTTPStatus.FORBIDDEN: "Give the key in PREFECT_API_KEY the right to read task runs.",
}
# The server is busy, which passes.
_PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)


def seconds_between_looks(age: float, runs: int = 1) -> float:
    """How long to wait before the next look at a run: a process looks twice a second at most, whatever runs it has.

    Args:
        age: Seconds since it was first looked at.
        runs: How many runs this process looks at.
    """
    least, most = _SECONDS_BETWEEN_LOOKS
    return max(min(max(age / _LOOKS_PER_AGE, least), most), runs * least / _RUNS_AT_FULL_RATE)


def has_left(run: FlowRun, now: datetime) -> bool:
    """Whether a run has left the process that began it: it is suspended, or over for long enough to call hooks.

    Args:
        run: The run, as the API has it.
        now: The present time.
    """
    state = run.state
    if state is None or state.timestamp is None:
        return False
    is_suspended = state.is_paused() and state.state_details.pause_reschedule
    return is_suspended or (state.is_final() and now - state.timestamp > _TIME_FOR_HOOKS)


def latest_attempt(states: Iterable[State[Any]]) -> tuple[datetime | None, datetime | None]:
    """When the latest attempt of a run began, and when the one before was over; None where there is none.

    A run that is over can be run again, from the UI for instance, and keeps its first start (Prefect 3.9).

    Args:
        states: All states of the run.
    """
    timed = [(state, state.timestamp) for state in states if state.timestamp]
    began = [at for state, at in timed if state.is_running()]
    over = max((at for state, at in timed if state.is_final() and began and at < max(began)), default=None)
    return min((at for at in began if over is None or at > over), default=None), over


def are_final(
    counts: TaskCounts, total: int | None, *, failed: int, unchanged_for: float, answer_seconds: float
) -> bool:
    """Whether the API knows all task runs of a run that is over. It cannot say so itself.

    Args:
        counts: What it knows.
        total: How many there are, None where that is not known.
        failed: How many have failed at least, as this process knows.
        unchanged_for: Seconds since its answer changed last.
        answer_seconds: Seconds that its last answer took.
    """
    if counts.failed < failed:
        return False
    # One that has more than were expected may have more still, which the API is yet to learn of.
    if counts.finished == total and not counts.unfinished:
        return True
    # Some tasks go on without their run: deferred ones, and runs of other deployments.
    needed = _SECONDS_UNCHANGED_IF_UNFINISHED if counts.unfinished else _SECONDS_UNCHANGED
    return unchanged_for >= max(needed, _ANSWERS_UNCHANGED * answer_seconds)


def line_of_refusal(error: Exception, stream_key: str) -> str | None:
    """What to log where Prefect's API refuses to say how far a run is; None for a fault that can pass.

    Args:
        error: What asking raised.
        stream_key: The run's stream.
    """
    if not isinstance(error, PrefectHTTPStatusError):
        return None
    status = error.response.status_code
    if not 400 <= status < 500 or status in _PASSING:
        return None
    advice = _ADVICE.get(status, "")
    reason = f"{status} {error.response.reason_phrase}".rstrip()
    text = f"Live Activity stream {stream_key!r} cannot show how far the run is: Prefect's API refuses to tell"
    return f"{text} ({reason}). {advice}".rstrip()


class RunWatch:
    """Asks the API how far a run is.

    Args:
        run: The run as it was when it began, or began again.

    Attributes:
        counts: Its task runs, None until they are known.
        failed: The name of its first failed task, None where none is known.
        name: What the run is called, which it may change.
        started_at: When its attempt began, None where that is the run's own start.
    """

    def __init__(self, run: FlowRun) -> None:
        self.counts: TaskCounts | None = None
        self.failed: str | None = None
        self.name = run.name
        self.started_at: datetime | None = None
        self._run = run
        self._attempt_began = datetime.now(UTC)
        # Task runs of earlier attempts do not count; of a first one none is left out, whatever the clocks say.
        self._since = self._attempt_began - CLOCK_DIFFERENCE
        self._is_first_attempt = True
        self._done_before = 0
        self._changed_at = 0.0
        self._answer_seconds = 0.0
        self._are_final = False

    @property
    def done(self) -> int:
        """How many task runs are done; one that failed or was cancelled is not."""
        counts = self.counts or TaskCounts()
        return max(counts.done, self._done_before)

    def begin_again(self) -> None:
        """Count from zero: the flow is retried."""
        self._since, self._is_first_attempt = datetime.now(UTC), False
        self._done_before, self.counts, self.failed = 0, None, None

    def find_attempt(self, api: SyncPrefectClient) -> None:
        """A run that began before is retried, and counts from zero; or resumed, and goes on where it was."""
        self._since, self._is_first_attempt = self._attempt_began, False
        self.started_at, over = latest_attempt(api.read_flow_run_states(self._run.id))
        if self._run.start_time and api.read_flow_run(self._run.id).run_count == self._run.run_count:
            before = count_tasks(api, self._run.id, over or self._run.start_time - CLOCK_DIFFERENCE)
            self._done_before = before.done

    def look(self, api: SyncPrefectClient) -> bool:
        """Ask how far the run is; whether that has changed."""
        since, before, asked_at = self._since, self.counts, time.monotonic()
        counts = count_tasks(api, self._run.id, since, is_first_attempt=self._is_first_attempt)
        self._answer_seconds = time.monotonic() - asked_at
        failed = self.failed
        if not failed and counts.failed > (before.failed if before else 0):
            failed = first_failed_task(api, self._run.id, since, is_first_attempt=self._is_first_attempt)
        if since is not self._since:  # the flow began again meanwhile
            return False
        self.counts, self.failed = counts, failed
        if counts != before:
            self._changed_at = time.monotonic()
        return counts != before

    def look_at_run(self, api: SyncPrefectClient) -> FlowRun:
        """Ask for the run itself."""
        run = api.read_flow_run(self._run.id)
        self.name = run.name
        return run

    def settle(
        self, api: SyncPrefectClient, *, total: int | None, failed: int, open_tasks: int, deadline: float
    ) -> None:
        """Ask until the API knows of all tasks of the run, which is over.

        Args:
            api: The client.
            total: How many there are, None where that is not known.
            failed: How many have failed at least, as this process knows.
            open_tasks: How many cannot be over, as this process knows.
            deadline: The moment on ``time.monotonic()``'s clock at which to give up.
        """
        began = time.monotonic()
        pause, longest_pause = _SECONDS_BETWEEN_LAST_LOOKS
        while True:
            self.look(api)
            counts = self.counts or TaskCounts()
            self._are_final = are_final(
                replace(counts, unfinished=max(0, counts.unfinished - open_tasks)),
                total,
                failed=failed,
                unchanged_for=time.monotonic() - max(began, self._changed_at),
                answer_seconds=self._answer_seconds,
            )
            if self._are_final or time.monotonic() + pause >= deadline:
                break
            time.sleep(pause)
            pause = min(2 * pause, longest_pause)
        self.look_at_run(api)

    def counted(self, outcome: RunOutcome, total: int | None) -> RunOutcome:
        """How the run ended, with its steps as far as they are known for sure.

        Args:
            outcome: How it ended.
            total: How many task runs it was to have, None where that is not known.
        """
        counts = self.counts or TaskCounts()
        started_at = self.started_at or outcome.started_at
        failed_step = self.failed if outcome.failed_step == UNNAMED_TASK else outcome.failed_step
        outcome = replace(outcome, run=self.name, label=self.name, started_at=started_at, failed_step=failed_step)
        if outcome.result == "succeeded":
            return replace(outcome, steps_done=total, steps_total=total, tasks_failed=counts.failed)
        # An API that knows of no task may be late, and nothing is lost where a run had none.
        if not self._are_final or not counts.finished:
            return outcome
        return replace(outcome, steps_done=counts.done, steps_total=total, tasks_failed=counts.failed)
