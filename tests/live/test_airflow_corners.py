"""Runs of a real Airflow that begin, go on and end in other ways than usual: what reached the service, in order."""

import re
import signal
import subprocess
from importlib.util import find_spec
from typing import Any

import pytest
from support.airflow import Airflow, eventually
from support.databases import PostgreSQL
from support.live_runs import LiveRun, Wanted, start
from support.sandbox import Sandbox

from activitysmith_integrations.core import stream_key

pytestmark = pytest.mark.skipif(find_spec("airflow") is None, reason="Airflow is not in this environment")


@pytest.mark.runs("corner_template", "corner_pool")
def test_a_failure_is_seen_whatever_kept_its_stream_from_starting(runs: dict[str, LiveRun]) -> None:
    for run in runs.values():
        assert run.finished() == "failed"
        state = run.last_state()
        assert (state["type"], state["color"]) == ("alert", "red")
        assert run.operations()[-3:] == ["404", "started", "ended"]


@pytest.mark.runs("corner_nothing_to_expand", "corner_lost_try", "corner_from_trigger", "corner_mapped")
def test_a_run_is_shown_whatever_the_fate_of_its_first_task(runs: dict[str, LiveRun]) -> None:
    for dag_id, run in runs.items():
        assert run.finished() == "success", dag_id
        story = run.ended()
        assert len({request["body"]["content_state"]["number_of_steps"] for request in story}) == 1, dag_id
        found = [request["operation"] for request in story]
        assert (found[0], found[-1], found.count("started")) == ("started", "ended", 1), dag_id


@pytest.mark.runs("corner_fail_fast")
def test_what_fail_fast_skips_was_not_done(runs: dict[str, LiveRun]) -> None:
    run = runs["corner_fail_fast"]
    assert run.finished() == "failed"
    assert run.last_state()["message"].startswith("bad failed after 1 of 7 steps")


FAILURES = {"quiet": Wanted("corner_failures"), "loud": Wanted("corner_failures", {"fail": True})}


@pytest.mark.runs("corner_empty", **FAILURES)
def test_a_dag_of_empty_operators_sends_nothing_and_one_that_shows_failures_alone_only_those(
    runs: dict[str, LiveRun],
) -> None:
    states = {name: run.finished() for name, run in runs.items()}
    assert states == {"corner_empty": "success", "quiet": "success", "loud": "failed"}
    runs["loud"].end()
    assert runs["loud"].operations() == ["404", "started", "ended"]
    assert runs["quiet"].operations() == runs["corner_empty"].operations() == []


OVERLAPPING = {"long": {"seconds": 8}, "short": {}, "failing": {"fail": True}}


@pytest.mark.runs(**{name: Wanted("corner_runs", conf) for name, conf in OVERLAPPING.items()})
def test_runs_that_overlap_have_a_stream_and_a_life_each(runs: dict[str, LiveRun]) -> None:
    labels = set()
    for name, run in runs.items():
        is_failure = name == "failing"
        assert run.finished() == ("failed" if is_failure else "success")
        assert run.end()["metadata"]["run"] == run.run_id
        assert run.operations() == ["started", "updated", *([] if is_failure else ["updated"]), "ended"]
        labels.add(run.story()[0]["body"]["content_state"]["subtitle"].partition(" · ")[0])
    assert len(labels) == 3


@pytest.mark.runs(**{f"day {day}": Wanted("corner_runs", {"day": day}) for day in range(1, 4)})
def test_each_of_many_runs_of_a_dag_has_a_stream_of_its_own(runs: dict[str, LiveRun]) -> None:
    for run in runs.values():
        assert run.finished() == "success"
        run.end()
        assert run.operations() == ["started", "updated", "updated", "ended"]


@pytest.mark.runs("corner_follow_timeout", "corner_follow_here_timeout", "corner_follow_here")
def test_a_task_that_follows_a_run_ends_its_stream_after_a_timeout_and_from_its_own_slot(
    runs: dict[str, LiveRun],
) -> None:
    here = runs["corner_follow_here"]
    assert here.finished() == "success"
    assert here.last_state()["color"] == "green"
    for run in (runs["corner_follow_timeout"], runs["corner_follow_here_timeout"]):
        assert run.finished() == "failed"
        run.ended()
        # A second end finds the stream ended.
        first, *_ = run.sandbox.ends(run.stream)
        # The first step has time to end where a worker is free for it at once.
        assert re.match(r"Timed out( after [01] of 2 steps)?", first["content_state"]["message"])


@pytest.mark.runs("corner_follow_again")
def test_a_task_follows_its_run_again_when_that_is_cleared(airflow: Airflow, runs: dict[str, LiveRun]) -> None:
    run = runs["corner_follow_again"]
    assert run.finished() == "success"
    first = run.ended()
    airflow.clear(run.dag_id, run.run_id, only_failed=False)
    assert run.finished() == "success"
    for story in (first, run.ended(times=2)[len(first) :]):
        found = [request["operation"] for request in story]
        assert (found[0], found[-1], found.count("started"), found.count("ended")) == ("started", "ended", 1, 1)


def test_a_run_that_is_marked_by_hand_ends_its_stream(airflow: Airflow, sandbox: Sandbox) -> None:
    colors = {"failed": "red", "success": "green"}
    runs = {state: start(airflow, sandbox, Wanted("corner_marked"), f"marked-{state}") for state in colors}
    for state, run in runs.items():
        eventually(lambda run=run: "updated" in run.operations(), "the first task's end")
        airflow.mark(run.dag_id, run.run_id, state)
    for state, run in runs.items():
        shown = run.last_state()
        assert shown["color"] == colors[state]
        assert shown["subtitle"].endswith(f"Marked as {'failed' if state == 'failed' else 'successful'} by hand")


def test_a_run_that_a_task_follows_ends_its_stream_when_it_is_marked_by_hand(
    airflow: Airflow, sandbox: Sandbox
) -> None:
    run = start(airflow, sandbox, Wanted("corner_follow_marked"), "followed-marked")
    # Between two tasks, Airflow would skip what is left and call the run successful, since this one is a teardown.
    eventually(lambda: airflow.task_state(run.dag_id, run.run_id, "long") == "running", "the second task's beginning")
    airflow.mark(run.dag_id, run.run_id, "failed")
    assert run.last_state()["message"].startswith("long failed after 1 of 2 steps")


def test_a_run_that_is_refused_a_place_leaves_the_requests_to_others_and_its_failure_is_seen(
    airflow: Airflow, one_place: Sandbox
) -> None:
    one_place.start("other")
    confs: dict[str, dict[str, Any]] = {"good": {}, "bad": {"fail": True, "seconds": 5}}
    runs = {
        name: start(airflow, one_place, Wanted("corner_one_place", conf), f"refused-{name}")
        for name, conf in confs.items()
    }
    good, bad = runs["good"], runs["bad"]
    for run in runs.values():
        eventually(lambda run=run: run.operations() == ["429"], "the refused start")
    one_place.end("other")
    assert (good.finished(), bad.finished()) == ("success", "failed")
    written = f"{good.stream}' was never shown".encode()
    eventually(lambda: written in b"".join(airflow.everything_written().values()), "a line about it", every=1)
    assert good.operations() == ["429"]
    bad.end()
    assert bad.operations() == ["429", "404", "started", "ended"]


@pytest.fixture(scope="module")
def developer(airflow: Airflow, postgres: PostgreSQL) -> dict[str, str]:
    """The environment of somebody's own terminal."""
    default = airflow.environment["AIRFLOW_CONN_ACTIVITYSMITH_DEFAULT"]
    airflow.cli("connections", "add", "activitysmith_default", "--conn-json", default)
    # The connection is in the database alone, and that is a copy: the scheduler would finish a run that it sees.
    environment = airflow.environment_on(postgres.copy("airflow", "developers"))
    del environment["AIRFLOW_CONN_ACTIVITYSMITH_DEFAULT"]
    return environment


def test_a_developers_commands_leave_nothing_behind(
    airflow: Airflow, developer: dict[str, str], sandbox: Sandbox
) -> None:

    def command(*arguments: str) -> list[dict[str, Any]]:
        """What reached the service while a command ran."""
        before = len(sandbox.all_requests())
        done = subprocess.run(
            [airflow.programs / "airflow", *arguments],
            env=developer,
            capture_output=True,
            text=True,
            cwd=airflow.home,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return sandbox.all_requests()[before:]

    assert command("tasks", "test", "corner_macro", "a") == []
    found = command("dags", "test", "corner_macro")
    assert {request["stream_key"] for request in found} == {stream_key("corner_macro", "tested")}
    assert [request["operation"] for request in found] == ["started", "updated", "ended"]
    mapped = command("dags", "test", "corner_mapped")
    assert {request["body"]["content_state"].get("number_of_steps") for request in mapped} == {10}
    assert not {request["stream_key"] for request in mapped} & set(sandbox.living())


def test_a_developers_command_that_is_interrupted_ends_what_it_started(
    airflow: Airflow, developer: dict[str, str], sandbox: Sandbox
) -> None:
    command = [airflow.programs / "airflow", "dags", "test", "corner_interrupted"]

    def started() -> set[str]:
        return {key for key in sandbox.living() if key.startswith("corner_interrupted")}

    with subprocess.Popen(command, env=developer, cwd=airflow.home, stderr=subprocess.DEVNULL) as process:
        (key,) = eventually(started, "the start")
        process.send_signal(signal.SIGINT)
    assert len(sandbox.ends(key)) == 1


def test_a_followed_run_that_times_out_while_no_triggerer_runs_ends_its_stream(
    airflow: Airflow, sandbox: Sandbox
) -> None:
    airflow.pause("triggerer")
    try:
        run = start(airflow, sandbox, Wanted("corner_follow_timeout"), "timed-out-without-triggerer")
        assert run.finished() == "failed"
        assert run.end()["metadata"]["result"] == "timed_out"
    finally:
        airflow.resume("triggerer")


def test_a_task_follows_its_run_also_when_its_triggerer_is_killed(airflow: Airflow, sandbox: Sandbox) -> None:
    run = start(airflow, sandbox, Wanted("corner_follow"), "triggerer-killed")
    eventually(run.operations, "the start")
    airflow.kill("triggerer")
    airflow.start_component("triggerer")
    assert run.finished() == "failed"
    assert run.last_state()["message"].startswith("c failed after 2 of 4 steps")
    found = run.operations()
    assert (found[0], found[-1], found.count("started"), found.count("ended")) == ("started", "ended", 1, 1)
