import asyncio
import contextlib
import logging
import signal
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

pytest.importorskip("prefect")

from prefect import flow, task
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, TaskRun
from prefect.exceptions import ObjectNotFound, Pause, TerminationSignal
from prefect.settings import PREFECT_RESULTS_PERSIST_BY_DEFAULT, temporary_settings
from prefect.states import Completed, Failed
from pydantic import SecretStr
from support.processes import eventually
from support.sandbox import KEY, Sandbox

from activitysmith_integrations.core import (
    AuthenticationError,
    ConfigurationError,
    EndStreamResponse,
    InvalidRequestError,
    NotFoundError,
    RateLimitError,
    ServerError,
    StreamResponse,
)
from activitysmith_integrations.core.retry import RetryPolicy
from activitysmith_integrations.prefect import (
    ActivitySmithCredentials,
    aend_live_activity_stream,
    astream_live_activity,
    end_live_activity_stream,
    end_live_activity_stream_hooks,
    live_activity_hooks,
    stream_live_activity,
)
from activitysmith_integrations.prefect.step_retries import delay_of_engine

pytestmark = pytest.mark.usefixtures("server")

# The tasks as they are, but for how long they wait between their runs.
end_soon = end_live_activity_stream.with_options(retry_delay_seconds=0)
aend_soon = aend_live_activity_stream.with_options(retry_delay_seconds=0)


def impatient(sandbox: Sandbox) -> ActivitySmithCredentials:
    """An account whose client never repeats a call, so that the task's own retries are seen."""
    return ActivitySmithCredentials(api_key=SecretStr(KEY), base_url=sandbox.base_url, max_retries=0)


def test_with_nothing_said_it_ends_the_flows_stream_with_a_success(sandbox: Sandbox) -> None:
    @flow(name="nightly")
    def nightly() -> EndStreamResponse:
        return end_live_activity_stream("nightly")

    sandbox.start("nightly")
    answer = nightly()
    (end,) = sandbox.ends("nightly")
    assert end["content_state"]["title"] == "nightly"
    assert end["content_state"]["subtitle"].partition(" · ")[2].startswith("Done in ")
    assert end["metadata"]["result"] == "succeeded"
    assert answer.operation == "ended"
    assert answer.activity_id


def test_the_async_one_does_the_same(sandbox: Sandbox) -> None:
    @flow(name="nightly")
    async def nightly() -> EndStreamResponse:
        return await aend_live_activity_stream("nightly", tags=["etl"])

    sandbox.start("nightly")
    assert asyncio.run(nightly()).operation == "ended"
    (end,) = sandbox.ends("nightly")
    assert end["tags"] == ["prefect", "etl"]
    assert end["content_state"]["subtitle"].partition(" · ")[2].startswith("Done in ")


def test_the_sync_one_works_on_an_event_loops_thread_too(sandbox: Sandbox) -> None:
    impatient(sandbox).save("on-a-loop", overwrite=True)

    @flow(name="nightly")
    async def nightly() -> EndStreamResponse:
        return end_live_activity_stream("nightly", credentials="on-a-loop")

    sandbox.start("nightly")
    asyncio.run(nightly())
    assert len(sandbox.ends("nightly")) == 1


def test_told_of_an_error_it_shows_a_failure_and_the_step_that_failed(sandbox: Sandbox) -> None:
    @task(name="load the warehouse")
    def load() -> None:
        raise RuntimeError("it is full")

    @flow(name="nightly")
    def nightly(on_a_thread: bool) -> None:
        try:
            if on_a_thread:
                load.submit().result()
            else:
                load()
        except RuntimeError as error:
            end_live_activity_stream("nightly", error=error)

    for on_a_thread in (False, True):
        sandbox.start("nightly")
        nightly(on_a_thread)
    for end in sandbox.ends("nightly"):
        assert end["content_state"]["message"].startswith("load the warehouse failed after ")
    assert len(sandbox.ends("nightly")) == 2


@pytest.mark.parametrize(
    ("error", "result"),
    [
        (KeyboardInterrupt(), "cancelled"),
        (asyncio.CancelledError(), "cancelled"),
        (GeneratorExit(), "cancelled"),
        (Pause(state=None), "cancelled"),
        (TerminationSignal(signal.SIGTERM), "failed"),
        (SystemExit(1), "failed"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else value,
)
@pytest.mark.parametrize("is_async", [False, True])
def test_told_of_a_cancellation_it_shows_that(
    is_async: bool, error: BaseException, result: str, sandbox: Sandbox
) -> None:
    sandbox.start("nightly")
    if is_async:
        asyncio.run(aend_live_activity_stream.fn("nightly", error=error))
    else:
        end_live_activity_stream.fn("nightly", error=error)
    (end,) = sandbox.ends("nightly")
    assert end["metadata"]["result"] == result


@pytest.mark.parametrize("step", [end_live_activity_stream, stream_live_activity])
def test_a_key_given_to_a_step_belongs_to_credentials(step: Any, sandbox: Sandbox) -> None:
    with pytest.raises(InvalidRequestError, match=r"api_key: is not an option; did you mean credentials\?"):
        step.fn("nightly", api_key=KEY)
    assert sandbox.all_requests() == []


def test_its_run_is_named_after_the_stream(sandbox: Sandbox) -> None:
    names: list[str] = []

    @flow(name="nightly")
    def nightly() -> None:
        for key in (None, "other"):
            state: Any = end_live_activity_stream(key, return_state=True)
            with get_client(sync_client=True) as client:
                names.append(task_run_name(client, state.state_details.task_run_id))

    nightly()
    assert names == ["end stream nightly", "end stream other"]


def task_run_name(client: Any, task_run_id: UUID) -> str:
    """The name that the server learns of a moment later than the run itself."""
    deadline = time.monotonic() + 30
    name = ""
    while not name.startswith("end stream") and time.monotonic() < deadline:
        with contextlib.suppress(ObjectNotFound):
            name = client.read_task_run(task_run_id).name
        time.sleep(0.1)
    return name


def test_what_is_the_same_twice_is_sent_twice(sandbox: Sandbox) -> None:
    @flow
    def twice() -> None:
        end_live_activity_stream("nightly")
        end_live_activity_stream("nightly")

    sandbox.start("nightly")
    with temporary_settings({PREFECT_RESULTS_PERSIST_BY_DEFAULT: True}):
        twice()
    assert len(sandbox.requests()) == 2


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_fault_that_can_pass_is_retried_by_prefect(kind: str, sandbox: Sandbox) -> None:
    sandbox.start("nightly")
    sandbox.inject_fault(times=2, status=503)
    run_one(kind, "nightly", credentials=impatient(sandbox))
    assert [request["status"] for request in sandbox.requests()] == [503, 503, 200]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_the_wait_that_the_service_asks_for_is_kept(kind: str, sandbox: Sandbox) -> None:
    sandbox.start("nightly")
    sandbox.inject_fault(times=1, status=429, headers={"Retry-After": "2"})
    began = time.monotonic()
    run_one(kind, "nightly", credentials=impatient(sandbox))
    assert time.monotonic() - began >= 2
    assert [request["status"] for request in sandbox.requests()] == [429, 200]


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_service_that_asks_to_wait_for_too_long_fails_the_task_at_once(kind: str, sandbox: Sandbox) -> None:
    sandbox.inject_fault(times=9, status=429, headers={"Retry-After": "99999999999"})
    with pytest.raises(RateLimitError):
        run_one(kind, "nightly")
    assert len(sandbox.requests()) == 1


def test_the_engines_own_delay_is_part_of_the_wait_that_the_service_asks_for() -> None:
    def after(runs: int, **options: Any) -> float:
        run = TaskRun(task_key="end", dynamic_key="0", run_count=runs)
        return delay_of_engine(end_live_activity_stream.with_options(**options), run)

    assert [after(runs) for runs in (1, 2, 6, 7)] == [10, 60, 300, 300]
    assert after(3, retry_delay_seconds=5) == 5
    assert after(1, retry_delay_seconds=0) == 0
    assert after(1, retry_jitter_factor=0.5) == 0  # it may be less


def test_a_fault_that_lasts_fails_the_task_in_the_end(sandbox: Sandbox) -> None:
    sandbox.inject_fault(times=99, status=500)
    with pytest.raises(ServerError):
        run_one("sync", "nightly", credentials=impatient(sandbox))
    assert len(sandbox.requests()) == 7


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_fault_that_waiting_does_not_mend_is_not_retried(kind: str, sandbox: Sandbox) -> None:
    sandbox.inject_fault(times=9, status=401)
    with pytest.raises(AuthenticationError):
        run_one(kind, "nightly")
    assert len(sandbox.requests()) == 1


@pytest.mark.parametrize("key", ["", "{{ flow_run.name }}"])
def test_a_key_that_is_none_is_refused_and_never_sent(key: str, sandbox: Sandbox) -> None:
    with pytest.raises(InvalidRequestError, match="stream_key"):
        run_one("sync", key)
    assert sandbox.requests() == []


def test_a_misspelt_option_is_refused_and_never_sent(sandbox: Sandbox) -> None:
    with pytest.raises(InvalidRequestError, match="did you mean title"):
        run_one("sync", "nightly", titel="x")
    assert sandbox.requests() == []


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"error": "it is full"}, "error: must be the exception that was caught, not 'it is full'"),
        ({"error": ValueError}, "error: must be the exception that was caught"),
        ({"credentials": 5}, "must be an ActivitySmithCredentials block or its name, not int"),
        ({"missing_ok": "false"}, "missing_ok: must be True or False, not 'false'"),
    ],
)
def test_an_argument_of_another_kind_is_refused_at_once(
    given: dict[str, Any], kept: str, kind: str, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises((InvalidRequestError, ConfigurationError), match=kept):
        run_one(kind, "nightly", **given)
    assert "Retry" not in caplog.text
    assert sandbox.requests() == []


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_stream_that_nobody_started_counts_as_ended_unless_it_must_not(kind: str, sandbox: Sandbox) -> None:
    answer = run_one(kind, "unknown")
    assert answer.ignored
    assert "nothing was left to end" in (answer.message or "")
    with pytest.raises(NotFoundError):
        run_one(kind, "unknown", missing_ok=False)


def run_one(kind: str, *args: Any, **kwargs: Any) -> EndStreamResponse:
    """The one task in a flow of its own."""

    @flow
    def sync_one() -> EndStreamResponse:
        answer: EndStreamResponse = end_soon(*args, **kwargs)
        return answer

    @flow
    async def async_one() -> EndStreamResponse:
        answer: EndStreamResponse = await aend_soon(*args, **kwargs)
        return answer

    answer: EndStreamResponse = sync_one() if kind == "sync" else asyncio.run(async_one())
    return answer


def test_outside_of_a_flow_a_key_must_be_given(sandbox: Sandbox) -> None:
    with pytest.raises(InvalidRequestError, match="outside of a flow"):
        end_live_activity_stream.fn()


# Hooks, called by Prefect's own engine


def test_a_tasks_function_that_is_called_directly_is_not_the_step_that_failed(sandbox: Sandbox) -> None:
    @task
    def load() -> None:
        raise RuntimeError("it is full")

    @task
    def extract() -> None:
        load.fn()

    @flow(name="nightly", **end_live_activity_stream_hooks("nightly"))
    def nightly(of: Any) -> None:
        of()

    for of in (load.fn, extract):
        sandbox.start("nightly")
        nightly(of, return_state=True)
    first, second = (end["content_state"]["message"] for end in sandbox.ends("nightly"))
    assert first.startswith("Failed")
    assert second.startswith("extract failed")


def messages_of(flows: Iterable[Any], sandbox: Sandbox) -> list[str]:
    """What failing runs of flows show in the stream ``nightly``, without how long they took."""
    messages = []
    for failing in flows:
        sandbox.start("nightly")
        state: Any = failing(return_state=True)
        state = asyncio.run(state) if asyncio.iscoroutine(state) else state
        assert state.is_failed()
        messages.append(sandbox.ends("nightly")[-1]["content_state"]["message"].split(" after")[0])
    return messages


def test_hooks_name_the_task_that_a_flow_failed_in(sandbox: Sandbox) -> None:
    @task
    def extract() -> int:
        return 1

    @task
    def load(number: int) -> None:
        raise RuntimeError("it is full")

    hooks = end_live_activity_stream_hooks("nightly")

    @flow(**hooks)
    def calling() -> None:
        load(extract())

    @flow(**hooks)
    def mapping() -> None:
        load.map([1, 2]).result()

    @flow(**hooks)
    def returning() -> Any:
        return load.map([1, 2])

    @flow(**hooks)
    async def awaiting() -> None:
        load(extract())

    @flow(**hooks)
    def no_task_at_fault() -> None:
        extract()
        raise RuntimeError("it is full")

    failing = (calling, mapping, returning, awaiting, no_task_at_fault)
    assert messages_of(failing, sandbox) == ["load failed"] * 4 + ["Failed"]


@task
def load_table() -> None:
    raise RuntimeError("it is full")


@task
async def async_load_table() -> None:
    raise RuntimeError("it is full")


def test_a_task_is_named_whatever_its_error_became_on_the_way(sandbox: Sandbox) -> None:
    hooks = end_live_activity_stream_hooks("nightly")

    @flow(**hooks)
    def raising_from_it() -> None:
        try:
            load_table()
        except RuntimeError as error:
            raise ValueError("no orders today") from error

    @flow(**hooks)
    async def in_a_group() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(async_load_table.with_options(name="load_table")())

    @flow(**hooks)
    def collecting() -> None:
        errors = []
        for _ in range(2):
            try:
                load_table()
            except RuntimeError as error:
                errors.append(error)
        raise ExceptionGroup("not loaded", [ValueError("no orders today"), ExceptionGroup("tables", errors)])

    failing = (raising_from_it, in_a_group, collecting)
    assert messages_of(failing, sandbox) == ["load_table failed"] * 3


def test_a_task_whose_error_was_handled_is_not_named(sandbox: Sandbox) -> None:
    hooks = end_live_activity_stream_hooks("nightly")

    @flow(**hooks)
    def one_that_was_handled() -> None:
        with contextlib.suppress(RuntimeError):
            load_table()
        raise ValueError("no orders today")

    @flow(**hooks)
    def ring() -> None:
        first, second = ValueError("no orders today"), ValueError("no customers today")
        first.__cause__, second.__cause__ = second, first
        raise first

    assert messages_of((one_that_was_handled, ring), sandbox) == ["Failed"] * 2


def test_a_failed_task_is_named_as_the_flow_named_it_with_options(sandbox: Sandbox) -> None:
    hooks = end_live_activity_stream_hooks("nightly")

    @flow(**hooks)
    def calling() -> None:
        load_table.with_options(name="orders")()

    @flow(**hooks)
    def submitting() -> None:
        load_table.with_options(name="orders").submit().result()

    @flow(**hooks)
    async def awaiting() -> None:
        await async_load_table.with_options(name="orders")()

    @flow(**hooks)
    def of_one_function() -> None:
        customers, orders = task(name="customers")(load_table.fn), task(name="orders")(load_table.fn)
        assert customers
        orders()

    failing = (calling, submitting, awaiting, of_one_function)
    assert messages_of(failing, sandbox) == ["orders failed"] * 4


def test_tasks_that_share_one_function_and_fail_within_each_other_are_not_mistaken(sandbox: Sandbox) -> None:
    def work(inner: Any = None) -> None:
        if inner is None:
            raise RuntimeError("it is full")
        inner()

    @flow(**end_live_activity_stream_hooks("nightly"))
    def nightly() -> None:
        task(name="first")(work)(task(name="second")(work))

    sandbox.start("nightly")
    assert nightly(return_state=True).is_failed()
    assert sandbox.ends("nightly")[0]["content_state"]["message"].startswith("Failed after ")


def test_a_subflow_ends_its_own_stream_and_its_parent_its_own(sandbox: Sandbox) -> None:
    @flow(name="child", **end_live_activity_stream_hooks("child"))
    def child() -> None: ...

    @flow(name="parent", **end_live_activity_stream_hooks("parent"))
    async def parent() -> None:
        child()

    sandbox.start("child", "parent")
    asyncio.run(parent())
    assert [request["stream_key"] for request in sandbox.requests()] == ["child", "parent"]


def test_a_flow_that_recovers_by_retrying_ends_its_stream_once(sandbox: Sandbox) -> None:
    attempts: list[int] = []

    @flow(name="nightly", retries=2, **end_live_activity_stream_hooks("nightly"))
    def nightly() -> None:
        attempts.append(1)
        if len(attempts) < 3:
            raise RuntimeError("not yet")

    sandbox.start("nightly")
    nightly()
    assert [end["metadata"]["result"] for end in sandbox.ends("nightly")] == ["succeeded"]
    assert len(sandbox.requests()) == 1


def test_a_flow_that_takes_too_long_is_shown_as_timed_out(sandbox: Sandbox) -> None:
    @flow(name="nightly", timeout_seconds=0.5, **end_live_activity_stream_hooks("nightly"))
    async def nightly() -> None:
        await asyncio.sleep(30)

    sandbox.start("nightly")
    running: Any = nightly(return_state=True)
    assert asyncio.run(running).name == "TimedOut"
    assert sandbox.ends("nightly")[0]["metadata"]["result"] == "timed_out"


@pytest.mark.parametrize("hooks", [end_live_activity_stream_hooks, live_activity_hooks])
@pytest.mark.parametrize("is_async", [False, True])
@pytest.mark.parametrize("returned", [Completed(), Failed()], ids=["Completed", "Failed"])
def test_a_flow_that_is_done_in_time_does_not_time_out_because_the_service_is_slow(
    returned: State[Any], is_async: bool, hooks: Any, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    called_for: list[str] = []

    def tell(flow: Any, flow_run: Any, state: State[Any]) -> None:
        called_for.append(state.name or "")

    def work() -> State[Any]:
        return returned

    async def async_work() -> State[Any]:
        return returned

    sandbox.inject_fault(times=99, delay=600)
    lists = hooks(patience=4, hooks={"on_completion": [tell], "on_failure": [tell]})
    nightly: Any = flow(name="nightly", timeout_seconds=3, **lists)(async_work if is_async else work)
    running = nightly(return_state=True)
    state = asyncio.run(running) if is_async else running
    assert [state.name] == called_for == [returned.name]
    # The end goes on in the background, and says what became of it.
    eventually(lambda: "may not have been ended" in caplog.text, "the line about the end")
    ours = ("activitysmith-hook", "activitysmith-end", "activitysmith-updates", "activitysmith-follower")
    eventually(lambda: not {thread.name for thread in threading.enumerate()}.intersection(ours), "the end of all of it")


def test_a_flow_with_a_timeout_waits_for_its_end_after_a_retry_as_before(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    attempts = []

    # The timeout counts from the attempt, and the whole run takes longer.
    @flow(
        name="nightly", retries=1, retry_delay_seconds=4, timeout_seconds=4, **end_live_activity_stream_hooks("nightly")
    )
    def nightly() -> None:
        attempts.append(1)
        if len(attempts) == 1:
            raise LookupError("no such row")

    sandbox.start("nightly")
    sandbox.inject_fault(times=1, method="DELETE", delay=0.5)
    caplog.set_level(logging.INFO)
    nightly()
    assert "Ended Live Activity stream 'nightly' as succeeded" in caplog.text


def test_a_task_that_takes_too_long_is_named(sandbox: Sandbox) -> None:
    @task(timeout_seconds=0.2)
    async def load_table() -> None:
        await asyncio.sleep(30)

    @task(timeout_seconds=0.2)
    def load_rows() -> None:
        for _ in range(1500):
            time.sleep(0.02)

    @flow(**end_live_activity_stream_hooks("in-async-code"))
    async def in_async_code() -> None:
        await load_table()

    @flow(**end_live_activity_stream_hooks("in-sync-code"))
    def in_sync_code() -> None:
        load_rows()

    @flow(**end_live_activity_stream_hooks("in-a-thread"))
    def in_a_thread() -> None:
        load_rows.submit().result()

    keys = ("in-async-code", "in-sync-code", "in-a-thread")
    sandbox.start(*keys)
    running: Any = in_async_code(return_state=True)
    asyncio.run(running)
    in_sync_code(return_state=True)
    in_a_thread(return_state=True)
    shown = [sandbox.ends(key)[0]["content_state"]["message"].partition(" after ")[0] for key in keys]
    assert shown == ["load_table timed out", "load_rows timed out", "load_rows timed out"]


def test_an_end_that_was_refused_counts_for_nothing(sandbox: Sandbox) -> None:
    sandbox.start("nightly")
    sandbox.end("nightly")
    sandbox.inject_fault(times=1, stream_key="nightly", status=429, headers={"Retry-After": "60"})

    @flow
    def nightly() -> None:
        error = RuntimeError("it is locked")
        with contextlib.suppress(RateLimitError):
            end_live_activity_stream.fn("nightly", error=error, credentials=impatient(sandbox))
        for _ in range(2):
            end_live_activity_stream.fn("nightly", error=error, credentials=impatient(sandbox))

    nightly()
    operations = [request["operation"] for request in sandbox.story("nightly")[3:]]
    assert operations == ["ended", "started", "ended", "ended"]


def test_an_end_whose_block_could_not_be_loaded_counts_for_nothing(sandbox: Sandbox) -> None:
    sandbox.start("nightly")
    sandbox.end("nightly")

    @flow
    def nightly() -> None:
        error = RuntimeError("it is locked")
        with pytest.raises(ValueError, match="mislaid"):
            end_live_activity_stream.fn("nightly", error=error, credentials="mislaid")
        end_live_activity_stream.fn("nightly", error=error)

    nightly()
    operations = [request["operation"] for request in sandbox.story("nightly")[2:]]
    assert operations == ["ended", "started", "ended"]


def test_every_run_with_a_key_of_its_users_own_shows_its_failure_once(sandbox: Sandbox) -> None:
    from activitysmith_integrations.prefect import end_live_activity_stream_hook

    @task(on_failure=[end_live_activity_stream_hook("nightly")])
    def load(number: int) -> None:
        raise RuntimeError("it is locked")

    @flow(**end_live_activity_stream_hooks("nightly"))
    def nightly() -> None:
        load.map([1, 2]).result()

    for _ in range(2):
        nightly(return_state=True)
    assert [request["operation"] for request in sandbox.story("nightly")].count("started") == 2


def test_hooks_on_mapped_tasks_end_one_stream_each(sandbox: Sandbox) -> None:
    from activitysmith_integrations.prefect import end_live_activity_stream_hook

    hook = end_live_activity_stream_hook(lambda task, run: run.name)

    @task(on_completion=[hook], on_failure=[hook], task_run_name="table-{number}")
    def table(number: int) -> None:
        if number == 1:
            raise RuntimeError("it is locked")

    @flow
    def nightly() -> None:
        table.map([0, 1, 2]).wait()

    sandbox.start("table-0", "table-1", "table-2")
    nightly(return_state=True)
    results = {key: [end["metadata"]["result"] for end in sandbox.ends(f"table-{key}")] for key in range(3)}
    assert results == {0: ["succeeded"], 1: ["failed"], 2: ["succeeded"]}


# Starting and updating


start_soon = stream_live_activity.with_options(retry_delay_seconds=0)
astart_soon = astream_live_activity.with_options(retry_delay_seconds=0)


def start_one(kind: str, *args: Any, **kwargs: Any) -> StreamResponse:
    """The one task in a flow of its own, called nightly."""

    @flow(name="nightly")
    def sync_one() -> StreamResponse:
        answer: StreamResponse = start_soon(*args, **kwargs)
        return answer

    @flow(name="nightly")
    async def async_one() -> StreamResponse:
        answer: StreamResponse = await astart_soon(*args, **kwargs)
        return answer

    answer: StreamResponse = sync_one() if kind == "sync" else asyncio.run(async_one())
    return answer


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_step_of_a_flow_starts_its_stream_and_updates_it(kind: str, sandbox: Sandbox) -> None:
    assert start_one(kind, "nightly", total=20).operation == "started"
    updated = start_one(kind, "nightly", total=20, done=11, title="Nightly ETL", subtitle="loading", tags=["etl"])
    assert updated.operation == "updated"
    start, update = (request["body"] for request in sandbox.requests("PUT"))
    shown = {"type": "segmented_progress", "number_of_steps": 10}
    names = [body["content_state"].pop("subtitle").partition(" · ")[2] for body in (start, update)]
    assert names == ["", "loading"]
    assert start["content_state"] == {**shown, "title": "nightly", "current_step": 0}
    assert update["content_state"] == {**shown, "title": "Nightly ETL", "current_step": 5}
    assert update["tags"] == ["prefect", "etl"]
    assert update["metadata"] | {"run": "any"} == {"engine": "prefect", "pipeline": "nightly", "run": "any"}


def test_a_flow_does_not_wait_long_for_a_step_that_only_shows_something(sandbox: Sandbox) -> None:
    sandbox.inject_fault(times=1, status=429, headers={"Retry-After": "61"})
    with pytest.raises(RateLimitError):
        start_one("sync", credentials=impatient(sandbox))
    assert len(sandbox.requests("PUT")) == 1
    sandbox.inject_fault(times=99, status=500)
    with pytest.raises(ServerError):
        start_one("sync", credentials=impatient(sandbox))
    assert len(sandbox.requests("PUT")) == 1 + 3


def test_a_step_does_not_wait_for_a_place_on_the_screen(sandbox: Sandbox) -> None:
    sandbox.limit(max_concurrent=1)
    sandbox.start("other")
    with pytest.raises(RateLimitError) as caught:
        start_one("sync", "one-too-many", credentials=impatient(sandbox))
    assert caught.value.is_activity_limit
    assert [request["status"] for request in sandbox.story("one-too-many")] == [429]


def test_its_function_can_be_called_outside_of_a_run(sandbox: Sandbox) -> None:
    assert stream_live_activity.fn("nightly").operation == "started"
    assert end_live_activity_stream.fn("nightly").operation == "ended"


def test_without_a_total_it_shows_what_is_done_in_words(sandbox: Sandbox) -> None:
    start_one("sync", "other", done=3, subtitle="loading")
    (start,) = sandbox.requests("PUT")
    assert start["stream_key"] == "other"
    assert start["body"]["content_state"]["subtitle"].endswith(" · loading, 3 steps done")


def test_a_state_and_buttons_of_ones_own_are_sent_as_they_are(sandbox: Sandbox) -> None:
    state = {"title": "Rows", "type": "value", "value": "7"}
    button = {"title": "Open", "type": "open_url", "url": "https://example.com"}
    members = {"action": button, "alert": {"title": "x"}, "metadata": {"run": "mine"}, "channels": ["ops"]}
    start_one("sync", content_state=state, **members)
    (start,) = sandbox.requests("PUT")
    sent = start["body"]
    assert sent["content_state"] == state
    assert {name: sent[name] for name in ("action", "alert", "channels")} == {
        name: members[name] for name in ("action", "alert", "channels")
    }
    assert sent["metadata"]["run"] == "mine"


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_start_that_fails_for_now_is_retried_by_prefect(kind: str, sandbox: Sandbox) -> None:
    sandbox.inject_fault(times=2, status=503)
    start_one(kind, "nightly", credentials=impatient(sandbox))
    assert [request["status"] for request in sandbox.requests("PUT")] == [503, 503, 200]


@pytest.mark.parametrize(
    ("said", "error", "named"),
    [
        ({"totl": 3}, InvalidRequestError, "did you mean total"),
        ({"total": -1}, InvalidRequestError, "total: must be a whole number of 0 or more, not -1"),
        ({"total": 5.5}, InvalidRequestError, "total: must be a whole number of 0 or more, not 5.5"),
        ({"done": "two"}, InvalidRequestError, "done: must be a whole number of 0 or more, not 'two'"),
        ({"done": -1}, InvalidRequestError, "done: must be a whole number of 0 or more, not -1"),
        ({"title": 7}, InvalidRequestError, "title: must be a string, not 7"),
        ({"tags": "etl"}, InvalidRequestError, "tags: must be a list of strings, not 'etl'"),
        ({"channels": "ops"}, InvalidRequestError, "channels: must be a list .*; it is 'ops'"),
        ({"content_state": {"title": "x", "percentage": 130}}, InvalidRequestError, "percentage: .*; it is 130"),
        (
            {"content_state": {"title": "x"}, "total": 3},
            InvalidRequestError,
            "total: is not shown beside content_state",
        ),
        ({"content_state": {"type": "alert", "title": "x"}}, InvalidRequestError, "message"),
        ({"stream_key": ""}, InvalidRequestError, "stream_key"),
    ],
)
def test_what_cannot_be_shown_is_refused_and_never_sent(
    said: dict[str, Any], error: type[Exception], named: str, sandbox: Sandbox
) -> None:
    with pytest.raises(error, match=named):
        start_one("sync", **said)
    assert sandbox.requests("PUT") == []


def test_a_buttons_url_that_is_refused_is_not_quoted_since_it_may_hold_a_secret(sandbox: Sandbox) -> None:
    with pytest.raises(InvalidRequestError, match=r"action\.url: must start with https://") as refused:
        start_one("sync", action={"title": "x", "type": "webhook", "url": "http://hooks.example.com/secret"})
    assert "hooks.example.com" not in str(refused.value)
    assert sandbox.requests("PUT") == []


def test_a_start_that_is_refused_fails_its_task_at_once(sandbox: Sandbox) -> None:
    sandbox.inject_fault(times=9, status=401)
    with pytest.raises(AuthenticationError):
        start_one("sync")
    assert len(sandbox.requests("PUT")) == 1


def test_runs_of_the_task_are_named_after_the_stream_and_log_what_came_of_it(
    sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    names: list[str] = []

    @flow(name="nightly")
    def nightly() -> None:
        def see(task: Any, run: TaskRun, state: Any) -> None:
            names.append(run.name)

        stream_live_activity.with_options(on_completion=[see])("other")

    nightly()
    assert names == ["stream other"]
    assert "Started Live Activity stream 'other'" in caplog.text


def test_the_times_in_the_documentation_are_those_of_the_delays() -> None:
    longest_call = RetryPolicy().max_elapsed

    def seconds(step: Any) -> float:
        delays = step.retry_delay_seconds
        return float(sum(delays) + (len(delays) + 1) * longest_call)

    text = (Path(__file__).parents[2] / "docs" / "prefect" / "tasks.md").read_text()
    streaming, ending = seconds(stream_live_activity), seconds(end_live_activity_stream)
    assert f"three times within up to {streaming:.0f} seconds" in text
    assert f"seven times within up to {ending / 60:.0f} minutes" in text
    assert f"up to {streaming:.0f} seconds" in (stream_live_activity.__doc__ or "")
