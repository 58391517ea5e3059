"""How a run is followed, and what becomes of it where no hook is called. The end of each process is the assertion."""

import asyncio
import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID, uuid4

import pytest

pytest.importorskip("prefect")

from prefect import flow, get_client, runtime, task
from prefect.client.schemas.objects import FlowRun, State, StateDetails, StateType
from prefect.settings import PREFECT_API_URL, get_current_settings, temporary_settings
from prefect.states import AwaitingRetry, Cancelled, Completed, Crashed, Failed, Running, Scheduled, Suspended
from pydantic import SecretStr
from support.peer import Peer, read_request
from support.processes import eventually
from support.sandbox import KEY, Sandbox
from support.service import ENDED

from activitysmith_integrations.core import ActivitySmithClient
from activitysmith_integrations.prefect import ActivitySmithCredentials, live_activity_hooks, open_runs
from activitysmith_integrations.prefect.follower import Follower
from activitysmith_integrations.prefect.hooks import HookSettings
from activitysmith_integrations.prefect.run_watch import (
    are_final,
    has_left,
    latest_attempt,
    seconds_between_looks,
)
from activitysmith_integrations.prefect.runs import running_outcome
from activitysmith_integrations.prefect.task_counts import TaskCounts, count_tasks, first_failed_task, impatient_client

NOW = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)


def test_a_run_is_looked_at_every_second_at_first_and_every_fifteen_in_the_end() -> None:
    assert [seconds_between_looks(age) for age in (0, 20, 60, 300, 36_000)] == [1, 1, 3, 15, 15]


def test_a_long_run_costs_the_api_little() -> None:
    age, looks = 0.0, 0
    while age < 3600:
        age += seconds_between_looks(age)
        looks += 1
    assert looks < 300


def test_a_process_with_many_runs_asks_twice_a_second() -> None:
    assert [seconds_between_looks(age, 200) for age in (0, 36_000)] == [100, 100]
    assert [seconds_between_looks(age, 4) for age in (0, 36_000)] == [2, 15]
    assert seconds_between_looks(0, 2) == 1


@pytest.mark.parametrize(
    ("counts", "options", "final"),
    [
        (TaskCounts(3), {"total": 3}, True),
        (TaskCounts(3, unfinished=1), {"total": 3}, False),
        (TaskCounts(2), {"total": 3}, False),
        (TaskCounts(4), {"total": 3}, False),
        (TaskCounts(4), {"total": 3, "unchanged_for": 0.5}, True),
        (TaskCounts(2), {"total": 3, "unchanged_for": 0.5}, True),
        (TaskCounts(2), {"total": None, "unchanged_for": 0.5}, True),
        (TaskCounts(2), {"total": None, "unchanged_for": 0.5, "answer_seconds": 0.1}, False),  # it is busy
        (TaskCounts(2), {"total": None, "unchanged_for": 1.0, "answer_seconds": 0.1}, True),
        (TaskCounts(2, unfinished=1), {"total": None, "unchanged_for": 0.5}, False),
        (TaskCounts(2, unfinished=1), {"total": None, "unchanged_for": 2.0}, True),  # one that goes on by itself
        (TaskCounts(3), {"total": 3, "failed": 1, "unchanged_for": 9.0}, False),
        (TaskCounts(3, failed=1), {"total": 3, "failed": 1}, True),
    ],
)
def test_the_api_knows_all_tasks_once_its_answer_is_complete_or_stays_the_same(
    counts: TaskCounts, options: dict[str, Any], final: bool
) -> None:
    assert are_final(counts, **{"failed": 0, "unchanged_for": 0.0, "answer_seconds": 0.01, **options}) == final


class RefusingApi:
    """A Prefect API that answers each question with one status."""

    def __init__(self, status: str) -> None:
        self.questions = 0
        self._status = status.encode()
        self.peer = Peer(self._answer)

    def _answer(self, connection: socket.socket) -> None:
        while True:
            read_request(connection)
            self.questions += 1
            connection.sendall(b"HTTP/1.1 %b\r\nContent-Length: 2\r\n\r\n{}" % self._status)


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ("401 Unauthorized", "(401 Unauthorized). Set PREFECT_API_KEY, or PREFECT_API_AUTH_STRING"),
        ("403 Forbidden", "(403 Forbidden). Give the key in PREFECT_API_KEY the right to read task runs."),
        ("404 Not Found", "(404 Not Found)."),
        ("503 Service Unavailable", None),
        ("429 Too Many Requests", None),
    ],
)
def test_a_prefect_api_that_refuses_to_tell_is_one_warning(status: str, said: str | None, sandbox: Sandbox) -> None:
    api = RefusingApi(status)
    lines: list[str] = []
    subject, run = flow(nightly), FlowRun(id=uuid4(), flow_id=uuid4(), name="quick-fox")
    outcome = running_outcome(subject, run)
    with temporary_settings({PREFECT_API_URL: f"{api.peer.base_url}/api"}):
        follower = Follower(
            "nightly",
            outcome,
            run,
            HookSettings("nightly", None, 10, {}),
            lambda level, line: lines.append(line) if level >= logging.WARNING else None,
            lambda follower: None,
        )
        follower.start()
    eventually(lambda: api.questions >= 3 and (lines or not said), "several questions, and the warning")
    follower.stop(outcome)
    follower.close()
    api.peer.close()
    assert len(lines) == (1 if said else 0)
    if said:
        assert said in lines[0]


def paused(*, reschedule: bool) -> State[Any]:
    details = StateDetails(pause_reschedule=reschedule)
    return State(type=StateType.PAUSED, name="Suspended" if reschedule else "Paused", state_details=details)


@pytest.mark.parametrize(
    ("state", "age", "left"),
    [
        (Running(), timedelta(days=9), False),
        (paused(reschedule=False), timedelta(days=9), False),
        (paused(reschedule=True), timedelta(0), True),
        (Completed(), timedelta(seconds=10), False),
        (Completed(), timedelta(minutes=3), True),
        (Cancelled(), timedelta(minutes=3), True),
    ],
)
def test_a_run_has_left_once_it_is_suspended_or_over_for_longer_than_hooks_take(
    state: State[Any], age: timedelta, left: bool
) -> None:
    run = FlowRun(id=uuid4(), flow_id=uuid4(), state=state.model_copy(update={"timestamp": NOW - age}))
    assert has_left(run, NOW) == left


def at(second: int, state: State[Any]) -> State[Any]:
    return state.model_copy(update={"timestamp": NOW + timedelta(seconds=second)})


@pytest.mark.parametrize(
    ("states", "began", "over"),
    [
        ([], None, None),
        ([at(0, Scheduled()), at(9, Crashed())], None, None),
        ([at(1, Running()), at(3, Completed())], 1, None),
        ([at(1, Running()), at(3, AwaitingRetry()), at(5, Running()), at(7, Failed())], 1, None),
        ([at(1, Running()), at(3, Failed()), at(60, Scheduled()), at(61, Running()), at(65, Failed())], 61, 3),
        ([at(1, Running()), at(3, Failed()), at(61, Running()), at(63, Suspended()), at(90, Running())], 61, 3),
    ],
)
def test_a_run_that_is_run_again_began_with_its_latest_attempt(
    states: list[State[Any]], began: int | None, over: int | None
) -> None:
    assert latest_attempt(states) == tuple(
        None if second is None else NOW + timedelta(seconds=second) for second in (began, over)
    )


def test_a_run_without_tasks_has_counts_of_zero(server: None) -> None:
    with impatient_client() as api:
        assert count_tasks(api, uuid4(), datetime.now(UTC) - timedelta(days=1)) == TaskCounts()
        assert first_failed_task(api, uuid4(), datetime.now(UTC) - timedelta(days=1)) is None


class LateCredentials(ActivitySmithCredentials):
    """An account that is known only once the test says so."""

    _block_type_slug = "late-credentials"
    _is_known: ClassVar = threading.Event()

    def get_client(self, **options: Any) -> ActivitySmithClient:
        if threading.current_thread().name == "activitysmith-follower":
            self._is_known.wait(60)
        return super().get_client(**options)


def nightly() -> None: ...


def test_a_stream_whose_account_is_known_only_after_the_runs_end_is_not_started(sandbox: Sandbox) -> None:
    account = LateCredentials(api_key=SecretStr(KEY), base_url=sandbox.base_url)
    subject, run = flow(nightly), FlowRun(id=uuid4(), flow_id=uuid4(), name="quick-fox")
    outcome = running_outcome(subject, run)
    settings = HookSettings("nightly", account, 2, {})
    follower = Follower("nightly", outcome, run, settings, lambda level, line: None, lambda follower: None)
    follower.start()
    follower.stop(outcome)
    account._is_known.set()
    for thread in threading.enumerate():
        if thread.name.startswith("activitysmith"):
            thread.join(60)
    assert sandbox.all_requests() == []
    assert follower.was_never_shown


def test_a_machine_without_a_thread_to_give_hides_no_failure(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def start_none_that_follows(thread: threading.Thread) -> None:
        if thread.name == "activitysmith-follower":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_none_that_follows)
    hooks = live_activity_hooks("nightly")
    subject, run = flow(nightly), FlowRun(id=uuid4(), flow_id=uuid4(), name="quick-fox")
    for hook, state in ((hooks["on_running"][0], Running()), (hooks["on_failure"][0], Failed())):
        asyncio.run(hook(subject, run, state))  # type: ignore[arg-type]
    assert [end["metadata"]["result"] for end in sandbox.ends("nightly")] == ["failed"]


SCRIPT = """
import os, signal, sys, time
from prefect import flow, get_client, runtime, task
from prefect.exceptions import Pause
from prefect.states import Cancelled, Suspended
from activitysmith_integrations.prefect import live_activity_hooks, open_runs

@task
def step(): ...

hooks = live_activity_hooks("nightly", total=3)

@flow(name="nightly", **hooks)
def cancelled():
    step()
    return Cancelled()

@flow(name="nightly", **hooks)
def interrupted():
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its jobs in the background ignore it
    step()
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(60)

@flow(name="nightly", **hooks)
def exiting():
    step()
    sys.exit(3)

@flow(name="nightly", **hooks)
def silenced():
    # As in a flow whose worker is killed: the console is a pipe that nobody reads any more.
    read, write = os.pipe()
    os.close(read)
    os.dup2(write, 1)
    os.dup2(write, 2)

@flow(name="nightly", **hooks)
def forking():
    step()
    child = os.fork()
    if not child:
        open_runs._end_open_runs()  # as its exit would; what the parent shows is not its child's to end
        os._exit(0)
    os.waitpid(child, 0)
    step()

@flow(name="part", **hooks)
def part(parent_id):
    step()
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(parent_id, Suspended(timeout_seconds=60), force=True)  # as from the UI
    raise Pause  # as the engine does then, which leaves the subflow running

@flow(name="whole")
def suspended():
    part(runtime.flow_run.id)

globals()[sys.argv[1]](return_state=True)
"""


def run(sandbox: Sandbox, tmp_path: Any, which: str) -> list[dict[str, Any]]:
    """The story of the stream of a run in a process of its own."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    environment = {**os.environ, **settings, "ACTIVITYSMITH_API_KEY": KEY, "ACTIVITYSMITH_BASE_URL": sandbox.base_url}
    command = [sys.executable, "-W", "ignore", str(path), which]
    done = subprocess.run(command, env=environment, timeout=120, capture_output=True)
    assert b"Logging error" not in done.stderr
    return sandbox.story("nightly")


def test_a_subflow_of_whose_parent_the_api_does_not_tell_is_over_with_its_process() -> None:
    class Unreachable:
        def read_task_run(self, task_run_id: UUID) -> None:
            raise OSError

    api: Any = Unreachable()
    run = FlowRun(id=uuid4(), flow_id=uuid4(), parent_task_run_id=uuid4(), state=Running())
    assert not open_runs._goes_on(api, run)


def test_a_subflow_whose_run_is_suspended_goes_on_with_it(sandbox: Sandbox, tmp_path: Any, server: None) -> None:
    assert [request["operation"] for request in run(sandbox, tmp_path, "suspended")][:1] == ["started"]
    assert sandbox.living() == ["nightly"]


@pytest.mark.parametrize(
    ("which", "result", "alerts"),
    [
        ("cancelled", "cancelled", False),
        ("interrupted", "cancelled", False),
        ("exiting", "crashed", True),
        ("silenced", "succeeded", False),
    ],
)
def test_what_a_process_still_shows_when_it_exits_is_ended_as_the_run_went(
    which: str, result: str, alerts: bool, sandbox: Sandbox, server: None, tmp_path: Any
) -> None:
    story = run(sandbox, tmp_path, which)
    assert [request["operation"] for request in story if request["operation"] != "updated"] == ["started", "ended"]
    end = story[-1]["body"]
    assert (end["metadata"]["result"], "alert" in end) == (result, alerts)


def test_a_forked_child_ends_nothing_that_its_parent_shows(sandbox: Sandbox, server: None, tmp_path: Any) -> None:
    story = run(sandbox, tmp_path, "forking")
    assert [request["operation"] for request in story].count("ended") == 1
    assert story[-1]["body"]["metadata"]["result"] == "succeeded"


EXITING = """
import sys, threading
from prefect import flow
from prefect.states import Cancelled
from activitysmith_integrations.prefect import live_activity_hooks

@flow(**live_activity_hooks())
def nightly():
    return Cancelled()

runs = [threading.Thread(target=nightly, kwargs={"return_state": True}) for _ in range(4)]
for run in runs:
    run.start()
for run in runs:
    run.join()
"""


def test_the_runs_that_a_process_still_shows_when_it_exits_are_ended_at_once(server: None, tmp_path: Any) -> None:
    together = threading.Barrier(4, timeout=60)

    def answer(connection: socket.socket) -> None:
        while True:
            request = read_request(connection)
            length = int(request.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            while len(request.partition(b"\r\n\r\n")[2]) < length:
                request += connection.recv(65536)
            is_end = request.startswith(b"DELETE")
            if is_end:
                together.wait()  # nobody is answered before all four have asked
            text = json.dumps({**ENDED, "operation": "ended" if is_end else "started"}).encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(text), text))

    peer = Peer(answer)
    path = tmp_path / "script.py"
    path.write_text(EXITING)
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    environment = {**os.environ, **settings, "ACTIVITYSMITH_API_KEY": KEY, "ACTIVITYSMITH_BASE_URL": peer.base_url}
    command = [sys.executable, "-W", "ignore", str(path)]
    done = subprocess.run(command, env=environment, timeout=120, capture_output=True, text=True)
    peer.close()
    assert not together.broken
    assert done.stderr.count("Ended Live Activity stream") == 4, done.stderr


@task(task_run_name="load {table}")
def load(table: str) -> None:
    raise RuntimeError("it is full")


@task
def unload() -> None:
    raise RuntimeError("it is empty")


@flow
def failing_in_named_runs() -> None:
    load("orders", return_state=True)
    unload(return_state=True)


@flow
def failing() -> None:
    unload(return_state=True)


@pytest.mark.parametrize(
    ("subject", "failed", "name"), [(failing_in_named_runs, 2, "load orders"), (failing, 1, "unload")]
)
def test_the_failed_task_that_began_first_is_named_as_people_named_it(
    subject: Any, failed: int, name: str, server: None
) -> None:
    since = datetime.now(UTC) - timedelta(days=1)
    run_id = subject(return_state=True).state_details.flow_run_id
    with impatient_client() as api:
        eventually(lambda: count_tasks(api, run_id, since).failed == failed, "the failed tasks")
        assert first_failed_task(api, run_id, since) == name
        assert count_tasks(api, run_id, datetime.now(UTC) + timedelta(hours=1)) == TaskCounts()


@flow(**live_activity_hooks("nightly"))
def failing_for_one_table() -> None:
    unload(return_state=True)
    load("orders")


@flow
def part() -> None:
    load("customers")


@flow(**live_activity_hooks("nightly"))
def failing_in_a_part() -> None:
    part()


@pytest.mark.parametrize(
    ("subject", "name"), [(failing_for_one_table, "load orders"), (failing_in_a_part, "load customers")]
)
def test_the_end_names_the_task_that_failed_as_people_named_it(
    subject: Any, name: str, sandbox: Sandbox, server: None
) -> None:
    subject(return_state=True)
    (end,) = sandbox.ends("nightly")
    assert end["content_state"]["message"].startswith(f"{name} failed after 0 tasks")


def test_a_run_that_gets_its_name_while_it_goes_on_is_shown_by_it(sandbox: Sandbox, server: None) -> None:
    @flow(**live_activity_hooks("nightly"))
    def renamed() -> None:
        with get_client(sync_client=True) as client:
            client.update_flow_run(runtime.flow_run.id, name="orders-2026-11-28")
        eventually(lambda: "orders-2026-11-28" in str(sandbox.story("nightly")), "the name")

    renamed()


@task
def stopped() -> None:
    raise SystemExit


@flow
def going_on_after_a_crash() -> None:
    with contextlib.suppress(SystemExit):
        stopped()


def test_a_crashed_task_counts_as_failed_and_is_not_named_since_a_cancellation_crashes_tasks_too(server: None) -> None:
    since = datetime.now(UTC) - timedelta(days=1)
    run_id = going_on_after_a_crash(return_state=True).state_details.flow_run_id
    with impatient_client() as api:
        eventually(lambda: count_tasks(api, run_id, since).failed == 1, "the crashed task")
        assert first_failed_task(api, run_id, since) is None


def test_asking_leaves_the_retries_of_other_clients_alone(server: None) -> None:
    from prefect.settings import PREFECT_CLIENT_MAX_RETRIES

    before = PREFECT_CLIENT_MAX_RETRIES.value()
    with impatient_client() as api:
        assert (PREFECT_CLIENT_MAX_RETRIES.value(), api.hello().status_code) == (0, 200)
    assert PREFECT_CLIENT_MAX_RETRIES.value() == before
    with get_client(sync_client=True) as client:
        assert client.hello().status_code == 200
