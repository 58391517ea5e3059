"""A person's environment: the package, what it and the extras named ask for, and nothing that tests bring along.

``python plain_environment.py airflow`` imports every module that is to work there, and says what does not.
"""

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from importlib.util import find_spec

PACKAGE = "activitysmith_integrations"
# What a package needs, and the module that people would try first. Core needs nothing but the dependencies.
NEEDS = {"airflow": "airflow", "prefect": "prefect", "sandbox": "starlette"}
FIRST = {"airflow": "operators", "prefect": "hooks", "sandbox": "app"}


def modules(package: str) -> Iterator[str]:
    """The modules of a package of ours, those of its own packages included."""
    name = f"{PACKAGE}.{package}"
    yield name
    yield from (module.name for module in pkgutil.walk_packages(importlib.import_module(name).__path__, f"{name}."))


def problems(extras: set[str]) -> Iterator[str]:
    """What is not as it should be with these extras."""
    if set(distribution("activitysmith-integrations").metadata.get_all("Provides-Extra") or ()) != set(NEEDS):
        yield f"the package's extras are not {', '.join(NEEDS)}"
    for tool in ("hypothesis", "mypy", "pytest"):
        if find_spec(tool):
            yield f"{tool} is installed, so this is not a person's environment"
    for extra in extras:
        if not find_spec(NEEDS[extra]):
            yield f"the extra {extra} does not bring {NEEDS[extra]}"
    for package in ("core", *NEEDS):
        needs = NEEDS.get(package)
        if needs is None or find_spec(needs):
            for module in modules(package):
                importlib.import_module(module)
        elif not _is_missed(package, needs):
            yield f"{PACKAGE}.{package} does not say that {needs} is missing"


def _is_missed(package: str, needs: str) -> bool:
    """Whether Python's own words say what is missing."""
    try:
        importlib.import_module(f"{PACKAGE}.{package}.{FIRST[package]}")
    except ModuleNotFoundError as error:
        return (error.name or "").partition(".")[0] == needs
    return False


if __name__ == "__main__":
    found = list(problems(set(sys.argv[1:])))
    sys.exit("\n".join(found) or None)
