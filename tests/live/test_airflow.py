"""A real Airflow against the sandbox: what reached the service, whatever happened to the run."""

import json
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.airflow import Airflow, eventually
from support.databases import PostgreSQL
from support.live_runs import LiveRun, Wanted, start
from support.sandbox import KEY, Sandbox

try:
    from airflow.sdk import SyncCallback
except ImportError:
    SyncCallback = None

pytestmark = pytest.mark.skipif(find_spec("airflow") is None, reason="Airflow is not in this environment")

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "example_dags"


def ending(*dag_ids: str, **conf: Any) -> dict[str, Wanted]:
    """Runs of DAGs that only end their streams, which run already."""
    return {dag_id: Wanted(dag_id, conf, is_shown=True) for dag_id in dag_ids}


STATES = {
    "live_success": "success",
    "live_failure": "failed",
    "live_timeout": "failed",
    "live_all_skipped": "success",
    "live_tag": "failed",
    "live_operator": "failed",
}


@pytest.mark.runs(**ending(*STATES))
def test_success_failure_and_every_other_end_of_a_run_ends_its_stream_once(
    airflow: Airflow, runs: dict[str, LiveRun]
) -> None:
    assert {dag_id: run.finished() for dag_id, run in runs.items()} == STATES
    states = {dag_id: run.last_state() for dag_id, run in runs.items()}
    complete = {"type": "segmented_progress", "number_of_steps": 1, "current_step": 1, "color": "green"}
    assert states["live_success"].items() >= complete.items()
    assert " · Done in " in states["live_success"]["subtitle"]
    assert states["live_all_skipped"]["color"] == "green"
    for dag_id in ("live_failure", "live_tag", "live_operator"):
        assert states[dag_id]["message"].startswith("work failed after 0 of 1 step, ")
        assert (states[dag_id]["type"], states[dag_id]["color"]) == ("alert", "red")
    assert states["live_timeout"]["message"].startswith("Timed out after 0 of 1 step, ")
    for dag_id, run in runs.items():
        body = run.end()
        assert body["metadata"]["run"] == run.run_id
        if states[dag_id]["type"] == "alert":
            assert body["action"]["url"].startswith(f"{airflow.url}/dags/{dag_id}/runs/")
            assert "hunter2" not in json.dumps(body)


EXAMPLE_DAGS = [f"example_{path.stem}" for path in EXAMPLES.glob("*.py")]


def examples(suffix: str, **conf: Any) -> dict[str, Wanted]:
    """A run of each example."""
    return {f"{dag_id}-{suffix}": Wanted(dag_id, conf) for dag_id in EXAMPLE_DAGS}


@pytest.mark.runs(**examples("good", fail=False), **examples("bad", fail=True))
def test_every_example_shows_its_run_from_a_start_to_an_end_on_success_and_on_failure(
    runs: dict[str, LiveRun],
) -> None:
    for name, run in runs.items():
        is_bad = name.endswith("-bad")
        assert run.finished() == ("failed" if is_bad else "success"), name
        run.ended()
        assert "started" in run.operations(), name
        # Where a task ends the stream, the tag's callback finds it ended.
        state = run.sandbox.ends(run.stream)[0]["content_state"]
        assert (state["type"] == "alert") == is_bad, name
        if run.dag_id == "example_own_state" and not is_bad:
            assert state["metrics"] == [{"label": "Rows", "value": 1200}]


@pytest.mark.runs("nightly_etl")
def test_the_readmes_quick_start_shows_its_run_from_start_to_end(runs: dict[str, LiveRun]) -> None:
    run = runs["nightly_etl"]
    assert run.finished() == "success"
    run.ended()
    assert run.operations() == ["started", "updated", "ended"]


TASKS = {"live_task_callback": ("task-live",), "live_default_args": ("default-one", "default-two")}
TASKS |= {"live_mapped": ("mapped-0", "mapped-1", "mapped-2"), "live_retries": ("retried",)}


@pytest.mark.runs(**{dag_id: Wanted(dag_id, streams=streams, is_shown=True) for dag_id, streams in TASKS.items()})
def test_callbacks_of_tasks_end_the_streams_of_those_tasks_once(runs: dict[str, LiveRun]) -> None:
    for run in runs.values():
        run.finished()
    states = {key: run.last_state(key) for run in runs.values() for key in run.streams}
    assert [states[f"mapped-{index}"]["type"] for index in range(3)] == ["progress", "alert", "progress"]
    assert states["mapped-1"]["message"].startswith("each[1] failed")
    assert states["default-one"]["title"] == "one"
    assert states["task-live"]["percentage"] == 100
    assert states["retried"]["message"].startswith("stubborn failed")


# Callbacks of deadlines in a worker came with Airflow 3.2.
DEADLINES = ["live_deadline_async", *([] if SyncCallback is None else ["live_deadline_sync"])]


@pytest.mark.runs(**ending(*DEADLINES))
def test_a_missed_deadline_ends_the_stream_from_the_triggerer_and_from_a_worker(runs: dict[str, LiveRun]) -> None:
    for run in runs.values():
        state = run.last_state()
        assert state["title"].startswith("Late (")
        assert state["badge"]["title"] == "Timed out"


# Longer than one call may take, so that the task leaves its worker.
WAIT = {"times": 1, "method": "DELETE", "status": 429, "headers": {"Retry-After": "32"}}


@pytest.mark.runs(live_deferred=Wanted("live_deferred", is_shown=True, fault=WAIT))
def test_a_long_wait_defers_the_operator(runs: dict[str, LiveRun]) -> None:
    run = runs["live_deferred"]
    assert run.finished() == "success"
    assert run.end()["metadata"]["run"] == run.run_id


def test_two_runs_whose_callbacks_are_batched_end_both_streams(airflow: Airflow, sandbox: Sandbox) -> None:
    wanted = [Wanted("live_batched", {"name": name}, (f"batched-{name}",), is_shown=True) for name in ("a", "b")]
    # A dag-processor that is away while both runs end finds both callbacks when it is back.
    airflow.pause("dag-processor")
    try:
        runs = [start(airflow, sandbox, one, f"batched-{number}") for number, one in enumerate(wanted)]
        assert [run.finished() for run in runs] == ["success", "success"]
    finally:
        airflow.resume("dag-processor")
    for run in runs:
        assert run.end()["metadata"]["run"] == run.run_id


def test_dag_test_twice_in_one_process_ends_two_streams(
    airflow: Airflow, postgres: PostgreSQL, sandbox: Sandbox
) -> None:
    sandbox.start("tested-first", "tested-second")
    script = airflow.home / "dags/dag_test_twice.py"
    shutil.copy(HERE / "dag_test_twice.py", script)
    airflow.await_dags(["dag_test"])
    # On a copy of the database, since the scheduler would finish a run that it sees in its own.
    done = subprocess.run(
        [sys.executable, str(script)],
        env=airflow.environment_on(postgres.copy("airflow", "tested_twice")),
        capture_output=True,
        text=True,
        cwd=airflow.home,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for name in ("first", "second"):
        assert sandbox.ends(f"tested-{name}")[-1]["content_state"]["color"] == "green"


FAULTS: dict[str, dict[str, Any]] = {
    "black-hole": {"delay": 3600},
    "drip": {"drip": 1},
    "500": {"status": 500},
    "429": {"status": 429, "headers": {"Retry-After": "3600"}},
    "html": {"body": "<html>sign in</html>", "headers": {"Content-Type": "text/html"}},
    "redirect": {"status": 307, "headers": {"Location": "https://example.invalid/"}},
}


def test_a_service_that_fails_costs_a_pipeline_nothing_and_others_go_on(airflow: Airflow, sandbox: Sandbox) -> None:
    sandbox.start(*(f"fault-{name}" for name in FAULTS), "task-fault-black-hole")
    for name, fault in FAULTS.items():
        sandbox.inject_fault(times=100, stream_key=f"fault-{name}", **fault)
    sandbox.inject_fault(times=100, stream_key="task-fault-black-hole", delay=3600)
    runs = [("live_fault", airflow.trigger("live_fault", name=name)) for name in FAULTS]
    runs.append(("live_fault_in_task", airflow.trigger("live_fault_in_task")))
    assert {airflow.finished(*run) for run in runs} == {"success"}

    # All six callbacks hang or fail in the dag-processor now; it parses a new file all the same.
    (airflow.home / "dags/late.py").write_text(
        "from airflow.sdk import DAG\nwith DAG('live_parsed_meanwhile', schedule=None):\n    pass\n"
    )
    eventually(lambda: airflow.knows("live_parsed_meanwhile"), "a file that was added meanwhile")
    other = start(airflow, sandbox, Wanted("live_success", is_shown=True), "beside-faults")
    assert other.finished() == "success"
    other.end()

    def all_have_said_so() -> bool:
        log = b"".join(content for name, content in airflow.everything_written().items() if "dag_processor" in name)
        return all(re.search(rf"stream 'fault-{name}' (was|may) not".encode(), log) for name in FAULTS)

    eventually(all_have_said_so, "a line for every stream that did not end")
    log = b"".join(airflow.everything_written().values())
    assert b"stream 'task-fault-black-hole' may not have been ended" in log
    assert b"Task success overtime reached" not in log


def test_airflow_lists_the_provider_and_tests_its_connection(airflow: Airflow) -> None:
    provider = airflow.cli("providers", "get", "activitysmith-integrations", "--full", "-o", "json")
    assert "ActivitySmith" in provider
    assert "ActivitySmithHook" in airflow.cli("providers", "hooks", "-o", "json")
    assert "Connection success!" in airflow.cli("connections", "test", "in_database")


def test_the_connection_form_shows_the_useful_fields(airflow: Airflow) -> None:
    forms = httpx.get(f"{airflow.url}/ui/connections/hook_meta", headers=airflow.authorization, timeout=30).json()
    (form,) = [form for form in forms if form["connection_type"] == "activitysmith"]
    assert form["hook_name"] == "ActivitySmith"
    fields = {name: field for name, field in form["standard_fields"].items() if field and not field["hidden"]}
    assert {name: field["title"] for name, field in fields.items()} == {"password": "API key", "host": "Base URL"}
    if form["extra_fields"] is None:
        pytest.skip("fields beside the standard ones came with Airflow 3.2; 3.1 shows them as JSON")
    assert set(form["extra_fields"]) == {"timeout", "max_retries"}
    assert all(field["description"] for field in form["extra_fields"].values())


def test_the_key_is_nowhere_but_in_the_connection(airflow: Airflow, postgres: PostgreSQL) -> None:
    for dag_id in ("live_failure", "live_operator"):
        airflow.run(dag_id)
    written = airflow.everything_written()
    assert any("task_id=work" in name for name in written)
    assert [name for name, content in written.items() if KEY.encode() in content] == []
    database = postgres.dump("airflow", "--data-only", "--exclude-table=connection").read_text()
    assert "COPY public.rendered_task_instance_fields" in database
    # Binary columns are written in hexadecimal.
    assert [text for text in (KEY, KEY.encode().hex()) if text in database] == []
