import asyncio
import logging
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.bases.operator import BaseOperator
from support.sandbox import KEY, Sandbox

from activitysmith_integrations.airflow import callbacks
from activitysmith_integrations.airflow.callback_budget import CallbackBudget
from activitysmith_integrations.airflow.notifications import (
    ActivitySmithEndStreamNotifier,
    ActivitySmithStreamNotifier,
    end_activitysmith_stream,
)
from activitysmith_integrations.core import AlertState, InvalidRequestError, stream_key

STREAM = stream_key("nightly", "r1")
BEGAN = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
TOOK = timedelta(minutes=3, seconds=10)


def _dag(dag_id: str = "nightly") -> DAG:
    with DAG(dag_id, schedule=None) as dag:
        BaseOperator(task_id="extract") >> BaseOperator(task_id="load") >> BaseOperator(task_id="publish")
    return dag


def _dag_run(run_id: str, **more: Any) -> SimpleNamespace:
    return SimpleNamespace(dag_id="nightly", run_id=run_id, start_date=BEGAN, **more)


def _ti(task_id: str, states: dict[str, str] | None = None, **more: Any) -> SimpleNamespace:
    def get_task_states(dag_id: str, run_ids: list[str]) -> dict[str, dict[str, str]]:
        if states is None:
            raise NameError("SUPERVISOR_COMMS")
        return {run_ids[0]: states}

    return SimpleNamespace(task_id=task_id, map_index=-1, get_task_states=get_task_states, **more)


COMPLETE = {"type": "segmented_progress", "number_of_steps": 3, "current_step": 3}
STATES = {"extract": "success", "load": "failed", "publish": "upstream_failed"}


def dag_context(reason: str, ti: Any = None, run_id: str = "r1") -> dict[str, Any]:
    """A DAG callback's, in the dag-processor."""
    context = {"dag": _dag(), "run_id": run_id, "reason": reason, "dag_run": _dag_run(run_id, end_date=BEGAN + TOOK)}
    return {**context, "ti": ti, "task_instance": ti} if ti is not None else context


def minimal_context(reason: str) -> dict[str, Any]:
    """A DAG callback's where Airflow found no task instance to tell of."""
    return {"dag": _dag(), "run_id": "r1", "reason": reason}


def task_context(state: str, exception: BaseException | None = None, **states: str) -> dict[str, Any]:
    """A callback's of the task ``load``, on a worker."""
    known = {"extract": "success", "load": "running", "publish": "none", **states}
    one = _ti("load", known, state=state, start_date=BEGAN + timedelta(minutes=3), end_date=BEGAN + TOOK)
    return {
        "dag": _dag(),
        "run_id": "r1",
        "dag_run": _dag_run("r1", end_date=None),
        "ti": one,
        "task_instance": one,
        "exception": exception,
    }


def deadline_context() -> dict[str, Any]:
    """A deadline's: a REST document, and nothing else."""
    run = {"dag_id": "nightly", "dag_run_id": "r1", "start_date": "2026-11-23T03:00:00Z", "end_date": None}
    return {"dag_run": run, "deadline": {"id": "d1", "deadline_time": "2026-11-23T03:10:00Z"}}


@pytest.mark.parametrize(
    ("context", "state"),
    [
        (
            dag_context("success", _ti("publish")),
            {"type": "segmented_progress", "number_of_steps": 3, "current_step": 3},
        ),
        (minimal_context("success"), {"type": "segmented_progress", "number_of_steps": 3, "current_step": 3}),
        (
            dag_context("task_failure", _ti("load", STATES)),
            {"type": "alert", "message": "load failed after 1 of 3 steps, 3 m 10 s"},
        ),
        (dag_context("task_failure", _ti("load")), {"type": "alert", "message": "load failed after 3 m 10 s"}),
        (
            dag_context("task_failure", _ti("extract", STATES)),
            {"type": "alert", "message": "load failed after 1 of 3 steps, 3 m 10 s"},
        ),
        (
            dag_context("timed_out", _ti("load", {"extract": "success", "load": "skipped", "publish": "skipped"})),
            {"type": "alert", "message": "Timed out after 1 of 3 steps, 3 m 10 s"},
        ),
        (dag_context("all_tasks_deadlocked"), {"type": "alert", "message": "Failed after 3 m 10 s"}),
        (task_context("success", load="success", publish="success"), COMPLETE),
        (task_context("skipped", load="skipped", publish="success"), COMPLETE),
        (
            task_context("success", extract="failed", publish="upstream_failed"),
            {"type": "alert", "message": "extract failed after 1 of 3 steps, 3 m 10 s"},
        ),
        (
            task_context("failed", ValueError("secret")),
            {"type": "alert", "message": "load failed after 1 of 3 steps, 3 m 10 s"},
        ),
        (
            task_context("failed", type("AirflowTaskTimeout", (BaseException,), {})()),
            {"type": "alert", "message": "load timed out after 1 of 3 steps, 3 m 10 s"},
        ),
    ],
)
def test_each_shape_of_context_ends_the_dags_stream_with_what_happened(
    sandbox: Sandbox, context: dict[str, Any], state: dict[str, Any]
) -> None:
    sandbox.start(STREAM)
    ActivitySmithEndStreamNotifier()(context)
    (body,) = sandbox.ends(STREAM)
    assert {name: body["content_state"].get(name) for name in state} == state


WAREHOUSE = ActivitySmithEndStreamNotifier("warehouse")


def ended_once(sandbox: Sandbox, key: str) -> None:
    sandbox.start(key)
    sandbox.end(key)


def operations(sandbox: Sandbox, key: str) -> list[str]:
    return [request["operation"] for request in sandbox.story(key)[2:]]


@pytest.mark.parametrize(
    ("context", "is_shown"),
    [
        (dag_context("task_failure", _ti("load", STATES)), True),
        (task_context("failed"), True),
        # Many tasks may have the same callback: the first failure of the run is shown.
        (task_context("failed", extract="failed"), False),
        (dag_context("success", _ti("publish")), False),
        (deadline_context(), False),
    ],
)
def test_a_failure_under_a_key_of_ones_own_is_shown_although_an_earlier_run_ended_the_stream(
    context: dict[str, Any], is_shown: bool, sandbox: Sandbox
) -> None:
    ended_once(sandbox, "warehouse")
    WAREHOUSE(context)
    assert operations(sandbox, "warehouse") == ["ended", *["started", "ended"] * is_shown]


@pytest.mark.parametrize("clear_number", [0, 1])
def test_a_run_that_fails_again_after_it_was_cleared_is_shown_again(clear_number: int, sandbox: Sandbox) -> None:
    ended_once(sandbox, STREAM)
    context = dag_context("task_failure", _ti("load", STATES))
    context["dag_run"].clear_number = clear_number
    ActivitySmithEndStreamNotifier()(context)
    assert operations(sandbox, STREAM) == ["ended", *["started", "ended"] * clear_number]


def test_a_failure_that_a_task_has_shown_is_not_shown_again_by_its_dag(sandbox: Sandbox) -> None:
    ended_once(sandbox, "warehouse")
    context = dag_context("task_failure", _ti("load", STATES))
    context["dag"].get_task("load").on_failure_callback = [ActivitySmithEndStreamNotifier("warehouse")]
    WAREHOUSE(context)
    assert operations(sandbox, "warehouse") == ["ended"]


def test_a_task_that_succeeds_amid_its_run_does_not_end_the_dags_stream(
    sandbox: Sandbox, said: Callable[[Any, Any], str]
) -> None:
    assert "stream goes on" in said(end_activitysmith_stream(), task_context("success"))
    assert sandbox.requests() == []


def test_a_task_with_a_stream_of_its_own_ends_it_with_what_became_of_the_task(sandbox: Sandbox) -> None:
    sandbox.start("load-stream")
    end_activitysmith_stream("load-stream")(task_context("success"))
    sandbox.start("load-stream")
    end_activitysmith_stream("load-stream", subtitle="Loading")(task_context("failed", ValueError()))
    done, failed = (body["content_state"] for body in sandbox.ends("load-stream"))
    assert (done["title"], done["subtitle"], done["percentage"]) == ("load", "r1 · Done in 10 s", 100)
    assert (failed["title"], failed["message"]) == ("load", "load failed after 10 s")


def test_a_dag_that_renders_native_objects_keeps_its_keys_and_titles(sandbox: Sandbox) -> None:
    sandbox.start("20261123")
    context = dag_context("success")
    context["dag"] = DAG("nightly", schedule=None, render_template_as_native_obj=True)
    end_activitysmith_stream("{{ 20261123 }}", title="{{ 5 }}")(context)
    assert sandbox.ends("20261123")[0]["content_state"]["title"] == "5"


def test_an_error_that_cannot_be_read_keeps_no_stream_from_ending(sandbox: Sandbox) -> None:
    class UnreadableError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    sandbox.start(STREAM)
    end_activitysmith_stream(include_error=True)(task_context("failed", UnreadableError()))
    assert sandbox.ends(STREAM)[0]["content_state"]["message"].endswith(": UnreadableError")


def test_a_deadline_ends_the_stream_from_the_event_loop_and_from_a_worker(sandbox: Sandbox) -> None:
    sandbox.start("nightly-r1", STREAM)

    async def run() -> None:
        await end_activitysmith_stream("nightly-{{ dag_run.run_id }}", context=deadline_context())

    asyncio.run(run())
    end_activitysmith_stream(context=None)(deadline_context())
    for key in ("nightly-r1", STREAM):
        (body,) = sandbox.ends(key)
        assert body["content_state"]["badge"]["title"] == "Timed out"
        assert body["metadata"]["run"] == "r1"


def test_one_instance_ends_the_right_stream_of_each_of_two_runs(sandbox: Sandbox) -> None:
    sandbox.start("run-r1", "run-r2")
    notifier = end_activitysmith_stream("run-{{ run_id }}", title="Run {{ dag_run.run_id }}")
    for run_id in ("r1", "r2"):
        notifier(dag_context("success", run_id=run_id))
    for run_id in ("r1", "r2"):
        (body,) = sandbox.ends(f"run-{run_id}")
        assert body["content_state"]["title"] == f"Run {run_id}"


def test_the_context_of_the_next_callback_is_as_it_was(sandbox: Sandbox) -> None:
    context = dag_context("success")
    before = dict(context)
    end_activitysmith_stream("run-{{ run_id }}")(context)
    assert context == before


@pytest.mark.parametrize(
    "context",
    [
        task_context("running"),
        task_context("up_for_retry", ValueError()),
        {**task_context("x"), "ti": None, "task_instance": _ti("load", state=None, try_number=1, max_tries=2)},
    ],
)
def test_nothing_ends_while_a_task_starts_or_will_be_tried_again(sandbox: Sandbox, context: dict[str, Any]) -> None:
    ActivitySmithEndStreamNotifier()(context)
    assert sandbox.requests() == []


def test_a_killed_tasks_last_try_is_a_failure(sandbox: Sandbox) -> None:
    sandbox.start(STREAM)
    killed = _ti("load", state=None, try_number=3, max_tries=2)
    ActivitySmithEndStreamNotifier()({**task_context("x"), "ti": killed, "task_instance": killed})
    assert sandbox.ends(STREAM)[0]["content_state"]["message"].startswith("load failed")


def test_a_mapped_task_is_named_with_its_index(sandbox: Sandbox) -> None:
    sandbox.start("table-1")
    context = task_context("failed", ValueError())
    context["ti"].map_index = 1
    end_activitysmith_stream("table-{{ ti.map_index }}")(context)
    state = sandbox.ends("table-1")[0]["content_state"]
    assert (state["title"], state["message"]) == ("load[1]", "load[1] failed after 10 s")


def test_dag_test_has_a_dag_without_templates_and_still_ends_the_right_stream(sandbox: Sandbox) -> None:
    sandbox.start("nightly-r1")
    context = dag_context("success", _ti("publish"))
    context["dag"] = SimpleNamespace(dag_id="nightly", task_ids=["extract", "load"])
    end_activitysmith_stream("{{ dag.dag_id }}-{{ run_id }}")(context)
    assert sandbox.ends("nightly-r1")[0]["content_state"]["number_of_steps"] == 2


def test_the_options_are_templates_and_numbers_in_them_stay_numbers(sandbox: Sandbox) -> None:
    sandbox.start(STREAM)
    end_activitysmith_stream(
        content_state={
            "type": "progress",
            "title": "{{ dag.dag_id }}",
            "value": "{{ 3 }}",
            "upper_limit": "{{ 6.5 }}",
            "auto_dismiss_minutes": "{{ 2 * 5 }}",
        },
        tags=["{{ run_id }}"],
        metadata={"day": "{{ run_id }}"},
    )(dag_context("success"))
    (body,) = sandbox.ends(STREAM)
    assert body["content_state"] == {
        "type": "progress",
        "title": "nightly",
        "value": 3,
        "upper_limit": 6.5,
        "auto_dismiss_minutes": 10,
    }
    assert body["tags"] == ["airflow", "r1"]
    assert body["metadata"]["day"] == "r1"


def test_a_model_may_hold_templates(sandbox: Sandbox) -> None:
    sandbox.start(STREAM)
    state = AlertState(title="{{ run_id }}", message="over")
    end_activitysmith_stream(content_state=state)(dag_context("success"))
    assert sandbox.ends(STREAM)[0]["content_state"]["title"] == "r1"


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Callable[[Any, Any], str]:
    """What a notifier logs; Airflow 3.1 logs to the standard library's loggers, 3.3 to the standard output."""

    def of(notifier: Callable[[Any], None], context: Any) -> str:
        caplog.clear()
        capfd.readouterr()
        with caplog.at_level(logging.INFO):
            notifier(context)
        lines = [record.getMessage() for record in caplog.records] + capfd.readouterr().out.splitlines()
        return "\n".join(line for line in lines if "HTTP Request" not in line)

    return of


def test_one_line_says_what_ended(sandbox: Sandbox, said: Callable[[Any, Any], str]) -> None:
    sandbox.start(STREAM)
    notifier = end_activitysmith_stream()
    (line,) = said(notifier, dag_context("success")).splitlines()
    assert f"Ended Live Activity stream {STREAM!r} as succeeded." in line
    assert "was already inactive" in said(notifier, dag_context("success"))


def test_an_unknown_stream_is_said_and_no_error(sandbox: Sandbox, said: Callable[[Any, Any], str]) -> None:
    line = said(end_activitysmith_stream("typo"), dag_context("success"))
    assert "is not known to ActivitySmith" in line
    assert "error" not in line


@pytest.mark.parametrize(
    ("stream_key", "words"),
    [
        ("{{ nobody }}", "'nobody' is undefined"),
        ("x-{{ dag_run.nothing }}", "nothing"),
        ("{{ unclosed", "TemplateSyntaxError"),
        ("{{ '' }}", "renders to nothing"),
        ("{{ dag_run.end_date }}", "is None; what it looks for is not there"),
        ("{{ 'ask_0123456789' }}", "looks like an API key"),
        ("{{ 'ask_0123456789\n' }}", "looks like an API key"),
    ],
)
def test_a_key_that_cannot_be_told_is_said_and_nothing_is_sent(
    sandbox: Sandbox, said: Callable[[Any, Any], str], stream_key: str, words: str
) -> None:
    log = said(end_activitysmith_stream(stream_key), task_context("failed"))
    assert words in log
    assert "was not ended" in log
    assert "ask_0123456789-" not in log
    assert sandbox.requests() == []


def test_a_key_that_a_template_makes_of_what_no_key_may_hold_is_made_legal(sandbox: Sandbox) -> None:
    end_activitysmith_stream("etl.nightly/{{ run_id }}")(dag_context("task_failure"))
    (end,) = sandbox.ends(stream_key("etl.nightly/r1"))
    assert end["metadata"]["result"] == "failed"


def test_a_missed_deadline_is_shown_in_the_stream_that_is_named_after_the_runs_date(sandbox: Sandbox) -> None:
    context = deadline_context()
    context["dag_run"]["logical_date"] = "2026-11-23T02:00:00Z"
    key = "{{ ds }}_{{ ds_nodash }}_{{ ts_nodash }}_{{ logical_date.format('YYYY') }}"
    end_activitysmith_stream(key, context=None)(context)
    (end,) = sandbox.ends("2026-11-23_20261123_20261123T020000_2026")
    assert end["metadata"]["result"] == "timed_out"


def test_a_missed_deadline_whose_key_cannot_be_told_is_shown_in_the_runs_own_stream(
    sandbox: Sandbox, said: Callable[[Any, Any], str]
) -> None:
    log = said(end_activitysmith_stream("nightly-{{ ds }}"), deadline_context())
    assert "has no key in this run, so its failure is shown in a stream of its own" in log
    (end,) = sandbox.ends(STREAM)
    assert end["metadata"]["result"] == "timed_out"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"content_state": "{{ {'title': 'x', 'mesage': 'y'} }}"}, "must be a mapping"),
        ({"title": "{{ nobody }}"}, "'nobody' is undefined"),
        ({"tags": ["{{ 'x' * 65 }}"]}, "tags.1"),
        ({"include_error": "{{ 'no' }}"}, "include_error: must be True or False, not 'no'"),
    ],
)
def test_options_that_cannot_be_used_are_said_and_the_stream_ends_all_the_same(
    sandbox: Sandbox, said: Callable[[Any, Any], str], options: Any, words: str
) -> None:
    sandbox.start(STREAM)
    assert words in said(end_activitysmith_stream(**options), dag_context("success"))
    (body,) = sandbox.ends(STREAM)
    assert body["content_state"]["title"] == "nightly"


def test_a_missing_connection_is_said_and_not_raised(said: Callable[[Any, Any], str]) -> None:
    notifier = end_activitysmith_stream(activitysmith_conn_id="nowhere")
    assert "nowhere" in said(notifier, dag_context("success"))


@pytest.mark.parametrize("fault", [{"status": 401}, {"status": 503}, {"drop": True}, {"body": "<html>"}])
def test_a_service_that_fails_is_said_and_not_raised(
    sandbox: Sandbox, said: Callable[[Any, Any], str], fault: dict[str, Any]
) -> None:
    sandbox.start(STREAM)
    sandbox.inject_fault(times=50, **fault)
    log = said(end_activitysmith_stream(), dag_context("success"))
    assert re.search(rf"Live Activity stream {STREAM!r} (was not|may not have been) ended", log)
    assert KEY not in log


def test_a_wait_of_an_hour_is_not_waited_for(sandbox: Sandbox, said: Callable[[Any, Any], str]) -> None:
    sandbox.inject_fault(times=1, status=429, headers={"Retry-After": "3600"})
    assert "asks to wait 3600 s" in said(end_activitysmith_stream(), dag_context("success"))
    assert len(sandbox.requests()) == 1


def test_of_many_callbacks_that_get_no_answer_the_last_ones_still_say_what_they_did_not_end(
    sandbox: Sandbox, said: Callable[[Any, Any], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "budget", CallbackBudget(seconds=2))
    sandbox.inject_fault(times=50, delay=600)
    lines = [said(end_activitysmith_stream(f"s{number}"), dag_context("success")) for number in range(20)]
    for number, line in enumerate(lines):
        assert f"Live Activity stream 's{number}' may not have been ended" in line
    assert "earlier callbacks in this process took the time" not in lines[0]
    assert "earlier callbacks in this process took the time" in lines[-1]
    asked = {request["stream_key"] for request in sandbox.requests()}
    assert "s0" in asked
    assert "s19" not in asked


def test_an_option_that_does_not_exist_is_refused_where_it_is_written() -> None:
    with pytest.raises(InvalidRequestError, match=r"on_sucess: is not an option; did you mean on_success\?"):
        ActivitySmithEndStreamNotifier(on_sucess="progress")  # type: ignore[call-arg]


def test_error_texts_are_sent_only_when_asked_for(sandbox: Sandbox) -> None:
    sandbox.start(STREAM)
    context = task_context("failed", ValueError("password=hunter2"))
    end_activitysmith_stream()(context)
    sandbox.start(STREAM)
    end_activitysmith_stream(include_error=True)(context)
    silent, open_ = (body["content_state"]["message"] for body in sandbox.ends(STREAM))
    assert "hunter2" not in silent
    assert open_.endswith("ValueError: password=hunter2")


def test_the_callbacks_of_a_task_share_the_time_after_which_airflow_kills_it(
    sandbox: Sandbox, said: Callable[[Any, Any], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(callbacks, "task_budget", CallbackBudget(seconds=2))
    sandbox.inject_fault(times=50, delay=600)
    lines = [said(end_activitysmith_stream(f"s{number}", patience=40), task_context("failed")) for number in range(2)]
    assert "earlier callbacks in this process took the time" not in lines[0]
    assert "earlier callbacks in this process took the time" in lines[1]
    assert callbacks.budget.spent < 10


@pytest.mark.parametrize(
    "notifier", [end_activitysmith_stream("own"), ActivitySmithStreamNotifier("own", content_state={"title": "own"})]
)
def test_callbacks_in_the_triggerer_share_nothing(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, notifier: Any
) -> None:
    spent = CallbackBudget(spent=40.0, pause=1e9)
    monkeypatch.setattr(callbacks, "budget", spent)
    sandbox.start("own")
    asyncio.run(notifier.async_notify({"dag_run": {"dag_id": "nightly", "dag_run_id": "r1"}, "deadline": {"id": "d1"}}))
    assert len(sandbox.story("own")) == 2
    assert spent.spent == 40.0
