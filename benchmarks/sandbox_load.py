"""The sandbox under load, and its page with many streams in Chromium. On loopback only.

Under load each request starts a stream while pages are open; then everything that is kept is asked for in one request.
``load`` or ``page`` measures that one alone. A figure with two others behind it is a median, the least and the most.
"""

import argparse
import asyncio
import contextlib
import json
import multiprocessing
import re
import sys
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Event

import httpx
import psutil
import sandbox_page
from comparison import Spread
from proofs import table
from sandbox_page import Row
from support import processes
from support.processes import DeploymentError
from support.sandbox import KEY, Sandbox, running_sandbox

_CONNECTIONS = 4
_SECONDS_BETWEEN_LOOKS = 0.01
_PUT = (
    "PUT /api/live-activity/stream/k{number} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"
    "Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
)


async def _put(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> float:
    """Start a stream; the milliseconds until the answer. By hand: for httpx it is more work than for the sandbox."""
    state = {"title": f"Load {number}", "type": "progress", "percentage": number % 101}
    body = json.dumps({"content_state": state})
    start = time.perf_counter()
    writer.write(_PUT.format(number=number, key=KEY, length=len(body), body=body).encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    if length is None or not head.startswith(b"HTTP/1.1 200 "):
        raise DeploymentError(f"the sandbox answered {head.decode()}")
    await reader.readexactly(int(length[1]))
    return (time.perf_counter() - start) * 1e3


async def _send(port: int, requests: int) -> list[float]:
    """Send so many requests; the milliseconds of each."""
    numbers, took = iter(range(requests)), list[float]()

    async def send() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for number in numbers:
            took.append(await _put(reader, writer, number))
        writer.close()

    await asyncio.gather(*(send() for _ in range(_CONNECTIONS)))
    return took


async def _ask_for_everything(sandbox: Sandbox) -> tuple[int, float, float]:
    """The answer's bytes and milliseconds, and the milliseconds that others waited at most meanwhile."""
    async with httpx.AsyncClient(base_url=sandbox.page_url, timeout=60) as client:

        async def ask(path: str) -> tuple[int, float]:
            start = time.perf_counter()
            answer = await client.get(path)
            return len(answer.content), (time.perf_counter() - start) * 1e3

        everything, waited = asyncio.create_task(ask("sandbox/streams")), 0.0
        while not everything.done():
            waited = max(waited, (await ask("sandbox"))[1])
        return *everything.result(), waited


async def _look(process: psutil.Process, memory: list[float]) -> None:
    while True:
        memory.append(process.memory_info().rss / 2**20)
        await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)


async def _measure(sandbox: Sandbox, port: int, requests: int) -> list[Row]:
    memory = list[float]()
    looking = asyncio.create_task(_look(psutil.Process(sandbox.pid), memory))
    await asyncio.sleep(0)  # until it has looked once
    start = time.perf_counter()
    took = sorted(await _send(port, requests))
    seconds, after = time.perf_counter() - start, memory[-1]
    size, everything, waited = await _ask_for_everything(sandbox)
    looking.cancel()
    return [
        (f"{requests} requests on as many keys", f"{seconds:.1f}", "s"),
        ("a request", str(Spread.of(took)), "ms"),
        ("99 of 100 requests at most", f"{took[len(took) * 99 // 100]:.3g}", "ms"),
        ("everything in one answer", f"{everything:.0f}", "ms"),
        ("its size", f"{size / 1e6:.1f}", "MB"),
        ("others waited meanwhile at most", f"{waited:.0f}", "ms"),
        ("memory before", f"{memory[0]:.0f}", "MB"),
        ("memory after the requests", f"{after:.0f}", "MB"),
        ("memory at most", f"{max(memory):.0f}", "MB"),
    ]


async def _view(port: int, pages: int, opened: Event) -> None:
    connections = [await asyncio.open_connection("127.0.0.1", port) for _ in range(pages)]
    for reader, writer in connections:
        writer.write(b"GET /sandbox/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
    opened.set()

    async def read(reader: asyncio.StreamReader) -> None:
        while await reader.read(1 << 20):
            pass

    await asyncio.gather(*(read(reader) for reader, _ in connections))


def _keep_open(port: int, pages: int, opened: Event) -> None:
    with contextlib.suppress(KeyboardInterrupt):  # the terminal sends Ctrl-C here as well
        asyncio.run(_view(port, pages, opened))


@contextlib.contextmanager
def _open_pages(port: int, pages: int) -> Iterator[None]:
    """Pages that are open in a process of their own, so that reading them does not delay what is measured."""
    context = multiprocessing.get_context("spawn")
    opened = context.Event()
    process = context.Process(target=_keep_open, args=(port, pages, opened), daemon=True)
    process.start()
    try:
        if not opened.wait(60):
            raise DeploymentError(f"waited 60 s for {pages} open pages")
        yield
    finally:
        process.terminate()
        process.join()


def _load(options: argparse.Namespace) -> list[Row]:
    with running_sandbox() as sandbox:
        port = httpx.URL(sandbox.base_url).port or 80
        with _open_pages(port, options.pages):
            return asyncio.run(_measure(sandbox, port, options.requests))


def _page(options: argparse.Namespace) -> list[Row]:
    with running_sandbox() as sandbox:
        return sandbox_page.measure(sandbox, options.streams, options.updates)


def main() -> None:
    """Do what the command line says, and print a table."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("only", nargs="?", choices=["load", "page"], help="measure this one alone")
    parser.add_argument("--requests", type=int, default=100_000, help="(default: %(default)s)")
    parser.add_argument("--pages", type=int, default=200, help="open ones under load (default: %(default)s)")
    parser.add_argument("--streams", type=int, default=1000, help="on the page in Chromium (default: %(default)s)")
    parser.add_argument("--updates", type=int, default=600, help="of them, 20 a second (default: %(default)s)")
    options = parser.parse_args()
    processes.interrupt_on_any_end()
    measured = {"load": _load, "page": _page}
    chosen = [measured[options.only]] if options.only else measured.values()
    try:
        rows = [dict(zip(("what", "figure", "unit"), row, strict=True)) for part in chosen for row in part(options)]
    except KeyboardInterrupt:
        sys.exit("\nstopped")
    except DeploymentError as error:
        sys.exit(f"The measuring failed: {error}")
    print(table(rows))


if __name__ == "__main__":
    main()
