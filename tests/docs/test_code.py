"""The code of README and site does what the text says. What needs an engine is run in the engine's environment."""

import ast
import doctest
import importlib
import json
import os
import pkgutil
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.readme import Block, blocks, languages
from support.sandbox import Sandbox

from activitysmith_integrations import core

# In these a test looks at every block; `text` shows what a program prints.
CHECKED = {"console", "dockerfile", "pycon", "python", "text", "yaml"}


def named(block: Block) -> str:
    return block.id


def test_every_kind_of_block_is_checked() -> None:
    assert languages() <= CHECKED


@pytest.mark.parametrize("block", blocks("python", engine=""), ids=named)
def test_code_without_an_engine_runs(block: Block, sandbox: Sandbox, tmp_path: Path) -> None:
    program = tmp_path / "documented.py"
    program.write_text(block.code)
    done = subprocess.run([sys.executable, str(program)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    promised = [line[2:] for line in block.code.splitlines() if line.startswith("# etl-")]
    assert done.stdout.split() == promised or not promised
    assert all(not stream for stream in sandbox.living())


@pytest.mark.parametrize("block", blocks("python"), ids=named)
def test_code_begins_with_what_it_imports(block: Block) -> None:
    assert isinstance(ast.parse(block.code).body[0], (ast.Import, ast.ImportFrom))


@pytest.mark.parametrize("block", blocks("pycon", engine=""), ids=named)
def test_a_dialogue_goes_as_it_is_written(block: Block) -> None:
    example = doctest.DocTestParser().get_doctest(block.code, {}, block.id, None, 0)
    assert doctest.DocTestRunner().run(example).failed == 0


def commands() -> list[tuple[str, str]]:
    """All commands, with the blocks that they are in; a line that is continued is one command."""
    return [
        (block.id, line)
        for block in blocks("console")
        for line in block.code.replace("\\\n", " ").splitlines()
        if line.strip() and not line.startswith("#")
    ]


@pytest.mark.parametrize(("place", "command"), commands())
def test_a_command_is_one_that_exists(place: str, command: str) -> None:
    program, *arguments = shlex.split(command, comments=True)
    if program == "make":
        assert f"\n{arguments[0]}:" in (Path(__file__).parents[2] / "Makefile").read_text()
    elif program == "activitysmith-sandbox":
        assert arguments[0] in ("--open", "preview")
    elif program == "pip":
        assert arguments[0] == "install"
        package = arguments[-1]
        assert package.partition("[")[0] in ("activitysmith-integrations", ".")
    elif program == "export":
        name, _, value = arguments[0].partition("=")
        assert name.startswith(("ACTIVITYSMITH_", "AIRFLOW_CONN_"))
        assert name != "AIRFLOW_CONN_ACTIVITYSMITH_DEFAULT" or json.loads(value)["conn_type"] == "activitysmith"
    else:
        assert program in ("cd", "curl", "echo", "git")


def test_the_commands_for_the_sandbox_do_what_the_page_says(sandbox: Sandbox, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is missing")
    host = sandbox.page_url.rstrip("/")
    lines = [command for place, command in commands() if place.startswith("docs/sandbox.md")]
    here = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    answers = []
    for line in lines:
        if line.startswith(("curl", "echo", "activitysmith-sandbox")) and "--open" not in line:
            command = line.replace("http://127.0.0.1:8765", host).replace("curl ", "curl -sS ", 1)
            done = subprocess.run(command, shell=True, cwd=tmp_path, env=here, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr
            answers.append(done.stdout)
    assert "error" not in "".join(answers)
    assert '"operation": "ended"' in answers[1]
    assert (tmp_path / "state.svg").read_text().startswith("<svg")


@pytest.mark.parametrize("block", blocks("yaml", "dockerfile"), ids=named)
def test_what_is_deployed_names_what_there_is(block: Block) -> None:
    assert "activitysmith-integrations" in block.code or "AIRFLOW_CONN_ACTIVITYSMITH_DEFAULT" in block.code


MODULES = [one.name for one in pkgutil.walk_packages(core.__path__, f"{core.__name__}.")]


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_of_docstrings_go_as_they_are_written(module: str) -> None:
    assert doctest.testmod(importlib.import_module(module)).failed == 0
