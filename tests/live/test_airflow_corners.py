"""Runs of a real Airflow that begin, go on and end in other ways than usual: what reached the service, in order."""

import sqlite3
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.airflow import Airflow, eventually
from support.sandbox import Sandbox

from activitysmith_integrations.core import stream_key

pytestmark = pytest.mark.skipif(find_spec("airflow") is None, reason="Airflow is not in this environment")


def operations(sandbox: Sandbox, key: str) -> list[str]:
    """What the service did about a stream, or the status with which it refused to."""
    return [request["operation"] or str(request["status"]) for request in sandbox.story(key)]


def over(sandbox: Sandbox, key: str, times: int = 1) -> dict[str, Any]:
    """The body of the last end of a stream; waits for it."""
    eventually(lambda: len(sandbox.ends(key)) >= times, f"the end of {key}")
    return sandbox.ends(key)[-1]


def test_a_failure_is_seen_whatever_kept_its_stream_from_starting(airflow: Airflow, sandbox: Sandbox) -> None:
    airflow.cli("pools", "set", "no_slots", "0", "none")
    runs = {dag_id: airflow.trigger(dag_id) for dag_id in ("corner_template", "corner_pool")}
    for dag_id, run_id in runs.items():
        assert airflow.finished(dag_id, run_id) == "failed"
        state = over(sandbox, stream_key(dag_id, run_id))["content_state"]
        assert (state["type"], state["color"]) == ("alert", "red")
        assert operations(sandbox, stream_key(dag_id, run_id))[-3:] == ["404", "started", "ended"]


@pytest.mark.parametrize(
    ("dag_id", "expected"),
    [
        ("corner_nothing_to_expand", ["started", "ended"]),
        ("corner_lost_try", ["started", "ended"]),
        ("corner_from_trigger", ["started", "updated", "ended"]),
        ("corner_mapped", ["started", "ended"]),
    ],
)
def test_a_run_is_shown_whatever_the_fate_of_its_first_task(
    airflow: Airflow, sandbox: Sandbox, dag_id: str, expected: list[str]
) -> None:
    run_id, state = airflow.run(dag_id)
    assert state == "success"
    key = stream_key(dag_id, run_id)
    over(sandbox, key)
    found = operations(sandbox, key)
    assert (found[0], found[-1]) == (expected[0], "ended")
    assert found.count("started") == 1
    bars = [
        request["body"]["content_state"]["number_of_steps"]
        for request in sandbox.story(key)
        if request["status"] == 200
    ]
    assert len(set(bars)) == 1


def test_what_fail_fast_skips_was_not_done(airflow: Airflow, sandbox: Sandbox) -> None:
    run_id, state = airflow.run("corner_fail_fast")
    assert state == "failed"
    message = over(sandbox, stream_key("corner_fail_fast", run_id))["content_state"]["message"]
    assert message.startswith("bad failed after 1 of 7 steps")


def test_a_dag_of_empty_operators_sends_nothing_and_one_that_shows_failures_alone_only_those(
    airflow: Airflow, sandbox: Sandbox
) -> None:
    empty, _ = airflow.run("corner_empty")
    quiet, _ = airflow.run("corner_failures")
    failed = airflow.trigger("corner_failures", fail=True)
    assert airflow.finished("corner_failures", failed) == "failed"
    over(sandbox, stream_key("corner_failures", failed))
    assert operations(sandbox, stream_key("corner_failures", failed)) == ["404", "started", "ended"]
    assert operations(sandbox, stream_key("corner_failures", quiet)) == []
    assert operations(sandbox, stream_key("corner_empty", empty)) == []


def test_runs_that_overlap_have_a_stream_and_a_life_each(airflow: Airflow, sandbox: Sandbox) -> None:
    confs: list[dict[str, Any]] = [{"seconds": 8}, {}, {"fail": True}]
    runs = [airflow.trigger("corner_runs", **conf) for conf in confs]
    assert [airflow.finished("corner_runs", run_id) for run_id in runs] == ["success", "success", "failed"]
    labels = set()
    for run_id, conf in zip(runs, confs, strict=True):
        key = stream_key("corner_runs", run_id)
        body = over(sandbox, key)
        assert body["metadata"]["run"] == run_id
        assert operations(sandbox, key) == ["started", "updated", *([] if conf.get("fail") else ["updated"]), "ended"]
        labels.add(sandbox.story(key)[0]["body"]["content_state"]["subtitle"].partition(" · ")[0])
    assert len(labels) == 3


def test_each_run_of_a_backfill_has_a_stream_of_its_own(airflow: Airflow, sandbox: Sandbox) -> None:
    days = [f"2026-11-0{day}" for day in range(1, 6)]
    runs = [airflow.trigger("corner_runs", run_id=f"day-{day}") for day in days]
    assert {airflow.finished("corner_runs", run_id) for run_id in runs} == {"success"}
    for run_id in runs:
        over(sandbox, stream_key("corner_runs", run_id))
        assert operations(sandbox, stream_key("corner_runs", run_id)) == ["started", "updated", "updated", "ended"]


@pytest.mark.parametrize(("state", "color"), [("failed", "red"), ("success", "green")])
def test_a_run_that_is_marked_by_hand_ends_its_stream(
    airflow: Airflow, sandbox: Sandbox, state: str, color: str
) -> None:
    run_id = airflow.trigger("corner_marked")
    key = stream_key("corner_marked", run_id)
    eventually(lambda: "updated" in operations(sandbox, key), "the first task's end")
    airflow.mark("corner_marked", run_id, state)
    shown = over(sandbox, key)["content_state"]
    assert shown["color"] == color
    assert shown["subtitle"].endswith(f"Marked as {'failed' if state == 'failed' else 'successful'} by hand")


def test_a_run_that_is_refused_a_place_leaves_the_requests_to_others_and_its_failure_is_seen(
    airflow: Airflow, sandbox: Sandbox
) -> None:
    sandbox.reset()
    sandbox.limit(max_concurrent=1)
    sandbox.start("other")
    try:
        good = airflow.trigger("corner_runs")
        assert airflow.finished("corner_runs", good) == "success"
        written = f"{stream_key('corner_runs', good)}' was never shown".encode()
        eventually(lambda: written in b"".join(airflow.everything_written().values()), "a line about it")
        assert operations(sandbox, stream_key("corner_runs", good)) == ["429"]
        bad = airflow.trigger("corner_runs", fail=True, seconds=3)
        eventually(lambda: operations(sandbox, stream_key("corner_runs", bad)) == ["429"], "the refused start")
        sandbox.end("other")
        assert airflow.finished("corner_runs", bad) == "failed"
        over(sandbox, stream_key("corner_runs", bad))
        assert operations(sandbox, stream_key("corner_runs", bad)) == ["429", "404", "started", "ended"]
    finally:
        sandbox.limit()


def command(airflow: Airflow, folder: Path, *arguments: str) -> str:
    """What a developer's command printed, its connection being in the database alone.

    On a copy of the database, since the scheduler would finish a run that it sees in its own.
    """
    with sqlite3.connect(airflow.home / "airflow.db") as known, sqlite3.connect(folder / "copy.db") as copy:
        known.backup(copy)
    environment = {**airflow.environment, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{folder}/copy.db"}
    environment.pop("AIRFLOW_CONN_ACTIVITYSMITH_DEFAULT")
    done = subprocess.run(
        ["airflow", *arguments], env=environment, capture_output=True, text=True, cwd=airflow.home, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_developers_commands_leave_nothing_behind(airflow: Airflow, sandbox: Sandbox, tmp_path: Path) -> None:
    default = airflow.environment["AIRFLOW_CONN_ACTIVITYSMITH_DEFAULT"]
    airflow.cli("connections", "add", "activitysmith_default", "--conn-json", default)
    sandbox.reset()
    command(airflow, tmp_path, "tasks", "test", "corner_macro", "a")
    assert sandbox.all_requests() == []
    command(airflow, tmp_path, "dags", "test", "corner_macro")
    key = stream_key("corner_macro", "tested")
    assert operations(sandbox, key) == ["started", "updated", "ended"]
    command(airflow, tmp_path, "dags", "test", "corner_mapped")
    assert sandbox.living() == []
    bars = [request["body"]["content_state"].get("number_of_steps") for request in sandbox.all_requests()[3:]]
    assert set(bars) == {10}


def test_a_task_follows_its_run_also_when_its_triggerer_is_killed(airflow: Airflow, sandbox: Sandbox) -> None:
    run_id = airflow.trigger("corner_follow")
    key = stream_key("corner_follow", run_id)
    eventually(lambda: operations(sandbox, key) != [], "the start")
    airflow.kill("triggerer")
    airflow.start_component("triggerer")
    assert airflow.finished("corner_follow", run_id, seconds=240) == "failed"
    body = over(sandbox, key)
    assert body["content_state"]["message"].startswith("c failed after 2 of 4 steps")
    found = operations(sandbox, key)
    assert (found[0], found[-1], found.count("started"), found.count("ended")) == ("started", "ended", 1, 1)


def test_a_task_that_follows_a_run_that_times_out_ends_its_stream(airflow: Airflow, sandbox: Sandbox) -> None:
    run_id, state = airflow.run("corner_follow_timeout")
    assert state == "failed"
    body = over(sandbox, stream_key("corner_follow_timeout", run_id))
    assert body["content_state"]["message"].startswith("Timed out after 1 of 2 steps")


def test_a_task_follows_its_run_from_its_own_slot(airflow: Airflow, sandbox: Sandbox) -> None:
    run_id, state = airflow.run("corner_follow_here")
    assert state == "success"
    key = stream_key("corner_follow_here", run_id)
    assert over(sandbox, key)["content_state"]["color"] == "green"
    assert operations(sandbox, key)[-1] == "ended"
