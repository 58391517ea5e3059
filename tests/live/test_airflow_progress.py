"""Runs in a real Airflow, from their first task to their last: what reached the service, in order."""

from importlib.util import find_spec
from typing import Any

import pytest
from support.airflow import Airflow, eventually
from support.sandbox import Sandbox

from activitysmith_integrations.core import stream_key

pytestmark = pytest.mark.skipif(find_spec("airflow") is None, reason="Airflow is not in this environment")

# Far more than there are segments. What hundreds more would show is in tests/airflow_rules, and takes no minutes there.
INSTANCES = 60


def text(state: dict[str, Any]) -> str:
    """The second line of a state without the run's label."""
    return str(state["subtitle"]).partition(" · ")[2]


def requests(sandbox: Sandbox, key: str) -> list[dict[str, Any]]:
    """What the service did about a stream, in order; updates of a stream that did not run aside."""
    return [request for request in sandbox.story(key) if request["status"] != 400]


def ended(sandbox: Sandbox, key: str, times: int = 1) -> list[dict[str, Any]]:
    """The requests for a stream once it has ended so often."""
    eventually(lambda: len(sandbox.ends(key)) >= times, f"the end of {key}")
    return requests(sandbox, key)


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


def test_many_instances_of_a_dag_of_30_tasks_move_one_bar(airflow: Airflow, sandbox: Sandbox) -> None:
    run_id = airflow.trigger("progress_many", instances=INSTANCES)
    assert airflow.finished("progress_many", run_id, seconds=900) == "success"
    states = check(ended(sandbox, stream_key("progress_many", run_id)))
    steps = [state["current_step"] for state in states]
    assert {state["number_of_steps"] for state in states} == {10}
    assert steps[0] <= 1  # five tasks begin at once
    assert len(set(steps)) >= 8
    # One may overtake another on its way, and the next one puts that right.
    assert all(later >= earlier for earlier, later in zip(steps, steps[2:], strict=False))
    assert any(" · each: " in state.get("subtitle", "") for state in states)


def test_four_runs_at_once_are_four_activities(airflow: Airflow, sandbox: Sandbox) -> None:
    sandbox.reset()  # what other tests left running would count
    sandbox.limit(max_concurrent=4)
    try:
        runs = [airflow.trigger("progress_four", name=name) for name in "abcd"]
        assert {airflow.finished("progress_four", run_id) for run_id in runs} == {"success"}
        for name, run_id in zip("abcd", runs, strict=True):
            states = check(found := ended(sandbox, f"four-{name}"))
            assert [state["current_step"] for state in states] == [0, 1, 2, 3]
            assert {state["title"] for state in states} == {name}
            assert found[-1]["body"]["metadata"]["run"] == run_id
    finally:
        sandbox.limit()


def test_a_failing_task_is_shown_while_another_goes_on_and_ends_the_run(airflow: Airflow, sandbox: Sandbox) -> None:
    run_id, state = airflow.run("progress_failing")
    assert state == "failed"
    found = ended(sandbox, stream_key("progress_failing", run_id))
    assert [text(state) for state in check(found)] == ["extract", "extract done", "bad failed"]
    assert found[-2]["body"]["content_state"]["step_color"] == "red"
    assert found[-1]["body"]["content_state"]["message"].startswith("bad failed after 2 of 4 steps, ")


def test_a_killed_task_ends_the_run_and_nothing_follows(airflow: Airflow, sandbox: Sandbox) -> None:
    run_id, state = airflow.run("progress_killed")
    assert state == "failed"
    found = ended(sandbox, stream_key("progress_killed", run_id))
    assert [state["current_step"] for state in check(found)] == [0, 1]
    assert found[-1]["body"]["content_state"]["message"].startswith("killed failed after 1 of 3 steps")


def test_a_run_that_is_cleared_starts_anew_and_ends_again(airflow: Airflow, sandbox: Sandbox) -> None:
    run_id, state = airflow.run("progress_cleared")
    assert state == "failed"
    key = stream_key("progress_cleared", run_id)
    first = ended(sandbox, key)
    assert [state["current_step"] for state in check(first)] == [0, 1, 2]

    airflow.clear("progress_cleared", run_id, only_failed=True, include_downstream=True)
    assert airflow.finished("progress_cleared", run_id) == "success"
    second = ended(sandbox, key, times=2)[len(first) :]
    # Its first report, at the end of the task that was cleared, starts it again.
    assert [state["current_step"] for state in check(second)] == [3, 4]

    airflow.clear("progress_cleared", run_id, only_failed=False)
    assert airflow.finished("progress_cleared", run_id) == "success"
    third = ended(sandbox, key, times=3)[len(first) + len(second) :]
    steps = [state["current_step"] for state in check(third)]
    assert (steps[0], steps[-1]) == (0, 4)
    assert steps == sorted(steps)


def test_a_slow_service_gets_no_update_after_the_end_though_the_last_tasks_end_together(
    airflow: Airflow, sandbox: Sandbox
) -> None:
    names = [str(number) for number in range(4)]
    for name in names:
        sandbox.inject_fault(times=100, stream_key=f"slow-{name}", method="PUT", late=2.5)
    runs = [airflow.trigger("progress_slow", name=name) for name in names]
    assert {airflow.finished("progress_slow", run_id) for run_id in runs} == {"success"}
    for name in names:
        check(ended(sandbox, f"slow-{name}"))
    assert not {f"slow-{name}" for name in names} & set(sandbox.living())


def test_updates_that_the_service_works_on_after_the_end_start_nothing(airflow: Airflow, sandbox: Sandbox) -> None:
    sandbox.inject_fault(times=100, stream_key="slow-late", method="PUT", late=7)
    assert airflow.finished("progress_slow", airflow.trigger("progress_slow", name="late")) == "success"
    ended(sandbox, "slow-late")
    # Nobody waited for their answers, so the last of them come in after the end, and are refused.
    eventually(lambda: sandbox.story("slow-late")[-1]["method"] == "PUT", "an update after the end")
    found = sandbox.story("slow-late")
    after = found[[request["method"] for request in found].index("DELETE") + 1 :]
    assert {(request["status"], request["operation"]) for request in after} == {(400, None)}
    assert "slow-late" not in sandbox.living()


def test_no_stream_is_left_running_and_none_got_an_update_after_its_end(airflow: Airflow, sandbox: Sandbox) -> None:
    keys = {request["stream_key"] for request in sandbox.all_requests() if request["stream_key"].startswith("progress")}
    assert keys
    assert not keys & set(sandbox.living())
