"""The Prefect code of README and site: its flows run, and what they show reaches the service."""

import asyncio
import inspect
from pathlib import Path
from typing import Any

import pytest
from support.readme import Block, blocks
from support.sandbox import Sandbox

pytest.importorskip("prefect")

from prefect import Flow
from with_prefect.test_examples import load

from activitysmith_integrations.prefect import ActivitySmithCredentials

# What a reader has at hand: parameters of the flows that are shown.
PARAMETERS = {"customer": "acme"}


@pytest.fixture
def saved_block(sandbox: Sandbox, server: None) -> None:
    """The block that the pages name."""
    ActivitySmithCredentials(api_key="ask_documented", base_url=sandbox.base_url).save("production", overwrite=True)


@pytest.mark.parametrize("block", blocks("python", engine="prefect"), ids=lambda block: block.id)
def test_code_runs_and_its_flow_shows_its_run(
    block: Block, tmp_path: Path, sandbox: Sandbox, saved_block: None
) -> None:
    path = tmp_path / "documented.py"
    path.write_text(block.code)
    module = load(path)
    flows = [value for value in vars(module).values() if isinstance(value, Flow)]
    for flow in flows:
        state: Any = flow(**_parameters(flow), return_state=True)
        state = asyncio.run(state) if inspect.iscoroutine(state) else state
        assert state.is_failed() == ("raise ValueError" in block.code)
        ends = sandbox.requests("DELETE")
        assert ends, "the run ended nothing"
        assert sandbox.living() == []
    assert flows or "automation" in block.code


def _parameters(flow: Any) -> dict[str, Any]:
    return {name: PARAMETERS[name] for name in inspect.signature(flow.fn).parameters}
