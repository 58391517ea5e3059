"""Prefect as a library: a home of its own, and a server only for the tests that ask for one."""

import atexit
import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest
from support.sandbox import KEY, Sandbox, running_sandbox

# Prefect reads its settings when it is imported.
home = tempfile.mkdtemp(prefix="prefect-home-")
atexit.register(shutil.rmtree, home, ignore_errors=True)
os.environ["PREFECT_HOME"] = home
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
# Else a hook that is called without a server starts one, to log to.
os.environ["PREFECT_LOGGING_TO_API_ENABLED"] = "false"

collect_ignore_glob = [] if find_spec("prefect") else ["*"]


def pytest_configure(config: pytest.Config) -> None:
    # Prefect 3.8 leaves the socket of its events client open after every async flow, ours or not.
    config.addinivalue_line(
        "filterwarnings", r"ignore:(?s)Exception ignored in. <socket\.socket:pytest.PytestUnraisableExceptionWarning"
    )


@pytest.fixture(scope="session", autouse=True)
def look_for_open_sockets() -> Iterator[None]:
    """Finds them before the end of all, where pytest no longer knows the exception made above."""
    yield
    gc.collect()


@pytest.fixture(scope="session")
def one_sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(one_sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """An empty sandbox, and an environment that leads to it."""
    one_sandbox.reset()
    monkeypatch.setenv("ACTIVITYSMITH_API_KEY", KEY)
    monkeypatch.setenv("ACTIVITYSMITH_BASE_URL", one_sandbox.base_url)
    return one_sandbox


@pytest.fixture(scope="session")
def heartbeat_setting() -> Any:
    """Prefect's setting of how often runs give a heartbeat."""
    from prefect import settings

    # Early 3.6 releases have it among the runner's settings.
    runners = settings.PREFECT_RUNNER_HEARTBEAT_FREQUENCY
    return getattr(settings, "PREFECT_FLOWS_HEARTBEAT_FREQUENCY", runners)


@pytest.fixture(scope="session")
def server(heartbeat_setting: Any) -> Iterator[None]:
    """A Prefect server for the whole session: it takes half a minute to start."""
    from prefect.settings import PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED, temporary_settings
    from prefect.testing.utilities import prefect_test_harness

    # A server on SQLite that acts on automations can stand still for good when one is saved (PrefectHQ/prefect#23055).
    passive = temporary_settings({PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED: False})
    # A flow run that gives heartbeats takes a second to end, since the thread that gives them sleeps.
    silent = temporary_settings({heartbeat_setting: None})
    with passive, prefect_test_harness(server_startup_timeout=120), silent:
        yield
