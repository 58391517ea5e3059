"""Signal handlers, Ctrl-C and cancellations: nothing waits for itself, and nobody is left in the dark about an end."""

import asyncio
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, NoReturn

import httpx
import pytest
from support.service import ENDED, KEY, STARTED

from activitysmith_integrations.core import (
    ActivitySmithClient,
    AsyncActivitySmithClient,
    AsyncLiveActivity,
    LiveActivity,
)

PATIENCE = 60.0
OURS = f"{os.sep}activitysmith_integrations{os.sep}core{os.sep}"


class Wire:
    """Stands in for the service, and can be told what to do with a request before it is answered."""

    def __init__(self) -> None:
        self.methods: list[str] = []
        self.messages: list[str] = []
        self.behave: Callable[[str], object] = lambda _: None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.methods.append(request.method)
        self.messages.append(json.loads(request.content)["content_state"].get("message", ""))
        self.behave(request.method)
        return httpx.Response(200, json=ENDED if request.method == "DELETE" else STARTED)

    async def in_a_thread(self, request: httpx.Request) -> httpx.Response:
        return await asyncio.to_thread(self, request)

    def client(self) -> ActivitySmithClient:
        return ActivitySmithClient(KEY, http_client=httpx.Client(transport=httpx.MockTransport(self)))

    def async_client(self) -> AsyncActivitySmithClient:
        transport = httpx.MockTransport(self.in_a_thread)
        return AsyncActivitySmithClient(KEY, http_client=httpx.AsyncClient(transport=transport))


@pytest.fixture
def wire() -> Wire:
    return Wire()


# Signal handlers


def _everywhere(handler: Callable[[], object], call: Callable[[], object]) -> int:
    """Call a function, and a handler before each of the lines of ours that it runs, as a signal might; how many."""
    lines = 0

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        nonlocal lines
        if OURS not in frame.f_code.co_filename:
            return None
        if event == "line":
            lines += 1
            handler()  # nothing is traced within a trace function, so the handler runs undisturbed
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)
    return lines


@pytest.mark.parametrize("interrupted", ["advance", "update"])
def test_a_signal_handler_may_move_what_the_interrupted_code_moves(interrupted: str, flavor: str, wire: Wire) -> None:
    handled: list[int] = []

    def move(activity: LiveActivity | AsyncLiveActivity) -> None:
        calls: dict[str, Callable[[], object]] = {
            "advance": lambda: activity.advance("load"),
            "update": lambda: activity.update(done=1, subtitle="halfway"),
        }

        def handler() -> None:
            activity.advance("check")
            activity.update(subtitle="in a handler")

        handled.append(_everywhere(handler, calls[interrupted]))

    async def move_async() -> None:
        async with AsyncLiveActivity("nightly", steps=["check", "load"], client=wire.async_client()) as activity:
            move(activity)

    def move_sync() -> None:
        with LiveActivity("nightly", steps=["check", "load"], client=wire.client()) as activity:
            move(activity)

    # In a thread, so that a handler that waits for what it interrupted does not keep the tests.
    target = move_sync if flavor == "sync" else lambda: asyncio.run(move_async())
    thread = threading.Thread(target=target, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert handled[0] > 3
    assert wire.methods[-1] == "DELETE"


def test_a_storm_of_signals_loses_no_step(wire: Wire) -> None:
    handled = 0

    def handler(number: int, frame: FrameType | None) -> None:
        nonlocal handled
        handled += 1
        activity.advance()

    before = signal.signal(signal.SIGALRM, handler)
    try:
        with LiveActivity("nightly", steps=10**6, client=wire.client()) as activity:
            signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
            for _ in range(5000):
                activity.advance()
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise LookupError("shows how many were counted")
    except LookupError:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert handled > 0
    assert f"after {5000 + handled} of 1000000 steps" in wire.messages[-1]


# Ctrl-C and cancellation while the block is left


@pytest.fixture
def made() -> list[object]:
    """The own clients that were made."""
    return []


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch, wire: Wire, made: list[object]) -> list[str]:
    """Own clients that ask the stand-in; says which of them were closed."""
    closed: list[str] = []
    sync, asynchronous = ActivitySmithClient.__init__, AsyncActivitySmithClient.__init__
    close, aclose = ActivitySmithClient.close, AsyncActivitySmithClient.aclose

    def make(client: ActivitySmithClient, *args: Any, **options: Any) -> None:
        sync(client, KEY, http_client=httpx.Client(transport=httpx.MockTransport(wire)))
        made.append(client)

    def make_async(client: AsyncActivitySmithClient, *args: Any, **options: Any) -> None:
        transport = httpx.MockTransport(wire.in_a_thread)
        asynchronous(client, KEY, http_client=httpx.AsyncClient(transport=transport))
        made.append(client)

    def note_close(client: ActivitySmithClient) -> None:
        closed.append("sync")
        close(client)

    async def note_aclose(client: AsyncActivitySmithClient) -> None:
        closed.append("async")
        await aclose(client)

    monkeypatch.setattr(ActivitySmithClient, "__init__", make)
    monkeypatch.setattr(AsyncActivitySmithClient, "__init__", make_async)
    monkeypatch.setattr(ActivitySmithClient, "close", note_close)
    monkeypatch.setattr(AsyncActivitySmithClient, "aclose", note_aclose)
    return closed


def test_ctrl_c_while_the_end_is_sent_is_logged_and_passes_on(
    wire: Wire, closed: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    def interrupt(method: str) -> None:
        if method == "DELETE":
            raise KeyboardInterrupt

    wire.behave = interrupt
    with pytest.raises(KeyboardInterrupt), LiveActivity("nightly"):
        pass
    (record,) = caplog.records
    assert record.levelno >= logging.WARNING
    assert "'nightly' may not have been ended: KeyboardInterrupt" in record.getMessage()
    assert closed == ["sync"]


def _is_waiting(thread: int) -> bool:
    """Whether a thread waits for another one, within code of ours."""
    frame = sys._current_frames().get(thread)
    files = []
    while frame is not None:
        files.append(frame.f_code.co_filename)
        frame = frame.f_back
    return bool(files) and files[0] == threading.__file__ and any(OURS in file for file in files)


def test_a_second_ctrl_c_while_the_last_update_is_waited_for_is_logged_and_passes_on(
    wire: Wire, closed: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    arrived, go_on = threading.Event(), threading.Event()
    caller = threading.get_ident()

    def hold(_: str) -> None:
        arrived.set()
        go_on.wait(PATIENCE)

    def interrupt_again() -> None:
        while not _is_waiting(caller):
            go_on.wait(0.01)
        signal.pthread_kill(caller, signal.SIGINT)

    wire.behave = hold
    second = threading.Thread(target=interrupt_again)

    def interrupt() -> None:
        assert arrived.wait(PATIENCE)
        second.start()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), LiveActivity("nightly"):
        interrupt()
    go_on.set()
    second.join()
    assert any("'nightly' may not have been ended: KeyboardInterrupt" in message for message in caplog.messages)
    assert wire.methods == ["PUT"]
    assert closed == ["sync"]


@pytest.mark.parametrize("impatiently", [False, True])
def test_the_end_of_a_block_cancelled_twice_outlives_the_loops_end_unless_it_is_cancelled_twice_itself(
    impatiently: bool, wire: Wire, closed: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    go_on = threading.Event()
    wire.behave = lambda _: go_on.wait(PATIENCE)

    async def block(entered: asyncio.Event) -> None:
        async with AsyncLiveActivity("nightly"):
            entered.set()
            await asyncio.Event().wait()

    async def run() -> None:
        entered = asyncio.Event()
        work = asyncio.create_task(block(entered))
        await entered.wait()
        for _ in range(2):
            work.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await work
        for _ in range(2 if impatiently else 0):
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            await asyncio.sleep(0)
        # The loop ends now: it cancels what is left of the end, and waits for it.
        threading.Timer(0.2, go_on.set).start()

    asyncio.run(run())
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    if impatiently:
        assert any("'nightly' may not have been ended: CancelledError" in warning for warning in warnings)
    else:
        assert warnings == []
        assert wire.methods[-1] == "DELETE"
    assert closed == ["async"]


def test_a_cancellation_while_the_end_is_sent_leaves_at_once_and_the_end_arrives(
    wire: Wire, closed: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    ending, go_on = threading.Event(), threading.Event()

    def hold(method: str) -> None:
        if method == "DELETE":
            ending.set()
            assert go_on.wait(PATIENCE)

    wire.behave = hold

    async def block() -> None:
        async with AsyncLiveActivity("nightly"):
            pass

    async def run() -> None:
        work = asyncio.create_task(block())
        assert await asyncio.to_thread(ending.wait, PATIENCE)
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        go_on.set()
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))

    with caplog.at_level(logging.INFO, "activitysmith_integrations.core"):
        asyncio.run(run())
    assert wire.methods == ["PUT", "DELETE"]
    assert any(message.startswith("Ended Live Activity stream 'nightly'") for message in caplog.messages)
    assert closed == ["async"]


def test_a_block_whose_loop_ends_while_its_start_is_on_its_way_ends_its_stream() -> None:
    methods: list[str] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        methods.append(request.method)
        if request.method == "PUT":  # it has arrived, and its answer never does
            arrived.set()
            await asyncio.Event().wait()
        return httpx.Response(200, json=ENDED)

    async def block() -> None:
        client = AsyncActivitySmithClient(KEY, http_client=httpx.AsyncClient(transport=httpx.MockTransport(answer)))
        async with AsyncLiveActivity("nightly", client=client):
            await asyncio.Event().wait()

    async def run() -> None:
        work = asyncio.create_task(block())
        await arrived.wait()
        assert not work.done()

    arrived = asyncio.Event()
    asyncio.run(run())
    assert methods == ["PUT", "DELETE"]


# Ctrl-C while the block is entered


class _Interruption:
    """Raises KeyboardInterrupt once, before one of the lines of ours that a thread runs.

    Args:
        at: The number of the line, from 0.
    """

    def __init__(self, at: int) -> None:
        self.left = at
        self._before = sys.gettrace()

    def __call__(self, frame: FrameType, event: str, argument: object) -> Any:
        # While a thread is started, signals are blocked.
        if OURS not in frame.f_code.co_filename or frame.f_code.co_filename.endswith("threads.py"):
            return None
        if event == "line":
            self.left -= 1
            if self.left < 0:
                self.stop()
                raise KeyboardInterrupt
        return self

    def start(self) -> None:
        sys.settrace(self)

    def stop(self) -> None:
        sys.settrace(self._before)


def _enter_and_leave(interruption: _Interruption) -> None:
    activity = LiveActivity("nightly")
    interruption.start()
    try:
        activity.__enter__()
    finally:
        interruption.stop()
    activity.__exit__(None, None, None)


async def _enter_and_leave_async(interruption: _Interruption) -> None:
    activity = AsyncLiveActivity("nightly")
    interruption.start()
    try:
        await activity.__aenter__()
    finally:
        interruption.stop()
    await activity.__aexit__(None, None, None)


def test_ctrl_c_anywhere_on_the_way_into_the_block_leaves_nothing_behind(
    flavor: str, wire: Wire, closed: list[str], made: list[object], caplog: pytest.LogCaptureFixture
) -> None:
    lines = 0
    while True:
        for each in (wire.methods, closed, made):
            each.clear()
        caplog.clear()
        interruption = _Interruption(lines)
        try:
            if flavor == "sync":
                _enter_and_leave(interruption)
            else:
                asyncio.run(_enter_and_leave_async(interruption))
        except KeyboardInterrupt:
            lines += 1
        else:
            break
        for thread in threading.enumerate():
            if thread.name == "activitysmith-updates":
                thread.join()
        assert wire.methods in ([], ["PUT", "DELETE"]), f"line {lines}"
        assert len(closed) >= len(made), f"line {lines}"
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, f"line {lines}"
        assert not signal.pthread_sigmask(signal.SIG_BLOCK, []), f"line {lines}"
    assert lines > 20
    assert wire.methods == ["PUT", "DELETE"]


def test_ctrl_c_while_the_sender_starts_leaves_nothing_to_be_sent_later(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []
    start = threading.Thread.start

    def interrupt(thread: threading.Thread) -> NoReturn:
        threads.append(thread)
        raise KeyboardInterrupt

    with wire.client() as client:
        monkeypatch.setattr(threading.Thread, "start", interrupt)
        with pytest.raises(KeyboardInterrupt):
            LiveActivity("nightly", client=client).__enter__()
        start(threads[0])
        threads[0].join()
    assert wire.methods == []
