import asyncio
import importlib.util
import inspect
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

pytest.importorskip("prefect")

from prefect.automations import Automation
from support import readme
from support.sandbox import Sandbox

from activitysmith_integrations.prefect import live_activity_automation

EXAMPLES = sorted((Path(__file__).parents[2] / "example_flows").glob("*.py"))


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(flow: Any, fail: bool) -> Any:
    state = flow(fail=fail, return_state=True)
    return asyncio.run(state) if inspect.iscoroutine(state) else state


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
@pytest.mark.parametrize("fail", [False, True])
def test_the_example_shows_its_run_from_start_to_end_and_names_the_step_that_failed(
    path: Path, fail: bool, sandbox: Sandbox, server: None
) -> None:
    flow = getattr(load(path), path.stem)
    assert flow.name == path.stem.replace("_", "-")
    assert run(flow, fail).is_failed() == fail
    if path.stem == "automation":  # what it sets up is for the server to do; see tests/live
        for automation in live_activity_automation(flow.name, "automation"):
            assert asyncio.run(Automation.aread(name=automation.name)).id == automation.id
        return
    first, *_ = sandbox.all_requests()
    assert (first["method"], first["operation"]) == ("PUT", "started")
    *_, end = (request["body"] for request in sandbox.requests())
    assert len({request["stream_key"] for request in sandbox.all_requests()}) == 1
    assert sandbox.living() == []
    if fail:
        assert end["content_state"]["message"].startswith("transform failed after ")
    else:
        assert end["metadata"]["result"] == "succeeded"


def test_the_readmes_quick_start_shows_its_run_from_start_to_end(
    tmp_path: Path, sandbox: Sandbox, server: None
) -> None:
    path = tmp_path / "readme.py"
    path.write_text(readme.code()["Quick start: Prefect"])
    load(path).nightly_etl()
    start, *_ = sandbox.requests("PUT")
    assert (start["operation"], start["body"]["content_state"]["number_of_steps"]) == ("started", 2)
    (end,) = (request["body"] for request in sandbox.requests())
    assert end["metadata"]["result"] == "succeeded"
