"""A failure is on the screen only where this process has shown it. Whatever else ended the stream, it is shown."""

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any
from uuid import UUID, uuid4

import pytest

pytest.importorskip("prefect")

from prefect import Flow, flow, get_client, task
from prefect.client.schemas.objects import FlowRun, State
from prefect.flow_engine import run_flow
from prefect.runtime import flow_run
from prefect.states import Crashed, Pending, Scheduled
from support.processes import eventually
from support.sandbox import Sandbox

from activitysmith_integrations.core import LiveActivity, stream_key
from activitysmith_integrations.prefect import (
    aend_live_activity_stream,
    astream_live_activity,
    end_live_activity_stream,
    end_live_activity_stream_hook,
    end_live_activity_stream_hooks,
    live_activity_hooks,
    stream_live_activity,
)

pytestmark = pytest.mark.usefixtures("server")

HOOKS = pytest.mark.parametrize("hooks", [live_activity_hooks, end_live_activity_stream_hooks])


class FailedAtLastError(Exception):
    pass


class LoadError(Exception):
    pass


def banners(sandbox: Sandbox, key: str) -> list[str]:
    """What sounded in a stream, in order: the service does nothing about the end of a stream that has ended."""
    found, lives = [], False
    for request in sandbox.story(key):
        if request["status"] != 200:
            continue
        is_start = request["method"] == "PUT"
        if (is_start or lives) and "alert" in request["body"]:
            found.append(request["body"]["alert"]["body"])
        lives = is_start
    return found


def on_screen(sandbox: Sandbox, key: str) -> str:
    """The result that a stream was ended with at last."""
    story = [request for request in sandbox.story(key) if request["status"] == 200]
    lives, shown = False, ""
    for request in story:
        if request["method"] == "DELETE" and lives:
            shown = request["body"]["metadata"]["result"]
        lives = request["method"] == "PUT"
    return "" if lives else shown


def begin(hooks: Any, key: str, sandbox: Sandbox) -> None:
    """Start a stream, or wait for hooks that do."""
    if hooks is end_live_activity_stream_hooks:
        stream_live_activity(key)
    eventually(lambda: key in sandbox.living(), "the start")


def run_again(subject: Flow[Any, Any], run_id: UUID) -> None:
    """As the UI's Retry does, and the worker that finds the run."""
    states: list[State[Any]] = [Scheduled(), Pending()]
    with get_client(sync_client=True) as api:
        for state in states:
            api.set_flow_run_state(run_id, state, force=True)
        run = api.read_flow_run(run_id)
    with suppress(FailedAtLastError):
        running: Any = run_flow(subject, flow_run=run)
        if subject.isasync:
            asyncio.run(running)


def deployed(subject: Flow[Any, Any]) -> UUID:
    """A run of a deployment, which is the only kind that can be run again."""
    with get_client(sync_client=True) as api:
        deployment = api.create_deployment(api.create_flow(subject), f"prod-{uuid4()}")
        return api.create_flow_run_from_deployment(deployment).id


# Other runs of the same stream


@HOOKS
def test_a_parent_that_fails_after_its_subflow_succeeded_in_the_same_stream_is_shown(
    hooks: Any, sandbox: Sandbox
) -> None:
    both = hooks("etl")

    @flow(name="extract", **both)
    def extract() -> None: ...

    @flow(name="etl", **both)
    def etl() -> None:
        begin(hooks, "etl", sandbox)
        extract()
        raise FailedAtLastError

    etl(return_state=True)
    assert on_screen(sandbox, "etl") == "failed"
    assert len(banners(sandbox, "etl")) == 1


@HOOKS
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_a_subflow_that_fails_and_takes_its_parent_along_sounds_once(
    hooks: Any, is_wrapped: bool, sandbox: Sandbox
) -> None:
    both = hooks("etl")

    @task
    def load() -> None:
        raise LoadError("row 2 is no good")

    @flow(name="extract", **both)
    def extract() -> None:
        load()

    @flow(name="middle")
    def middle() -> None:
        extract()

    @flow(name="etl", **both)
    def etl() -> None:
        begin(hooks, "etl", sandbox)
        try:
            middle()
        except LoadError as error:
            if is_wrapped:
                raise FailedAtLastError from error
            raise

    etl(return_state=True)
    assert on_screen(sandbox, "etl") == "failed"
    assert len(banners(sandbox, "etl")) == 1


@pytest.mark.parametrize("is_another", [False, True])
def test_a_parent_that_started_the_stream_anew_sounds_only_for_another_failure(
    is_another: bool, sandbox: Sandbox
) -> None:
    both = live_activity_hooks("etl")

    @task
    def clean_up() -> None: ...

    @flow(name="extract", **both)
    def extract() -> None:
        raise LoadError("row 2 is no good")

    @flow(name="etl", **both)
    def etl() -> None:
        begin(live_activity_hooks, "etl", sandbox)
        try:
            extract()
        except LoadError:
            clean_up()  # which the parent shows after its subflow's end
            eventually(lambda: sandbox.living(), "the parent's progress")
            if is_another:
                raise FailedAtLastError from None
            raise

    etl(return_state=True)
    assert on_screen(sandbox, "etl") == "failed"
    assert len(banners(sandbox, "etl")) == 1 + is_another


@HOOKS
@pytest.mark.parametrize("first_fails", [False, True])
def test_each_failure_of_runs_that_overlap_in_one_stream_is_shown(
    hooks: Any, first_fails: bool, sandbox: Sandbox
) -> None:
    both, first_is_over = threading.Barrier(2), threading.Event()

    @flow(name="nightly", **hooks("night"))
    def nightly(number: int) -> None:
        begin(hooks, "night", sandbox)
        both.wait(60)
        if number == 2:
            assert first_is_over.wait(60)
        if number == 2 or first_fails:
            raise FailedAtLastError

    with ThreadPoolExecutor() as pool:
        first, second = (pool.submit(nightly, number, return_state=True) for number in (1, 2))
        first.result()
        first_is_over.set()
        second.result()
    assert on_screen(sandbox, "night") == "failed"
    assert len(banners(sandbox, "night")) == 1 + first_fails


@HOOKS
def test_a_subflow_that_was_cancelled_hides_no_failure_of_its_parent(hooks: Any, sandbox: Sandbox) -> None:
    is_on = asyncio.Event()

    @flow(name="child", **end_live_activity_stream_hooks("shared"))
    async def child() -> None:
        is_on.set()
        await asyncio.sleep(60)

    @flow(name="parent", **hooks("shared"))
    async def parent() -> None:
        if hooks is end_live_activity_stream_hooks:
            await astream_live_activity("shared")
        running: Any = child()
        subflow = asyncio.create_task(running)
        await is_on.wait()
        subflow.cancel()
        with suppress(asyncio.CancelledError):
            await subflow
        raise FailedAtLastError

    failing: Any = parent()
    with pytest.raises(FailedAtLastError):
        asyncio.run(failing)
    assert sandbox.ends("shared")[0]["metadata"]["result"] == "cancelled"
    assert on_screen(sandbox, "shared") == "failed"
    assert len(banners(sandbox, "shared")) == 1


# The same run, run again


@HOOKS
def test_every_failure_of_a_run_that_is_run_again_is_shown(hooks: Any, sandbox: Sandbox) -> None:
    @flow(name="nightly", **hooks())
    def nightly() -> None:
        raise FailedAtLastError

    run_id = deployed(nightly)
    key = stream_key("nightly", str(run_id))
    for times in (1, 2, 3):
        run_again(nightly, run_id)
        assert on_screen(sandbox, key) == "failed"
        assert len(banners(sandbox, key)) == times


@pytest.mark.parametrize("is_async", [False, True])
def test_every_failure_that_a_task_shows_of_a_run_that_is_run_again_is_shown(is_async: bool, sandbox: Sandbox) -> None:
    @flow(name="nightly", **end_live_activity_stream_hooks())
    def nightly() -> None:
        error = FailedAtLastError()
        end_live_activity_stream(error=error)
        raise error

    @flow(name="nightly")
    async def anightly() -> None:
        error = FailedAtLastError()
        for _ in range(2):
            await aend_live_activity_stream(error=error)
        raise error

    subject: Any = anightly if is_async else nightly
    run_id = deployed(subject)
    for times in (1, 2):
        run_again(subject, run_id)
        assert len(banners(sandbox, stream_key("nightly", str(run_id)))) == times


def test_a_flow_that_retries_itself_shows_its_failure_once(sandbox: Sandbox) -> None:
    @flow(name="nightly", retries=1, **end_live_activity_stream_hooks())
    def nightly() -> None:
        error = FailedAtLastError()
        end_live_activity_stream(error=error)
        raise error

    state: Any = nightly(return_state=True)
    assert len(banners(sandbox, stream_key("nightly", str(state.state_details.flow_run_id)))) == 1


# Crashes


@HOOKS
def test_every_crash_of_runs_with_one_key_is_shown(hooks: Any, sandbox: Sandbox) -> None:
    @flow(name="nightly", **hooks("night"))
    def nightly() -> None:
        sys.exit(3)

    for times in (1, 2, 3):
        with pytest.raises(SystemExit):
            nightly()
        assert on_screen(sandbox, "night") == "crashed"
        assert len(banners(sandbox, "night")) == times


def test_every_crash_that_a_runner_tells_of_is_shown(sandbox: Sandbox) -> None:
    @flow(name="nightly")
    def nightly() -> None: ...

    for times in (1, 2):
        stale = FlowRun(id=uuid4(), flow_id=uuid4(), name="quick-fox")
        hook = end_live_activity_stream_hook("night")
        asyncio.run(hook(flow=nightly, flow_run=stale, state=Crashed()))
        assert len(banners(sandbox, "night")) == times


def test_a_crash_that_a_task_has_shown_sounds_once(sandbox: Sandbox) -> None:
    @flow(name="nightly", **end_live_activity_stream_hooks("night"))
    def nightly() -> None:
        try:
            sys.exit(3)
        except SystemExit as error:
            end_live_activity_stream("night", error=error)
            raise

    with pytest.raises(SystemExit):
        nightly()
    assert len(banners(sandbox, "night")) == 1


# A block within the flow


def run_of_block(key: str | None, timeout: float | None, body: Any) -> str:
    """The key of the run's stream, which a block in its body shows and the flow's hooks end."""
    keys = []

    @flow(name="nightly", timeout_seconds=timeout, **end_live_activity_stream_hooks(key))
    async def nightly() -> None:
        keys.append(key or stream_key("nightly", str(flow_run.id)))
        with LiveActivity(keys[0]):
            await body()

    running: Any = nightly(return_state=True)
    asyncio.run(running)
    return keys[0]


@pytest.mark.parametrize("key", [None, "night"])
def test_a_timeout_around_a_block_is_shown_although_the_block_was_cancelled(key: str | None, sandbox: Sandbox) -> None:
    async def body() -> None:
        await asyncio.sleep(60)

    key = run_of_block(key, 3, body)
    assert sandbox.ends(key)[0]["metadata"]["result"] == "cancelled"
    assert on_screen(sandbox, key) == "timed_out"


@pytest.mark.parametrize("key", [None, "night"])
def test_a_failure_that_a_block_has_shown_sounds_once(key: str | None, sandbox: Sandbox) -> None:
    async def body() -> None:
        raise FailedAtLastError

    for times in (1, 2):
        shown = run_of_block(key, None, body)
        assert on_screen(sandbox, shown) == "failed"
        assert len(banners(sandbox, shown)) == (times if key else 1)


# What is logged


@HOOKS
def test_a_failure_that_the_run_has_shown_itself_is_no_warning(
    hooks: Any, sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    @flow(name="nightly", **hooks())
    def nightly() -> None:
        error = FailedAtLastError()
        end_live_activity_stream(error=error)
        raise error

    state: Any = nightly(return_state=True)
    key = stream_key("nightly", str(state.state_details.flow_run_id))
    (record,) = [record for record in caplog.records if "had been ended" in record.getMessage()]
    assert (record.levelname, record.getMessage()) == (
        "INFO",
        f"Live Activity stream {key!r} had been ended by this run already, with its failure.",
    )
    assert "may not be on the phone" not in caplog.text
    assert len(banners(sandbox, key)) == 1
