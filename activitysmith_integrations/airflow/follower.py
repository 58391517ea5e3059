"""What the task that follows a run sends: how far the run is, then how it ended. Pure, without Airflow.

One writer decides about all requests of a stream, so nothing is raced. It sees the states of the run's tasks, and goes
on where the run is when it is started again elsewhere. When it sends is decided in :mod:`follow_steps`.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from activitysmith_integrations.airflow.bar import bar_of
from activitysmith_integrations.airflow.reporting import end_counts
from activitysmith_integrations.airflow.task_states import (
    OVER,
    States,
    Task,
    Tasks,
    counted_states,
    failed_tasks,
    has_failed,
    has_timed_out,
    split_key,
)
from activitysmith_integrations.core.errors import ActivitySmithError, RateLimitError
from activitysmith_integrations.core.models.requests import StreamRequest
from activitysmith_integrations.core.models.responses import StreamResponse
from activitysmith_integrations.core.runs.budget import UpdateHistory, is_due
from activitysmith_integrations.core.runs.ending import End, build_end_or_default
from activitysmith_integrations.core.runs.log_lines import line_of_failed_update, line_of_update
from activitysmith_integrations.core.runs.outcome import Result, RunOutcome
from activitysmith_integrations.core.runs.picture import running_labels, shown_title
from activitysmith_integrations.core.runs.progress import Progress, without_type


@dataclass(frozen=True)
class FollowedRun:
    """What is known of a run that is followed; plain data, which a trigger can be given.

    Args:
        dag_id: The DAG's id.
        run_id: The run's id.
        stream_key: The stream.
        conn_id: The connection.
        title: First line, unless the options have one.
        label: What tells the run from others of its DAG.
        url: The run's page.
        started_at: When the run began, in ISO 8601.
        is_fail_fast: Whether the DAG skips what is unfinished once a task fails.
        tasks: The tasks that are steps.
        other_tasks: Those that are none: what ends the stream, what follows the run, and what comes after that.
        options: How the end is to look, rendered; ``title``, ``tags`` and ``metadata`` count before as well.
    """

    dag_id: str
    run_id: str
    stream_key: str
    conn_id: str
    title: str
    label: str | None
    url: str | None
    started_at: str | None
    is_fail_fast: bool
    tasks: Tasks
    other_tasks: Tasks
    options: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """The same as plain JSON."""
        tasks = {name: _compressed(getattr(self, name)) for name in _TASKS}
        return {**asdict(self), **tasks, "options": dict(self.options)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> FollowedRun:
        """What :meth:`to_json` made."""
        return cls(**{**document, **{name: _decompressed(document[name]) for name in _TASKS}})


_TASKS = ("tasks", "other_tasks")


def _compressed(tasks: Tasks) -> str:
    """Tasks as a short text: what a trigger is given has 64 KB in MySQL, which 200 tasks fill otherwise."""
    plain = [
        {**asdict(task), "upstream": sorted(task.upstream), "downstream": sorted(task.downstream)}
        for task in tasks.values()
    ]
    return base64.b85encode(zlib.compress(json.dumps(plain).encode())).decode()


def _decompressed(text: str) -> Tasks:
    plain = json.loads(zlib.decompress(base64.b85decode(text)))
    tasks = (
        Task(**{**task, "upstream": frozenset(task["upstream"]), "downstream": frozenset(task["downstream"])})
        for task in plain
    )
    return {task.task_id: task for task in tasks}


class RunFollower:
    """Decides what to send. The sender reports each answer through :meth:`delivered` or :meth:`failed`.

    Args:
        run: The run.
        history: What another process sent before, see :attr:`history`; None where nothing was sent.
    """

    def __init__(self, run: FollowedRun, history: Mapping[str, Any] | None = None) -> None:
        self.run = run
        self._bar = bar_of(run.tasks)
        self._history = UpdateHistory()
        self._pending = self._progress({})
        self._no_place_until = 0.0
        if history is not None:
            known = dict(history)
            self._no_place_until = known.pop("no_place_until")
            shown = known.pop("shown")
            self._history = UpdateHistory(**known, shown=None if shown is None else replace(self._pending, **shown))

    @property
    def history(self) -> dict[str, Any]:
        """What another process that goes on from here has to know of what was sent, as plain JSON."""
        shown = self._history.shown
        return {
            "updates": self._history.updates,
            "since": self._history.since,
            "shown": shown and {"done": shown.done, "step": shown.step, "failed": shown.failed},
            "may_run": self._history.may_run,
            "resume_at": self._history.resume_at,
            "no_place_until": self._no_place_until,
        }

    def was_never_shown(self, now: float) -> bool:
        """Whether it is certain that the stream does not run, whoever has followed the run before.

        That is so after a start for which the account had no place, until the next one is due: a stream that runs
        needs no place. After any other refusal an earlier process may have started it.

        Args:
            now: Seconds since the epoch.
        """
        return self._history.was_never_shown and now < self._no_place_until

    def is_over(self, states: States) -> bool:
        """Whether all tasks that are steps are over.

        Args:
            states: The states of the run's task instances; empty where Airflow did not say.
        """
        return bool(states) and all(state in OVER for state in counted_states(self.run.tasks, states).values())

    def goes_on_with_added_tasks(self, states: States) -> bool:
        """Whether tasks are not over that the DAG's file has gained since the run is followed (Airflow 3.1 to 3.3).

        Args:
            states: The states of the run's task instances.
        """
        return any(states[key] not in OVER for key in self._added(states))

    def _added(self, states: States) -> Tasks:
        """Each instance of such a task, as a task of its own that decides about the run: more is not known of it."""
        known = (self.run.tasks, self.run.other_tasks)
        keys = (key for key in states if not any(split_key(key, tasks)[0] in tasks for tasks in known))
        return {key: Task(key, key) for key in keys}

    def next_request(self, states: States, now: float) -> StreamRequest | None:
        """What to send now; None for nothing. Its answer goes to :meth:`delivered` or :meth:`failed`.

        Args:
            states: The states of the run's task instances.
            now: Seconds since the epoch.
        """
        progress = self._progress(counted_states(self.run.tasks, states))
        if not is_due(progress, self._history, now):
            return None
        self._pending = progress
        state = progress.state if self._history.shown is None else without_type(progress.state)
        self._history = self._history.tried(progress, now)
        return StreamRequest(content_state=state, **running_labels(self._outcome("succeeded"), self.run.options))

    def delivered(self, answer: StreamResponse, now: float) -> tuple[int, str]:
        """Count the last request as delivered, and return the line about it."""
        self._history = self._history.delivered(self._pending, answer, now)
        return line_of_update(self.run.stream_key, self._pending.state, answer)

    def failed(self, error: ActivitySmithError, now: float) -> tuple[int, str]:
        """Count the last request as failed, and return the line about it."""
        what = "started" if self._history.shown is None else "updated"
        self._history = self._history.failed(error, now)
        has_no_place = isinstance(error, RateLimitError) and error.is_activity_limit
        self._no_place_until = self._history.resume_at if has_no_place else 0.0
        return line_of_failed_update(self.run.stream_key, what, error)

    def end(self, states: States, marked: Result | None = None) -> End:
        """How the stream is to end.

        Args:
            states: The states of the run's task instances.
            marked: How the run ended where Airflow ended it before its tasks were over.
        """
        tasks, is_fail_fast = {**self.run.tasks, **self._added(states)}, self.run.is_fail_fast
        counted = counted_states(tasks, states)
        result: Result = marked or ("failed" if has_failed(tasks, counted, is_fail_fast=is_fail_fast) else "succeeded")
        if marked == "failed" and has_timed_out(tasks, counted, is_fail_fast=is_fail_fast):
            result = "timed_out"
        skips = is_fail_fast or result == "timed_out"
        counts = end_counts(tasks, self._bar, counted, result, skips_unfinished=skips)
        outcome = replace(self._outcome(result), **asdict(counts), ended_at=datetime.now(UTC))
        options: Any = {"title": self.run.title, **self.run.options}
        end = build_end_or_default(outcome, options)
        # What has ended although a start of this run was refused or lost does not show how the run went, unless a
        # callback has ended it: that of a run which Airflow ended.
        return end.of_unshown_run() if self._history.needs_start and marked is None else end

    def _progress(self, states: States) -> Progress:
        tasks = self.run.tasks
        title = shown_title(self._outcome("succeeded"), {"title": self.run.title, **self.run.options})
        done, number = self._bar.segments(states)
        failed = next(iter(failed_tasks(tasks, states)), None)
        running = next((key for key, state in states.items() if state == "running"), None)
        step = tasks[split_key(running, tasks)[0]].name if running else None
        failed_name = tasks[failed].name if failed else None
        return Progress(title, total=number, done=done, step=step, failed=failed_name, label=self.run.label)

    def _outcome(self, result: Result) -> RunOutcome:
        started_at = self.run.started_at
        return RunOutcome(
            pipeline=self.run.dag_id,
            result=result,
            run=self.run.run_id,
            label=self.run.label,
            engine="airflow",
            started_at=None if started_at is None else datetime.fromisoformat(started_at),
            url=self.run.url,
        )
