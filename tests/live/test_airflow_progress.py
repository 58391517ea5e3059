"""Runs in a real Airflow, from their first task to their last: what reached the service, in order."""

from importlib.util import find_spec
from typing import Any

import pytest
from support.airflow import Airflow, eventually
from support.sandbox import Sandbox

pytestmark = pytest.mark.skipif(find_spec("airflow") is None, reason="Airflow is not in this environment")

# 500 instances take Airflow minutes on two processors, so the older one runs fewer.
INSTANCES = 500 if find_spec("airflow.sdk.definitions.retry_policy") else 60


def requests(sandbox: Sandbox, stream_key: str) -> list[dict[str, Any]]:
    """All requests for a stream, in the order in which the service took them."""
    return [request for request in sandbox.all_requests() if request["stream_key"] == stream_key]


def ended(sandbox: Sandbox, stream_key: str, times: int = 1) -> list[dict[str, Any]]:
    """The requests for a stream once it has ended so often."""
    eventually(lambda: len(sandbox.ends(stream_key)) >= times, f"the end of {stream_key}")
    return requests(sandbox, stream_key)


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
    states = check(ended(sandbox, "progress_many"))
    steps = [state["current_step"] for state in states]
    assert {state["number_of_steps"] for state in states} == {10}
    assert steps[0] <= 1  # five tasks begin at once
    assert len(set(steps)) >= 8
    # One may overtake another on its way, and the next one puts that right.
    assert all(later >= earlier for earlier, later in zip(steps, steps[2:], strict=False))
    assert any(state.get("subtitle", "").startswith("each: ") for state in states)


def test_four_runs_at_once_are_four_activities(airflow: Airflow, sandbox: Sandbox) -> None:
    sandbox.behave()  # what other tests left running would count
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
    assert airflow.run("progress_failing")[1] == "failed"
    found = ended(sandbox, "progress_failing")
    assert [state["subtitle"] for state in check(found)] == ["extract", "extract done", "bad failed"]
    assert found[-2]["body"]["content_state"]["step_color"] == "red"
    assert found[-1]["body"]["content_state"]["message"].startswith("bad failed after 2 of 4 steps, ")


def test_a_killed_task_ends_the_run_and_nothing_follows(airflow: Airflow, sandbox: Sandbox) -> None:
    assert airflow.run("progress_killed")[1] == "failed"
    found = ended(sandbox, "progress_killed")
    assert [state["current_step"] for state in check(found)] == [0, 1]
    assert found[-1]["body"]["content_state"]["message"].startswith("killed failed after 1 of 3 steps")


def test_a_run_that_is_cleared_starts_anew_and_ends_again(airflow: Airflow, sandbox: Sandbox) -> None:
    run_id, state = airflow.run("progress_cleared")
    assert state == "failed"
    first = ended(sandbox, "progress_cleared")
    assert [state["current_step"] for state in check(first)] == [0, 1, 2]

    airflow.clear("progress_cleared", run_id, only_failed=True, include_downstream=True)
    assert airflow.finished("progress_cleared", run_id) == "success"
    second = ended(sandbox, "progress_cleared", times=2)[len(first) :]
    assert [state["current_step"] for state in check(second)] == [2, 3, 4]

    airflow.clear("progress_cleared", run_id, only_failed=False)
    assert airflow.finished("progress_cleared", run_id) == "success"
    third = ended(sandbox, "progress_cleared", times=3)[len(first) + len(second) :]
    steps = [state["current_step"] for state in check(third)]
    assert (steps[0], steps[-1]) == (0, 4)
    assert steps == sorted(steps)


def test_a_slow_service_gets_no_update_after_the_end_though_the_last_tasks_end_together(
    airflow: Airflow, sandbox: Sandbox
) -> None:
    names = [str(number) for number in range(4)]
    for name in names:
        sandbox.misbehave(times=100, stream_key=f"slow-{name}", method="PUT", late=2.5)
    runs = [airflow.trigger("progress_slow", name=name) for name in names]
    assert {airflow.finished("progress_slow", run_id) for run_id in runs} == {"success"}
    for name in names:
        check(ended(sandbox, f"slow-{name}"))
    assert not {f"slow-{name}" for name in names} & set(sandbox.living())


def test_updates_that_the_service_works_on_after_the_end_start_nothing(airflow: Airflow, sandbox: Sandbox) -> None:
    sandbox.misbehave(times=100, stream_key="slow-late", method="PUT", late=7)
    assert airflow.finished("progress_slow", airflow.trigger("progress_slow", name="late")) == "success"
    ended(sandbox, "slow-late")
    # Nobody waited for their answers, so the last of them come in after the end, and are refused.
    eventually(lambda: requests(sandbox, "slow-late")[-1]["method"] == "PUT", "an update after the end")
    found = requests(sandbox, "slow-late")
    after = found[[request["method"] for request in found].index("DELETE") + 1 :]
    assert {(request["status"], request["operation"]) for request in after} == {(400, None)}
    assert "slow-late" not in sandbox.living()


def test_no_stream_is_left_running_and_none_got_an_update_after_its_end(airflow: Airflow, sandbox: Sandbox) -> None:
    keys = {request["stream_key"] for request in sandbox.all_requests() if request["stream_key"].startswith("progress")}
    assert keys
    for key in keys:
        assert requests(sandbox, key)[-1]["method"] == "DELETE"
    assert not keys & set(sandbox.living())
