"""Airflow as a library: a home of its own, no database, the connection in the environment."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec

import pytest
from support.airflow import connection
from support.sandbox import KEY, Sandbox, running_sandbox

home = tempfile.mkdtemp(prefix="airflow-home-")
atexit.register(shutil.rmtree, home, ignore_errors=True)
os.environ["AIRFLOW_HOME"] = home
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"

collect_ignore_glob = [] if find_spec("airflow") else ["*"]


def pytest_configure(config: pytest.Config) -> None:
    # What Airflow's own modules do to each other is not ours to mend; a warning that we cause is an error.
    for category in ("DeprecationWarning", "FutureWarning"):
        config.addinivalue_line("filterwarnings", rf"ignore::{category}:airflow(\..*)?")


@pytest.fixture(scope="session")
def one_sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(one_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """An empty sandbox, a connection that leads to it, and the time that the callbacks of a process have."""
    from activitysmith_integrations.airflow import notifications

    one_sandbox.behave()
    monkeypatch.setattr(notifications, "_batch", notifications._Batch())
    monkeypatch.setenv("AIRFLOW_CONN_ACTIVITYSMITH_DEFAULT", connection(one_sandbox.base_url, KEY))
    return one_sandbox
