"""A last picture of your own instead of the default one: figures of the run.

python example_flows/own_state.py [--fail]
"""

import sys

from prefect import flow, task

from activitysmith_integrations.core import Metric, StatsState
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


# A failure keeps the default picture, but says in which color, and for how long.
on_failure = end_live_activity_stream_hook(failure_color="orange", failure_auto_dismiss_minutes=60)


@flow(name="own-state", on_failure=[on_failure], on_crashed=[on_failure], on_cancellation=[on_failure])
def own_state(fail: bool = False) -> None:
    stream_live_activity(title="Own state")
    rows = transform(extract(), fail)
    figures = [Metric(label="Rows", value=len(rows)), Metric(label="Sum", value=sum(rows))]
    end_live_activity_stream(content_state=StatsState(title="Own state", metrics=figures))


if __name__ == "__main__":
    own_state(fail="--fail" in sys.argv)
