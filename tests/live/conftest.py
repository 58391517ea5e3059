"""One Airflow for all of its live tests."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import readme
from support.airflow import Airflow, connection
from support.sandbox import KEY, Sandbox, running_sandbox

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "example_dags"


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def airflow(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    home = tmp_path_factory.mktemp("airflow")
    dags = home / "dags"
    dags.mkdir()
    for source in (*HERE.glob("airflow_dags/*.py"), *EXAMPLES.glob("*.py")):
        shutil.copy(source, dags)
    (dags / "readme.py").write_text(readme.code()["Quick start: Airflow"])
    variables = {"AIRFLOW_CONN_ACTIVITYSMITH_DEFAULT": connection(sandbox.base_url, KEY)}
    with Airflow(home, dags, variables) as deployment:
        # Quoted as the CLI wants it: the key as the password of a connection in the database.
        deployment.cli("connections", "add", "in_database", "--conn-json", connection(sandbox.base_url, KEY))
        yield deployment
