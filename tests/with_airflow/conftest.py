"""Airflow as a library: a home of its own, no database, the connection in the environment."""

import atexit
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

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
def supervisor(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The process that a worker's callbacks ask."""
    from airflow.sdk.execution_time import task_runner
    from with_airflow.runs import Supervisor

    supervisor = Supervisor()
    monkeypatch.setattr(task_runner, "SUPERVISOR_COMMS", supervisor, raising=False)
    return supervisor


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """What was logged; Airflow 3.1 logs to the standard library's loggers, 3.3 to the standard output."""
    caplog.set_level(logging.INFO)

    def lines() -> str:
        text = "\n".join([record.getMessage() for record in caplog.records] + capfd.readouterr().out.splitlines())
        caplog.clear()
        return text

    return lines


@pytest.fixture
def sandbox(one_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """An empty sandbox, a connection that leads to it, and a process that has called no callback yet."""
    from activitysmith_integrations.airflow import callbacks
    from activitysmith_integrations.airflow.callback_budget import CallbackBudget
    from activitysmith_integrations.core.runs import recent_ends

    one_sandbox.reset()
    monkeypatch.setattr(recent_ends, "_memory", recent_ends._Memory())
    monkeypatch.setattr(callbacks, "budget", CallbackBudget())
    monkeypatch.setattr(callbacks, "task_budget", CallbackBudget(seconds=18, parts=2))
    monkeypatch.setenv("AIRFLOW_CONN_ACTIVITYSMITH_DEFAULT", connection(one_sandbox.base_url, KEY))
    return one_sandbox
