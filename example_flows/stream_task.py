"""Starting and updating the stream are steps of their own: seen in the run, and retried until they are done.

python example_flows/stream_task.py [--fail]
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


failed = end_live_activity_stream_hook()


@flow(name="stream-task", on_failure=[failed], on_crashed=[failed], on_cancellation=[failed])
def stream_task(fail: bool = False) -> None:
    stream_live_activity(total=2)
    rows = extract()
    stream_live_activity(total=2, done=1, subtitle=f"{len(rows)} rows")
    transform(rows, fail)
    end_live_activity_stream()


if __name__ == "__main__":
    stream_task(fail="--fail" in sys.argv)
