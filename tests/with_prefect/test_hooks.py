import asyncio
import inspect
import logging
import os
import pickle
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import uuid4

import pytest

pytest.importorskip("prefect")

from prefect import Flow, Task, flow, get_client, task
from prefect.client.schemas.objects import FlowRun, State, StateType, TaskRun
from prefect.exceptions import TerminationSignal
from prefect.settings import PREFECT_UI_URL, temporary_settings
from prefect.states import AwaitingRetry, Cancelled, Cancelling, Completed, Crashed, Failed, Running
from pydantic import SecretStr
from support.peer import Peer, read_request
from support.sandbox import KEY, Sandbox

import activitysmith_integrations.core as core
from activitysmith_integrations.prefect import (
    ActivitySmithCredentials,
    end_live_activity_stream_hook,
    end_live_activity_stream_hooks,
    live_activity_hooks,
)
from activitysmith_integrations.prefect.time_limit import within

STARTED = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)


@flow
def nightly() -> None: ...


@task
def load() -> None: ...


def flow_run(**members: Any) -> FlowRun:
    return FlowRun(**{"id": uuid4(), "flow_id": uuid4(), "name": "quick-fox", "start_time": STARTED, **members})


def ended(state: State[Any], after: timedelta = timedelta(minutes=12, seconds=3)) -> State[Any]:
    return state.model_copy(update={"timestamp": STARTED + after})


def call(hook: Any, subject: Flow[..., Any] | Task[..., Any], run: FlowRun | TaskRun, state: State[Any]) -> None:
    """As Prefect's engine does: by position, and then awaiting what comes back."""
    asyncio.run(hook(subject, run, state))


# The picture


def test_a_success_is_shown_green_with_its_duration(sandbox: Sandbox) -> None:
    sandbox.start("nightly")
    call(end_live_activity_stream_hook("nightly"), nightly, flow_run(), ended(Completed()))
    (end,) = sandbox.ends("nightly")
    assert end == {
        "content_state": {
            "title": "nightly",
            "subtitle": "quick-fox · Done in 12 m 03 s",
            "type": "progress",
            "percentage": 100,
            "color": "green",
            "icon": {"symbol": "checkmark.circle.fill", "color": "green"},
        },
        "tags": ["prefect"],
        "metadata": {"engine": "prefect", "pipeline": "nightly", "run": "quick-fox", "result": "succeeded"},
    }


@pytest.mark.parametrize(
    ("state", "message", "loud"),
    [
        (Failed(), "Failed after 12 m 03 s", True),
        (Failed(name="TimedOut"), "Timed out after 12 m 03 s", True),
        (Failed(name="OutOfStock"), "Failed after 12 m 03 s", True),
        (Crashed(), "Crashed after 12 m 03 s", True),
        (Cancelling(), "Cancelled after 12 m 03 s", False),
        (Cancelled(), "Cancelled after 12 m 03 s", False),
    ],
)
def test_what_went_wrong_is_told_by_the_state(sandbox: Sandbox, state: State[Any], message: str, loud: bool) -> None:
    sandbox.start("nightly")
    call(end_live_activity_stream_hook("nightly"), nightly, flow_run(), ended(state))
    (end,) = sandbox.ends("nightly")
    assert end["content_state"]["message"] == message
    assert ("alert" in end) == loud


def cancelled_by(cause: BaseException | None) -> BaseException:
    """What async code is cancelled with while something else ends the process, or nothing does."""
    error = asyncio.CancelledError()
    error.__context__ = cause
    return error


async def in_a_cancelled_task(hook: Any, *arguments: object) -> None:
    """As Prefect's engine does for an async flow whose asyncio task was cancelled, which a Ctrl-C does too."""
    this = asyncio.current_task()
    assert this is not None
    this.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(0)
    await hook(*arguments)


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (KeyboardInterrupt(), "cancelled"),
        (cancelled_by(None), "cancelled"),
        (TerminationSignal(signal.SIGTERM), "crashed"),
        (cancelled_by(TerminationSignal(signal.SIGTERM)), "crashed"),
    ],
    ids=["Ctrl-C", "Ctrl-C in async code", "SIGTERM", "SIGTERM in async code"],
)
def test_a_ctrl_c_is_a_cancellation_and_a_sigterm_a_crash(error: BaseException, result: str, sandbox: Sandbox) -> None:
    sandbox.start("nightly")
    hook, state = end_live_activity_stream_hook("nightly"), ended(Crashed(data=error))
    asyncio.run(in_a_cancelled_task(hook, nightly, flow_run(), state))
    assert sandbox.ends("nightly")[0]["metadata"]["result"] == result


async def await_what_was_cancelled() -> None:
    other = asyncio.get_running_loop().create_future()
    other.cancel()
    await other


def of_async_flow() -> None:
    asyncio.run(flow(name="nightly", **end_live_activity_stream_hooks("nightly"))(await_what_was_cancelled)())


def of_sync_flow() -> None:
    def work() -> None:
        asyncio.run(await_what_was_cancelled())

    flow(name="nightly", **end_live_activity_stream_hooks("nightly"))(work)()


def from_outside() -> None:
    async def cancel_it() -> None:
        started = asyncio.Event()

        @flow(name="nightly", **end_live_activity_stream_hooks("nightly"))
        async def nightly() -> None:
            started.set()
            await asyncio.sleep(60)

        running = asyncio.create_task(nightly())
        await started.wait()
        running.cancel()
        await running

    asyncio.run(cancel_it())


@pytest.mark.parametrize(
    ("run", "result"), [(of_async_flow, "crashed"), (of_sync_flow, "crashed"), (from_outside, "cancelled")]
)
def test_a_cancellation_that_nobody_asked_for_is_a_crash(
    run: Callable[[], None], result: str, sandbox: Sandbox, server: None
) -> None:
    sandbox.start("nightly")
    with pytest.raises(asyncio.CancelledError):
        run()
    (end,) = sandbox.ends("nightly")
    assert (end["metadata"]["result"], "alert" in end) == (result, result == "crashed")


def test_a_completion_of_any_name_is_a_success(sandbox: Sandbox) -> None:
    sandbox.start("nightly")
    call(end_live_activity_stream_hook("nightly"), nightly, flow_run(), Completed(name="Cached"))
    assert sandbox.ends("nightly")[0]["metadata"]["result"] == "succeeded"


@pytest.mark.parametrize("state", [Scheduled := State(type=StateType.SCHEDULED), None])
def test_a_run_given_as_it_was_before_it_started_changes_nothing(sandbox: Sandbox, state: State[Any] | None) -> None:
    sandbox.start("nightly")
    call(end_live_activity_stream_hook("nightly"), nightly, flow_run(state=state, start_time=None), Crashed())
    (end,) = sandbox.ends("nightly")
    assert end["content_state"]["message"] == "Crashed"


@pytest.mark.parametrize("state", [Crashed(), Cancelling()])
def test_a_run_that_was_renamed_is_shown_by_its_present_name(state: State[Any], sandbox: Sandbox, server: None) -> None:
    # What such a hook is given where the flow ran in another process is from before the run began (Prefect 3.8).
    with get_client(sync_client=True) as client:
        stale = client.create_flow_run(nightly)
        client.set_flow_run_name(stale.id, "for-monday")
        client.set_flow_run_state(stale.id, Running(), force=True)
    sandbox.start("nightly")
    call(end_live_activity_stream_hook("nightly"), nightly, stale, state)
    (end,) = sandbox.ends("nightly")
    assert (end["content_state"]["subtitle"], end["metadata"]["run"]) == ("for-monday", "for-monday")


def test_a_run_that_is_cancelled_before_it_begins_leaves_the_stream_to_the_run_that_goes_on(
    sandbox: Sandbox, server: None, caplog: pytest.LogCaptureFixture
) -> None:
    with get_client(sync_client=True) as client:
        pending = client.create_flow_run(nightly)
    sandbox.start("nightly")
    caplog.set_level(logging.INFO)
    call(end_live_activity_stream_hook("nightly"), nightly, pending, Cancelling())
    assert sandbox.ends("nightly") == []
    assert "'nightly' goes on: the cancelled run had not begun" in caplog.text


def test_a_run_whose_machine_never_comes_up_is_shown(sandbox: Sandbox, server: None) -> None:
    with get_client(sync_client=True) as client:
        pending = client.create_flow_run(nightly)
    call(end_live_activity_stream_hook("nightly"), nightly, pending, Crashed())
    assert sandbox.ends("nightly")[-1]["metadata"]["result"] == "crashed"


def test_the_button_opens_the_runs_page(sandbox: Sandbox) -> None:
    sandbox.start("nightly")
    run = flow_run()
    with temporary_settings({PREFECT_UI_URL: "https://prefect.example"}):
        call(end_live_activity_stream_hook("nightly"), nightly, run, Failed())
    assert sandbox.ends("nightly")[0]["action"]["url"] == f"https://prefect.example/runs/flow-run/{run.id}"


def test_the_error_is_shown_only_when_asked_for(sandbox: Sandbox) -> None:
    sandbox.start("quiet", "open")
    failed = ended(Failed(message="Flow run encountered an exception", data=ValueError("the password is swordfish")))
    call(end_live_activity_stream_hook("quiet"), nightly, flow_run(), failed)
    call(end_live_activity_stream_hook("open", include_error=True), nightly, flow_run(), failed)
    assert "swordfish" not in str(sandbox.ends("quiet"))
    (end,) = sandbox.ends("open")
    assert end["content_state"]["message"] == "Failed after 12 m 03 s: ValueError: the password is swordfish"


def test_options_choose_the_picture(sandbox: Sandbox) -> None:
    sandbox.start("nightly")
    call(
        end_live_activity_stream_hook("nightly", title="Nightly ETL", success_color="blue"),
        nightly,
        flow_run(),
        Completed(),
    )
    state = sandbox.ends("nightly")[0]["content_state"]
    assert (state["title"], state["color"]) == ("Nightly ETL", "blue")


@pytest.mark.parametrize("state", [Failed(), Failed(name="TimedOut"), Crashed()])
def test_a_failure_whose_stream_nobody_started_is_shown_with_one_banner(sandbox: Sandbox, state: State[Any]) -> None:
    call(end_live_activity_stream_hook("nightly"), nightly, flow_run(), ended(state))
    operations = [(request["method"], request["status"]) for request in sandbox.story("nightly")]
    assert operations == [("DELETE", 404), ("PUT", 200), ("DELETE", 200)]
    _, start, end = (request["body"] for request in sandbox.story("nightly"))
    assert start["content_state"] == end["content_state"]
    assert start["content_state"]["auto_dismiss_minutes"] == 240
    assert ("alert" in start, "alert" in end) == (True, False)


@pytest.mark.parametrize(("state", "options"), [(Completed(), {}), (Failed(), {"start_unseen_failures": False})])
def test_what_need_not_be_seen_starts_nothing(sandbox: Sandbox, state: State[Any], options: Any) -> None:
    call(end_live_activity_stream_hook("nightly", **options), nightly, flow_run(), ended(state))
    assert sandbox.requests("PUT") == []


def test_what_the_service_warns_about_is_in_the_line(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    answer = {"success": True, "operation": "ended", "stream_key": "nightly", "timestamp": "2026-11-23T12:00:00Z"}
    sandbox.inject_fault(times=1, status=200, body={**answer, "activity_id": "a", "warning": "iOS throttles it"})
    call(end_live_activity_stream_hook("nightly"), nightly, flow_run(), Completed())
    (record,) = [record for record in caplog.records if "nightly" in record.getMessage()]
    assert (record.levelno, "iOS throttles it" in record.getMessage()) == (logging.WARNING, True)


@pytest.mark.parametrize("state", [Running(), AwaitingRetry()])
def test_a_state_that_is_no_end_ends_nothing(sandbox: Sandbox, state: State[Any]) -> None:
    sandbox.start("nightly")
    call(end_live_activity_stream_hook("nightly"), nightly, flow_run(), state)
    assert sandbox.requests() == []


class UnreadableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Proxy:
    """Stands for something that is not there, as a web framework's request does outside of one."""

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        raise RuntimeError("there is nothing here")


PROXY = Proxy()


def test_odd_errors_and_odd_objects_around_them_keep_no_stream_from_ending(sandbox: Sandbox) -> None:
    sandbox.start("nightly")
    try:
        raise UnreadableError
    except UnreadableError as error:
        call(
            end_live_activity_stream_hook("nightly", include_error=True), nightly, flow_run(), ended(Failed(data=error))
        )
    assert sandbox.ends("nightly")[0]["content_state"]["message"] == "Failed after 12 m 03 s: UnreadableError"


# The stream


def test_each_run_has_a_stream_of_its_own_by_default(sandbox: Sandbox) -> None:
    runs = [flow_run(name="same"), flow_run(name="same")]
    for run in runs:
        call(end_live_activity_stream_hook(), nightly, run, Completed())
    keys = [request["stream_key"] for request in sandbox.requests()]
    assert keys == [core.stream_key("nightly", str(run.id)) for run in runs]


def test_the_default_key_stays_the_same_where_a_hook_is_given_a_stale_run(sandbox: Sandbox) -> None:
    run = flow_run()
    stale = run.model_copy(update={"name": "as-it-was", "state": None, "start_time": None})
    sandbox.start(core.stream_key("nightly", str(run.id)))
    call(end_live_activity_stream_hook(), nightly, stale, Crashed())
    assert sandbox.living() == []


def test_a_function_makes_the_key_of_a_run(sandbox: Sandbox) -> None:
    sandbox.start("nightly-monday", "nightly-tuesday")
    hook = end_live_activity_stream_hook(lambda flow, run: f"{flow.name}-{run.parameters['day']}")
    for day in ("monday", "tuesday"):
        call(hook, nightly, flow_run(parameters={"day": day}), Completed())
    assert [request["stream_key"] for request in sandbox.requests()] == ["nightly-monday", "nightly-tuesday"]


@pytest.mark.parametrize("made", ["", " ", "{{ flow_run.name }}", None, 0, 7])
def test_a_function_that_makes_no_key_hides_no_failure(
    made: Any, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    run = flow_run()
    call(end_live_activity_stream_hook(lambda flow, run: made), nightly, run, Failed())
    own = core.stream_key("nightly", str(run.id))
    assert {request["stream_key"] for request in sandbox.all_requests()} == {own}
    assert [end["metadata"]["result"] for end in sandbox.ends(own)] == ["failed"]
    assert "The function for the stream key failed" in caplog.text
    assert own in caplog.text


def test_a_function_that_fails_hides_no_failure(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    run = flow_run()
    hook = end_live_activity_stream_hook(lambda flow, run: run.parameters["customer"])
    call(hook, nightly, run, Failed())
    assert len(sandbox.ends(core.stream_key("nightly", str(run.id)))) == 1
    assert "KeyError: 'customer'" in caplog.text


@pytest.mark.parametrize("key", ["", "nightly etl", "{{ flow.name }}", 7])
def test_a_key_that_cannot_be_one_is_refused_where_it_is_written(key: Any) -> None:
    with pytest.raises(core.InvalidRequestError, match="stream_key"):
        end_live_activity_stream_hook(key)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"titel": "x"}, "title"),
        ({"on_success": "alert"}, "on_success"),
        ({"content_state": {"type": "alert", "title": "x"}}, "message"),
        ({"success_color": "beige"}, "color"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused_where_it_is_written(options: Any, named: str) -> None:
    with pytest.raises(core.InvalidRequestError, match=named):
        end_live_activity_stream_hooks(**options)


# The lists


@pytest.mark.parametrize("subject", [nightly, load])
@pytest.mark.parametrize("is_by_name", [False, True])
@pytest.mark.parametrize("make", [end_live_activity_stream_hook, end_live_activity_stream_hooks, live_activity_hooks])
def test_in_a_list_what_makes_hooks_is_the_one_that_ends_the_stream(
    make: Any, is_by_name: bool, subject: Any, sandbox: Sandbox
) -> None:
    run = flow_run() if subject is nightly else TaskRun(id=uuid4(), task_key="load", dynamic_key="0", name="load-0")
    key = core.stream_key(subject.name, str(run.id))
    sandbox.start(key)
    hook: Any = pickle.loads(pickle.dumps(make))
    state = ended(Failed())
    asyncio.run(hook(flow=subject, flow_run=run, state=state) if is_by_name else hook(subject, run, state))
    (end,) = sandbox.ends(key)
    assert end["metadata"]["result"] == "failed"


def test_every_call_gives_fresh_lists_of_one_hook() -> None:
    first, second = end_live_activity_stream_hooks(), end_live_activity_stream_hooks()
    assert list(first) == ["on_completion", "on_failure", "on_crashed", "on_cancellation"]
    lists = [*first.values(), *second.values()]
    assert len({id(hooks) for hooks in lists}) == 8
    assert all(len(hooks) == 1 for hooks in lists if isinstance(hooks, list))


def test_hooks_that_the_flow_has_already_run_after_ours() -> None:
    def mine(flow: Any, flow_run: Any, state: Any) -> None: ...

    given = {"on_failure": [mine], "on_running": (mine,)}
    lists = end_live_activity_stream_hooks(hooks=given)
    assert [hook.__name__ for hook in lists["on_failure"]] == ["end_live_activity_stream", "mine"]
    assert lists["on_running"] == [mine]
    assert given == {"on_failure": [mine], "on_running": (mine,)}


def test_a_kind_of_hook_that_there_is_not_is_refused() -> None:
    with pytest.raises(core.InvalidRequestError, match="on_success"):
        end_live_activity_stream_hooks(hooks={"on_success": []})


def test_a_flow_takes_them_and_its_decorators_still_work() -> None:
    @flow(**end_live_activity_stream_hooks())
    def hooked() -> None: ...

    @hooked.on_failure
    def also(flow: Any, flow_run: Any, state: Any) -> None: ...

    assert [len(hooks) for hooks in (hooked.on_failure_hooks, hooked.on_crashed_hooks)] == [2, 1]


# How it is called


def test_the_hook_is_an_async_function_with_the_names_that_prefects_runner_uses(sandbox: Sandbox) -> None:
    hook = end_live_activity_stream_hook("nightly")
    assert inspect.iscoroutinefunction(hook)
    assert list(inspect.signature(hook).parameters) == ["flow", "flow_run", "state"]
    sandbox.start("nightly")
    asyncio.run(hook(flow=nightly, flow_run=flow_run(), state=Crashed()))
    assert len(sandbox.ends("nightly")) == 1


def test_on_a_task_it_tells_of_the_task(sandbox: Sandbox) -> None:
    members: dict[str, Any] = {"task_key": "load", "dynamic_key": "0", "name": "load-0", "start_time": STARTED}
    run = TaskRun(id=uuid4(), **members)
    key = core.stream_key("load", str(run.id))
    sandbox.start(key)
    with temporary_settings({PREFECT_UI_URL: "https://prefect.example"}):
        call(end_live_activity_stream_hook(), load, run, ended(Failed()))
    (end,) = sandbox.ends(key)
    assert end["content_state"]["title"] == "load"
    assert end["metadata"]["run"] == "load-0"
    assert end["action"]["url"] == f"https://prefect.example/runs/task-run/{run.id}"


def test_it_leaves_the_event_loop_free_while_it_waits(sandbox: Sandbox) -> None:
    sandbox.start("nightly")
    sandbox.inject_fault(times=1, delay=1)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0.01)

    async def both() -> None:
        other = asyncio.create_task(others())
        await end_live_activity_stream_hook("nightly")(nightly, flow_run(), Completed())
        other.cancel()

    asyncio.run(both())
    assert turns > 10
    assert len(sandbox.ends("nightly")) == 1


def test_a_pickled_hook_works_in_another_process_and_carries_no_key(sandbox: Sandbox, tmp_path: Any) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")

    sandbox.start("nightly")
    pickled = cloudpickle.dumps(
        (end_live_activity_stream_hook(lambda flow, run: flow.name, title="x"), nightly, flow_run(), Completed())
    )
    assert KEY.encode() not in pickled
    path = tmp_path / "hook.pickle"
    path.write_bytes(pickled)
    run = (
        "import asyncio, pickle, sys\n"
        "hook, flow, run, state = pickle.load(open(sys.argv[1], 'rb'))\n"
        "asyncio.run(hook(flow=flow, flow_run=run, state=state))"
    )
    command = [sys.executable, "-W", "ignore", "-c", run, str(path)]
    subprocess.run(command, capture_output=True, timeout=120, check=True)
    assert len(sandbox.ends("nightly")) == 1


def test_a_saved_block_is_pickled_by_its_name_alone(sandbox: Sandbox, server: None) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")

    sandbox.start("nightly")
    block = ActivitySmithCredentials(api_key=SecretStr(KEY), base_url=sandbox.base_url)
    block.save("for-hooks", overwrite=True)
    pickled = cloudpickle.dumps(end_live_activity_stream_hook("nightly", credentials=block))
    assert KEY.encode() not in pickled
    call(pickle.loads(pickled), nightly, flow_run(), Completed())
    assert len(sandbox.ends("nightly")) == 1


# When it goes wrong


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 400, "body": {"error": "Bad Request"}},
        {"status": 401, "body": {"error": "Unauthorized"}},
        {"status": 402, "body": {"error": "trial_expired"}},
        {"status": 302, "headers": {"Location": "https://elsewhere.example/"}},
        {"status": 429, "headers": {"Retry-After": "3600"}},
        {"status": 200, "body": "<html>"},
    ],
)
def test_a_fault_that_waiting_does_not_mend_is_one_request_and_one_line(
    fault: dict[str, Any], sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    sandbox.start("nightly")
    sandbox.inject_fault(times=9, **fault)
    call(end_live_activity_stream_hook("nightly"), nightly, flow_run(), Completed())
    assert len(sandbox.requests()) == 1
    (record,) = [record for record in caplog.records if record.levelno >= logging.INFO]
    assert record.levelno == logging.ERROR
    assert "ended: " in record.getMessage()
    assert "\n" not in record.getMessage()
    assert KEY not in record.getMessage()


def test_a_fault_that_passes_is_waited_for(sandbox: Sandbox) -> None:
    sandbox.start("nightly")
    sandbox.inject_fault(times=2, status=503)
    call(end_live_activity_stream_hook("nightly"), nightly, flow_run(), Completed())
    assert len(sandbox.ends("nightly")) == 1


@pytest.fixture
def black_hole() -> Iterator[Peer]:
    """It takes connections, reads and never answers."""
    over = threading.Event()

    def never_answer(connection: socket.socket) -> None:
        read_request(connection)
        over.wait(60)

    peer = Peer(never_answer)
    yield peer
    over.set()
    peer.close()


def test_a_hook_gives_up_when_its_patience_is_over(black_hole: Peer, caplog: pytest.LogCaptureFixture) -> None:
    block = ActivitySmithCredentials(api_key=SecretStr(KEY), base_url=black_hole.base_url)
    call(end_live_activity_stream_hook("nightly", credentials=block, patience=2), nightly, flow_run(), Completed())
    assert "'nightly' may not have been ended" in caplog.text


def test_a_hook_repeats_itself_until_its_patience_is_over(sandbox: Sandbox) -> None:
    block = ActivitySmithCredentials(api_key=SecretStr(KEY), base_url=sandbox.base_url, max_retries=0, max_elapsed=1)
    sandbox.start("nightly")
    sandbox.inject_fault(times=6, status=500)
    call(end_live_activity_stream_hook("nightly", credentials=block, patience=60), nightly, flow_run(), Completed())
    assert len(sandbox.ends("nightly")) == 1


@pytest.mark.parametrize("patience", [0, 1, -1, True, "10", float("inf")])
def test_a_patience_that_is_none_is_refused_where_it_is_written(patience: Any) -> None:
    with pytest.raises(core.ConfigurationError, match="patience"):
        end_live_activity_stream_hooks(patience=patience)


def test_a_patience_that_is_no_number_is_told_the_least() -> None:
    wrong: Any = "x"
    with pytest.raises(core.ConfigurationError, match="patience: 'x' is not a number of seconds of 2 or more"):
        end_live_activity_stream_hooks(patience=wrong)


def test_work_that_asks_to_exit_is_heard_of_at_once() -> None:
    async def waiting() -> None:
        await within(60, partial(sys.exit, 3))

    with pytest.raises(RuntimeError, match="SystemExit"):
        asyncio.run(waiting())


LOADING = """
import asyncio, time, uuid
from prefect import flow
from prefect.client.schemas.objects import FlowRun
from prefect.states import Completed
from activitysmith_integrations.prefect import end_live_activity_stream_hook

hook = end_live_activity_stream_hook(credentials="a-block", patience=2)
run = FlowRun(id=uuid.uuid4(), flow_id=uuid.uuid4(), name="quick-fox")
began = time.monotonic()
asyncio.run(hook(flow(lambda: None, name="nightly"), run, Completed()))
print(time.monotonic() - began)
"""


def test_a_prefect_server_that_never_answers_keeps_neither_the_hook_nor_the_process(black_hole: Peer) -> None:
    environment = {**os.environ, "PREFECT_API_URL": f"{black_hole.base_url}/api"}
    command = [sys.executable, "-W", "ignore", "-c", LOADING]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert float(done.stdout) < 60
    assert "may not have been ended" in done.stderr


def raise_for_a_key(flow: Any, run: Any) -> str:
    raise RuntimeError("no name")


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        (lambda: end_live_activity_stream_hook(raise_for_a_key), "RuntimeError: no name"),
        (lambda: end_live_activity_stream_hook(credentials="none-of-this-name"), "none-of-this-name"),
    ],
)
def test_what_goes_wrong_before_the_call_is_logged_too(
    hook: Callable[[], Any], said: str, server: None, caplog: pytest.LogCaptureFixture
) -> None:
    call(hook(), nightly, flow_run(), Completed())
    assert said in caplog.text


def test_without_a_key_in_the_environment_the_line_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("ACTIVITYSMITH_API_KEY", raising=False)
    call(end_live_activity_stream_hook("nightly"), nightly, flow_run(), Completed())
    assert "ACTIVITYSMITH_API_KEY" in caplog.text


def test_a_stream_that_was_never_started_is_no_error(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    call(end_live_activity_stream_hook("nightly"), nightly, flow_run(), Completed())
    (record,) = [record for record in caplog.records if record.name == "prefect.flow_runs"]
    assert record.levelno == logging.INFO


# Hints


def tell_the_team(flow: Any, flow_run: Any, state: Any) -> None: ...


async def akey(flow: Any, flow_run: Any) -> str:
    return "nightly"


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        ({"totl": 3}, "did you mean total"),
        ({"steps": 3}, "did you mean total"),
        ({"credentails": "production"}, "did you mean credentials"),
        ({"hook": {}}, "did you mean hooks"),
        ({"titel": "x"}, "did you mean title"),
        ({"hooks": {"on_failed": []}}, "did you mean on_failure"),
        ({"hooks": {"on_failure": print}}, "must be a list of hooks, not the function print"),
        ({"hooks": {"on_failure": "tell_the_team"}}, "must be a list of hooks"),
        ({"hooks": {"on_failure": ["tell_the_team"]}}, "on_failure.0: must be a function"),
        ({"hooks": [print]}, "must be a mapping"),
        ({"hooks": {"on_failure": [nightly]}}, "on_failure.0: must be a function, not the flow 'nightly'"),
        ({"hooks": {"on_failure": [load]}}, "on_failure.0: must be a function, not the task 'load'"),
        ({"hooks": {"on_failure": [Peer]}}, "on_failure.0: must be a function, not the class Peer"),
        ({"stream_key": lambda run: "nightly"}, r"a function of \(flow, flow_run\) .*, not the function <lambda>"),
        ({"stream_key": tell_the_team}, r"not the function tell_the_team. A hook of your own goes into hooks="),
        ({"stream_key": akey}, "that is no coroutine, not the function akey"),
        ({"stream_key": nightly}, "stream_key"),
        ({"stream_key": load}, "stream_key"),
        ({"stream_key": str}, "stream_key"),
        ({"on_failure": [print]}, r"on_failure: a flow's own hooks go into hooks=\{'on_failure': \[...\]\}"),
        ({"on_failure": print}, r"hooks=\{'on_failure': \[...\]\}"),
        ({"on_completion": [print]}, r"hooks=\{'on_completion': \[...\]\}"),
        ({"on_running": (print,)}, r"hooks=\{'on_running': \[...\]\}"),
        ({"on_crashed": "alert"}, "on_crashed: is not an option"),
        ({"api_key": KEY}, r"api_key: is not an option; did you mean credentials\?"),
    ],
)
def test_a_wrong_argument_is_refused_with_what_was_meant(arguments: Any, meant: str) -> None:
    with pytest.raises(core.InvalidRequestError, match=meant):
        live_activity_hooks(**arguments)


def test_credentials_that_are_no_block_are_refused_where_they_are_written() -> None:
    wrong: Any = {"api_key": KEY}
    with pytest.raises(core.ConfigurationError, match="must be an ActivitySmithCredentials block") as caught:
        live_activity_hooks(credentials=wrong)
    assert KEY not in str(caught.value)


def test_a_block_that_is_yet_to_be_awaited_is_refused_with_what_to_write(sandbox: Sandbox) -> None:
    async def loading() -> Any: ...

    given: Any
    for make in (live_activity_hooks, end_live_activity_stream_hook):
        given = loading()
        with pytest.raises(core.ConfigurationError, match=r"await ActivitySmithCredentials.aload.*give its name"):
            make(credentials=given)
