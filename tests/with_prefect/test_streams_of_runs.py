"""One run, one stream; a failure is always seen; a run that is refused costs little. On Prefect's own engine."""

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

pytest.importorskip("prefect")

from prefect import flow, task
from prefect.runtime import flow_run
from support.processes import eventually
from support.sandbox import Sandbox

from activitysmith_integrations.core import stream_key
from activitysmith_integrations.prefect import (
    aend_live_activity_stream,
    end_live_activity_stream,
    live_activity_hooks,
    stream_live_activity,
)
from activitysmith_integrations.prefect.task_counts import count_tasks, impatient_client

pytestmark = pytest.mark.usefixtures("server")


class FailedAtLastError(Exception):
    pass


@task
def step() -> None: ...


@task
def fail() -> None:
    raise RuntimeError("it is full")


def run_id(state: Any) -> UUID:
    found: UUID = state.state_details.flow_run_id
    return found


def key_of(state: Any) -> str:
    return stream_key("nightly", str(run_id(state)))


def lives(sandbox: Sandbox) -> dict[str, list[str]]:
    """What happened to each stream, in order."""
    found: dict[str, list[str]] = {}
    for request in sandbox.all_requests():
        found.setdefault(request["stream_key"], []).append(request["operation"] or str(request["status"]))
    return found


# One run, one stream


def test_runs_that_overlap_have_a_stream_each_and_the_failure_is_seen(sandbox: Sandbox) -> None:
    both = threading.Barrier(2)
    first_is_over = threading.Event()

    @flow(name="nightly", **live_activity_hooks(total=2))
    def nightly(fails: bool) -> None:
        step()
        both.wait(60)
        if fails:
            assert first_is_over.wait(60)
            raise FailedAtLastError

    with ThreadPoolExecutor() as pool:
        failing, fine = (pool.submit(nightly, fails, return_state=True) for fails in (True, False))
        succeeded = fine.result()
        first_is_over.set()
        failed = failing.result()
    for state, result in ((succeeded, "succeeded"), (failed, "failed")):
        story = lives(sandbox)[key_of(state)]
        assert (story[0], story[-1], story.count("started"), story.count("ended")) == ("started", "ended", 1, 1)
        assert [end["metadata"]["result"] for end in sandbox.ends(key_of(state))] == [result]
    assert len(lives(sandbox)) == 2


def test_runs_in_one_event_loop_have_a_stream_each(sandbox: Sandbox) -> None:
    @flow(name="nightly", **live_activity_hooks(total=1))
    async def nightly(fails: bool) -> None:
        await asyncio.sleep(0.1)
        if fails:
            raise FailedAtLastError

    async def three() -> list[Any]:
        running: Any = [nightly(fails, return_state=True) for fails in (False, True, False)]
        return await asyncio.gather(*running)

    states = asyncio.run(three())
    assert set(lives(sandbox)) == {key_of(state) for state in states}
    assert [sandbox.ends(key_of(state))[0]["metadata"]["result"] for state in states] == [
        "succeeded",
        "failed",
        "succeeded",
    ]


def test_what_is_on_screen_names_the_run(sandbox: Sandbox) -> None:
    names: list[str] = []

    @flow(name="nightly", **live_activity_hooks(total=1))
    def nightly(fails: bool) -> None:
        names.append(str(flow_run.name))
        if fails:
            raise FailedAtLastError

    for fails in (False, True):
        key = key_of(nightly(fails, return_state=True))
        states = [request["body"]["content_state"] for request in sandbox.story(key)]
        assert all(state["subtitle"].startswith(names[-1]) for state in states)
        assert states


@pytest.mark.parametrize("is_async", [False, True])
def test_the_tasks_within_a_flow_have_the_streams_key_of_its_run(is_async: bool, sandbox: Sandbox) -> None:
    @flow(name="nightly", **live_activity_hooks(total=2))
    def nightly() -> None:
        stream_live_activity(total=2, done=1)
        end_live_activity_stream()

    @flow(name="nightly", **live_activity_hooks(total=2))
    async def anightly() -> None:
        await aend_live_activity_stream()

    running: Any = anightly(return_state=True) if is_async else nightly(return_state=True)
    state = asyncio.run(running) if is_async else running
    assert state.is_completed()
    assert list(lives(sandbox)) == [key_of(state)]


def test_a_key_of_ones_own_is_one_stream_for_all_runs(sandbox: Sandbox) -> None:
    @flow(name="nightly", **live_activity_hooks("night", total=1))
    def nightly() -> None: ...

    nightly()
    nightly()
    assert lives(sandbox) == {"night": ["started", "ended"] * 2}


# A failure is always seen


def full(sandbox: Sandbox, places: int = 1) -> None:
    """The account shows as many Live Activities as it may."""
    sandbox.start(*(f"other-{number}" for number in range(places)))
    sandbox.limit(max_concurrent=places)


def test_a_failure_whose_start_was_refused_is_seen_once_there_is_room(sandbox: Sandbox) -> None:
    full(sandbox)

    @flow(name="nightly", **live_activity_hooks(total=1))
    def nightly() -> None:
        eventually(lambda: sandbox.requests("PUT")[1:], "the refused start")
        sandbox.end("other-0")
        raise FailedAtLastError

    key = key_of(nightly(return_state=True))
    assert lives(sandbox)[key] == ["429", "404", "started", "ended"]
    (end,) = sandbox.ends(key)
    assert end["metadata"]["result"] == "failed"
    banners = ["alert" in request["body"] for request in sandbox.story(key) if request["status"] == 200]
    assert banners == [True, False]


def test_a_failure_for_which_there_is_no_room_says_so(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    full(sandbox)

    @flow(name="nightly", **live_activity_hooks(total=1))
    def nightly() -> None:
        raise FailedAtLastError

    nightly(return_state=True)
    (line,) = [record.getMessage() for record in caplog.records if "to show the failure" in record.getMessage()]
    assert "429" in line
    assert "1 of its 1 Live Activities" in line


def test_a_run_with_invalid_parameters_is_seen_though_it_never_began(sandbox: Sandbox) -> None:
    @flow(name="nightly", **live_activity_hooks(total=1))
    def nightly(number: int) -> None: ...

    wrong: Any = "no number"
    state: Any = nightly(wrong, return_state=True)
    assert lives(sandbox)[key_of(state)] == ["404", "started", "ended"]


# A refused start costs little


def test_a_success_that_was_never_shown_costs_one_request(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    full(sandbox)

    @flow(name="nightly", **live_activity_hooks(total=9))
    def nightly() -> None:
        for _ in range(9):
            step()
        eventually(lambda: sandbox.requests("PUT")[1:], "the refused start")

    key = key_of(nightly(return_state=True))
    assert lives(sandbox)[key] == ["429"]
    assert f"{key!r} was never shown" in caplog.text


def test_a_run_that_ends_a_stream_itself_that_was_never_shown_asks_nobody(sandbox: Sandbox) -> None:
    full(sandbox)

    @flow(name="nightly", **live_activity_hooks(total=9))
    def nightly() -> None:
        eventually(lambda: sandbox.requests("PUT")[1:], "the refused start")
        assert end_live_activity_stream().ignored

    key = key_of(nightly(return_state=True))
    assert lives(sandbox)[key] == ["429"]


# What is shown is true


@pytest.mark.parametrize(
    ("body", "failed", "said"),
    [
        (lambda: [step(), fail(return_state=True)], 1, ", 1 task failed"),
        (lambda: [fail.submit().wait(), fail.submit().wait()], 2, ", 2 tasks failed"),
        (lambda: step(), 0, ""),
    ],
)
def test_a_success_in_which_tasks_failed_says_so(
    body: Callable[[], object], failed: int, said: str, sandbox: Sandbox
) -> None:
    @flow(name="nightly", **live_activity_hooks(total=2))
    def nightly() -> str:
        body()
        since = datetime.now(UTC) - timedelta(days=1)
        with impatient_client() as api:  # it learns of them a moment later
            eventually(lambda: count_tasks(api, UUID(flow_run.id), since).failed == failed, "the failed tasks")
        return "fine"

    (end,) = sandbox.ends(key_of(nightly(return_state=True)))
    assert end["metadata"]["result"] == "succeeded"
    _, _, rest = end["content_state"]["subtitle"].partition(" s")
    assert rest == said
