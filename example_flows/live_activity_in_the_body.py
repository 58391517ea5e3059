"""What moves is no task but the work within: ``LiveActivity`` around a part of the flow's body.

python example_flows/live_activity_in_the_body.py [--fail]
"""

import sys
import time

from prefect import flow, task
from prefect.runtime import flow_run

from activitysmith_integrations.core import LiveActivity, stream_key

FILES = [f"orders-{number}.csv" for number in range(40)]


@task
def transform(fail: bool) -> None:
    time.sleep(1)  # the work
    if fail:
        raise ValueError("row 2 is no good")


# With a block: client=ActivitySmithCredentials.load("production").get_client()
@flow(name="live-activity-in-the-body")
def live_activity_in_the_body(fail: bool = False) -> None:
    key = stream_key(flow_run.flow_name, flow_run.id)
    with LiveActivity(key, title="Orders", steps=["read", "transform"], url=flow_run.ui_url) as activity:
        for number, file in enumerate(FILES):
            time.sleep(0.05)
            activity.update(subtitle=f"{file}, {number + 1} of {len(FILES)}")
        activity.advance("transform")
        transform(fail)


if __name__ == "__main__":
    live_activity_in_the_body(fail="--fail" in sys.argv)
