"""SIGTERM, which docker stop, systemd and Kubernetes send, ends a block's stream as cancelled."""

import asyncio
import os
import signal
import subprocess
import sys
import threading

import pytest
from support.sandbox import KEY, running_sandbox

from activitysmith_integrations.core.runs.termination import AsyncTermination, TerminatedError, Termination

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
    time.sleep(600)
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
NESTED_BLOCK = """
import time
from activitysmith_integrations.core import LiveActivity
with LiveActivity("term", steps=5), LiveActivity("inner"):
    print("ready", flush=True)
    time.sleep(600)
"""


def terminate(program: str) -> tuple[int, str, dict[str, str]]:
    """Run a program, terminate it once it is ready; its exit code, its output, and each stream's last result."""
    with running_sandbox() as sandbox:
        environ = {**os.environ, "ACTIVITYSMITH_API_KEY": KEY, "ACTIVITYSMITH_BASE_URL": sandbox.base_url}
        process = subprocess.Popen([sys.executable, "-c", program], env=environ, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=60)[0]
        ends = {request["stream_key"]: request["body"]["metadata"]["result"] for request in sandbox.requests("DELETE")}
    return process.returncode, output, ends


@pytest.mark.parametrize(
    ("program", "ends"),
    [
        (BLOCK.format(before="", work="time.sleep(600)"), {"term": "cancelled"}),
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


def test_whoever_handles_the_signal_keeps_it() -> None:
    program = BLOCK.format(
        before="handled = threading.Event(); signal.signal(signal.SIGTERM, lambda *_: handled.set())",
        work="handled.wait()",
    )
    assert terminate(program) == (0, "went on\n", {"term": "succeeded"})


def test_what_was_there_is_put_back() -> None:
    termination = Termination()
    assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    with termination.leaving(None):
        pass
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_while_the_block_is_left_waits_for_the_end_to_be_sent() -> None:
    reached = []

    def leave() -> None:
        with Termination().leaving(None):
            signal.raise_signal(signal.SIGTERM)
            reached.append("the end")

    with pytest.raises(TerminatedError):
        leave()
    assert reached == ["the end"]
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_an_async_block_that_is_being_left_is_not_cancelled_again() -> None:
    async def leave() -> str:
        termination = AsyncTermination()
        termination.leave()
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.01)
        try:
            termination.stop(None)
        except TerminatedError:
            return "left, then terminated"
        return "left"

    assert asyncio.run(leave()) == "left, then terminated"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_thread_leaves_the_signal_alone() -> None:
    def make() -> None:
        with Termination().leaving(None):
            pass

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_forked_child_ends_as_python_does() -> None:
    termination = Termination()
    child = os.fork()
    if child == 0:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            os._exit(99)
    _, status = os.waitpid(child, 0)
    with termination.leaving(None):
        pass
    assert os.waitstatus_to_exitcode(status) == -signal.SIGTERM
