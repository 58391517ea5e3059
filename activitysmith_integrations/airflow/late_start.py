"""A stream that was started when its run was over already is ended again.

An update can start nothing. A start can: the service may take it up after the end, which then found nothing to end. So
whoever starts a stream looks at its run's state afterwards, and whoever ends one and knows of a start without an answer
waits for that within its own time; whatever the order, one of the two ends it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from activitysmith_integrations.airflow.callbacks import Callback, say
from activitysmith_integrations.airflow.dag_callbacks import own_end
from activitysmith_integrations.airflow.outcomes import outcome_of
from activitysmith_integrations.airflow.run import Run
from activitysmith_integrations.airflow.task_states import has_timed_out
from activitysmith_integrations.core.retry import DEFAULT_PATIENCE

if TYPE_CHECKING:
    from activitysmith_integrations.airflow.notifications import ActivitySmithEndStreamNotifier
    from activitysmith_integrations.core.client import ActivitySmithClient
    from activitysmith_integrations.core.runs.ending import End, EndResult

_SECONDS = 3.0
_PAUSE = 2.0
_REASONS = {"success": "success", "failed": "task_failure"}


def is_over(run: Run) -> bool:
    """Whether a run is over by now. Ask on workers only.

    Args:
        run: The run.
    """
    return run.state_by_now() in _REASONS


def end_if_over(
    run: Run, stream_key: str, client: ActivitySmithClient, callback: Callback, *, may_come: bool = False
) -> None:
    """End a stream that was just started, if its run is over by now.

    Args:
        run: The run, as the callback on a worker sees it that started the stream.
        stream_key: The stream.
        client: The client.
        callback: The callback, for the log.
        may_come: Whether the start got no answer, so that the service may still take it up. Since the run is over,
            waiting for that holds nothing up.
    """
    reason = _REASONS.get(run.state_by_now() or "")
    if reason is None:
        return
    from activitysmith_integrations.airflow.notifications import end_for
    from activitysmith_integrations.core.runs.ending import end_stream
    from activitysmith_integrations.core.runs.log_lines import line_of_end

    ended = Run({**run.context, "reason": reason}, run.written_key)
    is_known_failure = reason == "task_failure" and bool(ended.states)
    if is_known_failure and has_timed_out(ended.tasks, ended.states, is_fail_fast=ended.is_fail_fast):
        ended.context["reason"] = "timed_out"
    outcome = outcome_of(ended)
    if outcome is None:
        return
    end = end_for(end_notifier_of(ended), ended, outcome).again()
    deadline = time.monotonic() + (DEFAULT_PATIENCE if may_come else _SECONDS)
    result = end_stream(client, stream_key, end, deadline=deadline)
    if may_come and not has_ended(result):
        result = end_once_started(client, stream_key, end, deadline) or result
    say(callback, line_of_end(stream_key, end, result))


def has_ended(result: EndResult) -> bool:
    """Whether an end has ended something that was running."""
    return result.answer is not None and result.answer.activity_id is not None


def end_once_started(client: ActivitySmithClient, stream_key: str, end: End, deadline: float) -> EndResult | None:
    """End a stream once a slow service has taken up the start that it still has, if it does so in time.

    Args:
        client: The client.
        stream_key: The stream.
        end: How it was to end.
        deadline: When the time is over, on ``time.monotonic()``'s clock.

    Returns:
        What became of the end; None if no start came.
    """
    from activitysmith_integrations.core.runs.ending import end_stream

    again = end.again()
    while time.monotonic() + _PAUSE < deadline:
        time.sleep(_PAUSE)
        result = end_stream(client, stream_key, again, deadline=deadline)
        if has_ended(result):
            return result
    return None


def end_notifier_of(run: Run) -> ActivitySmithEndStreamNotifier:
    """The notifier with which a run's DAG ends its stream; a plain one where it has none.

    Args:
        run: The run, which is over.
    """
    from activitysmith_integrations.airflow.notifications import ActivitySmithEndStreamNotifier

    return own_end(run.dag, "success" if run.result == "succeeded" else "failure") or ActivitySmithEndStreamNotifier()
