"""Chromium and axe, also as fixtures: for the sandbox's page and for the site."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

BUILD = Path(__file__).parents[2] / ".build"
AXE = BUILD / "npm" / "node_modules" / "axe-core" / "axe.min.js"
SCREENSHOTS = BUILD / "screenshots"
# Nothing but showing a page; the first is needed by root, as in a container.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def missing(what: str, where: str) -> NoReturn:
    """In CI a missing program is a failure; elsewhere these tests are skipped."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing: {where}")
    pytest.skip(f"{what} is missing: {where}")


def executable() -> str | None:
    """The path of the Chromium that is installed; None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextmanager
def launched(program: str) -> Iterator[Browser]:
    """A Chromium without a window, for the time of the block."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium."""
    program = executable()
    if program is None:
        missing("Chromium", "apt-get install chromium")
    with launched(program) as browser:
        yield browser


@pytest.fixture(scope="session")
def axe() -> Path:
    """The file of axe."""
    if not AXE.exists():
        missing("axe", "make test-browser installs it where npm is")
    return AXE


def violations(page: Page, axe: Path, impacts: tuple[str, ...] = ("serious", "critical")) -> list[Any]:
    """What axe finds on a page: the rule and the elements, for violations of these impacts."""
    page.add_script_tag(path=axe)
    found: list[dict[str, Any]] = page.evaluate("axe.run(document, {resultTypes: ['violations']})")["violations"]
    return [(one["id"], [node["html"][:200] for node in one["nodes"][:5]]) for one in found if one["impact"] in impacts]
