"""Airflow's own example DAGs, tagged and run: each run has one start, a bar that does not shrink, and one end.

They take many minutes, so they run by themselves: with ``ACTIVITYSMITH_TEST_EXAMPLES=1`` in the environment.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from support.airflow import Airflow, connection, eventually
from support.sandbox import KEY, Sandbox

from activitysmith_integrations.core import stream_key

pytestmark = [
    pytest.mark.skipif(find_spec("airflow") is None, reason="Airflow is not in this environment"),
    pytest.mark.skipif(
        "ACTIVITYSMITH_TEST_EXAMPLES" not in os.environ, reason="ACTIVITYSMITH_TEST_EXAMPLES is not set"
    ),
]

# A policy of the user's, as a platform team has one.
SETTINGS = """
def dag_policy(dag):
    dag.tags.add("activitysmith")
"""

# What needs something outside, waits for somebody, or does not end within minutes.
LEFT_OUT = (
    "hitl",
    "kubernetes",
    "sensor",
    "external_task",
    "trigger_controller",
    "asset_with_watchers",
    "inlet_event",
    "outlet_event",
    "setup_teardown_taskflow",
    "tutorial_objectstorage",
    "virtualenv",
    "docker",
    "example_time_delta",
    "deadline",
    "sla",
    "xcom_backend",
    "custom_timetable",
    "event_listener",
    "skip_dag",
    # Their retries come minutes later.
    "retry_policy",
    "tutorial.",
)


@pytest.fixture(scope="module")
def examples(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    import airflow.example_dags
    import airflow.providers.standard.example_dags

    home = tmp_path_factory.mktemp("examples")
    (home / "dags").mkdir()
    (home / "config").mkdir()
    (home / "config/airflow_local_settings.py").write_text(SETTINGS)
    for package in (airflow.example_dags, airflow.providers.standard.example_dags):
        for source in Path(next(iter(package.__path__))).glob("*.py"):
            if not any(name in source.name for name in LEFT_OUT):
                shutil.copy(source, home / "dags")
    variables = {
        "AIRFLOW_CONN_ACTIVITYSMITH_DEFAULT": connection(sandbox.base_url, KEY),
        "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",
        "PYTHONPATH": f"{home / 'config'}:{os.environ.get('PYTHONPATH', '')}",
    }
    deployment = Airflow(home, home / "dags", variables)
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.stop()


def faults(sandbox: Sandbox, key: str, state: str, *, is_shown: bool) -> list[str]:
    """What is wrong with what the service heard of a run."""
    story = [request for request in sandbox.story(key) if request["status"] != 400]
    operations = [request["operation"] for request in story]
    if not is_shown:
        return [] if operations == [] else [f"sent {operations}"]
    found = []
    if operations.count("started") != 1 or operations[-1:] != ["ended"] or operations.count("ended") != 1:
        found.append(f"{operations}")
    states = [request["body"]["content_state"] for request in story]
    steps = [one["current_step"] for one in states if "current_step" in one]
    if any(later < earlier for earlier, later in zip(steps, steps[2:], strict=False)):
        found.append(f"steps {steps}")
    if len({one["number_of_steps"] for one in states if "number_of_steps" in one}) > 1:
        found.append("the bar changed its length")
    if states and state == "failed" and states[-1].get("color") != "red":
        found.append("a failure that is not red")
    return found


def test_airflows_own_examples_are_shown_from_start_to_end(examples: Airflow, sandbox: Sandbox) -> None:
    eventually(lambda: len(examples.dags()) > 20, "the example DAGs")
    table: dict[str, Any] = {}
    runs = {dag_id: examples.trigger(dag_id) for dag_id in examples.dags()}
    for dag_id, run_id in runs.items():
        try:
            state = examples.finished(dag_id, run_id, seconds=300)
        except AssertionError:
            table[dag_id] = "did not end"
            continue
        key = stream_key(dag_id, run_id)
        is_shown = set(examples.operators(dag_id)) != {"EmptyOperator"}
        if is_shown:
            eventually(lambda key=key: sandbox.ends(key), f"the end of {key}", seconds=60)
        table[dag_id] = faults(sandbox, key, state, is_shown=is_shown) or state
    # pytest shows it where it is run with -rP.
    sys.stdout.write("".join(f"{dag_id}\t{result}\n" for dag_id, result in sorted(table.items())))
    assert {dag_id: result for dag_id, result in table.items() if result not in ("success", "failed")} == {}
