"""How the stream of a run is ended, whoever ends it: a hook, or the exit of the process.

A start that arrives after the DELETE would start an activity that nobody ends. So the end waits for one on its way,
though for no more than half of its time; where it arrives later after all, the stream is ended once more.
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from functools import partial
from typing import Any, TypeAlias

from prefect import Flow, Task
from prefect.client.schemas.objects import FlowRun, TaskRun
from prefect.logging.loggers import flow_run_logger, task_run_logger

from activitysmith_integrations.core.client import ActivitySmithClient
from activitysmith_integrations.core.runs.ending import End, build_end_or_default, end_stream
from activitysmith_integrations.core.runs.log_lines import line_of_end, line_of_unshown_end
from activitysmith_integrations.core.runs.outcome import RunOutcome
from activitysmith_integrations.core.runs.recent_ends import take_back
from activitysmith_integrations.core.threads import BackgroundThread
from activitysmith_integrations.prefect.blocks import resolve_now
from activitysmith_integrations.prefect.follower import Follower
from activitysmith_integrations.prefect.hooks import HookSettings
from activitysmith_integrations.prefect.shown_failures import RunRef, prepare_end

Subject: TypeAlias = Flow[Any, Any] | Task[Any, Any]

# What an end has at least, whatever its deadline: one attempt.
_LEAST_SECONDS = 0.5


def end_run(
    key: str,
    settings: HookSettings,
    outcome: RunOutcome,
    run: RunRef | None,
    follower: Follower | None,
    deadline: float,
) -> tuple[int, str]:
    """End a run's stream.

    Args:
        key: The stream.
        settings: What the run's hooks were made with.
        outcome: How the run ended.
        run: The flow's run, None for that of a task outside of one.
        follower: What shows the run; None where it is not shown by this process.
        deadline: The moment on ``time.monotonic()``'s clock until which calls repeat themselves.

    Returns:
        The level and the line to log.
    """
    if follower:
        outcome = follower.stop(outcome)
    end = build_end_or_default(outcome, settings.options)
    if follower and follower.was_never_shown and not end.is_failure:
        follower.close()
        return line_of_unshown_end(key)
    start_on_its_way = follower is not None and follower.is_starting
    client = follower.client if follower else None
    with client or resolve_now(settings.account).get_client() as client:
        end, ended = prepare_end(key, end, outcome, run, settings.patience / 4)
        deadline = max(deadline, time.monotonic() + _LEAST_SECONDS)
        result = end_stream(client, key, end, deadline=deadline)
    if not result.is_shown:
        take_back(ended)
    if follower and start_on_its_way:
        # No daemon: the process waits for it, 5 s at most and the time of an end.
        again = BackgroundThread(partial(_end_again, key, end, follower, client), "activitysmith-end", daemon=False)
        with suppress(RuntimeError):  # the process exits, or the machine has no thread to give
            again.start()
    return line_of_end(key, end, result)


def _end_again(key: str, end: End, follower: Follower, client: ActivitySmithClient) -> None:
    """End a stream whose start may have arrived after its end."""
    follower.wait_for_update()
    with client:
        end_stream(client, key, end.again(), deadline=time.monotonic() + follower.settings.patience / 2)


def log_to_page(subject: Subject, run: FlowRun | TaskRun, level: int, line: str) -> None:
    """Log a line on a run's page. It never raises.

    Args:
        subject: The flow or task.
        run: Its run.
        level: The level.
        line: The line.
    """
    line = " ".join(line.split())
    # Once the process exits, what sends lines to the API takes no more of them, and says so with a traceback (3.8).
    extra = {"send_to_api": threading.main_thread().is_alive()}
    try:
        if isinstance(run, TaskRun):
            task_run_logger(run, subject if isinstance(subject, Task) else None).log(level, line, extra=extra)
        else:
            flow_run_logger(run, subject if isinstance(subject, Flow) else None).log(level, line, extra=extra)
    except SystemExit:
        return  # what Prefect's console handler makes of a broken pipe, such as that of a killed worker (3.9)
    except Exception:
        logging.getLogger(__name__).log(level, line, exc_info=True)
