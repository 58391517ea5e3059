"""A real server without our package, ``serve``, a process worker and plain scripts, against the sandbox.

The runs of all tests start together, since each takes seconds to be picked up; the tests look at what came of them.
"""

import contextlib
import itertools
import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("prefect")

from packaging.version import Version
from support.databases import PostgreSQL
from support.prefect import SAVE_BLOCK, Prefect
from support.processes import DeploymentError, eventually
from support.sandbox import KEY, Sandbox, running_sandbox

from activitysmith_integrations.core import stream_key

FLOWS = str(Path(__file__).with_name("prefect_flows.py"))
PREFECT = version("prefect")
# `serve(...)` called no hooks of such runs until https://github.com/PrefectHQ/prefect/pull/22175.
LOST_BY_SERVE = ("crashed", "cancelled") if Version(PREFECT) < Version("3.7.3") else ()


class Case(NamedTuple):
    """A run, and what is to come of it."""

    flow: str
    how: str
    state: str
    result: str
    message: str


CASES = {
    "success": Case("live-job", "succeed", "COMPLETED", "succeeded", ""),
    "failure": Case("live-job", "fail", "FAILED", "failed", "load failed after "),
    "timeout": Case("live-too-slow", "", "FAILED", "timed_out", "Timed out after "),
    "recovery": Case("live-recovering", "", "COMPLETED", "succeeded", ""),
    # The worker of Prefect 3.6 calls the hook, not the flow's process, which knows the task.
    "sigterm": Case(
        "live-job", "sigterm", "CRASHED", "crashed", "Crashed after " if PREFECT.startswith("3.6.") else "load crashed"
    ),
    "sigkill": Case("live-job", "sigkill", "CRASHED", "crashed", "Crashed"),
    "cancel": Case("live-job", "sleep", "CANCELLED", "cancelled", "Cancelled after "),
    "subflow": Case("live-parent", "", "COMPLETED", "succeeded", ""),
    "async-success": Case("live-async", "succeed", "COMPLETED", "succeeded", ""),
    "async-failure": Case("live-async", "fail", "FAILED", "failed", "load failed after "),
    "mapped": Case("live-mapped", "", "COMPLETED", "succeeded", ""),
}
HOSTS = ("serve", "worker")

AUTOMATE = """
import sys
from datetime import timedelta
from prefect import get_client
from activitysmith_integrations.prefect import live_activity_automation
with get_client(sync_client=True) as client:
    client.create_flow_from_name("live-unhooked")
lost_after = timedelta(seconds=int(sys.argv[1])) if sys.argv[1:] else None
live_activity_automation("live-unhooked", "unhooked", credentials="live", lost_after=lost_after)
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def processes(sandbox: Sandbox, postgres: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefect]:
    database, variables = postgres.database("deployments"), {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
    with Prefect(tmp_path_factory.mktemp("prefect"), variables, database=database) as processes:
        processes.run("save-block", "-c", SAVE_BLOCK, sandbox.base_url, "live")
        yield processes


@pytest.fixture(scope="module")
def run_ids(processes: Prefect, sandbox: Sandbox) -> dict[tuple[str, str], str]:
    """One run of every case on every host, all started."""
    for host in HOSTS:
        sandbox.start(*(f"{host}-{name}" for name in CASES), f"{host}-subflow-child")
        sandbox.start(*(f"{host}-mapped-{number}" for number in range(3)))
    processes.python("serve", FLOWS, "serve")
    make_worker(processes, "worker")
    ids = {}
    for name, case in CASES.items():
        for host in HOSTS:
            deployment = f"{case.flow}/{host}"
            ids[host, name] = processes.create_run(deployment, stream=f"{host}-{name}", how=case.how)
    for host in HOSTS:
        started = processes.directory / f"{host}-cancel"
        eventually(started.exists, f"{host} to start the run that is cancelled", seconds=180)
        processes.cancel(ids[host, "cancel"])
    return ids


def make_worker(processes: Prefect, pool: str) -> "subprocess.Popen[bytes]":
    """A work pool, the flows deployed to it, and its worker."""
    processes.run(f"pool-{pool}", "-m", "prefect", "work-pool", "create", pool, "--type", "process")
    processes.run(f"deploy-{pool}", FLOWS, "deploy", pool)
    return processes.python(pool, "-m", "prefect", "worker", "start", "--pool", pool, "--limit", "4")


def final_state(processes: Prefect, run_id: str) -> Any:
    def look() -> Any:
        state = processes.state(run_id)
        return state if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

    return eventually(look, f"the end of run {run_id}", seconds=240, every=0.5)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("name", CASES)
def test_a_run_ends_its_stream_once_and_right(
    host: str, name: str, processes: Prefect, sandbox: Sandbox, run_ids: dict[tuple[str, str], str]
) -> None:
    case, run_id, stream = CASES[name], run_ids[host, name], f"{host}-{name}"
    if host == "serve" and case.result in LOST_BY_SERVE:
        pytest.skip(f"serve(...) of Prefect {PREFECT} calls no hooks of runs that crash or are cancelled")
    assert final_state(processes, run_id)["type"] == case.state
    # The hooks of a run that completed or failed begin only after its state is known.
    (end,) = eventually(lambda: sandbox.ends(stream), f"the end of {stream}")
    assert end["metadata"]["result"] == case.result
    assert end["content_state"].get("message", "").startswith(case.message)
    assert ("action" in end) == (case.result != "succeeded")
    line = f"Ended Live Activity stream '{stream}' as {case.result.replace('_', ' ')}."
    if case.how == "sigterm":  # Prefect lets such a process die with the lines that it has not yet sent
        eventually(lambda: line in processes.output(host), "the line in the worker's log")
    else:
        eventually(lambda: line in processes.log_lines(run_id), "the line on the run's page", every=0.5)
    assert len([request for request in sandbox.requests() if request["stream_key"] == stream]) == 1


@pytest.mark.parametrize("host", HOSTS)
def test_a_subflow_and_mapped_tasks_end_streams_of_their_own(
    host: str, processes: Prefect, sandbox: Sandbox, run_ids: dict[tuple[str, str], str]
) -> None:
    for name in ("subflow", "mapped"):
        final_state(processes, run_ids[host, name])
    (child,) = sandbox.ends(f"{host}-subflow-child")
    assert child["metadata"]["pipeline"] == "live-job"
    results = [[end["metadata"]["result"] for end in sandbox.ends(f"{host}-mapped-{number}")] for number in range(3)]
    assert results == [["succeeded"], ["failed"], ["succeeded"]]


def test_a_served_flow_that_is_pickled_for_each_run_ends_its_stream(processes: Prefect, sandbox: Sandbox) -> None:
    sandbox.start("pickled")
    server = processes.python("serve-one", FLOWS, "serve-one")
    run_id = processes.create_run("live-job/serve-one", stream="pickled", how="sigkill")
    assert final_state(processes, run_id)["type"] == "CRASHED"
    (end,) = eventually(lambda: sandbox.ends("pickled"), "the end of the stream")
    assert end["metadata"]["result"] == "crashed"
    os.killpg(server.pid, signal.SIGKILL)


# From the first task to the last


@pytest.fixture(scope="module")
def busy(processes: Prefect) -> Iterator[Sandbox]:
    """A service that shows four Live Activities at once and no more, as the real one does."""
    with running_sandbox() as sandbox:
        sandbox.limit(max_concurrent=4)
        processes.run("save-busy-block", "-c", SAVE_BLOCK, sandbox.base_url, "busy")
        yield sandbox


MOVING = {
    "moving": Case("live-moving", "succeed", "COMPLETED", "succeeded", ""),
    "uncounted": Case("live-uncounted", "succeed", "COMPLETED", "succeeded", ""),
    "middle": Case("live-short", "fail", "COMPLETED", "succeeded", ""),
    "killed": Case("live-doomed", "sigkill", "CRASHED", "crashed", "Crashed"),
    "cancelled": Case("live-doomed", "sleep", "CANCELLED", "cancelled", "Cancelled after "),
    "terminated": Case("live-doomed", "sigterm", "CRASHED", "crashed", "step crashed after 10 of 20 tasks"),
    **{f"four-{number}": Case("live-short", "together", "COMPLETED", "succeeded", "") for number in range(4)},
}


@pytest.fixture(scope="module")
def moving_ids(processes: Prefect, busy: Sandbox) -> dict[str, str]:
    """One run of every case, all started."""
    processes.python("serve-moving", FLOWS, "serve-moving")
    ids = {
        name: processes.create_run(f"{case.flow}/moving", stream=name, how=case.how) for name, case in MOVING.items()
    }
    eventually((processes.directory / "step-10").exists, "the run that is cancelled", seconds=180)
    processes.cancel(ids["cancelled"])
    return ids


def one_life(story: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The states that a run showed while it went on, and the body of its end, which was the last word."""
    assert [request["status"] for request in story] == [200] * len(story)
    operations = [request["operation"] for request in story]
    assert operations == ["started"] + ["updated"] * (len(story) - 2) + ["ended"]
    assert len(operations) - 1 <= 12
    return [request["body"]["content_state"] for request in story[:-1]], story[-1]["body"]


@pytest.mark.parametrize("name", MOVING)
def test_a_run_is_shown_from_its_first_task_to_its_last(
    name: str, processes: Prefect, sandbox: Sandbox, busy: Sandbox, moving_ids: dict[str, str]
) -> None:
    case = MOVING[name]
    if case.result in LOST_BY_SERVE:
        pytest.skip(f"serve(...) of Prefect {PREFECT} calls no hooks of runs that crash or are cancelled")
    service = sandbox if case.flow == "live-doomed" else busy
    assert final_state(processes, moving_ids[name])["type"] == case.state
    eventually(lambda: service.ends(name), f"the end of {name}")
    shown, end = one_life(service.story(name))
    assert end["metadata"]["result"] == case.result
    assert end["content_state"].get("message", "").startswith(case.message)
    if name == "uncounted":
        assert shown[0]["type"] == "progress"
        assert shown[-1]["subtitle"].endswith(" done")
        assert end["content_state"]["percentage"] == 100
        return
    steps = [state["current_step"] for state in shown]
    assert steps == sorted(steps)
    assert name != "moving" or steps[-1] > 1
    # Work this short can be over before its failure is shown, but never is anything else.
    reds = {state["subtitle"].partition(" · ")[2] for state in shown if "step_color" in state}
    assert reds <= ({"step failed"} if case.how == "fail" else set())
    if case.result == "succeeded":
        assert (end["content_state"]["current_step"], end["content_state"]["number_of_steps"]) == (10, 10)
    if case.how == "fail":
        assert end["content_state"]["subtitle"].endswith(", 1 task failed")


def test_another_run_starts_and_ends_the_stream_again(
    processes: Prefect, busy: Sandbox, moving_ids: dict[str, str]
) -> None:
    final_state(processes, moving_ids["middle"])
    eventually(lambda: busy.ends("middle"), "the end of the first run")
    before = len(busy.story("middle"))
    again = processes.create_run("live-short/moving", stream="middle-again", how="succeed")
    assert final_state(processes, again)["type"] == "COMPLETED"
    eventually(lambda: len(busy.ends("middle")) == 2, "the end of the second run")
    one_life(busy.story("middle")[before:])


def test_nothing_arrived_after_the_ends(
    processes: Prefect, sandbox: Sandbox, busy: Sandbox, moving_ids: dict[str, str]
) -> None:
    for name, run_id in moving_ids.items():
        if MOVING[name].result in LOST_BY_SERVE:
            continue
        final_state(processes, run_id)
        story = (sandbox if MOVING[name].flow == "live-doomed" else busy).story(name)
        assert story[-1]["method"] == "DELETE"
    assert busy.living() == []


# One run, one stream

OWN = {
    "long": ("COMPLETED", "succeeded"),
    "short": ("COMPLETED", "succeeded"),
    "fail": ("FAILED", "failed"),
    "cancelled": ("CANCELLED", "cancelled"),
}


@pytest.mark.parametrize("host", HOSTS)
def test_runs_of_one_flow_that_overlap_have_a_life_each(
    host: str, processes: Prefect, sandbox: Sandbox, run_ids: dict[tuple[str, str], str]
) -> None:
    ids = {how: processes.create_run(f"live-own/{host}", stream=f"{host}-own-{how}", how=how) for how in OWN}
    for how, (state, result) in OWN.items():
        assert final_state(processes, ids[how])["type"] == state
        if host == "serve" and result in LOST_BY_SERVE:
            continue
        key = stream_key("live-own", ids[how])
        eventually(lambda: sandbox.ends(key), f"the end of {key}")  # noqa: B023 - called at once
        _, end = one_life(sandbox.story(key))
        assert end["metadata"]["result"] == result


def test_a_run_that_is_suspended_goes_on_where_it_was(
    processes: Prefect, sandbox: Sandbox, run_ids: dict[tuple[str, str], str]
) -> None:
    run_id = processes.create_run("live-own/serve", stream="own-suspended", how="suspend")
    key = stream_key("live-own", run_id)

    def is_half_done() -> bool:
        return any(request["body"]["content_state"]["current_step"] == 2 for request in sandbox.story(key))

    eventually(is_half_done, "its two tasks to be shown", seconds=180)
    (processes.directory / "own-suspended-may-end").touch()
    eventually(lambda: processes.state(run_id)["name"] == "Suspended", "the run to be suspended", every=0.5)
    assert key in sandbox.living()
    processes.api.post(f"flow_runs/{run_id}/resume").raise_for_status()
    assert final_state(processes, run_id)["type"] == "COMPLETED"
    eventually(lambda: sandbox.ends(key), "the end of the stream")
    story = sandbox.story(key)
    assert [request["operation"] for request in story].count("started") == 1
    steps = [request["body"]["content_state"]["current_step"] for request in story]
    assert steps == sorted(steps)


def test_runs_whose_worker_is_killed_end_their_streams(processes: Prefect, sandbox: Sandbox) -> None:
    worker = make_worker(processes, "killed")
    ids = [processes.create_run("live-own/killed", stream=f"killed-{how}", how=how) for how in ("quiet", "wait")]
    keys = [stream_key("live-own", run_id) for run_id in ids]
    for key in keys:
        eventually(lambda: sandbox.story(key), "the stream to start", seconds=120)  # noqa: B023 - called at once
    os.kill(worker.pid, signal.SIGKILL)
    (processes.directory / "go-on").touch()
    for key in keys:
        eventually(lambda: sandbox.ends(key), f"the end of {key}", seconds=120)  # noqa: B023 - called at once
        one_life(sandbox.story(key))


# The service is at fault

FAULTS: dict[str, dict[str, Any]] = {
    "black-hole": {"delay": 600},
    "slow": {"drip": 5},
    "error-500": {"status": 500},
    "an-hours-wait": {"status": 429, "headers": {"Retry-After": "3600"}},
    "html": {"status": 200, "body": "<html>"},
    "redirect": {"status": 302, "headers": {"Location": "https://elsewhere.example/"}},
}


@pytest.fixture(scope="module")
def timed(processes: Prefect, sandbox: Sandbox) -> dict[str, tuple[str, float]]:
    for stream, fault in FAULTS.items():
        sandbox.inject_fault(times=99, stream_key=stream, **fault)
    environment = {"ACTIVITYSMITH_API_KEY": KEY, "ACTIVITYSMITH_BASE_URL": sandbox.base_url}
    processes.run("time", FLOWS, "time", *FAULTS, **environment)
    timed: dict[str, tuple[str, float]] = json.loads((processes.directory / "timed.json").read_text())
    return timed


@pytest.mark.parametrize("stream", FAULTS)
def test_a_fault_of_the_service_changes_no_run_and_takes_no_hook_beyond_its_time(
    stream: str, processes: Prefect, sandbox: Sandbox, timed: dict[str, tuple[str, float]]
) -> None:
    state, seconds = timed[stream]
    assert state == "COMPLETED"
    assert seconds < 11
    assert re.search(rf"'{stream}' (was not|may not have been) ended", processes.output("time"))
    assert [request for request in sandbox.requests() if request["stream_key"] == stream]


# Nobody is left to run a hook


@pytest.fixture(scope="module")
def automation(processes: Prefect, sandbox: Sandbox) -> None:
    """An automation that the server acts upon.

    On PostgreSQL its triggers learn of a new one by a notification, some time after it was saved (Prefect 3.6 to 3.9).
    Runs before that are not seen, and nothing else tells when that was.
    """
    processes.run("automate", "-c", AUTOMATE)
    number = itertools.count()

    def is_seen() -> bool:
        processes.run(f"first-{next(number)}", FLOWS, "run", "first", "succeed")
        with contextlib.suppress(DeploymentError):
            return bool(eventually(lambda: sandbox.ends("unhooked"), "the server to end the stream", seconds=20))
        return False

    eventually(is_seen, "the server to act upon a run", seconds=240)


@pytest.mark.usefixtures("automation")
def test_the_server_shows_a_run_from_its_start_to_its_end(processes: Prefect, sandbox: Sandbox) -> None:
    before, ended = len(sandbox.story("unhooked")), len(sandbox.ends("unhooked"))
    processes.python("complete", FLOWS, "run", "complete", "held")
    eventually(lambda: "unhooked" in sandbox.living(), "the server to start the stream")
    (processes.directory / "complete-may-end").touch()
    (end,) = eventually(lambda: sandbox.ends("unhooked")[ended:], "the server to end the stream")
    assert end["content_state"]["title"] == "live-unhooked"
    assert end["metadata"]["result"] == "succeeded"
    (run,) = [run for run in processes.runs_of("live-unhooked") if run["parameters"]["stream"] == "complete"]
    assert end["metadata"]["run"] == run["name"]
    assert [request["operation"] for request in sandbox.story("unhooked")[before:]] == ["started", "ended"]


@pytest.mark.usefixtures("automation")
def test_the_server_ends_the_stream_of_a_plain_script_that_is_cancelled(processes: Prefect, sandbox: Sandbox) -> None:
    before = len(sandbox.ends("unhooked"))
    script = processes.python("cancelled", FLOWS, "run", "script", "sleep")
    eventually((processes.directory / "script").exists, "the script to start")
    (run,) = [run for run in processes.runs_of("live-unhooked") if run["parameters"]["stream"] == "script"]
    processes.cancel(run["id"])
    ends = eventually(lambda: sandbox.ends("unhooked")[before:], "the server to end the stream")
    assert ends[0]["metadata"]["result"] == "cancelled"
    os.killpg(script.pid, signal.SIGKILL)


@pytest.mark.usefixtures("automation")
def test_a_run_that_never_started_does_not_end_the_stream_of_the_one_that_goes_on(
    processes: Prefect, sandbox: Sandbox, run_ids: dict[tuple[str, str], str]
) -> None:
    running = processes.create_run("live-unhooked/serve", stream="goes-on", how="sleep")
    eventually((processes.directory / "goes-on").exists, "the run to start", seconds=180)
    before = len(sandbox.ends("unhooked"))
    late = processes.create_run("live-unhooked/serve", late=True, stream="never", how="succeed")
    processes.cancel(late)
    eventually(lambda: processes.state(late)["type"] == "CANCELLED", "the late run to be cancelled")
    processes.cancel(running)
    ends = eventually(lambda: sandbox.ends("unhooked")[before:], "the server to end the stream")
    (run,) = [run for run in processes.runs_of("live-unhooked") if run["id"] == running]
    assert {end["metadata"]["run"] for end in ends} == {run["name"]}


@pytest.mark.usefixtures("automation")
def test_the_server_ends_the_stream_of_a_run_that_was_killed_with_its_worker(
    processes: Prefect, sandbox: Sandbox
) -> None:
    # Only now: the first heartbeat of a run as short as those above can come in after its end (Prefect 3.8).
    processes.run("automate-lost", "-c", AUTOMATE, "40")
    worker = make_worker(processes, "doomed")
    run_id = processes.create_run("live-unhooked/doomed", stream="doomed-run", how="sleep")
    started = processes.directory / "doomed-run"
    eventually(started.exists, "the run to start")
    # Who dies before that was never alive, as far as the server knows.
    eventually(lambda: processes.heard_of(run_id), "the run's first heartbeat", every=0.5)
    before = len(sandbox.ends("unhooked"))
    os.killpg(worker.pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):  # it may have gone with its worker
        os.kill(int(started.read_text()), signal.SIGKILL)
    ends = eventually(lambda: sandbox.ends("unhooked")[before:], "the server to end the stream", seconds=120)
    assert ends[0]["content_state"]["message"] == "Crashed"
    assert processes.state(run_id)["type"] == "RUNNING"  # nobody has told the server


def test_the_server_has_none_of_our_code(processes: Prefect) -> None:
    assert "Failed to load collection 'activitysmith_integrations'" in processes.output("server")


# The key


def test_the_api_key_is_in_no_log_answer_parameter_or_result(
    processes: Prefect, run_ids: dict[tuple[str, str], str]
) -> None:
    for run_id in run_ids.values():
        final_state(processes, run_id)
    told = [processes.output(path.stem) for path in processes.directory.glob("*.log")]
    for kind in ("logs", "flow_runs", "task_runs", "artifacts", "block_documents", "automations", "deployments"):
        answer = processes.api.post(f"{kind}/filter", json={})
        assert answer.is_success, answer.text
        told.append(answer.text)
    assert any("live-job" in text for text in told)
    assert [text[:200] for text in told if KEY in text] == []
    stored = [path for path in (processes.directory / "home").rglob("*") if path.is_file()]
    assert [path.name for path in stored if KEY.encode() in path.read_bytes()] == []
