"""A sandbox, and a browser with its page."""

import re
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Browser, BrowserContext, Page
from support import chromium
from support.sandbox import Sandbox, running_sandbox

browser, axe = chromium.browser, chromium.axe
SCREENSHOTS = chromium.SCREENSHOTS

WATCH = """
const seen = [];
const watch = new PerformanceObserver((list) => seen.push(...list.getEntries()));
watch.observe({ type: "layout-shift", buffered: true });
// What has moved since the last call.
window.moved = () => {
  const entries = [...seen.splice(0), ...watch.takeRecords()];
  const describe = ({ node, previousRect: was, currentRect: is }) =>
    `${node?.nodeName} ${was.width}x${was.height} at ${was.x},${was.y}: ${is.width}x${is.height} at ${is.x},${is.y}`;
  return entries.flatMap((entry) => entry.sources.map(describe));
};
"""


@pytest.fixture(scope="session")
def sandbox_of_all() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def sandbox(sandbox_of_all: Sandbox) -> Sandbox:
    """A sandbox without streams and limits."""
    sandbox_of_all.reset()
    return sandbox_of_all


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    context.add_init_script(WATCH)
    with context:
        yield context


@pytest.fixture
def console_errors() -> list[str]:
    """What the browser logged as an error; a test that expects errors clears the list."""
    return []


@pytest.fixture
def page(context: BrowserContext, sandbox: Sandbox, console_errors: list[str]) -> Iterator[Page]:
    """The sandbox's page, connected. It must have logged no error and loaded nothing from elsewhere in the end."""
    page = context.new_page()
    outside: list[str] = []
    page.on("console", lambda message: console_errors.append(message.text) if message.type != "log" else None)
    page.on("pageerror", lambda error: console_errors.append(str(error)))
    page.on("request", lambda asked: None if _is_own(asked.url, sandbox) else outside.append(asked.url))
    page.goto(sandbox.page_url)
    page.locator(".connection.open").wait_for()
    yield page
    assert console_errors == []
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
