"""A person's environment: the package, what it and the extras named ask for, and nothing that tests bring along.

``python plain_environment.py airflow`` imports every module that is to work there, and says what does not.
"""

import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from importlib.util import find_spec
from pathlib import Path

DISTRIBUTION, PACKAGE = "activitysmith-integrations", "activitysmith_integrations"
# What a package needs, and what people import first. The core needs nothing but the dependencies.
NEEDS = {"airflow": "airflow", "prefect": "prefect", "sandbox": "starlette"}
FIRST = {
    "airflow": ("airflow.hooks", "airflow.notifications", "airflow.operators", "airflow.retries", "airflow.triggers"),
    "prefect": ("prefect", "prefect.hooks"),
    "sandbox": ("sandbox.app", "sandbox.server"),
}


def modules(package: str) -> Iterator[str]:
    """The modules of a package of ours, those of its own packages included."""
    name = f"{PACKAGE}.{package}"
    yield name
    yield from (module.name for module in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."))


def problems(extras: set[str]) -> Iterator[str]:
    """What is not as it should be with these extras."""
    if set(distribution(DISTRIBUTION).metadata.get_all("Provides-Extra") or ()) != set(NEEDS):
        yield f"the package's extras are not {', '.join(NEEDS)}"
    for tool in ("hypothesis", "mypy", "pytest"):
        if find_spec(tool):
            yield f"{tool} is installed, so this is not a person's environment"
    for extra in extras:
        if not find_spec(NEEDS[extra]):
            yield f"the extra {extra} does not bring {NEEDS[extra]}"
    for package in ("core", *NEEDS):
        if package == "core" or find_spec(NEEDS[package]):
            for module in modules(package):
                importlib.import_module(module)
        else:
            for module in FIRST[package]:
                yield from problems_without(f"{PACKAGE}.{module}", package)
    yield from problems_of_the_command(serves=find_spec("starlette") is not None and find_spec("uvicorn") is not None)


def problems_without(module: str, extra: str) -> Iterator[str]:
    """What is wrong with the error that people get who import a module without its extra."""
    try:
        importlib.import_module(module)
    except ImportError as error:
        if install(extra) not in str(error):
            yield f"import {module} does not say what to install: {error!r}"
    else:
        yield f"import {module} works without the extra {extra}"


def problems_of_the_command(*, serves: bool) -> Iterator[str]:
    """What is wrong with ``activitysmith-sandbox``, which draws a state without its extra, too."""
    program = str(Path(sys.executable).with_name("activitysmith-sandbox"))
    state = '{"title": "Load", "type": "progress", "percentage": 40}'
    drawn = subprocess.run([program, "preview"], input=state, capture_output=True, text=True)
    if not drawn.stdout.startswith("<svg"):
        yield f"activitysmith-sandbox preview draws nothing: {drawn.stdout}{drawn.stderr}"
    wanted = "ActivitySmith sandbox: http://127.0.0.1:" if serves else install("sandbox")
    with subprocess.Popen([program, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as one:
        first = one.stdout.readline() if one.stdout else ""
        one.terminate()
    if wanted not in first:
        yield f"activitysmith-sandbox does not print {wanted!r}, but {first!r}"


def install(extra: str) -> str:
    """The command that people are told to run."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


if __name__ == "__main__":
    found = list(problems(set(sys.argv[1:])))
    sys.exit("\n".join(found) or None)
