"""What is installed, looked at from outside: the files, what they say of themselves, what the README links to."""

import os
import re
import tarfile
import tomllib
from importlib.metadata import Distribution, distribution
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from support import readme

import activitysmith_integrations
from activitysmith_integrations import core

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def installed() -> Distribution:
    return distribution("activitysmith-integrations")


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    project: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project


def _files(installed: Distribution) -> set[str]:
    return {str(file) for file in installed.files or () if "__pycache__" not in file.parts}


@pytest.mark.skipif("PYTHONPATH" in os.environ, reason="a part of the tests is run on the sources as they are")
def test_the_package_under_test_is_the_installed_one_not_the_checkout() -> None:
    assert not Path(activitysmith_integrations.__file__).is_relative_to(ROOT / "activitysmith_integrations")
    assert "site-packages" in Path(activitysmith_integrations.__file__).parts


def test_the_wheel_has_every_source_the_pages_files_and_the_mark_that_it_is_typed(installed: Distribution) -> None:
    sources = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "activitysmith_integrations").rglob("*")
        if path.suffix in (".py", ".typed", ".html", ".css", ".js")
    }
    assert {"py.typed", "sandbox/static/index.html"} <= {name.partition("/")[2] for name in sources}
    assert sources <= _files(installed)


def test_the_wheel_has_nothing_but_the_package_and_its_metadata(installed: Distribution) -> None:
    tops = {file.partition("/")[0] for file in _files(installed)}
    # The last one leads to the environment's programs.
    assert tops == {"activitysmith_integrations", f"activitysmith_integrations-{installed.version}.dist-info", ".."}
    assert [file for file in _files(installed) if file.startswith("..")] == ["../../../bin/activitysmith-sandbox"]
    assert not [file for file in _files(installed) if re.search(r"(^|/)(tests?|conftest|test_)", file)]


def test_the_sdist_has_the_same_sources_and_what_the_build_needs_and_nothing_else(installed: Distribution) -> None:
    # The wheel was built from it, so what is missing from it shows there, too.
    (path,) = (ROOT / ".build/dist").glob("*.tar.gz")
    top = f"activitysmith_integrations-{installed.version}/"
    with tarfile.open(path) as archive:
        names = [member.name for member in archive.getmembers() if member.isfile()]
    assert [name for name in names if not name.startswith(top)] == []
    files = {name.removeprefix(top) for name in names}
    sources = {name for name in _files(installed) if name.startswith("activitysmith_integrations/")}
    beside = {".gitignore", "CHANGELOG.md", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}
    assert files == sources | beside


def test_the_wheel_carries_its_licence(installed: Distribution) -> None:
    assert installed.metadata["License-Expression"] == "Apache-2.0"
    assert (installed.read_text("licenses/LICENSE") or "") == (ROOT / "LICENSE").read_text()


def test_name_and_python_are_those_of_pyproject(installed: Distribution, project: dict[str, Any]) -> None:
    assert installed.metadata["Name"] == project["name"] == "activitysmith-integrations"
    assert installed.metadata["Requires-Python"] == project["requires-python"]


def test_extras_are_those_of_pyproject(installed: Distribution, project: dict[str, Any]) -> None:
    extras = project["optional-dependencies"]
    wanted = {Requirement(text) for text in project["dependencies"]}
    wanted |= {Requirement(f'{text}; extra == "{extra}"') for extra, texts in extras.items() for text in texts}
    assert set(installed.metadata.get_all("Provides-Extra") or ()) == set(extras)
    assert {Requirement(text) for text in installed.requires or ()} == wanted


def test_entry_points_are_those_of_pyproject_and_lead_somewhere(
    installed: Distribution, project: dict[str, Any]
) -> None:
    groups = {**project["entry-points"], "console_scripts": project["scripts"]}
    wanted = {(group, name, value) for group, points in groups.items() for name, value in points.items()}
    assert {(point.group, point.name, point.value) for point in installed.entry_points} == wanted
    for point in installed.entry_points:
        module = point.module.replace(".", "/")
        assert {f"{module}.py", f"{module}/__init__.py"} & _files(installed)


def test_the_core_lists_what_it_offers_in_order() -> None:
    assert core.__all__ == sorted(set(core.__all__), key=lambda name: (not name.isupper(), name))


def test_the_readme_names_every_extra(project: dict[str, Any]) -> None:
    named = re.findall(r"activitysmith-integrations\[([a-z,]+)\]", readme.TEXT)
    assert set(",".join(named).split(",")) == set(project["optional-dependencies"])


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_every_command_that_is_named_exists(page: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    noxfile = (ROOT / "noxfile.py").read_text()
    targets |= set(re.findall(r"^def (\w+)\(session", noxfile, re.MULTILINE))
    targets |= set(re.findall(r'session\(name="([\w-]+)"', noxfile))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", (ROOT / page).read_text(), re.MULTILINE))
    assert {"demo", "test"} <= named <= targets | {"core"}


def test_what_the_readme_says_to_install_is_what_pyproject_asks_for(project: dict[str, Any]) -> None:
    said = dict(re.findall(r"^pip install '.*\[(\w+)\]' +# \w+ ([0-9.]+) or later$", readme.TEXT, re.MULTILINE))
    asked = {extra: Requirement(texts[0]).specifier for extra, texts in project["optional-dependencies"].items()}
    assert said == {"airflow": str(asked["airflow"])[2:], "prefect": str(asked["prefect"])[2:]}


def test_every_file_that_the_readme_links_to_exists() -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", readme.TEXT)
    files = [link.partition("#")[0] for link in links if not re.match(r"[a-z]+:|#", link)]
    assert [file for file in files if not (ROOT / file).exists()] == []
