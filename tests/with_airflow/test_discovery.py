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
from airflow.sdk.bases.operator import BaseOperator
from support import readme

from activitysmith_integrations.airflow import policy
from activitysmith_integrations.airflow.notifications import (
    ActivitySmithEndStreamNotifier,
    ActivitySmithStreamNotifier,
)
from activitysmith_integrations.airflow.progress import as_list
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
from activitysmith_integrations.airflow import policy
from activitysmith_integrations.airflow.notifications import ActivitySmithEndStreamNotifier
from activitysmith_integrations.airflow.operators import ActivitySmithEndStreamOperator, ActivitySmithStreamOperator
with DAG("nightly", on_failure_callback=ActivitySmithEndStreamNotifier(), tags=["activitysmith"]) as dag:
    ActivitySmithStreamOperator(task_id="start_stream")
    ActivitySmithEndStreamOperator(task_id="end_stream").as_teardown()
policy.dag_policy(dag)
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


def _shown_by(task: Any, when: str) -> list[ActivitySmithStreamNotifier]:
    callbacks = getattr(task, f"on_{when}_callback")
    return [callback for callback in callbacks if isinstance(callback, ActivitySmithStreamNotifier)]


def _dag_of_two(**arguments: Any) -> DAG:
    with _dag(**arguments) as dag:
        BaseOperator(task_id="extract") >> BaseOperator(task_id="load")
    return dag


def test_the_tasks_of_a_tagged_dag_get_the_notifier_that_moves_the_stream_beside_the_callbacks_they_have() -> None:
    def mine(context: Any) -> None: ...

    dag = _dag_of_two(tags=["activitysmith"], default_args={"on_success_callback": mine})
    policy.dag_policy(dag)
    policy.dag_policy(dag)
    for one in dag.tasks:
        assert one.on_success_callback[0] is mine
        for when in ("execute", "success", "failure", "skipped"):
            assert len(_shown_by(one, when)) == 1


def test_a_tagged_dag_that_ends_its_stream_in_its_own_words_moves_the_same_one() -> None:
    end = ActivitySmithEndStreamNotifier("{{ run_id }}", activitysmith_conn_id="mine", title="Nightly")
    dag = _dag_of_two(tags=["activitysmith"], on_success_callback=end)
    policy.dag_policy(dag)
    (notifier,) = _shown_by(dag.get_task("load"), "success")
    assert (notifier.stream_key, notifier.activitysmith_conn_id, notifier.title) == ("{{ run_id }}", "mine", "Nightly")


@pytest.mark.parametrize("when", ["success", "failure"])
def test_a_tagged_dag_with_an_end_on_one_side_gets_the_other_for_the_same_stream(when: str) -> None:
    end = ActivitySmithEndStreamNotifier("{{ run_id }}", activitysmith_conn_id="mine", title="Nightly")
    arguments: dict[str, Any] = {f"on_{when}_callback": end}
    dag = _dag_of_two(tags=["activitysmith"], **arguments)
    policy.dag_policy(dag)
    for callbacks in (dag.on_success_callback, dag.on_failure_callback):
        (found,) = as_list(callbacks)
        assert (found.stream_key, found.activitysmith_conn_id, found.title) == ("{{ run_id }}", "mine", "Nightly")


def test_a_tagged_dag_that_ends_two_streams_is_told_which_one_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    ends = {f"on_{when}_callback": ActivitySmithEndStreamNotifier(when) for when in ("success", "failure")}
    dag = _dag_of_two(tags=["activitysmith"], **ends)
    policy.dag_policy(dag)
    (notifier,) = _shown_by(dag.get_task("load"), "success")
    assert notifier.stream_key == "success"
    assert "ends one stream on success and another on failure; 'success' is shown" in caplog.text


def test_a_task_that_moves_a_stream_already_is_left_to_it() -> None:
    mine = ActivitySmithStreamNotifier("mine")
    dag = _dag_of_two(tags=["activitysmith"], default_args={"on_success_callback": mine})
    policy.dag_policy(dag)
    assert _shown_by(dag.get_task("load"), "success") == [mine]
    assert _shown_by(dag.get_task("load"), "execute") == []


def test_an_option_turns_progress_off_and_leaves_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__ACTIVITYSMITH__STREAM_TAGGED_DAGS", "False")
    dag = _dag_of_two(tags=["activitysmith"])
    policy.dag_policy(dag)
    assert _ours(dag.on_success_callback) == 1
    assert not dag.get_task("load").on_success_callback


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
