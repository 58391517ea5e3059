"""The sandbox under load: its memory and its worst answer, with many keys and many open pages. Loopback only.

Every request starts a stream on a key of its own, or updates one where there are more requests than keys. It stops
after so many requests or seconds, whichever comes first, and prints a line of JSON.
"""

import argparse
import asyncio
import contextlib
import itertools
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_HEAD = "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ask_sandbox\r\n"


class Connection:
    """One kept-alive connection to the sandbox."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def open(self) -> None:
        """Connect."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)

    async def ask(self, method: str, path: str, document: Any = None) -> tuple[int, int, float]:
        """A request; the status, the length of the answer and the seconds that it took."""
        body = b"" if document is None else json.dumps(document).encode()
        head = _HEAD.format(method=method, path=path)
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n" if body else "\r\n"
        start = time.perf_counter()
        self._writer.write(head.encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = await self._read_body(answer.lower())
        return int(answer.split()[1]), length, time.perf_counter() - start

    async def _read_body(self, head: bytes) -> int:
        found = re.search(rb"content-length: (\d+)", head)
        if found:
            return len(await self._reader.readexactly(int(found[1])))
        if b"transfer-encoding" not in head:
            return 0
        length = 0
        while size := int(await self._reader.readline(), 16):
            length += len((await self._reader.readexactly(size + 2))[2:])
        await self._reader.readline()
        return length

    async def view(self, *, slowly: bool) -> None:
        """Read events for as long as the sandbox sends them."""
        self._writer.write(_HEAD.format(method="GET", path="/sandbox/events").encode() + b"\r\n")
        while await self._reader.read(1000 if slowly else 1 << 20):
            if slowly:
                await asyncio.sleep(1)

    def close(self) -> None:
        """Disconnect."""
        self._writer.close()


def memory(pid: int, of: str) -> int:
    """VmRSS or VmHWM (the peak) of a process in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(rf"{of}:\s+(\d+)", status)[1]) // 1024  # type: ignore[index]


def processor(pid: int) -> float:
    """Seconds of CPU time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


@contextlib.contextmanager
def sandbox() -> Iterator[tuple[int, int]]:
    """A sandbox in a process of its own: its process id and its port."""
    command = [sys.executable, "-m", "activitysmith_integrations.sandbox", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None  # noqa: S101 - as asked for above
        try:
            port = int(process.stdout.readline().rpartition(":")[2].removesuffix("/api\n"))
            # It writes a line for each request, and would block once nobody reads them.
            threading.Thread(target=process.stdout.read, daemon=True).start()
            yield process.pid, port
        finally:
            process.kill()


async def view(port: int, viewers: int, slow_viewers: int) -> None:
    """Keep pages open until this process ends."""
    pages = [Connection(port) for _ in range(viewers + slow_viewers)]
    for page in pages:
        await page.open()
    await asyncio.gather(*(page.view(slowly=number >= viewers) for number, page in enumerate(pages)))


@contextlib.contextmanager
def viewing(port: int, options: argparse.Namespace) -> Iterator[None]:
    """Pages that are open in a process of their own, so that reading them does not delay what is measured."""
    numbers = [str(number) for number in (port, options.viewers, options.slow_viewers)]
    with subprocess.Popen([sys.executable, __file__, "--view", *numbers]) as process:
        try:
            time.sleep(2)
            yield
        finally:
            process.kill()


async def measure(pid: int, port: int, options: argparse.Namespace) -> dict[str, Any]:
    """Put the load on a sandbox."""
    control = Connection(port)
    await control.open()
    await control.ask("PUT", "/sandbox/limits", {"max_concurrent": None, "requests_per_minute": None})
    before = memory(pid, "VmRSS")
    numbers, seconds, statuses = itertools.count(), [], dict[int, int]()
    started, cpu = time.perf_counter(), processor(pid)

    async def put() -> None:
        connection = Connection(port)
        await connection.open()
        while (number := next(numbers)) < options.requests and time.perf_counter() - started < options.seconds:
            state = {"title": f"Load {number}", "type": "progress", "percentage": number % 101}
            path = f"/api/live-activity/stream/k{number % options.keys}"
            status, _, took = await connection.ask("PUT", path, {"content_state": state})
            statuses[status] = statuses.get(status, 0) + 1
            seconds.append(took)
        connection.close()

    await asyncio.gather(*(put() for _ in range(options.connections)))
    took = time.perf_counter() - started
    seconds.sort()
    result = {
        "requests": len(seconds),
        "statuses": statuses,
        "viewers": [options.viewers, options.slow_viewers],
        "seconds": round(took, 1),
        "sandbox_cpu_seconds": round(processor(pid) - cpu, 1),
        "median_ms": round(seconds[len(seconds) // 2] * 1e3, 1),
        "p99_ms": round(seconds[len(seconds) * 99 // 100] * 1e3, 1),
        "worst_ms": round(seconds[-1] * 1e3, 1),
        "memory_mb": {"before": before, "after": memory(pid, "VmRSS"), "peak": memory(pid, "VmHWM")},
    }
    # Everything that is kept in one answer, and what another client waits for meanwhile.
    everything, other = Connection(port), Connection(port)
    await everything.open()
    await other.open()
    whole = asyncio.create_task(everything.ask("GET", "/sandbox/streams"))
    waited = [(await other.ask("GET", "/sandbox"))[2]]
    while not whole.done():
        waited.append((await other.ask("GET", "/sandbox"))[2])
    result["streams"] = {
        "mb": round(whole.result()[1] / 1e6, 1),
        "ms": round(whole.result()[2] * 1e3),
        "others_waited_ms": round(max(waited) * 1e3),
        "peak_mb": memory(pid, "VmHWM"),
    }
    return result


def main() -> None:
    """Measure, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--viewers", type=int, default=200, help="pages that read as fast as they can")
    parser.add_argument("--slow-viewers", type=int, default=0, help="pages that read 1 kB a second")
    parser.add_argument("--connections", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=600, help="stop the requests after so long")
    parser.add_argument("--view", type=int, nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.view:
        asyncio.run(view(*options.view))
        return
    with sandbox() as (pid, port), viewing(port, options):
        print(json.dumps(asyncio.run(measure(pid, port, options))), flush=True)


if __name__ == "__main__":
    main()
