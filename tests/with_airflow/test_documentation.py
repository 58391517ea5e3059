"""The Airflow code of README and site: Airflow parses it, and finds the DAG that it shows."""

import doctest
from pathlib import Path

import pytest
from support.readme import Block, blocks

pytest.importorskip("airflow")

import airflow.sdk


def named(block: Block) -> str:
    return block.id


@pytest.mark.parametrize("block", blocks("python", engine="airflow"), ids=named)
def test_code_is_a_dag_file_that_airflow_takes(block: Block, tmp_path: Path) -> None:
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # before Airflow 3.2
        from airflow.models.dagbag import DagBag
    if "retry_policy=" in block.code and not hasattr(airflow.sdk, "RetryPolicy"):
        pytest.skip("Airflow 3.3 and later have retry policies")
    path = tmp_path / "documented.py"
    path.write_text(block.code)
    bag = DagBag(dag_folder=str(path))
    assert bag.import_errors == {}
    (dag,) = bag.dags.values()
    assert dag.tasks


@pytest.mark.parametrize("block", blocks("pycon", engine="airflow"), ids=named)
def test_a_dialogue_goes_as_it_is_written(block: Block) -> None:
    example = doctest.DocTestParser().get_doctest(block.code, {}, block.id, None, 0)
    assert doctest.DocTestRunner().run(example).failed == 0
