"""SIGTERM and SIGHUP, which containers and closed terminals are ended with, end a block's stream as cancelled."""

import asyncio
import copy
import json
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NoReturn

import httpx
import pytest
from support.processes import eventually
from support.sandbox import KEY, running_sandbox
from support.service import ENDED, STARTED

from activitysmith_integrations.core import (
    ActivitySmithClient,
    APIConnectionError,
    AsyncActivitySmithClient,
    AsyncLiveActivity,
    LiveActivity,
    RetryPolicy,
)
from activitysmith_integrations.core.runs.progress import Progress
from activitysmith_integrations.core.runs.sender import UpdateSender
from activitysmith_integrations.core.runs.termination import AsyncTermination, TerminatedError, Termination

# Python handles a signal between two of its instructions, so one that arrives on the way into a long sleep waits for
# its end: these blocks sleep in short turns.
BLOCK = """
import signal, threading, time
from activitysmith_integrations.core import LiveActivity
{before}
with LiveActivity("term", steps=5) as activity:
    print("ready", flush=True)
    {work}
print("went on", flush=True)
"""
ASYNC_BLOCK = """
import asyncio
from activitysmith_integrations.core import AsyncLiveActivity
async def main():
    async with AsyncLiveActivity("term", steps=5) as activity:
        print("ready", flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""
SYNC_IN_ASYNC = """
import asyncio
from activitysmith_integrations.core import LiveActivity
async def main():
    with LiveActivity("term"):
        print("ready", flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""
TWO_BLOCKS = """
import asyncio
from activitysmith_integrations.core import AsyncLiveActivity
async def job(key, seconds):
    async with AsyncLiveActivity(key):
        if seconds:
            await asyncio.sleep(seconds)
            return
        await asyncio.Event().wait()
async def main():
    long = asyncio.create_task(job("term", 0))
    await job("short", 0.1)
    print("ready", flush=True)
    await long
asyncio.run(main())
"""
SWALLOWS = """
import contextlib, time
from activitysmith_integrations.core import LiveActivity
with LiveActivity("term"), contextlib.suppress(BaseException):
    print("ready", flush=True)
    while True:
        time.sleep(0.1)
"""
ASYNC_SWALLOWS = """
import asyncio, contextlib
from activitysmith_integrations.core import AsyncLiveActivity
async def main():
    async with AsyncLiveActivity("term"):
        with contextlib.suppress(BaseException):
            print("ready", flush=True)
            await asyncio.Event().wait()
asyncio.run(main())
"""
MANY_BLOCKS = """
import asyncio
from activitysmith_integrations.core import AsyncLiveActivity
async def job(key, entered):
    async with AsyncLiveActivity(key):
        await entered.wait()
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep({{"slower": 1}}.get(key, 0))
async def tell(entered):
    await entered.wait()
    print("ready", flush=True)
async def gather(jobs):
    await asyncio.gather(*jobs)
async def group(jobs):
    async with asyncio.TaskGroup() as tasks:
        for job in jobs:
            tasks.create_task(job)
async def main():
    entered = asyncio.Barrier(4)
    jobs = [job(key, entered) for key in ["quick", "slow", "slower"]]
    await {together}([*jobs, tell(entered)])
asyncio.run(main())
"""
NESTED_BLOCK = """
import time
from activitysmith_integrations.core import LiveActivity
with LiveActivity("term", steps=5), LiveActivity("inner"):
    print("ready", flush=True)
    while True:
        time.sleep(0.1)
"""


def terminate(
    program: str,
    number: signal.Signals = signal.SIGTERM,
    *,
    refused_ends: Mapping[str, int] = MappingProxyType({}),
    errors: int | None = None,
) -> tuple[int, str, dict[str, str]]:
    """Run a program, and send it a signal once it is ready.

    Args:
        program: The program; it says when it is ready.
        number: The signal.
        refused_ends: How often the service answers that it is busy before it ends a stream, by key.
        errors: Where it writes errors to; ``subprocess.STDOUT`` has them in its output.

    Returns:
        Its exit code, its output, and the result that each stream ended with.
    """
    with running_sandbox() as sandbox:
        for key, times in refused_ends.items():
            sandbox.inject_fault(method="DELETE", stream_key=key, status=503, times=times)
        environ = {**os.environ, "ACTIVITYSMITH_API_KEY": KEY, "ACTIVITYSMITH_BASE_URL": sandbox.base_url}
        process = subprocess.Popen(
            [sys.executable, "-c", program], env=environ, stdout=subprocess.PIPE, stderr=errors, text=True
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        # A start that is cancelled before it is sent leaves nothing to end.
        eventually(lambda: refused_ends.keys() <= sandbox.streams().keys(), "the streams that start")
        process.send_signal(number)
        output = process.communicate(timeout=60)[0]
        ends = {key: sandbox.ends(key)[-1]["metadata"]["result"] for key in sandbox.streams() if sandbox.ends(key)}
    return process.returncode, output, ends


@pytest.mark.parametrize(
    ("program", "ends"),
    [
        (BLOCK.format(before="", work="while True: time.sleep(0.1)"), {"term": "cancelled"}),
        (ASYNC_BLOCK, {"term": "cancelled"}),
        (NESTED_BLOCK, {"term": "cancelled", "inner": "cancelled"}),
        (TWO_BLOCKS, {"term": "cancelled", "short": "succeeded"}),
        (SWALLOWS, {"term": "cancelled"}),
        (ASYNC_SWALLOWS, {"term": "cancelled"}),
    ],
    ids=["sync", "async", "nested", "one of two", "a body that goes on", "an async body that goes on"],
)
def test_a_process_that_is_terminated_ends_its_streams_as_cancelled_and_exits_as_terminated(
    program: str, ends: dict[str, str]
) -> None:
    assert terminate(program) == (128 + signal.SIGTERM, "", ends)


def test_a_block_without_async_in_a_coroutine_ends_without_a_traceback() -> None:
    assert terminate(SYNC_IN_ASYNC, errors=subprocess.STDOUT) == (128 + signal.SIGTERM, "", {"term": "cancelled"})


def test_a_signal_while_a_cancelled_block_is_left_ends_the_process_all_the_same() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "DELETE":
            signal.raise_signal(signal.SIGTERM)
        return httpx.Response(200, json=ENDED if request.method == "DELETE" else STARTED)

    client = ActivitySmithClient(KEY, http_client=httpx.Client(transport=httpx.MockTransport(answer)))
    with client, pytest.raises(TerminatedError), LiveActivity("term", client=client):
        raise asyncio.CancelledError


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("together", ["gather", "group"])
def test_all_async_blocks_of_a_process_that_is_ended_end_their_streams(together: str, number: signal.Signals) -> None:
    program = MANY_BLOCKS.format(together=together)
    code, _, ends = terminate(program, number, refused_ends={"quick": 1, "slow": 2, "slower": 3})
    assert code in (128 + number, -number)
    assert ends == dict.fromkeys(("quick", "slow", "slower"), "cancelled")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGALRM])
def test_a_signal_is_left_to_the_main_thread_while_updates_are_sent(number: signal.Signals) -> None:
    started, is_blocked = threading.Event(), threading.Event()
    waiting: list[bool] = []

    def answer(request: httpx.Request) -> httpx.Response:
        started.set()
        is_blocked.wait()
        # The system gives it to a thread that takes it: this one, if it does, since the main thread does not.
        os.kill(os.getpid(), number)
        waiting.append(number in signal.sigpending())
        return httpx.Response(200, json=STARTED)

    handled = threading.Event()
    before = signal.signal(number, lambda *_: handled.set())
    try:
        client = ActivitySmithClient(KEY, http_client=httpx.Client(transport=httpx.MockTransport(answer)))
        sender = UpdateSender("term", Progress("Nightly"), client)
        sender.start()
        started.wait()
        signal.pthread_sigmask(signal.SIG_BLOCK, [number])
        is_blocked.set()
        sender.stop()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    finally:
        signal.signal(number, before)
    assert waiting == [True]
    assert handled.is_set()


def test_looking_up_a_host_takes_no_signal_either(monkeypatch: pytest.MonkeyPatch) -> None:
    blocked: list[set[int]] = []

    def look_up(*arguments: object, **options: object) -> NoReturn:
        blocked.append(set(signal.pthread_sigmask(signal.SIG_BLOCK, [])))
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    client = ActivitySmithClient(KEY, base_url="https://nowhere.test/api", retry=RetryPolicy(max_retries=0))
    with client, pytest.raises(APIConnectionError):
        client.end_stream("term")
    assert {signal.SIGTERM, signal.SIGINT, signal.SIGALRM} <= blocked[0]
    assert signal.SIGSEGV not in blocked[0]
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_whoever_handles_the_signal_keeps_it() -> None:
    program = BLOCK.format(
        before="handled = threading.Event(); signal.signal(signal.SIGTERM, lambda *_: handled.set())",
        work="handled.wait()",
    )
    assert terminate(program) == (0, "went on\n", {"term": "succeeded"})


def _wire(ended: list[str]) -> httpx.MockTransport:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "DELETE":
            ended.append(json.loads(request.content)["metadata"]["result"])
        return httpx.Response(200, json=ENDED if request.method == "DELETE" else STARTED)

    return httpx.MockTransport(answer)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminated_block_is_left_with_the_exit_of_a_terminated_process(number: signal.Signals) -> None:
    ended: list[str] = []
    with ActivitySmithClient(KEY, http_client=httpx.Client(transport=_wire(ended))) as client:
        with (
            pytest.raises(SystemExit) as left,
            LiveActivity("outer", client=client),
            LiveActivity("term", client=client),
        ):
            signal.raise_signal(number)
        assert (left.value.code, ended) == (128 + number, ["cancelled", "cancelled"])
    assert signal.getsignal(number) is signal.SIG_DFL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_terminated_async_block_is_left_with_the_exit_of_a_terminated_process(number: signal.Signals) -> None:
    ended: list[str] = []

    async def run() -> None:
        client = AsyncActivitySmithClient(KEY, http_client=httpx.AsyncClient(transport=_wire(ended)))
        async with AsyncLiveActivity("outer", client=client), AsyncLiveActivity("term", client=client):
            signal.raise_signal(number)
            await asyncio.Event().wait()

    with pytest.raises(SystemExit) as left:
        asyncio.run(run())
    assert (left.value.code, ended) == (128 + number, ["cancelled", "cancelled"])
    assert signal.getsignal(number) is signal.SIG_DFL


def test_a_block_under_nohup_goes_on_without_its_terminal() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    ended: list[str] = []
    try:
        with (
            ActivitySmithClient(KEY, http_client=httpx.Client(transport=_wire(ended))) as client,
            LiveActivity("term", client=client),
        ):
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert ended == ["succeeded"]


def test_an_async_block_leaves_a_signal_that_somebody_handles_alone() -> None:
    handled = threading.Event()

    async def run() -> None:
        termination = AsyncTermination()
        termination.start()
        signal.raise_signal(signal.SIGTERM)
        await termination.stop(None)

    before = signal.signal(signal.SIGTERM, lambda *_: handled.set())
    try:
        asyncio.run(run())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert handled.is_set()


def test_what_was_there_is_put_back() -> None:
    termination = Termination()
    termination.start()
    assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    with termination.leaving(None):
        pass
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.parametrize("copied", [copy.copy, lambda error: pickle.loads(pickle.dumps(error))])
def test_a_copy_of_a_termination_exits_with_the_same_code(copied: Callable[[TerminatedError], TerminatedError]) -> None:
    assert copied(TerminatedError(signal.SIGTERM)).code == 128 + signal.SIGTERM


def test_a_signal_while_the_block_is_left_waits_for_the_end_to_be_sent() -> None:
    reached = []

    def leave() -> None:
        termination = Termination()
        termination.start()
        with termination.leaving(None):
            signal.raise_signal(signal.SIGTERM)
            reached.append("the end")

    with pytest.raises(TerminatedError):
        leave()
    assert reached == ["the end"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_of_several_async_blocks_the_last_that_is_left_ends_the_process() -> None:
    async def leave() -> str:
        first, last = AsyncTermination(), AsyncTermination()
        for termination in (first, last):
            termination.start()
            termination.leave(asyncio.create_task(asyncio.sleep(0)))
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.01)
        await first.stop(None)
        try:
            await last.stop(None)
        except TerminatedError:
            return "by the last"
        return "by none"

    assert asyncio.run(leave()) == "by the last"


def test_an_async_block_that_is_being_left_is_not_cancelled_again() -> None:
    async def leave() -> str:
        termination = AsyncTermination()
        termination.start()
        termination.leave(asyncio.create_task(asyncio.sleep(0)))
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.01)
        try:
            await termination.stop(None)
        except TerminatedError:
            return "left, then terminated"
        return "left"

    assert asyncio.run(leave()) == "left, then terminated"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_thread_leaves_the_signal_alone() -> None:
    def make() -> None:
        termination = Termination()
        termination.start()
        with termination.leaving(None):
            pass

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


LEFT_ELSEWHERE = """
import threading
import time
from activitysmith_integrations.core import LiveActivity
block = LiveActivity("term")
block.__enter__()
leaving = threading.Thread(target=block.__exit__, args=(None, None, None))
leaving.start()
leaving.join()
print("ready", flush=True)
while True:
    time.sleep(0.1)
"""


# As libraries do that have something of their own to put in order first.
CALLS_THE_ONE_BEFORE = """
import signal
import time
from activitysmith_integrations.core import LiveActivity
with LiveActivity("term"):
    before = signal.getsignal(signal.SIGTERM)
    def handle(number, frame):
        print("handled", flush=True)
        before(number, frame)
    signal.signal(signal.SIGTERM, handle)
    {within}
print("ready", flush=True)
while True:
    time.sleep(0.1)
"""
WAITS = """print("ready", flush=True)
    while True:
        time.sleep(0.1)"""


def test_a_process_whose_block_was_left_in_another_thread_ends_as_python_does() -> None:
    assert terminate(LEFT_ELSEWHERE) == (-signal.SIGTERM, "", {"term": "succeeded"})


def test_a_process_ends_by_a_handler_that_was_set_within_a_block_and_calls_the_one_before_it() -> None:
    program = CALLS_THE_ONE_BEFORE.format(within="pass")
    assert terminate(program) == (-signal.SIGTERM, "handled\n", {"term": "succeeded"})


def test_a_handler_that_was_set_within_a_block_and_calls_the_one_before_it_has_the_block_left() -> None:
    program = CALLS_THE_ONE_BEFORE.format(within=WAITS)
    assert terminate(program) == (128 + signal.SIGTERM, "handled\n", {"term": "cancelled"})


def test_a_signal_after_a_block_was_left_in_another_thread_goes_to_python(monkeypatch: pytest.MonkeyPatch) -> None:
    termination = Termination()
    termination.start()
    ours = signal.getsignal(signal.SIGTERM)

    def leave() -> None:
        with termination.leaving(None):
            pass

    leaving = threading.Thread(target=leave)
    leaving.start()
    leaving.join()
    assert signal.getsignal(signal.SIGTERM) is ours
    raised: list[tuple[int, object]] = []
    with monkeypatch.context() as patch:
        patch.setattr(signal, "raise_signal", lambda number: raised.append((number, signal.getsignal(number))))
        Termination.request_all(signal.SIGTERM)
    assert raised == [(signal.SIGTERM, signal.SIG_DFL)]
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


def _terminated_child() -> int:
    """The process of a forked child that gets a SIGTERM."""
    child = os.fork()
    if child == 0:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            os._exit(99)
    return child


def test_a_forked_child_ends_as_python_does() -> None:
    termination = Termination()
    termination.start()
    child = _terminated_child()
    _, status = os.waitpid(child, 0)
    with termination.leaving(None):
        pass
    assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM


def test_a_child_forgets_what_its_parent_handles() -> None:
    sync = Termination()
    sync.start()
    Termination.forget()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    async def fork() -> None:
        termination = AsyncTermination()
        termination.start()
        fd = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(fd, warn_on_full_buffer=False)
        AsyncTermination.forget()
        assert signal.set_wakeup_fd(fd, warn_on_full_buffer=False) == -1
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL

    asyncio.run(fork())
    Termination.forget()
    AsyncTermination.forget()


def test_a_child_forked_from_an_async_block_ends_as_python_does_and_its_parent_goes_on() -> None:
    async def fork() -> tuple[int, bool]:
        termination = AsyncTermination()
        termination.start()
        child = _terminated_child()
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        await termination.stop(None)
        return os.waitstatus_to_exitcode(status), termination.requested is not None

    assert asyncio.run(fork()) == (-signal.SIGTERM, False)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
