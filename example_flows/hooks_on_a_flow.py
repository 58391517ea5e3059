"""However the flow ends, its Live Activity ends with the right picture: one line on the flow.

python example_flows/hooks_on_a_flow.py [--fail]
"""

import sys

from prefect import flow, task

from activitysmith_integrations.prefect import end_live_activity_stream_hooks


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


# Each run has a stream of its own.
@flow(name="hooks-on-a-flow", **end_live_activity_stream_hooks())
def hooks_on_a_flow(fail: bool = False) -> None:
    load(transform(extract(), fail))


if __name__ == "__main__":
    hooks_on_a_flow(fail="--fail" in sys.argv)
