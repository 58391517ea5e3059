"""Runs in a real Airflow, from their first task to their last: what reached the service, in order."""

from functools import partial
from importlib.util import find_spec
from typing import Any

import pytest
from support.airflow import Airflow, eventually
from support.live_runs import LiveRun, Wanted
from support.sandbox import Sandbox

pytestmark = pytest.mark.skipif(find_spec("airflow") is None, reason="Airflow is not in this environment")

# Far more than there are segments. What hundreds more would show is in tests/airflow_rules, and takes no minutes there.
INSTANCES = 40


def text(state: dict[str, Any]) -> str:
    """The second line of a state without the run's label."""
    return str(state["subtitle"]).partition(" · ")[2]


def check(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Fail unless these are a start, updates that iOS has room for and one end; the states of the updates."""
    *updates, end = found
    assert [request["operation"] for request in updates][:1] == ["started"]
    assert [request["operation"] for request in found].count("started") == 1
    assert {request["method"] for request in updates} == {"PUT"}
    assert len(updates) <= 12
    assert end["method"] == "DELETE"
    assert end["body"]["metadata"]["run"] == updates[0]["body"]["metadata"]["run"]
    return [request["body"]["content_state"] for request in updates]


@pytest.mark.runs(many=Wanted("progress_many", {"instances": INSTANCES}))
def test_many_instances_of_a_dag_of_30_tasks_move_one_bar(runs: dict[str, LiveRun]) -> None:
    run = runs["many"]
    assert run.finished() == "success"
    states = check(run.ended())
    steps = [state["current_step"] for state in states]
    assert {state["number_of_steps"] for state in states} == {10}
    assert steps[0] <= 1  # five tasks begin at once
    assert len(set(steps)) >= 6
    # Tasks that end together report from processes of their own, and one may overtake others; the next puts that right.
    assert steps[-1] == max(steps)
    assert any(" · each: " in state.get("subtitle", "") for state in states)


FOUR = {name: Wanted("progress_four", {"name": name}, (f"four-{name}",), account="four_places") for name in "abcd"}


@pytest.mark.runs(**FOUR)
def test_four_runs_at_once_are_four_activities(runs: dict[str, LiveRun]) -> None:
    for name, run in runs.items():
        assert run.finished() == "success"
        states = check(found := run.ended())
        assert [state["current_step"] for state in states] == [0, 1, 2, 3]
        assert {state["title"] for state in states} == {name}
        assert found[-1]["body"]["metadata"]["run"] == run.run_id


@pytest.mark.runs("progress_failing")
def test_a_failing_task_is_shown_while_another_goes_on_and_ends_the_run(runs: dict[str, LiveRun]) -> None:
    run = runs["progress_failing"]
    assert run.finished() == "failed"
    found = run.ended()
    assert [text(state) for state in check(found)] == ["extract", "extract done", "bad failed"]
    assert found[-2]["body"]["content_state"]["step_color"] == "red"
    assert found[-1]["body"]["content_state"]["message"].startswith("bad failed after 2 of 4 steps, ")


@pytest.mark.runs("progress_killed")
def test_a_killed_task_ends_the_run_and_nothing_follows(runs: dict[str, LiveRun]) -> None:
    run = runs["progress_killed"]
    assert run.finished() == "failed"
    found = run.ended()
    assert [state["current_step"] for state in check(found)] == [0, 1]
    assert found[-1]["body"]["content_state"]["message"].startswith("killed failed after 1 of 3 steps")


@pytest.mark.runs("progress_cleared")
def test_a_run_that_is_cleared_starts_anew_and_ends_again(airflow: Airflow, runs: dict[str, LiveRun]) -> None:
    run = runs["progress_cleared"]
    assert run.finished() == "failed"
    first = run.ended()
    assert [state["current_step"] for state in check(first)] == [0, 1, 2]

    airflow.clear(run.dag_id, run.run_id, only_failed=True, include_downstream=True)
    assert run.finished() == "success"
    second = run.ended(times=2)[len(first) :]
    # The first task that begins again starts the stream, with what was done before.
    assert [state["current_step"] for state in check(second)] == [2, 3, 4]

    airflow.clear(run.dag_id, run.run_id, only_failed=False)
    assert run.finished() == "success"
    third = run.ended(times=3)[len(first) + len(second) :]
    assert [state["current_step"] for state in check(third)] == [0, 1, 2, 3, 4]


# More than there will be, so that the sandbox says how many it got.
PUTS = 1000


def late(seconds: float) -> dict[str, Wanted]:
    """Runs of 0 to 4 s after their start whose updates and start the service takes up so many seconds late."""
    return {
        f"{seconds:g} s late, {of_run} s": Wanted(
            "progress_late",
            {"name": f"late-{seconds:g}-{of_run}".replace(".", "-"), "seconds": of_run},
            (f"late-{seconds:g}-{of_run}".replace(".", "-"),),
            fault={"times": PUTS, "method": "PUT", "late": seconds},
        )
        for of_run in (0, 2, 4)
    }


@pytest.mark.runs(**late(2.5), **late(7))
def test_after_all_that_a_slow_service_works_on_nothing_lives(runs: dict[str, LiveRun], sandbox: Sandbox) -> None:
    for run in runs.values():
        assert run.finished() == "success"
        run.ended()
    for name, run in runs.items():
        eventually(partial(has_worked_on_all, run), f"the last update of the run that is {name}")
        assert run.operations().count("started") >= 1
    assert not {run.stream for run in runs.values()} & set(sandbox.living())


def has_worked_on_all(run: LiveRun) -> bool:
    """Whether the service has no request of a run in hand."""
    (left,) = [fault["times"] for fault in run.sandbox.faults() if fault["stream_key"] == run.stream]
    return bool(PUTS - left == sum(request["method"] == "PUT" for request in run.story()))


def test_no_stream_is_left_running_that_a_tag_has_started(sandbox: Sandbox) -> None:
    prefixes = ("progress", "corner", "late-", "nightly_etl", "example_tag_only", "example_follow_run")
    keys = {request["stream_key"] for request in sandbox.all_requests() if request["stream_key"].startswith(prefixes)}
    assert keys
    assert not keys & set(sandbox.living())
