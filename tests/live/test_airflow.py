"""A real Airflow against the sandbox: what reached the service, whatever happened to the run."""

import json
import re
import shutil
import sqlite3
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from support.airflow import Airflow, eventually
from support.sandbox import KEY, Sandbox

from activitysmith_integrations.core import stream_key

pytestmark = pytest.mark.skipif(find_spec("airflow") is None, reason="Airflow is not in this environment")

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "example_dags"


def start(airflow: Airflow, sandbox: Sandbox, dag_id: str, **conf: Any) -> tuple[str, str]:
    """Start a run whose stream runs already; the run's id and its stream."""
    run_id = f"live-{uuid4().hex[:8]}"
    key = stream_key(dag_id, run_id)
    sandbox.start(key)
    return airflow.trigger(dag_id, run_id=run_id, **conf), key


def only_end(sandbox: Sandbox, stream_key: str) -> dict[str, Any]:
    """The one end that a stream got; waits for it."""
    eventually(lambda: sandbox.ends(stream_key), f"the end of {stream_key}")
    (body,) = sandbox.ends(stream_key)
    return body


def test_success_failure_and_every_other_end_of_a_run_ends_its_stream_once(airflow: Airflow, sandbox: Sandbox) -> None:
    dag_ids = ["live_success", "live_failure", "live_timeout", "live_all_skipped", "live_tag", "live_operator"]
    runs = {dag_id: start(airflow, sandbox, dag_id) for dag_id in dag_ids}
    assert {dag_id: airflow.finished(dag_id, run_id) for dag_id, (run_id, _) in runs.items()} == {
        "live_success": "success",
        "live_failure": "failed",
        "live_timeout": "failed",
        "live_all_skipped": "success",
        "live_tag": "failed",
        "live_operator": "failed",
    }
    states = {dag_id: only_end(sandbox, key)["content_state"] for dag_id, (_, key) in runs.items()}
    complete = {"type": "segmented_progress", "number_of_steps": 1, "current_step": 1, "color": "green"}
    assert states["live_success"].items() >= complete.items()
    assert " · Done in " in states["live_success"]["subtitle"]
    assert states["live_all_skipped"]["color"] == "green"
    for dag_id in ("live_failure", "live_tag", "live_operator"):
        assert states[dag_id]["message"].startswith("work failed after 0 of 1 step, ")
        assert (states[dag_id]["type"], states[dag_id]["color"]) == ("alert", "red")
    assert states["live_timeout"]["message"].startswith("Timed out after 0 of 1 step, ")
    for dag_id, (run_id, key) in runs.items():
        body = only_end(sandbox, key)
        assert body["metadata"]["run"] == run_id
        if states[dag_id]["type"] == "alert":
            assert body["action"]["url"].startswith(f"{airflow.url}/dags/{dag_id}/runs/")
            assert "hunter2" not in json.dumps(body)


def test_every_example_ends_its_stream_on_success_and_on_failure(airflow: Airflow, sandbox: Sandbox) -> None:
    for fail, state in ((False, "success"), (True, "failed")):
        count = len(sandbox.ends("warehouse-rows"))
        sandbox.start("warehouse-rows")
        runs = {
            f"example_{path.stem}": start(airflow, sandbox, f"example_{path.stem}", fail=fail)
            for path in EXAMPLES.glob("*.py")
        }
        assert {airflow.finished(dag_id, run_id) for dag_id, (run_id, _) in runs.items()} == {state}
        runs.pop("example_own_state")
        bodies = [only_end(sandbox, key) for _, key in runs.values()]
        eventually(lambda count=count: len(sandbox.ends("warehouse-rows")) > count, "the end of warehouse-rows")
        bodies += sandbox.ends("warehouse-rows")[count:]
        assert {body["content_state"]["type"] == "alert" for body in bodies} == {fail}
    assert sandbox.ends("warehouse-rows")[0]["content_state"]["metrics"] == [{"label": "Rows", "value": 1200}]


def test_the_readmes_quick_start_shows_its_run_from_start_to_end(airflow: Airflow, sandbox: Sandbox) -> None:
    run_id, state = airflow.run("nightly_etl")
    assert state == "success"
    key = stream_key("nightly_etl", run_id)
    only_end(sandbox, key)
    assert [request["operation"] for request in sandbox.story(key)] == ["started", "updated", "ended"]


def test_callbacks_of_tasks_end_the_streams_of_those_tasks(airflow: Airflow, sandbox: Sandbox) -> None:
    keys = ["mapped-0", "mapped-1", "mapped-2", "task-manual", "default-one", "default-two", "retried"]
    sandbox.start(*keys)
    runs = [
        (dag_id, airflow.trigger(dag_id))
        for dag_id in ("live_mapped", "live_task_callback", "live_default_args", "live_retries")
    ]
    for dag_id, run_id in runs:
        airflow.finished(dag_id, run_id)
    states = {key: only_end(sandbox, key)["content_state"] for key in keys}
    assert [states[f"mapped-{index}"]["type"] for index in range(3)] == ["progress", "alert", "progress"]
    assert states["mapped-1"]["message"].startswith("each[1] failed")
    assert states["default-one"]["title"] == "one"
    assert states["task-manual"]["percentage"] == 100
    assert states["retried"]["message"].startswith("stubborn failed")


def test_two_runs_whose_callbacks_are_batched_end_both_streams(airflow: Airflow, sandbox: Sandbox) -> None:
    sandbox.start("batched-a", "batched-b")
    # A dag-processor that is away while both runs end finds both callbacks when it is back.
    airflow.pause("dag-processor")
    try:
        runs = [airflow.trigger("live_batched", name=name) for name in ("a", "b")]
        assert [airflow.finished("live_batched", run_id) for run_id in runs] == ["success", "success"]
    finally:
        airflow.resume("dag-processor")
    for name, run_id in zip(("a", "b"), runs, strict=True):
        assert only_end(sandbox, f"batched-{name}")["metadata"]["run"] == run_id


def test_a_missed_deadline_ends_the_stream_from_the_triggerer_and_from_a_worker(
    airflow: Airflow, sandbox: Sandbox
) -> None:
    dag_ids = [f"live_deadline_{kind}" for kind in ("async", "sync") if airflow.knows(f"live_deadline_{kind}")]
    assert dag_ids
    for dag_id in dag_ids:
        _, key = start(airflow, sandbox, dag_id)
        state = only_end(sandbox, key)["content_state"]
        assert state["title"].startswith("Late (")
        assert state["badge"]["title"] == "Timed out"


def test_dag_test_twice_in_one_process_ends_two_streams(airflow: Airflow, sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.start("tested-first", "tested-second")
    script = airflow.home / "dags/dag_test_twice.py"
    shutil.copy(HERE / "dag_test_twice.py", script)
    eventually(lambda: airflow.knows("dag_test"), "the DAG dag_test")
    # On a copy of the database, since the scheduler would finish a run that it sees in its own.
    with sqlite3.connect(airflow.home / "airflow.db") as known, sqlite3.connect(tmp_path / "copy.db") as copy:
        known.backup(copy)
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**airflow.environment, "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/copy.db"},
        capture_output=True,
        text=True,
        cwd=airflow.home,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    for name in ("first", "second"):
        assert only_end(sandbox, f"tested-{name}")["content_state"]["color"] == "green"


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
    run_id, key = start(airflow, sandbox, "live_success")
    airflow.finished("live_success", run_id)
    only_end(sandbox, key)

    def all_have_said_so() -> bool:
        log = b"".join(content for name, content in airflow.everything_written().items() if "dag_processor" in name)
        return all(re.search(rf"stream 'fault-{name}' (was|may) not".encode(), log) for name in FAULTS)

    eventually(all_have_said_so, "a line for every stream that did not end")
    log = b"".join(airflow.everything_written().values())
    assert b"stream 'task-fault-black-hole' may not have been ended" in log
    assert b"Task success overtime reached" not in log


def test_a_long_wait_defers_the_operator(airflow: Airflow, sandbox: Sandbox) -> None:
    key = stream_key("live_deferred", "waits")
    sandbox.start(key)
    # Longer than one call may take, so that the task leaves its worker.
    sandbox.inject_fault(times=1, stream_key=key, status=429, headers={"Retry-After": "32"})
    assert airflow.finished("live_deferred", airflow.trigger("live_deferred", run_id="waits")) == "success"
    assert only_end(sandbox, key)["metadata"]["run"] == "waits"


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


def test_no_stream_got_a_second_end_later(sandbox: Sandbox) -> None:
    keys = ["mapped-0", "mapped-1", "mapped-2", "default-one", "default-two", "retried", "batched-a", "batched-b"]
    for key in keys:
        assert len(sandbox.ends(key)) <= 1, key


def test_the_key_is_nowhere_but_in_the_connection(airflow: Airflow) -> None:
    key = KEY.encode()
    for dag_id in ("live_success", "live_failure", "live_operator"):
        airflow.run(dag_id)
    written = airflow.everything_written()
    assert any("task_id=work" in name for name in written)
    assert [name for name, content in written.items() if key in content] == []
    with sqlite3.connect(airflow.home / "airflow.db") as database:
        tables = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        assert "rendered_task_instance_fields" in tables
        held = [
            table
            for table in tables
            if table != "connection" and any(KEY in repr(row) for row in database.execute(f'SELECT * FROM "{table}"'))
        ]
    assert held == []
