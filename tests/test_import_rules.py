"""The import rules: which module may use what, read off the sources and seen in a fresh process."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest

import activitysmith_integrations

HOME = Path(activitysmith_integrations.__file__).parent
OURS = "activitysmith_integrations"

# Who may import what beside the standard library; ours start with a dot. The first pattern that fits holds.
RULES = {
    "": set[str](),
    ".core": {".core.*"},
    ".core.errors": set(),
    ".core.hosts": set(),
    ".core.text": set(),
    ".core.counts": {".core.errors"},
    ".core.keys": {".core.errors"},
    ".core.retry": {".core.errors"},
    ".core.suggest": {".core.errors"},
    ".core.config": {"certifi", "httpx", "pydantic", ".core.errors", ".core.hosts", ".core.keys"},
    ".core.models": set(),
    ".core.models.*": {"pydantic", "pydantic_core", ".core.errors", ".core.forks", ".core.models.*", ".core.suggest"},
    ".core.wire": {
        "",
        "pydantic",
        ".core.config",
        ".core.errors",
        ".core.keys",
        ".core.models.requests",
        ".core.models.responses",
        ".core.retry",
    },
    ".core.forks": set(),
    ".core.threads": set(),
    ".core.network": {"httpcore", ".core.threads"},
    ".core.transport": {"httpcore", ".core.config", ".core.errors", ".core.network", ".core.wire"},
    ".core.given_client": {"httpx", ".core.errors", ".core.retry", ".core.wire"},
    ".core.client": {
        "httpcore",
        "httpx",
        "pydantic",
        ".core.config",
        ".core.errors",
        ".core.given_client",
        ".core.models.requests",
        ".core.models.responses",
        ".core.retry",
        ".core.transport",
        ".core.wire",
    },
    ".core.runs": set(),
    ".core.runs.segments": set(),
    ".core.runs.*": {".core.*"},
    ".core.live": {".core.*"},
    ".airflow": set(),
    ".airflow.provider_info": set(),
    # Loaded by triggerers, which have it.
    ".airflow.triggers": {"airflow", "airflow.*", ".core", ".core.*", ".airflow", ".airflow.*", "asgiref.sync"},
    ".airflow.*": {"airflow", "airflow.*", ".core", ".core.*", ".airflow", ".airflow.*", "httpx", "jinja2", "pydantic"},
    ".prefect": {".prefect.*", "prefect"},
    ".prefect.*": {"prefect", "prefect.*", ".core", ".core.*", ".prefect.*", "httpx", "pydantic"},
    ".sandbox": set(),
    ".sandbox.*": {
        "starlette.*",
        "uvicorn",
        "uvicorn.*",
        "pydantic",
        ".core.errors",
        ".core.hosts",
        ".core.keys",
        ".core.models.*",
        ".core.text",
        ".sandbox",
        ".sandbox.*",
    },
}
# What may be imported inside functions, too.
DEFERRED = {".airflow.hooks": {"asgiref.sync"}, ".core.suggest": {".core.models.states"}}


@dataclass(frozen=True)
class Import:
    """One imported module; ours start with a dot."""

    module: str
    deferred: bool
    line: int


def _modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(HOME.rglob("*.py")):
        parts = path.relative_to(HOME).with_suffix("").parts
        yield "".join(f".{part}" for part in parts if part != "__init__"), path


MODULES = dict(_modules())


def _short(name: str) -> str:
    return name.removeprefix(OURS) if name == OURS or name.startswith(f"{OURS}.") else name


def _imports(tree: ast.AST, deferred: bool = False) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(_short(alias.name), deferred, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            origin = _short(node.module or "")
            for alias in node.names:
                # `from package import module` imports the module.
                inner = f"{origin}.{alias.name}"
                yield Import(inner if inner in MODULES else origin, deferred, node.lineno)
        else:
            yield from _imports(node, deferred or isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def _is_stdlib(module: str) -> bool:
    return module.partition(".")[0] in sys.stdlib_module_names


def _allowed(module: str) -> set[str] | None:
    return next((allowed for pattern, allowed in RULES.items() if fnmatchcase(module, pattern)), None)


def _fits(module: str, patterns: set[str]) -> bool:
    return any(fnmatchcase(module, pattern) for pattern in patterns)


@pytest.mark.parametrize("module", MODULES)
def test_a_module_imports_only_what_it_may(module: str) -> None:
    allowed = _allowed(module)
    assert allowed is not None, f"say in RULES what {module} may import"
    broken = [
        found
        for found in _imports(ast.parse(MODULES[module].read_text()))
        if not _is_stdlib(found.module)
        and not _fits(found.module, allowed)
        and not (found.deferred and _fits(found.module, DEFERRED.get(module, set())))
    ]
    assert broken == []


@pytest.mark.parametrize("module", MODULES)
def test_no_module_reaches_for_what_its_host_calls_internal(module: str) -> None:
    source = MODULES[module].read_text()
    assert not re.search(r"^\s*(from|import)\b.*\b_internal\b", source, re.MULTILINE)


def test_the_rules_name_no_module_that_is_gone() -> None:
    assert [pattern for pattern in RULES if "*" not in pattern and pattern not in MODULES] == []


def _loaded_by(statement: str) -> set[str]:
    """The modules that a statement loads in a fresh process."""
    program = (
        f"import json, sys; before = set(sys.modules); {statement}; print(json.dumps([*set(sys.modules) - before]))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))


def _with_dependencies(*names: str) -> set[str]:
    """The distributions, and all that they may take along. httpx loads its extras wherever it finds them."""
    found: set[str] = set()
    wanted = list(names)
    while wanted:
        name = _canonical(wanted.pop())
        with suppress(PackageNotFoundError):
            needs = requires(name) or [] if name not in found else []
            found.add(name)
            wanted += [
                re.split(r"[^\w.-]", need, maxsplit=1)[0] for need in needs if name in names or "extra" not in need
            ]
    return found


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_importing_the_package_loads_nothing_but_it() -> None:
    assert _loaded_by(f"import {OURS}") == {OURS}


def test_importing_the_core_loads_nothing_until_a_name_is_used() -> None:
    assert _loaded_by(f"import {OURS}.core") & {f"{OURS}{module}" for module in MODULES} == {OURS, f"{OURS}.core"}
    light = "stream_key, RetryPolicy, ActivitySmithError"
    assert not _loaded_by(f"from {OURS}.core import {light}") & {f"{OURS}.core.models", "pydantic", "httpx", "httpcore"}


def test_using_all_of_the_core_loads_httpx_pydantic_their_dependencies_and_the_standard_library() -> None:
    distributions = packages_distributions()
    loaded = {
        _canonical(distribution)
        for module in _loaded_by(f"from {OURS}.core import *")
        for distribution in distributions.get(module.partition(".")[0], ())
    }
    assert {"httpcore", "httpx", "pydantic"} <= loaded
    assert loaded <= _with_dependencies("certifi", "httpcore", "httpx", "pydantic") | {"activitysmith-integrations"}


@pytest.mark.parametrize("module", ["airflow", "airflow.provider_info"])
def test_what_airflow_reads_at_its_start_loads_nothing_else(module: str) -> None:
    assert {name for name in _loaded_by(f"import {OURS}.{module}") if not _is_stdlib(name)} <= {
        OURS,
        f"{OURS}.airflow",
        f"{OURS}.{module}",
    }
