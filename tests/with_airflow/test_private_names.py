"""Names inside Airflow that this package depends on, though Airflow promises nothing about them."""

import inspect
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.api.datamodels._generated import TIRunContext
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.supervisor import InProcessSupervisorComms
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from activitysmith_integrations.airflow.run import Run

try:
    from airflow.sdk.exceptions import AirflowTaskTimeout
except ImportError:  # before Airflow 3.2
    from airflow.exceptions import AirflowTaskTimeout


def run(**more: Any) -> Run:
    ti = SimpleNamespace(task_id="load", map_index=-1, state="failed")
    return Run({"run_id": "r1", "ti": ti, "task_instance": ti, **more})


def test_the_comms_of_a_run_in_one_process_are_called_what_we_look_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", None, raising=False)
    assert not run().is_in_process
    comms = InProcessSupervisorComms(supervisor=SimpleNamespace())  # type: ignore[arg-type]
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", comms)
    assert type(comms).__name__ == "InProcessSupervisorComms"
    assert run().is_in_process


def test_the_error_of_a_task_that_takes_too_long_is_called_what_we_look_for() -> None:
    assert AirflowTaskTimeout.__name__ == "AirflowTaskTimeout"
    assert run(exception=AirflowTaskTimeout("too long")).result == "timed_out"


def test_what_a_task_instance_knows_of_its_resume_is_called_what_we_look_for() -> None:
    assert "_ti_context_from_server" in RuntimeTaskInstance.__private_attributes__
    assert "next_method" in TIRunContext.model_fields


@pytest.mark.parametrize(
    ("question", "arguments"),
    [
        ("get_task_states", {"dag_id", "run_ids"}),
        ("get_ti_count", {"dag_id", "run_ids", "task_ids", "states"}),
        ("get_dagrun_state", {"dag_id", "run_id"}),
    ],
)
def test_a_task_instance_answers_what_we_ask_without_being_one(question: str, arguments: set[str]) -> None:
    assert isinstance(inspect.getattr_static(RuntimeTaskInstance, question), staticmethod)
    assert inspect.signature(getattr(RuntimeTaskInstance, question)).parameters.keys() >= arguments
