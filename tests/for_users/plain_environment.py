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
# What a room needs, and the module that people would try first. Core needs nothing but the package's dependencies.
NEEDS = {"airflow": "airflow", "prefect": "prefect", "sandbox": "starlette"}
FIRST = {"airflow": "operators", "prefect": "hooks", "sandbox": "app"}


def modules(room: str) -> Iterator[str]:
    """The modules of a room."""
    name = f"{PACKAGE}.{room}"
    yield name
    yield from (module.name for module in pkgutil.iter_modules(importlib.import_module(name).__path__, f"{name}."))


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
    for room in ("core", *NEEDS):
        needs = NEEDS.get(room)
        if needs is None or find_spec(needs):
            for module in modules(room):
                importlib.import_module(module)
        elif not _is_missed(room, needs):
            yield f"{PACKAGE}.{room} does not say that {needs} is missing"


def _is_missed(room: str, needs: str) -> bool:
    """Whether Python's own words say what is missing."""
    try:
        importlib.import_module(f"{PACKAGE}.{room}.{FIRST[room]}")
    except ModuleNotFoundError as error:
        return (error.name or "").partition(".")[0] == needs
    return False


if __name__ == "__main__":
    found = list(problems(set(sys.argv[1:])))
    sys.exit("\n".join(found) or None)
