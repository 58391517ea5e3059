"""The Airflow code of README and site: Airflow parses it, and finds the DAG that it shows."""

import doctest
from pathlib import Path

import pytest
from support.readme import Block, blocks

pytest.importorskip("airflow")

import airflow.sdk
from with_airflow.runs import parsed


def named(block: Block) -> str:
    return block.id


@pytest.mark.parametrize("block", blocks("python", engine="airflow"), ids=named)
def test_code_is_a_dag_file_that_airflow_takes(block: Block, tmp_path: Path) -> None:
    if "retry_policy=" in block.code and not hasattr(airflow.sdk, "RetryPolicy"):
        pytest.skip("Airflow 3.3 and later have retry policies")
    assert parsed(block.code, tmp_path).tasks


@pytest.mark.parametrize("block", blocks("pycon", engine="airflow"), ids=named)
def test_a_dialogue_goes_as_it_is_written(block: Block) -> None:
    example = doctest.DocTestParser().get_doctest(block.code, {}, block.id, None, 0)
    assert doctest.DocTestRunner().run(example).failed == 0
