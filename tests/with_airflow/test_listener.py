"""A run that somebody marks by hand."""

import threading
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from support.sandbox import Sandbox
from with_airflow.runs import STREAM, operations

from activitysmith_integrations.airflow import listener
from activitysmith_integrations.airflow.listener import ActivitySmithPlugin

BY_HAND = "Dag Run's state was manually set to `failed`."


def run(*tags: str, **more: Any) -> Any:
    named = [SimpleNamespace(name=tag) for tag in tags]
    dag = SimpleNamespace(tags=named, dag_display_name="Nightly ETL", timezone=UTC)
    known = {"dag_id": "nightly", "run_id": "r1", "start_date": datetime.now(UTC), "dag": dag}
    return SimpleNamespace(**{**known, **more})


class Untouchable:
    """A run of the scheduler's, of which nothing may be asked."""

    def __getattr__(self, name: str) -> Any:
        pytest.fail(f"the scheduler's run was asked for its {name}")  # nothing that catches Exception hides it


def mark(dag_run: Any, message: str, state: str = "failed") -> None:
    """Mark a run as the api-server does: in a thread of its own; then wait for what that causes."""
    heard = listener.on_dag_run_failed if state == "failed" else listener.on_dag_run_success
    thread = threading.Thread(target=heard, args=(dag_run, message))
    thread.start()
    thread.join()
    for thread in threading.enumerate():
        if thread.name == "activitysmith-marked-run":
            thread.join()


def test_airflow_finds_the_listener_through_the_plugin() -> None:
    assert ActivitySmithPlugin.listeners == [listener]


@pytest.mark.parametrize("message", ["success", "task_failure", "timed_out", "all_tasks_deadlocked", "", BY_HAND])
def test_the_scheduler_is_not_held_and_its_run_not_touched(message: str) -> None:
    listener.on_dag_run_success(Untouchable(), message)
    listener.on_dag_run_failed(Untouchable(), message)


@pytest.mark.parametrize("message", [BY_HAND, ""])  # Airflow 3.1 says nothing
def test_a_run_that_is_marked_failed_ends_its_stream_as_failed(sandbox: Sandbox, message: str) -> None:
    sandbox.start(STREAM)
    mark(run("Activitysmith"), message)
    (body,) = sandbox.ends(STREAM)
    state = body["content_state"]
    assert (state["title"], state["subtitle"]) == ("Nightly ETL", "r1 · Marked as failed by hand")
    assert (state["color"], body["metadata"]["result"]) == ("red", "failed")


def test_a_run_that_is_marked_successful_ends_its_stream_as_done(sandbox: Sandbox) -> None:
    sandbox.start(STREAM)
    mark(run("activitysmith"), "Dag Run's state was manually set to `success`.", "success")
    state = sandbox.ends(STREAM)[0]["content_state"]
    assert (state["color"], state["subtitle"]) == ("green", "r1 · Marked as successful by hand")


def test_a_dag_that_shows_failures_alone_shows_that_one(sandbox: Sandbox) -> None:
    mark(run("activitysmith:failures"), "", "success")
    assert operations(sandbox) == []
    mark(run("activitysmith:failures"), "")
    assert operations(sandbox) == [("DELETE", 404, None), ("PUT", 200, "started"), ("DELETE", 200, "ended")]


def test_a_run_that_is_not_known_under_its_own_key_starts_nothing(sandbox: Sandbox) -> None:
    sandbox.start("own-key")
    mark(run("activitysmith"), BY_HAND)
    assert operations(sandbox) == [("DELETE", 404, None)]


def test_other_dags_are_left_alone(sandbox: Sandbox) -> None:
    mark(run("else"), BY_HAND)
    mark(run(dag=None), BY_HAND)
    assert sandbox.requests() == []


@pytest.mark.parametrize("option", ["END_MARKED_RUNS", "END_TAGGED_DAGS"])
def test_an_option_turns_it_off(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, option: str) -> None:
    monkeypatch.setenv(f"AIRFLOW__ACTIVITYSMITH__{option}", "False")
    assert listener.end_in_background(run("activitysmith"), "failed") is None


@pytest.mark.parametrize("broken", [{"dag": SimpleNamespace(tags=["activitysmith"])}, {}])
def test_no_fault_reaches_the_request_that_marks_the_run(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, broken: dict[str, Any]
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ACTIVITYSMITH_DEFAULT", "{}")
    found = run("activitysmith", **broken)
    if broken:
        del found.start_date
    mark(found, BY_HAND)
    assert sandbox.requests() == []
