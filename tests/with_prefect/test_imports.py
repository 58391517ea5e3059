import subprocess
import sys

import pytest

pytest.importorskip("prefect")

LOADED = """
import sys
from prefect import flow, task
flow(name="plain")(print)
before = set(sys.modules)
from activitysmith_integrations.prefect import end_live_activity_stream_hooks
flow(name="nightly-etl", **end_live_activity_stream_hooks())(print)
print(*sorted(set(sys.modules) - before))
"""


def _loaded() -> list[str]:
    command = [sys.executable, "-W", "ignore", "-c", LOADED]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout.split()


def test_importing_it_loads_nothing_that_prefect_has_not_loaded_already() -> None:
    others = {module for module in _loaded() if not module.startswith("activitysmith_integrations")}
    assert others <= {"prefect.automations"}


def test_defining_a_flow_loads_nothing_that_only_sending_needs() -> None:
    assert {"activitysmith_integrations.core.client", "activitysmith_integrations.core.models"}.isdisjoint(_loaded())


WITHOUT_PREFECT = """
import sys
sys.modules["prefect"] = None
try:
    import activitysmith_integrations.prefect
except ModuleNotFoundError as error:
    print(error)
"""


def test_importing_it_without_prefect_says_what_to_install() -> None:
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT_PREFECT]
    printed = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    assert "needs Prefect: pip install 'activitysmith-integrations[prefect]'" in printed


def test_registering_the_module_registers_its_blocks(server: None) -> None:
    from prefect.settings import get_current_settings

    environment = get_current_settings().to_environment_variables(exclude_unset=True)
    command = [sys.executable, "-m", "prefect", "block", "register", "-m", "activitysmith_integrations.prefect"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert "ActivitySmith Credentials" in done.stdout
    assert "ActivitySmith Notification" in done.stdout
