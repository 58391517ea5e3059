"""Ending the stream is a step of its own, on success and on failure: seen in the run, and retried until it is done.

python example_flows/task_at_the_end.py [--fail]
"""

import sys

from prefect import flow, task

from activitysmith_integrations.prefect import (
    end_live_activity_stream,
    end_live_activity_stream_hook,
    stream_live_activity,
)


@task
def extract() -> list[int]:
    return [1, 2, 3]


@task
def transform(rows: list[int], fail: bool) -> list[int]:
    if fail:
        raise ValueError("row 2 is no good")
    return [row * 2 for row in rows]


@task
def load(rows: list[int]) -> None:
    print(f"loaded {len(rows)} rows")


# What no step can show: a Ctrl-C, a SIGTERM or a cancellation stops the flow where it is.
stopped = end_live_activity_stream_hook()


@flow(name="task-at-the-end", on_crashed=[stopped], on_cancellation=[stopped])
def task_at_the_end(fail: bool = False) -> None:
    stream_live_activity()
    try:
        load(transform(extract(), fail))
    except Exception as error:
        end_live_activity_stream(error=error)
        raise
    end_live_activity_stream()


if __name__ == "__main__":
    task_at_the_end(fail="--fail" in sys.argv)
