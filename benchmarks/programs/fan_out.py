"""Many ends through one asynchronous client: seconds for a call, and the most memory in MiB."""

import asyncio
import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import contenders
import httpx

from activitysmith_integrations.core import AsyncActivitySmithClient

# As many as httpx opens connections by default.
WORKERS = 100


async def _fan_out(end: Callable[[], Awaitable[Any]], number: int) -> float:
    left = iter(range(number))

    async def worker() -> None:
        for _ in left:
            await end()

    start = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(WORKERS)))
    return (time.perf_counter() - start) / number


async def _ours(base_url: str, number: int) -> float:
    async with AsyncActivitySmithClient(contenders.KEY, base_url=base_url) as client:

        async def end() -> None:
            await client.end_stream(
                contenders.STREAM, content_state=contenders.STATE, tags=contenders.TAGS, metadata=contenders.METADATA
            )

        await end()
        return await _fan_out(end, number)


async def _httpx(base_url: str, number: int) -> float:
    async with httpx.AsyncClient(headers=contenders.HEADERS, timeout=10) as client:

        async def end() -> None:
            answer = await client.request("DELETE", base_url + contenders.PATH, json=contenders.BODY)
            answer.raise_for_status().json()

        await end()
        return await _fan_out(end, number)


contender, base_url, size = sys.argv[1:]
seconds = asyncio.run({"ours": _ours, "httpx": _httpx}[contender](base_url, int(size)))
print(json.dumps([seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))
