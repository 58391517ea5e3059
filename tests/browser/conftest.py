"""A sandbox and a browser that looks at it."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright
from support.sandbox import Sandbox, running_sandbox

BUILD = Path(__file__).parents[2] / ".build"
AXE = BUILD / "npm" / "node_modules" / "axe-core" / "axe.min.js"
SCREENSHOTS = BUILD / "screenshots"
# What Chromium would do beside showing a page; the first is for root, as in a container.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WATCH = """
const seen = [];
const watch = new PerformanceObserver((list) => seen.push(...list.getEntries()));
watch.observe({ type: "layout-shift", buffered: true });
// What has moved since it was last asked.
window.moved = () => {
  const entries = [...seen.splice(0), ...watch.takeRecords()];
  const told = ({ node, previousRect: was, currentRect: is }) =>
    `${node?.nodeName} ${was.width}x${was.height} at ${was.x},${was.y}: ${is.width}x${is.height} at ${is.x},${is.y}`;
  return entries.flatMap((entry) => entry.sources.map(told));
};
"""


def _missing(what: str, where: str) -> NoReturn:
    """CI is to have it all; elsewhere these tests are left out."""
    if os.environ.get("CI"):
        pytest.fail(f"{what} is missing: {where}")
    pytest.skip(f"{what} is missing: {where}")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        _missing("Chromium", "apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe() -> Path:
    if not AXE.exists():
        _missing("axe", "make test-browser installs it where npm is")
    return AXE


@pytest.fixture(scope="session")
def sandbox_of_all() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(sandbox_of_all: Sandbox) -> Sandbox:
    """A sandbox without streams and limits."""
    sandbox_of_all.behave()
    return sandbox_of_all


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    context.add_init_script(WATCH)
    with context:
        yield context


@pytest.fixture
def complaints() -> list[str]:
    """What the browser complained of; a test that wants it so empties the list."""
    return []


@pytest.fixture
def page(context: BrowserContext, sandbox: Sandbox, complaints: list[str]) -> Iterator[Page]:
    """The sandbox's page, open and connected; in the end nothing is to be wrong with it."""
    page = context.new_page()
    outside: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda asked: None if _is_own(asked.url, sandbox) else outside.append(asked.url))
    page.goto(sandbox.page_url)
    page.locator(".connection.open").wait_for()
    yield page
    assert complaints == []
    assert outside == []


def _is_own(url: str, sandbox: Sandbox) -> bool:
    return url.startswith((sandbox.page_url, "data:"))


@pytest.fixture
def screenshot(page: Page, request: pytest.FixtureRequest) -> Callable[..., None]:
    """Keeps a picture of the page, named after the test."""

    def take(name: str = "") -> None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        title = re.sub(r"\W+", "_", f"{request.node.name} {name}").strip("_").removeprefix("test_")
        page.screenshot(path=SCREENSHOTS / f"{title}.png", animations="disabled")

    return take
