"""An async flow with a stream for each of its runs: hooks, and a key made of the flow's and the run's name.

python example_flows/async_flow.py [--fail]
"""

import asyncio
import sys

from prefect import Flow, flow, task
from prefect.client.schemas.objects import FlowRun

from activitysmith_integrations.core import stream_key
from activitysmith_integrations.prefect import end_live_activity_stream_hooks


@task
async def extract(source: str) -> list[int]:
    await asyncio.sleep(0.1)
    return [len(source)]


@task
async def transform(rows: list[list[int]], fail: bool) -> int:
    if fail:
        raise ValueError("row 2 is no good")
    return sum(map(sum, rows))


def one_for_each_run(flow: Flow[..., object], flow_run: FlowRun) -> str:
    return stream_key(flow.name, flow_run.name)


@flow(name="async-flow", **end_live_activity_stream_hooks(one_for_each_run))
async def async_flow(fail: bool = False) -> int:
    rows = await asyncio.gather(extract("orders"), extract("customers"))
    return await transform(list(rows), fail)


if __name__ == "__main__":
    asyncio.run(async_flow(fail="--fail" in sys.argv))
