"""A real server without our package, ``serve``, a process worker and plain scripts, against the sandbox.

The runs of all tests start together, since each takes seconds to be picked up; the tests look at what came of them.
"""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("prefect")

from live.prefect_server import Processes, eventually, prefect_processes
from support.sandbox import KEY, Sandbox, running_sandbox

FLOWS = str(Path(__file__).with_name("prefect_flows.py"))


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
    "timeout": Case("live-too-slow", "", "FAILED", "timed_out", "Timed out after 1 s"),
    "recovery": Case("live-recovering", "", "COMPLETED", "succeeded", ""),
    "sigterm": Case("live-job", "sigterm", "CRASHED", "crashed", "load crashed"),
    "sigkill": Case("live-job", "sigkill", "CRASHED", "crashed", "Crashed"),
    "cancel": Case("live-job", "sleep", "CANCELLED", "cancelled", "Cancelled after "),
    "subflow": Case("live-parent", "", "COMPLETED", "succeeded", ""),
    "async-success": Case("live-async", "succeed", "COMPLETED", "succeeded", ""),
    "async-failure": Case("live-async", "fail", "FAILED", "failed", "load failed after "),
    "mapped": Case("live-mapped", "", "COMPLETED", "succeeded", ""),
}
HOSTS = ("serve", "worker")

SAVE_BLOCK = f"""
import sys
from activitysmith_integrations.prefect import ActivitySmithCredentials
ActivitySmithCredentials(api_key={KEY!r}, base_url=sys.argv[1]).save(sys.argv[2])
"""

AUTOMATE = """
import sys
from datetime import timedelta
from activitysmith_integrations.prefect import end_live_activity_stream_automation
lost_after = timedelta(seconds=int(sys.argv[1])) if sys.argv[1:] else None
end_live_activity_stream_automation("live-unhooked", "unhooked", credentials="live", lost_after=lost_after)
"""


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def processes(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    with prefect_processes(
        tmp_path_factory.mktemp("prefect"), {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
    ) as processes:
        processes.run("save-block", "-c", SAVE_BLOCK, sandbox.base_url, "live")
        yield processes


@pytest.fixture(scope="module")
def run_ids(processes: Processes, sandbox: Sandbox) -> dict[tuple[str, str], str]:
    """One run of every case on every host, all started."""
    for host in HOSTS:
        sandbox.start(*(f"{host}-{name}" for name in CASES), f"{host}-subflow-child")
        sandbox.start(*(f"{host}-mapped-{number}" for number in range(3)))
    processes.start("serve", FLOWS, "serve")
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


def make_worker(processes: Processes, pool: str) -> "subprocess.Popen[bytes]":
    """A work pool, the flows deployed to it, and its worker."""
    processes.run(f"pool-{pool}", "-m", "prefect", "work-pool", "create", pool, "--type", "process")
    processes.run(f"deploy-{pool}", FLOWS, "deploy", pool)
    return processes.start(pool, "-m", "prefect", "worker", "start", "--pool", pool, "--limit", "4")


def final_state(processes: Processes, run_id: str) -> Any:
    def look() -> Any:
        state = processes.state(run_id)
        return state if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

    return eventually(look, f"the end of run {run_id}", seconds=240)


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("name", CASES)
def test_a_run_ends_its_stream_once_and_right(
    host: str, name: str, processes: Processes, sandbox: Sandbox, run_ids: dict[tuple[str, str], str]
) -> None:
    case, run_id, stream = CASES[name], run_ids[host, name], f"{host}-{name}"
    assert final_state(processes, run_id)["type"] == case.state
    # The hooks of a run that completed or failed begin only after its state is known.
    (end,) = eventually(lambda: sandbox.ends(stream), f"the end of {stream}")
    assert end["metadata"]["result"] == case.result
    assert end["content_state"].get("message", "").startswith(case.message)
    assert ("action" in end) == (case.result != "succeeded")
    line = f"Ended Live Activity stream '{stream}'."
    if case.how == "sigterm":  # Prefect lets such a process die with the lines that it has not yet sent
        assert line in processes.output(host)
    else:
        eventually(lambda: line in processes.log_lines(run_id), "the line on the run's page")
    assert len([request for request in sandbox.requests() if request["stream_key"] == stream]) == 1


@pytest.mark.parametrize("host", HOSTS)
def test_a_subflow_and_mapped_tasks_end_streams_of_their_own(
    host: str, processes: Processes, sandbox: Sandbox, run_ids: dict[tuple[str, str], str]
) -> None:
    for name in ("subflow", "mapped"):
        final_state(processes, run_ids[host, name])
    (child,) = sandbox.ends(f"{host}-subflow-child")
    assert child["metadata"]["pipeline"] == "live-job"
    results = [[end["metadata"]["result"] for end in sandbox.ends(f"{host}-mapped-{number}")] for number in range(3)]
    assert results == [["succeeded"], ["failed"], ["succeeded"]]


def test_a_served_flow_that_is_pickled_for_each_run_ends_its_stream(processes: Processes, sandbox: Sandbox) -> None:
    sandbox.start("pickled")
    server = processes.start("serve-one", FLOWS, "serve-one")
    run_id = processes.create_run("live-job/serve-one", stream="pickled", how="sigkill")
    assert final_state(processes, run_id)["type"] == "CRASHED"
    (end,) = eventually(lambda: sandbox.ends("pickled"), "the end of the stream")
    assert end["metadata"]["result"] == "crashed"
    os.killpg(server.pid, signal.SIGKILL)


# From the first task to the last


@pytest.fixture(scope="module")
def busy(processes: Processes) -> Iterator[Sandbox]:
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
    "terminated": Case("live-doomed", "sigterm", "CRASHED", "crashed", "step crashed after 10 of 20 steps"),
    **{f"four-{number}": Case("live-short", "together", "COMPLETED", "succeeded", "") for number in range(4)},
}


@pytest.fixture(scope="module")
def moving_ids(processes: Processes, busy: Sandbox) -> dict[str, str]:
    """One run of every case, all started."""
    processes.start("serve-moving", FLOWS, "serve-moving")
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
    name: str, processes: Processes, sandbox: Sandbox, busy: Sandbox, moving_ids: dict[str, str]
) -> None:
    case = MOVING[name]
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
    assert name != "moving" or steps[-1] > 0
    # Work this short can be over before its failure is shown, but never is anything else.
    reds = {state["subtitle"] for state in shown if "step_color" in state}
    assert reds <= ({"step failed"} if case.how == "fail" else set())
    if case.result == "succeeded":
        assert (end["content_state"]["current_step"], end["content_state"]["number_of_steps"]) == (10, 10)


def test_another_run_starts_and_ends_the_stream_again(
    processes: Processes, busy: Sandbox, moving_ids: dict[str, str]
) -> None:
    final_state(processes, moving_ids["middle"])
    eventually(lambda: busy.ends("middle"), "the end of the first run")
    before = len(busy.story("middle"))
    again = processes.create_run("live-short/moving", stream="middle-again", how="succeed")
    assert final_state(processes, again)["type"] == "COMPLETED"
    eventually(lambda: len(busy.ends("middle")) == 2, "the end of the second run")
    one_life(busy.story("middle")[before:])


def test_nothing_arrived_after_the_ends(
    processes: Processes, sandbox: Sandbox, busy: Sandbox, moving_ids: dict[str, str]
) -> None:
    for name, run_id in moving_ids.items():
        final_state(processes, run_id)
        story = (sandbox if MOVING[name].flow == "live-doomed" else busy).story(name)
        assert story[-1]["method"] == "DELETE"
    assert busy.living() == []


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
def timed(processes: Processes, sandbox: Sandbox) -> dict[str, tuple[str, float]]:
    for stream, fault in FAULTS.items():
        sandbox.misbehave(times=99, stream_key=stream, **fault)
    environment = {"ACTIVITYSMITH_API_KEY": KEY, "ACTIVITYSMITH_BASE_URL": sandbox.base_url}
    processes.run("time", FLOWS, "time", *FAULTS, **environment)
    timed: dict[str, tuple[str, float]] = json.loads((processes.directory / "timed.json").read_text())
    return timed


@pytest.mark.parametrize("stream", FAULTS)
def test_a_fault_of_the_service_changes_no_run_and_takes_no_hook_beyond_its_time(
    stream: str, processes: Processes, sandbox: Sandbox, timed: dict[str, tuple[str, float]]
) -> None:
    state, seconds = timed[stream]
    assert state == "COMPLETED"
    assert seconds < 10
    assert f"Live Activity stream '{stream}' was not ended" in processes.output("time")
    assert [request for request in sandbox.requests() if request["stream_key"] == stream]


# Nobody is left to run a hook


@pytest.fixture(scope="module")
def automation(processes: Processes) -> None:
    processes.run("automate", "-c", AUTOMATE)


@pytest.mark.usefixtures("automation")
def test_the_server_ends_the_stream_of_a_run_that_completes(processes: Processes, sandbox: Sandbox) -> None:
    sandbox.start("unhooked")
    processes.run("complete", FLOWS, "run", "complete", "succeed")
    (end,) = eventually(lambda: sandbox.ends("unhooked"), "the server to end the stream")
    assert end["content_state"]["title"] == "live-unhooked"
    assert end["metadata"]["result"] == "succeeded"
    (run,) = [run for run in processes.runs_of("live-unhooked") if run["parameters"]["stream"] == "complete"]
    assert end["metadata"]["run"] == run["name"]


@pytest.mark.usefixtures("automation")
def test_the_server_ends_the_stream_of_a_plain_script_that_is_cancelled(processes: Processes, sandbox: Sandbox) -> None:
    sandbox.start("unhooked")
    before = len(sandbox.ends("unhooked"))
    script = processes.start("cancelled", FLOWS, "run", "script", "sleep")
    eventually((processes.directory / "script").exists, "the script to start")
    (run,) = [run for run in processes.runs_of("live-unhooked") if run["parameters"]["stream"] == "script"]
    processes.cancel(run["id"])
    ends = eventually(lambda: sandbox.ends("unhooked")[before:], "the server to end the stream")
    assert ends[0]["metadata"]["result"] == "cancelled"
    os.killpg(script.pid, signal.SIGKILL)


@pytest.mark.usefixtures("automation")
def test_the_server_ends_the_stream_of_a_run_that_was_killed_with_its_worker(
    processes: Processes, sandbox: Sandbox
) -> None:
    # Only now: the first sign of life of a run as short as those above can come in after its end (Prefect 3.8).
    processes.run("automate-lost", "-c", AUTOMATE, "40")
    worker = make_worker(processes, "doomed")
    run_id = processes.create_run("live-unhooked/doomed", stream="doomed-run", how="sleep")
    started = processes.directory / "doomed-run"
    eventually(started.exists, "the run to start")
    # Who dies before that was never alive, as far as the server knows.
    eventually(lambda: processes.heard_of(run_id), "the run's first sign of life")
    sandbox.start("unhooked")
    before = len(sandbox.ends("unhooked"))
    os.killpg(worker.pid, signal.SIGKILL)
    with contextlib.suppress(ProcessLookupError):  # it may have gone with its worker
        os.kill(int(started.read_text()), signal.SIGKILL)
    ends = eventually(lambda: sandbox.ends("unhooked")[before:], "the server to end the stream", seconds=120)
    assert ends[0]["content_state"]["message"] == "Crashed"
    assert processes.state(run_id)["type"] == "RUNNING"  # nobody has told the server


def test_the_server_has_none_of_our_code(processes: Processes) -> None:
    assert "Failed to load collection 'activitysmith_integrations'" in processes.output("server")


# The key


def test_the_api_key_is_in_no_log_answer_parameter_or_result(
    processes: Processes, run_ids: dict[tuple[str, str], str]
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
