"""Runs that show how far they are, on Prefect's own engine: what reached the service, in order."""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("prefect")

from prefect import flow, get_client, task
from prefect.cache_policies import INPUTS
from prefect.exceptions import Pause
from prefect.flow_engine import run_flow
from prefect.flow_runs import suspend_flow_run
from prefect.runtime import flow_run
from prefect.settings import get_current_settings
from prefect.states import Cancelled
from pydantic import SecretStr
from support.peer import Peer, read_request
from support.processes import eventually
from support.sandbox import KEY, Sandbox, running_sandbox
from support.service import ENDED

from activitysmith_integrations.core import InvalidRequestError, LiveActivity, Metric, StatsState
from activitysmith_integrations.prefect import (
    ActivitySmithCredentials,
    FlowHooks,
    StateHook,
    aend_live_activity_stream,
    astream_live_activity,
    end_live_activity_stream,
    end_live_activity_stream_hook,
    end_live_activity_stream_hooks,
    live_activity_hooks,
    stream_live_activity,
)

pytestmark = pytest.mark.usefixtures("server")


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    eventually(
        lambda: not [thread for thread in threading.enumerate() if thread.name.startswith("activitysmith")],
        "the end of our threads",
    )


class FailedAtLastError(Exception):
    pass


@task
def work(number: int = 0) -> int:
    return number


@task
async def awork(number: int = 0) -> int:
    return number


@task
def fail() -> None:
    raise RuntimeError("it is full")


def states(sandbox: Sandbox, key: str = "nightly") -> list[dict[str, Any]]:
    """What the stream showed while the run went on; its story is one of a start, updates and one end."""
    *updates, end = sandbox.story(key)
    assert [request["method"] for request in updates] == ["PUT"] * len(updates)
    assert end["method"] == "DELETE"
    assert {request["status"] for request in (*updates, end)} == {200}
    assert [request["operation"] for request in updates] == ["started"] + ["updated"] * (len(updates) - 1)
    return [request["body"]["content_state"] for request in updates]


def shows(sandbox: Sandbox, key: str = "nightly", **members: Any) -> None:
    """Wait until the stream shows this."""

    def look() -> bool:
        puts = [request["body"]["content_state"] for request in sandbox.story(key) if request["method"] == "PUT"]
        return bool(puts) and members.items() <= puts[-1].items()

    eventually(look, f"{key} to show {members}")


def nothing_follows() -> None:
    """Wait until no thread is left that would send an update."""
    eventually(
        lambda: "activitysmith-follower" not in {thread.name for thread in threading.enumerate()},
        "the end of what follows the run",
    )


# What is shown


def test_one_line_on_a_flow_starts_its_stream_moves_it_and_ends_it(sandbox: Sandbox) -> None:
    @flow(name="nightly", **live_activity_hooks("nightly", total=3, title="Nightly ETL", tags=["etl"]))
    def nightly() -> None:
        for step in range(3):
            shows(sandbox, current_step=step)
            work(step)

    nightly()
    shown = {"title": "Nightly ETL", "number_of_steps": 3}
    # The last segment is left to the end, and only the start says the type, so that nothing else can start.
    first, *further = states(sandbox)
    name = first.pop("subtitle")
    assert first == {**shown, "type": "segmented_progress", "current_step": 0}
    assert further == [{**shown, "subtitle": name, "current_step": step} for step in (1, 2)]
    start, *_, end = sandbox.story("nightly")
    assert start["body"]["tags"] == ["prefect", "etl"]
    assert start["body"]["metadata"].items() < end["body"]["metadata"].items()
    last = end["body"]["content_state"]
    assert (last["title"], last["color"], last["number_of_steps"], last["current_step"]) == (
        "Nightly ETL",
        "green",
        3,
        3,
    )


def test_without_a_total_the_finished_tasks_are_counted_in_words(sandbox: Sandbox) -> None:
    @flow(name="nightly", **live_activity_hooks("nightly"))
    def nightly() -> None:
        shows(sandbox, title="nightly")
        work()
        shows(sandbox, subtitle=f"{flow_run.name} · 1 task done")
        work()
        shows(sandbox, subtitle=f"{flow_run.name} · 2 tasks done")

    nightly()
    assert [state.get("type") for state in states(sandbox)] == ["progress", None, None]
    assert sandbox.ends("nightly")[0]["content_state"]["percentage"] == 100


def test_a_task_that_fails_is_shown_as_not_done_while_the_flow_goes_on(sandbox: Sandbox) -> None:
    @flow(name="nightly", **live_activity_hooks("nightly", total=4))
    def nightly() -> None:
        work()
        fail(return_state=True)
        shows(sandbox, current_step=1, subtitle=f"{flow_run.name} · fail failed", step_color="red")
        work.submit(1).result(raise_on_failure=False)
        shows(sandbox, current_step=2, subtitle=f"{flow_run.name} · fail failed", step_color="red")

    nightly()
    assert sandbox.ends("nightly")[0]["content_state"]["current_step"] == 4


def test_a_run_that_fails_says_after_how_many_of_its_tasks(sandbox: Sandbox) -> None:
    @flow(name="nightly", **live_activity_hooks("nightly", total=3))
    def nightly() -> None:
        work()
        shows(sandbox, current_step=1)
        fail()

    assert nightly(return_state=True).is_failed()
    message = sandbox.ends("nightly")[0]["content_state"]["message"]
    assert re.match("fail failed after (1 of 3 tasks, )?[0-9]+ s", message)


def test_a_task_that_was_cancelled_is_not_done(sandbox: Sandbox) -> None:
    @task
    def not_needed() -> Any:
        return Cancelled()

    @flow(name="nightly", **live_activity_hooks("nightly", total=3))
    def nightly() -> None:
        not_needed(return_state=True)
        work()
        fail()

    assert nightly(return_state=True).is_failed()
    (end,) = sandbox.ends("nightly")
    assert end["content_state"]["message"].startswith("fail failed after 1 of 3 tasks")


@pytest.mark.parametrize("is_waited_for", [True, False])
def test_a_task_that_kept_another_from_beginning_is_named(is_waited_for: bool, sandbox: Sandbox) -> None:
    @flow(name="nightly", **live_activity_hooks("nightly", total=2))
    def nightly() -> Any:
        failing: Any = fail.submit()
        kept = work.submit(failing)
        return kept.result() if is_waited_for else kept

    assert nightly(return_state=True).is_failed()
    (end,) = sandbox.ends("nightly")
    assert end["content_state"]["message"].startswith("fail failed after ")


def test_hundreds_of_tasks_at_once_stay_within_the_budget_of_ios(sandbox: Sandbox) -> None:
    @flow(name="nightly", **live_activity_hooks("nightly", total=200))
    def nightly() -> None:
        work.map(range(200)).wait()

    nightly()
    steps = [state["current_step"] for state in states(sandbox)]
    assert len(steps) <= 12
    assert steps == sorted(steps)
    assert sandbox.ends("nightly")[0]["content_state"]["current_step"] == 10


def test_more_tasks_than_were_announced_leave_the_end_to_the_end(sandbox: Sandbox) -> None:
    @flow(name="nightly", **live_activity_hooks("nightly", total=2))
    def nightly() -> None:
        work.map(range(5)).wait()

    nightly()
    assert max(state["current_step"] for state in states(sandbox)) < 2
    assert sandbox.ends("nightly")[0]["content_state"]["current_step"] == 2


# What is counted


def counted(sandbox: Sandbox, body: Callable[[], object], tasks: int, **options: Any) -> None:
    """Wait until a run of this body shows that so many of 9 tasks are done, and no other one after that."""

    @flow(name="nightly", **live_activity_hooks("nightly", total=9), **options)
    def nightly() -> None:
        body()
        work()
        shows(sandbox, current_step=tasks + 1)
        raise FailedAtLastError

    nightly(return_state=True)
    assert states(sandbox)[-1]["current_step"] == tasks + 1
    (end,) = sandbox.ends("nightly")
    # The API may be too late for the last picture, which then says nothing of it.
    assert re.match(f"Failed after ({tasks + 1} of 9 tasks, )?[0-9]+ s", end["content_state"]["message"])


elsewhere = ModuleType("elsewhere")
exec(
    """
from prefect import task

@task
def load(): ...

def load_it(): load()

class Warehouse:
    @staticmethod
    @task
    def extract(): ...

    @classmethod
    @task
    def load(cls): ...

    @task
    def check(self): ...
""",
    vars(elsewhere),
)


class Inheriting(elsewhere.Warehouse):  # type: ignore[misc, name-defined]
    pass


def made_in_the_body() -> None:
    @task
    def load() -> None: ...

    load()


@task
def outer() -> None:
    work(1)
    work(2)


remembered = task(cache_policy=INPUTS, persist_result=True, result_storage_key="{parameters[number]}")(work.fn)


@pytest.mark.parametrize(
    ("body", "tasks"),
    [
        (lambda: [work(1), work(1)], 2),
        (lambda: [future.wait() for future in (work.submit(1), work.submit(2))], 2),
        (lambda: work.map([1, 2, 3]).wait(), 3),
        (lambda: awork.submit(1).wait(), 1),
        (lambda: work.with_options(name="other")(1), 1),
        (lambda: [remembered(7), remembered(7)], 2),
        (lambda: [elsewhere.load(), elsewhere.load_it()], 2),
        (lambda: [elsewhere.Warehouse.extract(), elsewhere.Warehouse.load(), elsewhere.Warehouse().check()], 3),
        (lambda: [Inheriting.extract(), Inheriting.load(), Inheriting().check()], 3),
        (made_in_the_body, 1),
        (lambda: outer(), 3),
        (lambda: fail.submit().wait(), 0),
        (lambda: work.fn(1), 0),
        (lambda: end_live_activity_stream("other"), 1),
    ],
    ids=[
        "called",
        "submitted",
        "mapped",
        "async",
        "with_options",
        "cached",
        "of another module",
        "of a class",
        "inherited",
        "made in the body",
        "nested",
        "failed",
        "no run of a task",
        "a task of this package",
    ],
)
def test_all_runs_of_tasks_are_counted(body: Callable[[], object], tasks: int, sandbox: Sandbox) -> None:
    counted(sandbox, body, tasks)


def test_async_flows_count_their_tasks_too(sandbox: Sandbox) -> None:
    @flow(name="nightly", **live_activity_hooks("nightly", total=9))
    async def nightly() -> None:
        await asyncio.gather(awork(1), awork(2))
        work(3)
        await asyncio.to_thread(shows, sandbox, current_step=3)
        raise FailedAtLastError

    running: Any = nightly(return_state=True)
    asyncio.run(running)
    states(sandbox)


def test_a_task_that_is_retried_is_counted_once_it_is_over(sandbox: Sandbox) -> None:
    attempts: list[int] = []

    @task(retries=2)
    def flaky() -> None:
        attempts.append(1)
        if len(attempts) < 3:
            raise RuntimeError("not yet")

    counted(sandbox, flaky, 1)
    assert "failed" not in str(states(sandbox))


def test_a_subflow_is_one_task_run_of_its_parent_and_counts_its_own_in_its_own_stream(sandbox: Sandbox) -> None:
    @flow(name="child", **live_activity_hooks("child", total=9))
    def child() -> None:
        work.map([1, 2, 3]).wait()
        shows(sandbox, "child", current_step=3)
        raise FailedAtLastError

    @flow
    def silent() -> None:
        work.map([1, 2, 3, 4]).wait()

    def body() -> None:
        work(1)
        silent()
        child(return_state=True)

    counted(sandbox, body, 2)  # the task and the subflow that did not fail
    states(sandbox, "child")


def test_a_subflow_that_runs_again_since_its_parent_is_retried_moves_the_bar_again(sandbox: Sandbox) -> None:
    attempts: list[int] = []

    @flow
    def silent() -> None:
        if len(attempts) == 1:
            raise RuntimeError("not yet")

    @flow(name="nightly", retries=1, **live_activity_hooks("nightly", total=9))
    def nightly() -> None:
        attempts.append(1)
        silent()
        shows(sandbox, current_step=1)

    nightly()
    assert sandbox.ends("nightly")[0]["metadata"]["result"] == "succeeded"


def test_runs_at_once_in_one_process_are_counted_apart(sandbox: Sandbox) -> None:
    both = threading.Barrier(2)

    @flow(name="nightly", **live_activity_hooks(lambda flow, run: f"nightly-{run.parameters['tasks']}", total=9))
    def nightly(tasks: int) -> None:
        both.wait(60)
        work.map(range(tasks)).wait()
        shows(sandbox, f"nightly-{tasks}", current_step=tasks)
        both.wait(60)
        raise FailedAtLastError

    with ThreadPoolExecutor() as pool:
        for running in [pool.submit(nightly, tasks, return_state=True) for tasks in (2, 5)]:
            running.result()
    for tasks in (2, 5):
        states(sandbox, f"nightly-{tasks}")


def test_a_flow_that_is_retried_counts_from_zero_in_the_same_stream(sandbox: Sandbox) -> None:
    attempts: list[int] = []

    @flow(name="nightly", retries=1, **live_activity_hooks("nightly", total=5))
    def nightly() -> None:
        attempts.append(1)
        shows(sandbox, current_step=0)
        work.submit(1).wait()
        if len(attempts) == 1:
            fail.submit().wait()
            shows(sandbox, current_step=1, step_color="red")
            raise FailedAtLastError
        shows(sandbox, current_step=1)

    nightly()
    assert "step_color" not in states(sandbox)[-1]
    assert sandbox.ends("nightly")[0]["metadata"]["result"] == "succeeded"


# What the user has already stays


def test_tasks_are_not_touched(sandbox: Sandbox, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    counted(sandbox, lambda: [work(1), fail(return_state=True)], 1)
    assert (work.on_completion_hooks, work.on_failure_hooks, fail.on_failure_hooks) == ([], [], [])
    hooks = [record.getMessage() for record in caplog.records if record.getMessage().startswith("Running hook")]
    assert len(hooks) == 2  # those of the flow


def test_hooks_that_the_flow_has_already_run_after_ours(sandbox: Sandbox) -> None:
    called: list[str] = []

    def mine(flow: Any, flow_run: Any, state: Any) -> None:
        called.append(state.name)
        raise RuntimeError("a hook of the user's own")

    @flow(
        name="nightly",
        **live_activity_hooks("nightly", total=1, hooks={"on_running": [mine], "on_completion": (mine,)}),
    )
    def nightly() -> None:
        work()

    nightly()
    states(sandbox)
    assert called == ["Running", "Completed"]
    names = [hook.__name__ for hook in nightly.on_running_hooks]
    assert names == ["start_live_activity", "mine"]


@pytest.mark.parametrize("total", [-1, True, 2.5, "all"])
def test_a_total_that_is_none_is_refused_where_it_is_written(total: Any) -> None:
    with pytest.raises(InvalidRequestError, match="total"):
        live_activity_hooks("nightly", total=total)


def test_every_call_gives_fresh_lists() -> None:
    first, second = live_activity_hooks("nightly"), live_activity_hooks("nightly")
    assert set(first) == {"on_running", "on_completion", "on_failure", "on_crashed", "on_cancellation"}
    assert len({id(hooks) for hooks in (*first.values(), *second.values())}) == 10


# The end is the last word


class HoldingService:
    """Answers each request but one, which it holds until it is told to go on, or never answers."""

    def __init__(self, held: int) -> None:
        self.methods: list[str] = []
        self.is_held = threading.Event()
        self.may_go_on = threading.Event()
        self._held = held
        self._answering = threading.Lock()
        self.peer = Peer(self._answer)

    def _answer(self, connection: socket.socket) -> None:
        while True:
            head, _, body = read_request(connection).partition(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head.lower())
            while length and len(body) < int(length.group(1)):
                body += connection.recv(65536)
            with self._answering:
                self.methods.append(head.partition(b" ")[0].decode())
                number = len(self.methods)
            if number == self._held:
                self.is_held.set()
                self.may_go_on.wait(60)
            operation = "ended" if head.startswith(b"DELETE") else "started" if number == 1 else "updated"
            answer = {**ENDED, "operation": operation}
            text = json.dumps(answer).encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))


@pytest.fixture
def holding(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[HoldingService]:
    service = HoldingService(request.param)
    monkeypatch.setenv("ACTIVITYSMITH_API_KEY", KEY)
    monkeypatch.setenv("ACTIVITYSMITH_BASE_URL", service.peer.base_url)
    yield service
    service.may_go_on.set()
    service.peer.close()


@pytest.mark.parametrize("holding", [1, 2], indirect=True, ids=["start", "update"])
def test_what_is_on_its_way_is_answered_before_the_end_goes_out(holding: HoldingService) -> None:
    @flow(name="nightly", **live_activity_hooks("nightly", total=9))
    def nightly() -> None:
        work.map([1, 2, 3, 4]).wait()
        assert holding.is_held.wait(60)
        threading.Timer(1, holding.may_go_on.set).start()

    nightly()
    assert holding.methods[-1] == "DELETE"
    assert holding.may_go_on.is_set()
    assert "DELETE" not in holding.methods[:-1]


@pytest.mark.parametrize("holding", [1], indirect=True)
def test_an_end_that_cannot_wait_for_the_start_goes_out_in_time_and_once_more_after_it(
    holding: HoldingService,
) -> None:
    @flow(name="nightly", **live_activity_hooks("nightly", total=9, patience=2))
    def nightly() -> None:
        assert holding.is_held.wait(60)

    nightly()
    assert holding.methods == ["PUT", "DELETE"]
    holding.may_go_on.set()
    eventually(lambda: holding.methods == ["PUT", "DELETE", "DELETE"], "the second end")


@pytest.mark.parametrize("holding", [2], indirect=True)
def test_a_service_that_never_answers_an_update_still_gets_the_end(holding: HoldingService) -> None:
    @flow(name="nightly", **live_activity_hooks("nightly", total=9))
    def nightly() -> None:
        work.map([1, 2, 3, 4]).wait()
        assert holding.is_held.wait(60)

    nightly()
    assert holding.methods == ["PUT", "PUT", "DELETE"]


def test_a_run_that_ends_its_stream_itself_starts_it_no_more(sandbox: Sandbox) -> None:
    @flow(name="nightly", **live_activity_hooks("nightly", total=3))
    def nightly() -> None:
        work()
        end_live_activity_stream(
            "nightly", content_state=StatsState(title="Rows", metrics=[Metric(label="Rows", value=7)])
        )
        work()

    @flow(name="anightly", **live_activity_hooks("anightly", total=3))
    async def anightly() -> None:
        await awork()
        await aend_live_activity_stream("anightly")
        await awork()

    nightly()
    asyncio.run(anightly())
    for key in ("nightly", "anightly"):
        story = sandbox.story(key)
        first = next(number for number, request in enumerate(story) if request["method"] == "DELETE")
        assert [request["method"] for request in story[first:]] == ["DELETE", "DELETE"]
        assert story[first + 1]["body"]["content_state"]["current_step"] == 3
    assert sandbox.ends("anightly")[0]["content_state"]["current_step"] == 3


def test_a_stream_that_steps_draw_is_left_to_them_and_ended_by_the_hooks(sandbox: Sandbox) -> None:
    def is_drawn_by_hooks() -> bool:
        return "activitysmith-updates" in {thread.name for thread in threading.enumerate()}

    @flow(name="nightly", **live_activity_hooks("nightly"))
    def nightly() -> None:
        shows(sandbox, title="nightly")
        for number in range(3):
            stream_live_activity("nightly", total=3, done=number, subtitle=f"table {number}")
            assert not is_drawn_by_hooks()
            work()

    @flow(name="anightly", **live_activity_hooks("anightly"))
    async def anightly() -> None:
        await astream_live_activity("anightly", total=3)
        assert not is_drawn_by_hooks()

    nightly()
    asyncio.run(anightly())
    for key, steps in (("nightly", [0, 1, 2]), ("anightly", [0])):
        shown = [request["body"]["content_state"] for request in sandbox.story(key)]
        assert [state.get("current_step") for state in shown] == [None, *steps, None]
        assert sandbox.ends(key)[0]["metadata"]["result"] == "succeeded"


def test_a_stream_that_a_step_started_although_the_hooks_were_refused_is_ended(sandbox: Sandbox) -> None:
    sandbox.limit(max_concurrent=1)
    sandbox.start("other")

    @flow(name="nightly", **live_activity_hooks("nightly", total=3))
    def nightly() -> None:
        eventually(lambda: [one["status"] for one in sandbox.story("nightly")] == [429], "the refusal")
        sandbox.end("other")
        stream_live_activity("nightly", total=3)

    nightly()
    assert sandbox.living() == []
    assert len(sandbox.ends("nightly")) == 1


def test_a_run_that_ends_another_stream_keeps_its_own_moving(sandbox: Sandbox) -> None:
    @flow(name="nightly", **live_activity_hooks("nightly", total=4))
    def nightly() -> None:
        end_live_activity_stream("other")
        work()
        shows(sandbox, current_step=2)

    nightly()
    states(sandbox)


@flow(name="suspending")
def suspending() -> None:
    with LiveActivity("nightly", steps=2) as activity:
        activity.advance()
        suspend_flow_run(timeout=3600)


def test_a_block_of_code_in_a_run_that_is_suspended_keeps_its_stream(sandbox: Sandbox) -> None:
    with get_client(sync_client=True) as client:
        deployment = client.create_deployment(client.create_flow(suspending), "prod")
        run = client.create_flow_run_from_deployment(deployment)
        with contextlib.suppress(Pause):
            run_flow(suspending, flow_run=client.read_flow_run(run.id))
        state = client.read_flow_run(run.id).state
    assert state is not None
    assert state.name == "Suspended"
    assert sandbox.ends("nightly") == []
    assert sandbox.living() == ["nightly"]


def by_hand(live: FlowHooks, end: StateHook) -> dict[str, Any]:
    return {**live, "on_completion": [end, *live["on_completion"]]}


@pytest.mark.parametrize(
    "hooks",
    [
        lambda: end_live_activity_stream_hooks("own", hooks=live_activity_hooks("nightly", total=1)),
        lambda: live_activity_hooks("nightly", total=1, hooks=end_live_activity_stream_hooks("own")),
        lambda: by_hand(live_activity_hooks("nightly", total=1), end_live_activity_stream_hook("own")),
    ],
    ids=["the end first", "the end last", "lists made by hand"],
)
def test_hooks_of_two_streams_on_one_flow_end_one_each(hooks: Any, sandbox: Sandbox) -> None:
    @flow(name="nightly", **hooks())
    def nightly() -> None:
        stream_live_activity("own")
        work()

    nightly()
    for key in ("nightly", "own"):
        (end,) = sandbox.ends(key)
        assert end["metadata"]["result"] == "succeeded"
    assert sandbox.living() == []


def test_two_accounts_are_shown_a_run_each_from_its_start_to_its_end(sandbox: Sandbox) -> None:
    with running_sandbox() as other:
        accounts = [ActivitySmithCredentials(api_key=SecretStr(KEY), base_url=one.base_url) for one in (sandbox, other)]

        @flow(
            name="nightly",
            **live_activity_hooks(
                "nightly", credentials=accounts[0], hooks=live_activity_hooks("nightly", credentials=accounts[1])
            ),
        )
        def nightly() -> None:
            work()

        nightly()
        for one in (sandbox, other):
            assert states(one)[0]["type"] == "progress"
            (end,) = one.ends("nightly")
            assert end["metadata"]["result"] == "succeeded"
            assert one.living() == []


def test_the_key_of_a_run_is_made_once(sandbox: Sandbox) -> None:
    keys = itertools.count()

    @flow(**live_activity_hooks(lambda flow, run: f"nightly-{next(keys)}", total=1))
    def nightly() -> None:
        work()

    nightly()
    states(sandbox, "nightly-0")


def test_a_run_that_is_retried_after_its_stream_was_ended_starts_it_anew(sandbox: Sandbox) -> None:
    attempts: list[int] = []

    @flow(name="nightly", retries=1, **live_activity_hooks("nightly", total=3))
    def nightly() -> None:
        attempts.append(1)
        shows(sandbox, current_step=0)
        if len(attempts) == 1:
            end_live_activity_stream("nightly")
            raise FailedAtLastError

    nightly()
    methods = [(request["method"], request["operation"]) for request in sandbox.story("nightly")]
    assert methods == [("PUT", "started"), ("DELETE", "ended")] * 2


def test_a_run_that_fails_after_it_ended_its_stream_as_a_success_is_shown(sandbox: Sandbox) -> None:
    @flow(name="nightly", **live_activity_hooks("nightly", total=1))
    def nightly() -> None:
        shows(sandbox, current_step=0)
        end_live_activity_stream("nightly")
        raise FailedAtLastError

    nightly(return_state=True)
    operations = [request["operation"] for request in sandbox.story("nightly")]
    assert operations == ["started", "ended", "ended", "started", "ended"]
    assert sandbox.ends("nightly")[-1]["metadata"]["result"] == "failed"


def test_a_failure_that_a_task_has_shown_sounds_once(sandbox: Sandbox) -> None:
    @flow(name="nightly", **live_activity_hooks("nightly", total=1))
    def nightly() -> None:
        shows(sandbox, current_step=0)
        error = FailedAtLastError()
        end_live_activity_stream("nightly", error=error)
        raise error

    nightly(return_state=True)
    assert [request["operation"] for request in sandbox.story("nightly")] == ["started", "ended", "ended"]


def test_a_tasks_hook_that_ends_the_flows_stream_is_the_last_that_sounds(sandbox: Sandbox) -> None:
    @task(on_failure=[end_live_activity_stream_hook("nightly")])
    def load() -> None:
        raise FailedAtLastError

    @flow(name="nightly", **live_activity_hooks("nightly", total=5))
    def nightly() -> None:
        shows(sandbox, current_step=0)
        loading = load.submit()
        loading.wait()
        work()
        nothing_follows()
        loading.result()

    nightly(return_state=True)
    assert [request["operation"] for request in sandbox.story("nightly")] == ["started", "ended", "ended"]
    assert sandbox.ends("nightly")[0]["content_state"]["title"] == "load"


def end_in_a_task() -> None:
    @flow
    def child() -> None:
        end_live_activity_stream("nightly", error=FailedAtLastError())

    child()


def end_in_hooks() -> None:
    @flow(**end_live_activity_stream_hooks("nightly"))
    def child() -> None:
        raise FailedAtLastError

    child(return_state=True)


@pytest.mark.parametrize("end", [end_in_a_task, end_in_hooks])
def test_a_subflow_that_ends_its_parents_stream_keeps_it_ended(end: Callable[[], None], sandbox: Sandbox) -> None:
    @flow(name="nightly", **live_activity_hooks("nightly", total=5))
    def nightly() -> None:
        shows(sandbox, current_step=0)
        end()
        work()
        nothing_follows()
        raise FailedAtLastError

    nightly(return_state=True)
    assert [request["operation"] for request in sandbox.story("nightly")] == ["started", "ended", "ended"]


def test_a_run_that_fails_after_its_subflow_ended_its_stream_as_a_success_is_shown(sandbox: Sandbox) -> None:
    @flow
    def child() -> None:
        end_live_activity_stream("nightly")

    @flow(name="nightly", **live_activity_hooks("nightly", total=5))
    def nightly() -> None:
        shows(sandbox, current_step=0)
        child()
        raise FailedAtLastError

    nightly(return_state=True)
    operations = [request["operation"] for request in sandbox.story("nightly")]
    assert operations == ["started", "ended", "ended", "started", "ended"]
    assert sandbox.ends("nightly")[-1]["metadata"]["result"] == "failed"


def test_a_failure_of_a_run_without_a_place_is_shown_although_an_earlier_run_ended_the_stream(sandbox: Sandbox) -> None:
    sandbox.start("nightly")
    sandbox.end("nightly")
    sandbox.start("another")
    sandbox.limit(max_concurrent=1)

    @flow(name="nightly", **live_activity_hooks("nightly", total=1))
    def nightly() -> None:
        eventually(lambda: len(sandbox.story("nightly")) == 3, "the refused start")
        sandbox.end("another")
        raise FailedAtLastError

    nightly(return_state=True)
    assert [request["status"] for request in sandbox.story("nightly")[2:]] == [429, 200, 200, 200]
    assert [request["operation"] for request in sandbox.story("nightly")[4:]] == ["started", "ended"]


def test_each_run_of_a_flow_starts_and_ends_its_stream(sandbox: Sandbox) -> None:
    @flow(name="nightly", **live_activity_hooks("nightly", total=1))
    def nightly() -> None:
        work()

    nightly()
    nightly()
    operations = [request["operation"] for request in sandbox.story("nightly")]
    assert operations == ["started", "ended"] * 2


# When it goes wrong


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 401}, {"status": 200, "body": "<html>"}, {"drop": True}])
def test_a_service_at_fault_changes_no_run(
    fault: dict[str, Any], sandbox: Sandbox, caplog: pytest.LogCaptureFixture
) -> None:
    @flow(name="nightly", **live_activity_hooks("nightly", total=3))
    def nightly() -> int:
        return sum(work.map([1, 2]).result())

    sandbox.inject_fault(times=99, stream_key="nightly", **fault)
    assert nightly() == 3
    lines = [record.getMessage() for record in caplog.records if record.name == "prefect.flow_runs"]
    assert sum(" been started" in line or "was not started" in line for line in lines) == 1
    assert sum("ended" in line or "never shown" in line for line in lines) == 1
    assert KEY not in caplog.text


@pytest.mark.parametrize(
    ("credentials", "said"), [(None, "ACTIVITYSMITH_API_KEY"), ("none-of-this-name", "none-of-this-name")]
)
def test_what_goes_wrong_before_the_start_is_one_line_and_changes_no_run(
    credentials: str | None, said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("ACTIVITYSMITH_API_KEY", raising=False)

    @flow(name="nightly", **live_activity_hooks(total=3, credentials=credentials))
    def nightly() -> int:
        return work(7)

    assert nightly() == 7
    lines = [record.getMessage() for record in caplog.records if "was not started" in record.getMessage()]
    assert len(lines) == 1
    assert said in lines[0]
    assert "\n" not in lines[0]


# Other processes


@contextmanager
def another_process(sandbox: Sandbox, *command: str) -> Iterator[None]:
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    environment = {**os.environ, **settings, "ACTIVITYSMITH_API_KEY": KEY, "ACTIVITYSMITH_BASE_URL": sandbox.base_url}
    python = [sys.executable, "-W", "ignore", *command]
    with subprocess.Popen(python, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            yield
            output, _ = process.communicate(timeout=120)
        except BaseException:
            process.kill()
            raise
    assert process.returncode == 0, output.decode()


def test_a_pickled_flow_works_in_another_process_and_carries_no_key(sandbox: Sandbox, tmp_path: Any) -> None:
    cloudpickle = pytest.importorskip("cloudpickle")
    scope: dict[str, Any] = {"__name__": "__main__", "live_activity_hooks": live_activity_hooks}
    exec(PICKLED, scope)
    scope["nightly"]()  # what it leaves behind in this process is not to be pickled, either
    pickled = cloudpickle.dumps(scope["nightly"])
    assert KEY.encode() not in pickled
    path = tmp_path / "flow.pickle"
    path.write_bytes(pickled)
    with another_process(sandbox, "-c", "import pickle, sys\npickle.load(open(sys.argv[1], 'rb'))()", str(path)):
        pass
    assert [request["operation"] for request in sandbox.story("nightly")].count("ended") == 2
    assert [end["content_state"]["current_step"] for end in sandbox.ends("nightly")] == [2, 2]


PICKLED = """
from prefect import flow, task

@task
def work(number): ...

@flow(name="nightly", **live_activity_hooks("nightly", total=2))
def nightly():
    work.map([1, 2]).wait()
"""

IN_PROCESSES = """
import pathlib, sys, time
from prefect import flow, task
from prefect.task_runners import ProcessPoolTaskRunner
from activitysmith_integrations.prefect import live_activity_hooks

@task
def work(number):
    return number

@flow(name="nightly", task_runner=ProcessPoolTaskRunner(max_workers=1), **live_activity_hooks("nightly", total=3))
def nightly():
    work.submit(1).result()
    work.submit(2).result()
    while not pathlib.Path(sys.argv[1]).exists():
        time.sleep(0.1)
    raise RuntimeError("at last")

if __name__ == "__main__":
    nightly(return_state=True)
"""


def test_tasks_that_run_in_other_processes_are_counted(sandbox: Sandbox, tmp_path: Any) -> None:
    path = tmp_path / "in_processes.py"
    path.write_text(IN_PROCESSES)
    go_on = tmp_path / "go-on"
    with another_process(sandbox, str(path), str(go_on)):
        shows(sandbox, current_step=2)
        go_on.touch()
    assert states(sandbox)[-1]["current_step"] == 2
    assert sandbox.ends("nightly")[0]["metadata"]["result"] == "failed"


FAILS_IN_A_PROCESS = """
from prefect import flow, task
from prefect.task_runners import ProcessPoolTaskRunner
from activitysmith_integrations.prefect import live_activity_hooks

@task
def load():
    raise RuntimeError("it is full")

@flow(name="nightly", task_runner=ProcessPoolTaskRunner(max_workers=1), **live_activity_hooks("nightly", total=1))
def nightly():
    load.submit().result()

if __name__ == "__main__":
    nightly(return_state=True)
"""


def test_a_task_that_fails_in_another_process_is_named(sandbox: Sandbox, tmp_path: Any) -> None:
    path = tmp_path / "fails_in_a_process.py"
    path.write_text(FAILS_IN_A_PROCESS)
    with another_process(sandbox, str(path)):
        pass
    (end,) = sandbox.ends("nightly")
    assert end["content_state"]["message"].startswith("load failed after ")
