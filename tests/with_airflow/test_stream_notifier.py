"""A state of the user's own, shown from callbacks."""

import asyncio
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from airflow.sdk import DAG, chain
from airflow.sdk.bases.operator import BaseOperator
from support.sandbox import Sandbox
from with_airflow.runs import RESUMES, Run, operations

from activitysmith_integrations.airflow.notifications import (
    ActivitySmithEndStreamNotifier,
    ActivitySmithStreamNotifier,
)
from activitysmith_integrations.airflow.operators import ActivitySmithEndStreamOperator
from activitysmith_integrations.core import InvalidRequestError, ProgressState

OWN = {"type": "progress", "title": "own", "percentage": 5}


def dag(**options: Any) -> DAG:
    with DAG("nightly", schedule=None, **options) as dag:
        chain(BaseOperator(task_id="extract"), BaseOperator(task_id="load"))
    return dag


ENDS = ActivitySmithEndStreamNotifier("own")


@pytest.mark.parametrize("when", ["on_success_callback", "on_failure_callback"])
def test_it_is_sent_whenever_its_callback_fires_until_the_end_is_next(sandbox: Sandbox, when: str) -> None:
    state = {"type": "metrics", "title": "{{ run_id }}", "metrics": [{"label": "rows", "value": "{{ 3 }}"}]}
    ends: Any = {when: ENDS}
    run = Run(dag(**ends), ActivitySmithStreamNotifier("own", content_state=state, tags=["x"], channels=["ops"]))
    run.do("extract", "load")
    first, second, third = [request["body"] for request in sandbox.requests("PUT")]
    assert first == second == third
    assert first["content_state"]["metrics"] == [{"label": "rows", "value": 3}]
    assert (first["channels"], first["tags"]) == (["ops"], ["airflow", "x"])
    assert first["metadata"] == {"engine": "airflow", "pipeline": "nightly", "run": "r1"}


def test_the_last_task_before_an_operator_that_ends_the_stream_shows_no_more(sandbox: Sandbox) -> None:
    shared = dag()
    with shared:
        shared.get_task("load") >> ActivitySmithEndStreamOperator(task_id="end", stream_key="own")
    Run(shared, ActivitySmithStreamNotifier("own", content_state=OWN)).do("extract", "load")
    assert len(sandbox.requests("PUT")) == 3


def test_a_stream_that_the_run_does_not_end_is_shown_the_state_of_its_last_task_too(sandbox: Sandbox) -> None:
    alert = {"type": "alert", "title": "Nightly ETL", "message": "{{ ti.task_id }} failed"}
    run = Run(dag(), ActivitySmithStreamNotifier("board", content_state=alert))
    run.states["extract"] = "success"
    run.end("load", state="failed")
    assert [request["body"]["content_state"]["message"] for request in sandbox.requests("PUT")] == ["load failed"]


def test_the_runs_own_stream_is_the_default(sandbox: Sandbox) -> None:
    Run(dag(), ActivitySmithStreamNotifier(content_state=ProgressState(title="own", percentage=5))).begin("extract")
    assert operations(sandbox) == [("PUT", 200, "started")]


def test_it_is_not_sent_when_a_task_goes_on_nor_from_the_dags_own_callbacks(
    sandbox: Sandbox, logged: Callable[[], str]
) -> None:
    run = Run(dag(), ActivitySmithStreamNotifier(content_state=OWN))
    run.notifier({**run.context("extract", -1, "running"), "task_reschedule_count": 2})
    assert "The task goes on that began before" in logged()
    run.begin("extract", **RESUMES)
    assert "The task goes on that began before" in logged()
    run.notifier(run.ended("success"))
    assert "The run is over" in logged()
    assert sandbox.requests("PUT") == []


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_it_is_sent_for_a_run_that_is_late(sandbox: Sandbox, kind: str) -> None:
    notifier = ActivitySmithStreamNotifier("late", content_state=OWN)
    dag_run = {"dag_id": "nightly", "dag_run_id": "r1", "start_date": datetime.now(UTC).isoformat()}
    context: Any = {"dag_run": dag_run, "deadline": {"id": "d1", "deadline_time": "x"}}
    if kind == "sync":
        notifier(context)
    else:
        asyncio.run(notifier.async_notify(context))
    assert operations(sandbox, "late") == [("PUT", 200, "started")]


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("fault", [{"status": 401}, {"status": 503}, {"drop": True}, {"body": "<html>"}])
def test_a_service_that_fails_raises_nothing_and_is_told(
    sandbox: Sandbox, logged: Callable[[], str], kind: str, fault: dict[str, Any]
) -> None:
    sandbox.inject_fault(times=50, **fault)
    notifier: Any = ActivitySmithStreamNotifier("own", content_state=OWN, patience=2)
    context: Any = Run(dag()).context("extract", -1, "running")
    if kind == "sync":
        notifier(context)
    else:
        asyncio.run(notifier.async_notify(context))
    assert "Live Activity stream 'own' " in (log := logged())
    assert "been updated; the work goes on: " in log or "was not updated; the work goes on: " in log


def test_a_template_that_cannot_be_rendered_is_told(sandbox: Sandbox, logged: Callable[[], str]) -> None:
    Run(dag(), ActivitySmithStreamNotifier(content_state={"title": "{{ nobody }}"})).begin("extract")
    assert "Live Activity stream of the run was not updated; the work goes on: " in (log := logged())
    assert "'nobody' is undefined" in log
    assert sandbox.requests() == []


def test_a_task_that_is_tested_alone_sends_nothing(sandbox: Sandbox, logged: Callable[[], str]) -> None:
    context = Run(dag()).context("extract", -1, "running")
    context["run_id"] = "__airflow_temporary_run_2026-11-27T03:00:00+00:00__"
    ActivitySmithStreamNotifier(content_state=OWN)(context)
    assert sandbox.requests("PUT") == []
    assert "`airflow tasks test` shows nothing." in logged()


@pytest.mark.parametrize("notifier", [ActivitySmithStreamNotifier(content_state=OWN), ActivitySmithEndStreamNotifier()])
def test_a_task_of_an_existing_run_that_is_tested_alone_sends_nothing(
    sandbox: Sandbox, logged: Callable[[], str], monkeypatch: pytest.MonkeyPatch, notifier: Any
) -> None:
    monkeypatch.setattr(sys, "argv", ["airflow", "tasks", "test", "nightly", "extract", "r1"])
    notifier(Run(dag()).context("extract", -1, "failed"))
    assert sandbox.all_requests() == []
    assert "`airflow tasks test` shows nothing." in logged()


def test_a_state_that_starts_the_stream_of_a_run_that_is_over_is_ended(sandbox: Sandbox) -> None:
    run = Run(dag(on_success_callback=ActivitySmithEndStreamNotifier()), ActivitySmithStreamNotifier(content_state=OWN))
    run.state = "success"
    run.begin("extract")
    assert operations(sandbox) == [("PUT", 200, "started"), ("DELETE", 200, "ended")]


def test_a_state_that_breaks_a_rule_is_refused_where_it_is_written() -> None:
    with pytest.raises(
        InvalidRequestError, match=r"content_state\.percentge: is not a member; did you mean percentage"
    ):
        ActivitySmithStreamNotifier(content_state={"title": "{{ run_id }}", "percentge": 5})
