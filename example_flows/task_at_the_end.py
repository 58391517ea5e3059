"""Ending the stream is a step of its own, on success and on failure: seen in the run, and retried until it is done.

python example_flows/task_at_the_end.py [--fail]
"""

import sys

from prefect import flow, task

from activitysmith_integrations.prefect import end_live_activity_stream, stream_live_activity


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


@flow(name="task-at-the-end")
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
