"""Flows of every structure that Prefect's own examples have: each is one start, a bar that grows, and one right end.

A real server and ``serve``, against the sandbox. The last tests kill the server and start it again.
"""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("prefect")

from support.databases import PostgreSQL
from support.prefect import SAVE_BLOCK, Prefect
from support.processes import eventually
from support.sandbox import Sandbox, running_sandbox

from activitysmith_integrations.core import stream_key

FLOWS = str(Path(__file__).with_name("prefect_structures.py"))

# How each of them ends, and how much of it is done by then.
STRUCTURES = {
    "plain": "succeeded",
    "retries": "succeeded",
    "etl": "succeeded",
    "per-worker-concurrency": "succeeded",
    "transactions": "failed",
    "assets": "succeeded",
    "mapped": "succeeded",
    "subflows": "succeeded",
    "pause": "succeeded",
    "deferred": "succeeded",
    "consuming": "succeeded",
}
FINAL = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="module")
def processes(sandbox: Sandbox, postgres: PostgreSQL, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prefect]:
    database, variables = postgres.database("structures"), {"SANDBOX": sandbox.page_url.rstrip("/")}
    with Prefect(tmp_path_factory.mktemp("prefect"), variables, database=database) as processes:
        processes.run("save-block", "-c", SAVE_BLOCK, sandbox.base_url, "structures")
        limit = {"name": "structures", "limit": 2}
        processes.api.post("v2/concurrency_limits/", json=limit).raise_for_status()
        processes.python("serve", FLOWS, "serve")
        yield processes


@pytest.fixture(scope="module")
def run_ids(processes: Prefect) -> dict[str, str]:
    """One run of each, all started."""
    return {name: processes.create_run(f"{name}/structures") for name in STRUCTURES}


def bar_of(story: list[dict[str, Any]]) -> tuple[list[int], dict[str, Any]]:
    """How far a run was shown to be, in order, and the body of its end, which was the last word."""
    assert [request["status"] for request in story] == [200] * len(story)
    operations = [request["operation"] for request in story]
    assert operations == ["started"] + ["updated"] * (len(story) - 2) + ["ended"]
    steps = [request["body"]["content_state"]["current_step"] for request in story[:-1]]
    assert steps == sorted(steps)
    return sorted(set(steps)), story[-1]["body"]


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_structure_of_prefects_examples_is_shown_from_start_to_end(
    name: str, processes: Prefect, sandbox: Sandbox, run_ids: dict[str, str]
) -> None:
    run_id, key = run_ids[name], stream_key(name, run_ids[name])
    if name == "pause":
        eventually(lambda: processes.state(run_id)["type"] == "PAUSED", "the run to be paused", seconds=240, every=0.5)
        eventually(lambda: sandbox.story(key)[-1]["body"]["content_state"]["current_step"] == 3, "its three tasks")
        processes.resume(run_id, run_input={"is_approved": True})
    eventually(lambda: processes.state(run_id)["type"] in FINAL, f"the end of {name}", seconds=240, every=0.5)
    eventually(lambda: sandbox.ends(key), f"the end of the stream of {name}")
    steps, end = bar_of(sandbox.story(key))
    assert end["metadata"]["result"] == STRUCTURES[name]
    state = end["content_state"]
    if name == "transactions":
        assert state["message"].startswith("check failed after 5 of 6 tasks")
    else:
        assert state["current_step"] == state["number_of_steps"]
    assert len(steps) > 1 or name == "consuming"  # of one step, which the end shows


@pytest.mark.parametrize("name", ["generators", "a-shown-subflow"])
def test_flows_within_flows_have_streams_of_their_own(
    name: str, processes: Prefect, sandbox: Sandbox, run_ids: dict[str, str]
) -> None:
    for parent in ("subflows", "deferred", "consuming"):
        eventually(lambda: processes.state(run_ids[parent])["type"] in FINAL, parent, seconds=240, every=0.5)  # noqa: B023
    runs = processes.runs_of(name)
    assert len(runs) == (1 if name == "generators" else 2)
    for run in runs:
        key = stream_key(name, run["id"])
        eventually(lambda: sandbox.ends(key), f"the end of {name}", seconds=240)  # noqa: B023 - called at once
        steps, end = bar_of(sandbox.story(key))
        assert (end["metadata"]["result"], len(steps) > 1) == ("succeeded", True)


@pytest.mark.parametrize("name", ["process", "dask"])
def test_tasks_that_run_in_other_processes_are_counted(name: str, processes: Prefect, sandbox: Sandbox) -> None:
    if name == "dask" and not find_spec("prefect_dask"):
        pytest.skip("prefect-dask is not installed")
    before = {run["id"] for run in processes.runs_of("in-other-processes")}
    processes.run(name, FLOWS, "run", name)
    (run,) = [run for run in processes.runs_of("in-other-processes") if run["id"] not in before]
    steps, end = bar_of(sandbox.story(stream_key("in-other-processes", run["id"])))
    assert len(steps) > 1
    assert (end["metadata"]["result"], end["metadata"]["run"]) == ("succeeded", "renamed")


def test_a_run_goes_on_while_the_server_is_gone(processes: Prefect, sandbox: Sandbox, run_ids: dict[str, str]) -> None:
    run_id = processes.create_run("outage/structures")
    key = stream_key("outage", run_id)
    eventually(lambda: len(sandbox.story(key)) > 2, "the run to be shown", seconds=240)
    before = len(sandbox.story(key))
    processes.restart()
    (processes.directory / "server-is-back").touch()
    eventually(lambda: processes.state(run_id)["type"] == "COMPLETED", "the run's end", seconds=240)
    eventually(lambda: sandbox.ends(key), "the end of its stream")
    steps, end = bar_of(sandbox.story(key))
    assert len(steps) > before
    assert end["metadata"]["result"] == "succeeded"


def test_a_run_that_is_suspended_goes_on_after_the_server_was_started_again(
    processes: Prefect, sandbox: Sandbox
) -> None:
    run_id = processes.create_run("suspended/structures")
    key = stream_key("suspended", run_id)
    eventually(lambda: processes.state(run_id)["name"] == "Suspended", "the run to be suspended", seconds=240)
    processes.restart()
    processes.resume(run_id)
    eventually(lambda: processes.state(run_id)["type"] == "COMPLETED", "the run's end", seconds=240)
    eventually(lambda: sandbox.ends(key), "the end of its stream")
    steps, end = bar_of(sandbox.story(key))
    assert steps[-1] >= 2
    assert end["content_state"]["current_step"] == 4
