import subprocess
import sys

import pytest

pytest.importorskip("prefect")

LOADED = """
import sys
from prefect import flow, task
before = set(sys.modules)
import activitysmith_integrations.prefect
print(*sorted(set(sys.modules) - before))
"""


def test_importing_it_loads_nothing_that_prefect_has_not_loaded_already() -> None:
    command = [sys.executable, "-W", "ignore", "-c", LOADED]
    loaded = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout.split()
    others = {module for module in loaded if not module.startswith("activitysmith_integrations")}
    assert others <= {"prefect.automations"}


def test_registering_the_module_registers_its_blocks(server: None) -> None:
    from prefect.settings import get_current_settings

    environment = get_current_settings().to_environment_variables(exclude_unset=True)
    command = [sys.executable, "-m", "prefect", "block", "register", "-m", "activitysmith_integrations.prefect"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert "ActivitySmith Credentials" in done.stdout
    assert "ActivitySmith Notification" in done.stdout
