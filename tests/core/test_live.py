"""Both clients live the same life: what a block does happens in a thread, so that one body serves both."""

import asyncio
import json
import logging
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Protocol, TypeAlias

import httpx
import pytest
from support.sandbox import KEY as SANDBOX_KEY, Sandbox, running_sandbox
from support.service import ENDED, KEY, STARTED

from activitysmith_integrations.core import (
    ActivitySmithClient,
    AsyncActivitySmithClient,
    AsyncLiveActivity,
    ConfigurationError,
    InvalidRequestError,
    LiveActivity,
)
from activitysmith_integrations.core.runs import budget, sender
from activitysmith_integrations.core.runs.progress import Progress
from activitysmith_integrations.core.runs.sender import AsyncUpdateSender, UpdateSender, _Sender

Activity: TypeAlias = LiveActivity | AsyncLiveActivity
Behaviour: TypeAlias = Callable[[httpx.Request], httpx.Response | None]
PATIENCE = 60.0
HELD = 0.5


class Wire:
    """Stands in for the service: keeps what arrives and what was answered, in order."""

    def __init__(self) -> None:
        self.behave: Behaviour = lambda _: None
        self.requests: list[httpx.Request] = []
        self.log: list[str] = []
        self.ended = threading.Event()
        self._arrivals: queue.Queue[dict[str, Any]] = queue.Queue()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        self.log.append(f"{request.method} arrives")
        self._arrivals.put(json.loads(request.content))
        if request.method == "DELETE":
            self.ended.set()
        try:
            answer = self.behave(request)
        finally:
            self.log.append(f"{request.method} is over")
        if answer is not None:
            return answer
        return httpx.Response(200, json=ENDED if request.method == "DELETE" else STARTED)

    async def in_a_thread(self, request: httpx.Request) -> httpx.Response:
        return await asyncio.to_thread(self, request)

    def next(self) -> dict[str, Any]:
        """The state of the next request; waits for it."""
        state: dict[str, Any] = self._arrivals.get(timeout=PATIENCE)["content_state"]
        return state

    @property
    def methods(self) -> list[str]:
        return [request.method for request in self.requests]

    @property
    def end(self) -> dict[str, Any]:
        """The body of the one request that ended the stream, the last of all."""
        assert self.methods.index("DELETE") == len(self.methods) - 1
        body: dict[str, Any] = json.loads(self.requests[-1].content)
        return body

    def client(self) -> ActivitySmithClient:
        return ActivitySmithClient(KEY, http_client=httpx.Client(transport=httpx.MockTransport(self)))

    def async_client(self) -> AsyncActivitySmithClient:
        transport = httpx.MockTransport(self.in_a_thread)
        return AsyncActivitySmithClient(KEY, http_client=httpx.AsyncClient(transport=transport))


class Live(Protocol):
    """``live(body, steps=...)``: a live activity around ``body(activity)``."""

    def __call__(self, body: Callable[[Activity], object], *, in_loop: bool = False, **options: Any) -> None: ...


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def live(flavor: str, wire: Wire) -> Live:
    def sync(body: Callable[[Activity], object], *, in_loop: bool = False, **options: Any) -> None:
        with LiveActivity("nightly", client=wire.client(), **options) as activity:
            body(activity)

    def asynchronous(body: Callable[[Activity], object], *, in_loop: bool = False, **options: Any) -> None:
        async def run() -> None:
            async with AsyncLiveActivity("nightly", client=wire.async_client(), **options) as activity:
                if in_loop:
                    body(activity)
                else:
                    await asyncio.to_thread(body, activity)

        asyncio.run(run())

    return sync if flavor == "sync" else asynchronous


@pytest.fixture(params=[LiveActivity, AsyncLiveActivity])
def kind(request: pytest.FixtureRequest) -> Any:
    return request.param


def _raise(error: BaseException) -> Callable[[Activity], None]:
    def body(_: Activity) -> None:
        raise error

    return body


def test_a_block_of_code_starts_its_stream_moves_it_and_ends_it(live: Live, wire: Wire) -> None:
    def body(activity: Activity) -> None:
        assert activity.stream_key == "nightly"
        assert wire.next() == {
            "type": "segmented_progress",
            "title": "Nightly ETL",
            "subtitle": "extract",
            "number_of_steps": 3,
            "current_step": 0,
        }
        activity.advance("check")
        assert (wire.next()["subtitle"], activity.stream_key) == ("check", "nightly")
        activity.update(subtitle="7 of 9 files")
        assert wire.next()["subtitle"] == "7 of 9 files"
        activity.update(done=2)
        assert wire.next()["current_step"] == 2

    live(body, title="Nightly ETL", steps=["extract", "check", "load"])
    assert wire.methods == ["PUT", "PUT", "PUT", "PUT", "DELETE"]
    end = wire.end["content_state"]
    assert (end["title"], end["color"], end["number_of_steps"], end["current_step"]) == ("Nightly ETL", "green", 3, 3)
    assert end["subtitle"].startswith("Done in ")


def test_an_exception_is_a_failure_of_the_step_being_worked_on_and_passes_on(live: Live, wire: Wire) -> None:
    def body(activity: Activity) -> None:
        activity.advance("load")
        raise LookupError("ask_secret")

    with pytest.raises(LookupError):
        live(body, steps=["extract", "load"], url="https://example.com/run")
    assert wire.end["content_state"]["message"].startswith("load failed after 1 of 2 steps")
    assert wire.end["action"]["url"] == "https://example.com/run"
    assert "ask_secret" not in json.dumps(wire.end)


class _MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


def test_an_error_is_shown_where_that_is_asked_for_as_far_as_it_has_words(live: Live, wire: Wire) -> None:
    with pytest.raises(LookupError):
        live(_raise(LookupError("no such row")), include_error=True)
    assert wire.end["content_state"]["message"].endswith("LookupError: no such row")
    wire.requests.clear()
    with pytest.raises(_MuteError):
        live(_raise(_MuteError()), include_error=True)
    assert wire.end["content_state"]["message"].endswith("_MuteError")


def test_an_error_of_a_task_group_is_shown_in_its_own_words(live: Live, wire: Wire) -> None:
    with pytest.raises(ExceptionGroup):
        live(_raise(ExceptionGroup("unhandled errors", [LookupError("no such row")])), include_error=True)
    assert wire.end["content_state"]["message"].endswith(": LookupError: no such row")


class _EngineTimeout(BaseException):
    """As Airflow's own, which is no Exception."""


def error_of(package: str, name: str, base: type[BaseException] = BaseException, **members: object) -> BaseException:
    """What an engine or a library, which is not installed here, raises."""
    error: BaseException = type(name, (base,), {"__module__": f"{package}.exceptions", **members})()
    return error


PrefectSignal = type(error_of("prefect", "PrefectSignal"))


@pytest.mark.parametrize(
    "error",
    [
        error_of("prefect", "Pause", PrefectSignal),
        error_of("airflow.sdk", "TaskDeferred"),
        error_of("airflow.sdk", "AirflowRescheduleException", Exception),
    ],
    ids=lambda error: type(error).__name__,
)
def test_work_that_its_engine_goes_on_with_later_keeps_its_stream(
    live: Live, wire: Wire, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with pytest.raises(type(error)):
        live(_raise(error), in_loop=True)
    assert "DELETE" not in wire.methods
    assert f"'nightly' goes on: {type(error).__name__} is no end of a run" in caplog.text


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (error_of("prefect", "Abort", PrefectSignal), "cancelled"),
        (error_of("prefect", "TerminationSignal", type(error_of("prefect", "ExternalSignal"))), "cancelled"),
        (error_of("airflow.sdk", "AirflowSkipException", Exception), "cancelled"),
        (error_of("people", "Pause", Exception), "failed"),
        (_EngineTimeout(), "failed"),
        (KeyboardInterrupt(), "cancelled"),
        (asyncio.CancelledError(), "cancelled"),
        (SystemExit(1), "failed"),
        (SystemExit("no input"), "failed"),
        (SystemExit(0), "succeeded"),
        (SystemExit(), "succeeded"),
        (error_of("click", "Exit", RuntimeError, exit_code=0), "succeeded"),
        (error_of("click", "Exit", RuntimeError, exit_code=2), "failed"),
        (error_of("typer", "Abort", RuntimeError), "cancelled"),
        (BaseExceptionGroup("tasks", [KeyboardInterrupt()]), "cancelled"),
        (BaseExceptionGroup("tasks", [KeyboardInterrupt(), LookupError()]), "failed"),
    ],
)
def test_what_ends_a_program_ends_its_stream_and_passes_on(
    live: Live, wire: Wire, error: BaseException, result: str
) -> None:
    with pytest.raises(type(error)):
        live(_raise(error), in_loop=True)
    assert wire.end["metadata"]["result"] == result


def test_a_failure_whose_start_was_refused_is_shown_although_an_earlier_run_ended_the_stream(
    live: Live, wire: Wire
) -> None:
    limit = {"error": "Too Many", "message": "Live Activity limit reached", "limit": 4, "active": 4}

    def refuse_once(request: httpx.Request) -> httpx.Response | None:
        if request.method == "DELETE" and len(wire.requests) == 2:
            return httpx.Response(200, json={**ENDED, "activity_id": None, "ignored": True})
        return httpx.Response(429, json=limit) if len(wire.requests) == 1 else None

    wire.behave = refuse_once
    with pytest.raises(LookupError):
        live(_raise(LookupError("no such row")))
    assert [request.method for request in wire.requests] == ["PUT", "DELETE", "PUT", "DELETE"]
    assert json.loads(wire.requests[2].content)["alert"]["title"] == "nightly"


def test_work_that_cannot_be_counted_ends_as_the_picture_that_it_was(live: Live, wire: Wire) -> None:
    live(lambda activity: activity.advance("load"))
    end = wire.end["content_state"]
    assert (end["type"], end["percentage"]) == ("progress", 100)


def test_work_that_is_over_at_once_is_started_before_it_is_ended(live: Live, wire: Wire) -> None:
    live(lambda _: None, in_loop=True)
    assert wire.methods == ["PUT", "DELETE"]


@pytest.fixture
def nothing_due(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set whenever the worker has looked and found nothing to send."""
    event = threading.Event()
    look = _Sender._next

    def watched(sender: _Sender) -> Any:
        due = look(sender)
        if due is None:
            event.set()
        return due

    monkeypatch.setattr(_Sender, "_next", watched)
    return event


def test_neither_what_is_shown_nor_what_the_end_will_show_is_sent(
    live: Live, wire: Wire, nothing_due: threading.Event
) -> None:
    def body(activity: Activity) -> None:
        wire.next()
        activity.update()
        assert nothing_due.wait(PATIENCE)
        nothing_due.clear()
        activity.update(done=4)
        assert nothing_due.wait(PATIENCE)

    live(body, steps=4)
    assert wire.methods == ["PUT", "DELETE"]


def test_the_newest_update_replaces_those_that_wait_and_one_at_most_is_on_its_way(live: Live, wire: Wire) -> None:
    go_on = threading.Event()

    def hold(_: httpx.Request) -> None:
        assert go_on.wait(PATIENCE)

    wire.behave = hold

    def body(activity: Activity) -> None:
        wire.next()
        for done in range(1, 6):
            activity.update(done=done)
        assert wire.methods == ["PUT"]
        go_on.set()
        assert wire.next()["current_step"] == 5

    live(body, steps=8)
    assert wire.methods == ["PUT", "PUT", "DELETE"]


def test_the_end_waits_for_the_update_on_its_way_and_drops_the_one_that_waits(live: Live, wire: Wire) -> None:
    over = threading.Event()

    def hold_the_second(request: httpx.Request) -> None:
        # Not answered before the block is over; then an end that does not wait has the time to arrive.
        if request.method == "PUT" and len(wire.requests) == 2:
            assert over.wait(PATIENCE)
            wire.ended.wait(HELD)

    wire.behave = hold_the_second

    def body(activity: Activity) -> None:
        wire.next()
        activity.update(done=1)
        assert wire.next()["current_step"] == 1
        activity.update(done=2)
        over.set()

    live(body, steps=4)
    assert wire.log == [
        *("PUT arrives", "PUT is over"),
        *("PUT arrives", "PUT is over"),
        *("DELETE arrives", "DELETE is over"),
    ]


def test_an_update_has_one_attempt_and_a_start_a_few(live: Live, wire: Wire) -> None:
    again = httpx.Response(503, headers={"Retry-After": "0"})
    wire.behave = lambda _: again if len(wire.requests) in (1, 3) else None

    def body(activity: Activity) -> None:
        assert [wire.next()["current_step"] for _ in range(2)] == [0, 0]
        activity.update(done=1)
        assert wire.next()["current_step"] == 1
        activity.update(done=2)
        assert wire.next()["current_step"] == 2

    live(body, steps=4)
    assert wire.methods == ["PUT", "PUT", "PUT", "PUT", "DELETE"]


def test_a_stream_that_could_not_be_started_is_started_once_a_minute_has_passed_even_if_nothing_changes(
    live: Live, wire: Wire, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(budget, "SECONDS_BETWEEN_STARTS", 0.01)
    wire.behave = lambda _: httpx.Response(401) if len(wire.requests) == 1 else None

    def body(activity: Activity) -> None:
        wire.next()
        assert "type" in wire.next()
        activity.update(done=1)
        assert wire.next()["current_step"] == 1

    with caplog.at_level(logging.INFO, "activitysmith_integrations.core"):
        live(body, steps=4)
    assert wire.methods == ["PUT", "PUT", "PUT", "DELETE"]
    refused = "ActivitySmith answered 401. Check the API key."
    assert caplog.messages == [
        f"Live Activity stream 'nightly' was not started; the work goes on: {refused}",
        "Started Live Activity stream 'nightly': 0 of 4.",
        "Started Live Activity stream 'nightly': 1 of 4.",
        "Ended Live Activity stream 'nightly' as succeeded.",
    ]


def test_an_update_that_was_lost_is_sent_once_a_minute_has_passed_even_if_nothing_changes(
    live: Live, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "_SECONDS_BETWEEN_LOOKS", 0.01)
    wire.behave = lambda _: httpx.Response(503) if len(wire.requests) == 2 else None

    def body(activity: Activity) -> None:
        assert wire.next()["current_step"] == 0
        activity.update(done=1)
        assert [wire.next()["current_step"] for _ in range(2)] == [1, 1]

    live(body, steps=4)
    assert wire.methods == ["PUT", "PUT", "PUT", "DELETE"]


@pytest.mark.parametrize("name", ["api_key", "base_url", "credentials"])
def test_what_belongs_to_a_client_leads_to_the_client(name: str) -> None:
    options: Any = {name: "x"}
    with pytest.raises(InvalidRequestError, match=f"{name}: is not an option; did you mean client"):
        LiveActivity("nightly", **options)


def test_a_second_line_of_ones_own_is_shown_after_the_last_step_as_well(live: Live, wire: Wire) -> None:
    def body(activity: Activity) -> None:
        assert wire.next()["current_step"] == 0
        activity.update(done=2)
        activity.update(subtitle="Vacuuming")
        state = wire.next()
        assert (state["current_step"], state["subtitle"]) == (2, "Vacuuming")

    live(body, steps=2)
    assert wire.methods == ["PUT", "PUT", "DELETE"]


def test_what_moves_a_stream_has_no_type_so_that_it_starts_none_after_the_end(live: Live, wire: Wire) -> None:
    """Where the service says that nothing runs any more, it is started at once, even if nothing changes."""
    wire.behave = lambda _: httpx.Response(400) if len(wire.requests) == 3 else None

    def body(activity: Activity) -> None:
        assert "type" in wire.next()
        for done in (1, 2):
            activity.update(done=done)
            assert "type" not in wire.next()
        assert "type" in wire.next()
        activity.update(done=3)
        assert "type" not in wire.next()

    live(body, steps=9)
    assert wire.methods == ["PUT"] * 5 + ["DELETE"]


@pytest.mark.parametrize(
    ("status", "methods"), [(403, ["PUT"]), (501, ["PUT", "DELETE"])], ids=["refused for certain", "maybe started"]
)
def test_where_nothing_was_delivered_there_is_nothing_to_end_and_the_work_is_done(
    status: int, methods: list[str], live: Live, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status if request.method == "PUT" else 404, json={"error": "No"})

    wire.behave = fail
    with caplog.at_level(logging.INFO, "activitysmith_integrations.core"):
        live(lambda _: None)
    assert wire.methods == methods
    assert caplog.records[-1].levelno == logging.INFO
    assert "nothing to end" in caplog.messages[-1]


def test_an_end_that_fails_is_logged_and_raises_nothing(
    live: Live, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    wire.behave = lambda request: httpx.Response(403) if request.method == "DELETE" else None
    live(lambda _: None)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "'nightly' was not ended" in record.getMessage()


def test_what_is_said_after_the_end_reaches_nobody(live: Live, wire: Wire) -> None:
    kept: list[Activity] = []
    live(kept.append, steps=3)
    kept[0].advance()
    assert wire.methods == ["PUT", "DELETE"]


@pytest.mark.parametrize(
    ("key", "options", "message"),
    [
        ("nightly etl", {}, "stream_key"),
        ("nightly", {"steps": -1}, "steps"),
        ("nightly", {"url": "example.com/runs/1"}, "^url: "),
        ("nightly", {"url": "ftp://example.com/runs/1"}, "^url: "),
        ("nightly", {"url": 5}, "^url: "),
        ("nightly", {"url": 0}, "^url: "),
        ("nightly", {"titel": "x"}, "did you mean title"),
        ("nightly", {"success_color": "pink"}, "color"),
        ("nightly", {"failure_auto_dismiss_minutes": -1}, "auto_dismiss_minutes"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_sent(
    kind: Any, key: str, options: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTIVITYSMITH_API_KEY", KEY)
    with pytest.raises(InvalidRequestError, match=message):
        kind(key, **options)


def test_without_an_api_key_the_work_is_done_and_the_log_says_what_is_missing(
    block: Callable[[Callable[[Activity], object]], None],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.delenv("ACTIVITYSMITH_API_KEY", raising=False)
    worked = []

    def work(activity: Activity) -> None:
        activity.advance()
        worked.append(activity.stream_key)

    block(work)
    assert worked == ["nightly"]
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "'nightly' is not shown; the work goes on: ACTIVITYSMITH_API_KEY: is not set" in record.getMessage()


def test_moves_before_the_block_are_shown_by_its_start(kind: Any, wire: Wire) -> None:
    async def run() -> None:
        client: Any = wire.client() if kind is LiveActivity else wire.async_client()
        activity = kind("nightly", steps=3, client=client)
        activity.advance()
        if kind is LiveActivity:
            with activity:
                pass
        else:
            async with activity:
                pass

    asyncio.run(run())
    assert wire.next()["current_step"] == 1


def test_where_there_is_no_thread_to_have_the_work_is_done_and_a_failure_is_seen(
    wire: Wire, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with LiveActivity("nightly", client=wire.client()) as activity:
        activity.advance()
    assert wire.methods == []
    assert "was not started; the work goes on: RuntimeError: can't start new thread" in caplog.text
    with pytest.raises(ZeroDivisionError), LiveActivity("nightly", client=wire.client()):
        _ = 1 / 0
    assert wire.methods == ["DELETE"]


async def _until_ended(started: asyncio.Event, wire: Wire) -> None:
    async with AsyncLiveActivity("nightly", client=wire.async_client()):
        started.set()
        await asyncio.Event().wait()


def test_a_block_that_is_cancelled_ends_its_stream_as_cancelled_and_passes_that_on(wire: Wire) -> None:
    async def run() -> None:
        started = asyncio.Event()
        work = asyncio.create_task(_until_ended(started, wire))
        await started.wait()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work

    asyncio.run(run())
    assert wire.methods == ["PUT", "DELETE"]
    assert wire.end["metadata"]["result"] == "cancelled"


@pytest.mark.parametrize(("is_around", "result"), [(True, "cancelled"), (False, "failed")])
def test_a_time_limit_around_a_block_is_a_cancellation_and_one_within_it_a_failure(
    is_around: bool, result: str, wire: Wire
) -> None:
    async def run() -> None:
        block = AsyncLiveActivity("nightly", client=wire.async_client())
        around, within = asyncio.timeout(0 if is_around else None), asyncio.timeout(None if is_around else 0)
        async with around, block, within:
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        asyncio.run(run())
    assert wire.end["metadata"]["result"] == result


def test_a_block_that_is_cancelled_while_it_ends_leaves_at_once_and_the_end_still_goes_out(wire: Wire) -> None:
    go_on = threading.Event()

    def hold(_: httpx.Request) -> None:
        assert go_on.wait(PATIENCE)

    wire.behave = hold

    async def run() -> None:
        started = asyncio.Event()
        work = asyncio.create_task(_until_ended(started, wire))
        await started.wait()
        await asyncio.to_thread(wire.next)
        for _ in range(2):
            work.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await work
        assert wire.methods == ["PUT"]
        go_on.set()
        assert await asyncio.to_thread(wire.ended.wait, PATIENCE)
        # What is left of the end, before the loop closes.
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))

    asyncio.run(run())
    assert wire.methods == ["PUT", "DELETE"]


@pytest.fixture
def block(flavor: str) -> Callable[[Callable[[Activity], object]], None]:
    """A block with a client of its own."""

    def sync(body: Callable[[Activity], object]) -> None:
        with LiveActivity("nightly", steps=3) as activity:
            body(activity)

    async def asynchronous(body: Callable[[Activity], object]) -> None:
        async with AsyncLiveActivity("nightly", steps=3) as activity:
            await asyncio.to_thread(body, activity)

    return sync if flavor == "sync" else lambda body: asyncio.run(asynchronous(body))


@pytest.fixture
def slow_sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        monkeypatch.setenv("ACTIVITYSMITH_API_KEY", SANDBOX_KEY)
        monkeypatch.setenv("ACTIVITYSMITH_BASE_URL", sandbox.base_url)
        sandbox.inject_fault(times=3, delay=HELD)
        yield sandbox


def test_nothing_lives_on_after_the_end_however_slow_the_service_is(
    block: Callable[[Callable[[Activity], object]], None], slow_sandbox: Sandbox
) -> None:
    block(lambda activity: [activity.advance() for _ in range(2)])
    assert len(slow_sandbox.requests("PUT")) >= 1
    assert len(slow_sandbox.ends("nightly")) == 1
    assert slow_sandbox.living() == []


class _Wordless:
    def __str__(self) -> str:
        raise LookupError("no words")


def test_a_step_without_a_name_is_a_warning_once(live: Live, wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    step: Any = _Wordless()

    def body(activity: Activity) -> None:
        activity.advance(step)
        activity.advance(step)

    live(body, steps=["load"])
    warnings = [message for message in caplog.messages if "a step that has no name" in message]
    assert len(warnings) == 1
    assert "LookupError: no words" in warnings[0]
    assert wire.end["content_state"]["current_step"] == 1


@pytest.mark.parametrize("number", [2, 2.0, True])
def test_a_number_given_as_a_step_is_a_warning_that_names_update(
    live: Live, wire: Wire, caplog: pytest.LogCaptureFixture, number: Any
) -> None:
    def body(activity: Activity) -> None:
        activity.advance(number)
        activity.advance(number)

    live(body, steps=10)
    warned = f"advance({number}) shows '{number}' as a step's name; update(...) takes a count"
    assert [message for message in caplog.messages if warned in message] == [
        f"Live Activity stream 'nightly': {warned}"
    ]


def test_the_number_of_steps_done_needs_no_name_and_another_value_is_a_warning(
    live: Live, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    wrong: Any = "orders"

    def body(activity: Activity) -> None:
        activity.update(2)
        activity.update(wrong)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        live(body, steps=3, in_loop=True)
    assert wire.end["content_state"]["message"].startswith("Cancelled after 2 of 3 steps")
    assert "update(done='orders', subtitle=None) was passed over" in caplog.text


def test_an_interruption_between_making_the_client_and_its_sender_closes_the_client(
    flavor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[bool] = []
    monkeypatch.setenv("ACTIVITYSMITH_API_KEY", KEY)

    def interrupt(*arguments: object, **options: object) -> NoReturn:
        raise KeyboardInterrupt

    monkeypatch.setattr("activitysmith_integrations.core.runs.block.running_labels", interrupt)
    if flavor == "sync":
        monkeypatch.setattr(ActivitySmithClient, "close", lambda _: closed.append(True))
        with pytest.raises(KeyboardInterrupt):
            LiveActivity("nightly").__enter__()
    else:

        async def aclose(_: object) -> None:
            closed.append(True)

        monkeypatch.setattr(AsyncActivitySmithClient, "aclose", aclose)
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(AsyncLiveActivity("nightly").__aenter__())
    assert closed == [True]


def test_ctrl_c_while_the_worker_starts_sends_nothing(flavor: str, wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **options: object) -> NoReturn:
        raise KeyboardInterrupt

    async def enter() -> None:
        activity = AsyncLiveActivity("nightly", client=wire.async_client())
        monkeypatch.setattr(AsyncUpdateSender, "start", interrupt)
        await activity.__aenter__()

    if flavor == "sync":
        monkeypatch.setattr(threading.Thread, "start", interrupt)
        with pytest.raises(KeyboardInterrupt):
            LiveActivity("nightly", client=wire.client()).__enter__()
    else:
        with pytest.raises(KeyboardInterrupt):
            asyncio.run(enter())
    assert wire.methods == []


def test_an_async_step_may_be_awaited(wire: Wire) -> None:
    async def run() -> None:
        async with AsyncLiveActivity("nightly", steps=2, client=wire.async_client()) as activity:
            await activity.advance()
            await activity.update(done=2)

    asyncio.run(run())
    assert wire.end["content_state"]["current_step"] == 2


def test_an_answer_without_a_success_is_no_start(live: Live, wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    wire.behave = lambda request: httpx.Response(200, json={**STARTED, "success": False})
    live(lambda _: wire.next())
    assert any("was not updated: ActivitySmith answered without a success" in message for message in caplog.messages)


def test_an_instance_is_used_once(kind: Any, wire: Wire) -> None:
    async def enter_async(activity: AsyncLiveActivity) -> None:
        async with activity:
            pass
        with pytest.raises(InvalidRequestError, match="was used already"):
            await activity.__aenter__()

    if kind is LiveActivity:
        activity = LiveActivity("nightly", client=wire.client())
        with activity:
            pass
        with pytest.raises(InvalidRequestError, match="was used already"):
            activity.__enter__()
    else:
        asyncio.run(enter_async(AsyncLiveActivity("nightly", client=wire.async_client())))
    assert wire.methods == ["PUT", "DELETE"]


def test_what_an_async_sender_hears_before_its_start_counts(wire: Wire) -> None:
    async def run() -> None:
        sender = AsyncUpdateSender("nightly", Progress.begin("Nightly", 5), wire.async_client())
        sender.update(lambda progress: progress.updated(done=2))
        assert await sender.stop() == Progress.begin("Nightly", 5).updated(done=2)

    asyncio.run(run())
    assert wire.methods == []


def test_after_a_start_that_failed_the_service_is_left_alone_for_a_minute(wire: Wire) -> None:
    wire.behave = lambda request: httpx.Response(429, json={"error": "limit", "limit": 4, "active": 4})
    sender = UpdateSender("nightly", Progress("Nightly"), wire.client())
    assert sender.paused_for == 0
    sender.start()
    sender.stop()
    assert 50 < sender.paused_for <= 60


def test_a_client_of_the_other_kind_is_named(kind: Any, wire: Wire) -> None:
    other = wire.async_client() if kind is LiveActivity else wire.client()
    with pytest.raises(ConfigurationError, match=r"client: must be an (Async)?ActivitySmithClient, not "):
        kind("nightly", client=other)


def test_whoever_has_no_time_stops_the_sender_while_its_start_is_on_its_way(wire: Wire) -> None:
    go_on = threading.Event()

    def hold(request: httpx.Request) -> None:
        assert go_on.wait(PATIENCE)

    wire.behave = hold
    sender = UpdateSender("nightly", Progress.begin("Nightly", 3), wire.client())
    sender.start()
    wire.next()
    sender.update(lambda progress: progress.advanced(None))
    stopped = [(sender.stop(0.01), sender.is_starting)]
    go_on.set()
    stopped.append((sender.stop(), sender.is_starting))
    at_first = Progress.begin("Nightly", 3)
    assert stopped == [(at_first, True), (at_first.advanced(None), False)]
    assert wire.methods == ["PUT"]
