"""An async flow on the lock screen from its first task to its last: one line on the flow, as on any other.

python example_flows/async_flow.py [--fail]
"""

import asyncio
import sys

from prefect import flow, task

from activitysmith_integrations.prefect import live_activity_hooks


@task
async def extract(source: str) -> list[int]:
    await asyncio.sleep(1)  # the work
    return [len(source)]


@task
async def transform(rows: list[list[int]], fail: bool) -> int:
    if fail:
        raise ValueError("row 2 is no good")
    return sum(map(sum, rows))


@flow(name="async-flow", **live_activity_hooks())
async def async_flow(fail: bool = False) -> int:
    rows = await asyncio.gather(extract("orders"), extract("customers"))
    return await transform(list(rows), fail)


if __name__ == "__main__":
    asyncio.run(async_flow(fail="--fail" in sys.argv))
