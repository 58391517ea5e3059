"""One client in many threads, tasks and event loops, closed and cancelled beside its calls."""

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from support.peer import Peer, read_request
from support.service import ENDED, KEY

from activitysmith_integrations.core import ActivitySmithClient, AsyncActivitySmithClient, RetryPolicy

PATIENCE = 60.0
BODY = json.dumps(ENDED).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
# A call that is disturbed has no second attempt.
ONCE = RetryPolicy(max_retries=0)


class Gate:
    """A service that answers once it is told to."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.arrived = threading.Semaphore(0)
        self.requests = 0
        self.peer = Peer(self._answer)

    def _answer(self, connection: socket.socket) -> None:
        while True:
            read_request(connection)
            self.requests += 1
            self.arrived.release()
            assert self.open.wait(PATIENCE)
            connection.sendall(ANSWER)

    def wait_for(self, requests: int) -> None:
        for _ in range(requests):
            assert self.arrived.acquire(timeout=PATIENCE)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()
    gate.peer.close()


def test_closing_waits_for_no_call_and_disturbs_none(gate: Gate) -> None:
    client = ActivitySmithClient(KEY, base_url=gate.peer.base_url, retry=ONCE)
    answers: list[bool] = []
    threads = [threading.Thread(target=lambda: answers.append(client.end_stream("k").success)) for _ in range(10)]
    for thread in threads:
        thread.start()
    gate.wait_for(10)
    client.close()
    client.close()
    gate.open.set()
    for thread in threads:
        thread.join()
    assert answers == [True] * 10
    # Their connections were closed by the last of them, and the next call has one of its own.
    assert client.end_stream("k").success
    client.close()
    assert gate.peer.connections == 11
    assert gate.requests == 11


def test_closing_an_async_client_disturbs_no_call_either(gate: Gate) -> None:
    async def run() -> None:
        client = AsyncActivitySmithClient(KEY, base_url=gate.peer.base_url, retry=ONCE)
        calls = [asyncio.create_task(client.end_stream("k")) for _ in range(10)]
        await asyncio.to_thread(gate.wait_for, 10)
        await client.aclose()
        await client.aclose()
        gate.open.set()
        assert all(answer.success for answer in await asyncio.gather(*calls))
        assert (await client.end_stream("k")).success
        await client.aclose()

    asyncio.run(run())
    assert gate.requests == 11


def test_closing_again_and_again_beside_calls_fails_none(gate: Gate) -> None:
    gate.open.set()
    client = ActivitySmithClient(KEY, base_url=gate.peer.base_url, retry=ONCE)
    failures: list[BaseException] = []

    def call() -> None:
        try:
            for _ in range(20):
                client.end_stream("k")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=call) for _ in range(5)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        client.close()
    client.close()
    assert failures == []
    assert gate.requests == 100


def test_one_async_client_works_in_one_event_loop_after_the_other(gate: Gate) -> None:
    gate.open.set()
    client = AsyncActivitySmithClient(KEY, base_url=gate.peer.base_url, retry=ONCE)

    async def end() -> bool:
        async with client:
            return (await client.end_stream("k")).success

    assert [asyncio.run(end()) for _ in range(3)] == [True] * 3
    assert gate.peer.connections == 3


def test_an_async_client_that_nobody_closed_works_in_the_next_event_loop(peer: Any) -> None:
    def answer_once(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(ANSWER.replace(b"\r\n", b"\r\nConnection: close\r\n", 1))
        connection.shutdown(socket.SHUT_RDWR)

    client = AsyncActivitySmithClient(KEY, base_url=peer(answer_once).base_url, retry=ONCE)
    assert [asyncio.run(client.end_stream("k")).success for _ in range(2)] == [True, True]


def test_one_async_client_works_in_many_event_loops_at_once(gate: Gate) -> None:
    client = AsyncActivitySmithClient(KEY, base_url=gate.peer.base_url, retry=ONCE)
    answers: list[bool] = []

    async def end() -> None:
        async with client:
            answers.append((await client.end_stream("k")).success)

    threads = [threading.Thread(target=lambda: asyncio.run(end())) for _ in range(8)]
    for thread in threads:
        thread.start()
    gate.wait_for(8)
    gate.open.set()
    for thread in threads:
        thread.join()
    assert answers == [True] * 8


def test_calls_that_are_cancelled_at_any_moment_take_no_place_from_later_ones(gate: Gate) -> None:
    async def run() -> None:
        client = AsyncActivitySmithClient(KEY, base_url=gate.peer.base_url, retry=ONCE)
        for turns in range(24):
            # More than a pool has places, so that some wait for one.
            calls = [asyncio.create_task(client.end_stream("k")) for _ in range(120)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for call in calls:
                call.cancel()
            results = await asyncio.gather(*calls, return_exceptions=True)
            assert {type(result) for result in results} == {asyncio.CancelledError}
        gate.open.set()
        assert (await client.end_stream("k")).success
        await client.aclose()

    asyncio.run(run())


def test_a_call_that_is_cancelled_disturbs_no_other(gate: Gate) -> None:
    async def run() -> None:
        client = AsyncActivitySmithClient(KEY, base_url=gate.peer.base_url, retry=ONCE)
        calls = [asyncio.create_task(client.end_stream("k")) for _ in range(10)]
        await asyncio.to_thread(gate.wait_for, 10)
        for call in calls[:5]:
            call.cancel()
        await asyncio.gather(*calls[:5], return_exceptions=True)
        late = asyncio.create_task(client.end_stream("k"))
        gate.open.set()
        assert all(answer.success for answer in await asyncio.gather(*calls[5:], late))
        await client.aclose()

    asyncio.run(run())
