import json
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import airflow
import pytest
from airflow import settings
from airflow.sdk import DAG
from support import readme

from activitysmith_integrations.airflow import policy
from activitysmith_integrations.airflow.notifications import ActivitySmithEndStreamNotifier
from activitysmith_integrations.airflow.provider_info import get_provider_info

EXAMPLES = Path(__file__).parents[2] / "example_dags"


def test_the_providers_description_fits_airflows_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_airflow_finds_the_provider_its_connection_type_and_its_policy() -> None:
    (provider,) = [point for point in entry_points(group="apache_airflow_provider") if "activitysmith" in point.value]
    assert provider.load()()["package-name"] == provider.dist.name  # type: ignore[union-attr]
    (found,) = [point for point in entry_points(group="airflow.policy") if "activitysmith" in point.value]
    assert found.load() is policy


def test_every_class_the_description_names_can_be_imported() -> None:
    info = get_provider_info()
    named = [*info["notifications"], *(kind["hook-class-name"] for kind in info["connection-types"])]
    for path in named:
        module, _, name = path.rpartition(".")
        assert hasattr(__import__(module, fromlist=[name]), name)


LOADED = """
import sys
from airflow.sdk import DAG
from airflow.sdk.bases.notifier import BaseNotifier
before = set(sys.modules)
from activitysmith_integrations.airflow.notifications import ActivitySmithEndStreamNotifier
from activitysmith_integrations.airflow.operators import ActivitySmithEndStreamOperator
with DAG("nightly", on_failure_callback=ActivitySmithEndStreamNotifier()):
    ActivitySmithEndStreamOperator(task_id="end_stream").as_teardown()
print(*sorted(set(sys.modules) - before))
"""


def test_parsing_a_dag_file_loads_nothing_that_only_sending_needs() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", LOADED], capture_output=True, text=True, check=True)
    ours = {module for module in done.stdout.split() if module.startswith("activitysmith_integrations.core")}
    assert ours == {"activitysmith_integrations.core"}


def _dag(**arguments: Any) -> DAG:
    return DAG("nightly", schedule=None, **arguments)


def _ours(callbacks: Any) -> int:
    return sum(isinstance(callback, ActivitySmithEndStreamNotifier) for callback in callbacks or ())


def test_a_tagged_dag_gets_the_notifier_beside_the_callbacks_it_has() -> None:
    def mine(context: Any) -> None: ...

    dag = _dag(tags=["activitysmith"], on_failure_callback=mine)
    policy.dag_policy(dag)
    policy.dag_policy(dag)
    assert _ours(dag.on_success_callback) == 1
    assert dag.on_failure_callback[0] is mine
    assert _ours(dag.on_failure_callback) == 1
    assert dag.has_on_success_callback
    assert dag.has_on_failure_callback


def test_a_tagged_dag_that_ends_its_stream_already_gets_no_second_end() -> None:
    dag = _dag(tags={"activitysmith"}, on_success_callback=[ActivitySmithEndStreamNotifier("mine")])
    policy.dag_policy(dag)
    assert _ours(dag.on_success_callback) == 1


def test_other_dags_are_not_touched() -> None:
    dag = _dag(tags=["else"])
    policy.dag_policy(dag)
    assert not dag.on_success_callback
    assert not dag.has_on_success_callback


def test_an_option_turns_the_tag_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__ACTIVITYSMITH__END_TAGGED_DAGS", "False")
    dag = _dag(tags=["activitysmith"])
    policy.dag_policy(dag)
    assert not dag.on_success_callback


def test_a_fault_of_ours_does_not_keep_a_dag_from_being_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__ACTIVITYSMITH__END_TAGGED_DAGS", "perhaps")
    dag = _dag(tags=["activitysmith"])
    policy.dag_policy(dag)
    assert not dag.on_success_callback


def test_airflow_calls_the_policy_that_the_entry_point_names() -> None:
    dag = _dag(tags=["activitysmith"])
    settings.dag_policy(dag)
    assert _ours(dag.on_success_callback) == 1


def _parsed(path: Path) -> list[str]:
    """The DAGs that Airflow finds in a file without an error."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:
        from airflow.models.dagbag import DagBag
    bag = DagBag(dag_folder=str(path))
    assert bag.import_errors == {}
    return list(bag.dags)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_every_example_parses_without_a_connection(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_ACTIVITYSMITH_DEFAULT", raising=False)
    assert _parsed(path) == [f"example_{path.stem}"]


def test_the_readmes_quick_start_parses(tmp_path: Path) -> None:
    path = tmp_path / "readme.py"
    path.write_text(readme.code()["Quick start: Airflow"])
    assert _parsed(path) == ["nightly_etl"]
