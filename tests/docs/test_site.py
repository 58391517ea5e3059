"""The site: built strictly, without a request to anybody else, and readable by everybody."""

import functools
import http.server
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser
from site_builder.looks import LOOKS
from support.chromium import SCREENSHOTS, violations
from support.readme import PAGES, README, ROOT

from activitysmith_integrations.core import EndOptions, LiveActivity

REPOSITORY = "https://github.com/ActivitySmithHQ/activitysmith-integrations/"
LOOKED_AT = ("", "ways/", "airflow/tag/", "states/", "look/", "sandbox/", "reference/prefect/")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built anew."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--site-dir", str(folder)]
    environ = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def address(site: Path) -> Iterator[str]:
    """Where the site is served from."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(site))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


class Resources(HTMLParser):
    """What a page loads by itself, and where its links lead."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.links: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "a":
            self.links.append(given.get("href", ""))
        elif tag == "link" and given.get("rel") not in ("canonical", "next", "prev", "author"):
            self.loaded.append(given.get("href", ""))
        self.loaded += [given[name] for name in ("src", "srcset", "poster", "data") if name in given]


def test_its_pages_load_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        html = page.read_text()
        outside = [one for one in Resources(html).loaded if re.match(r"(https?:)?//", one)]
        assert outside == [], page
        assert "@import" not in html
    for sheet in site.rglob("*.css"):
        assert re.findall(r"url\(['\"]?(?:https?:)?//", sheet.read_text()) == [], sheet


def test_links_into_the_repository_lead_somewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        for link in Resources(page.read_text()).links:
            path = re.fullmatch(rf"{REPOSITORY}(?:blob|tree)/main/([^#]+)", link)
            assert path is None or (ROOT / path[1]).exists(), f"{page}: {link}"


def test_nothing_is_left_of_what_is_made_from_the_code(site: Path) -> None:
    for page in site.rglob("*.html"):
        html = page.read_text()
        assert "<!-- site:" not in html
        assert ":class:" not in html


@pytest.mark.parametrize("width", [1300, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_people_can_read_it(address: str, browser: Browser, axe: Path, width: int, scheme: Any) -> None:
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    outside: list[str] = []
    found = {}
    with browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme) as context:
        for path in LOOKED_AT:
            page = context.new_page()
            page.on("request", lambda asked: outside.append(asked.url) if not _is_own(asked.url, address) else None)
            page.goto(f"{address}{path}")
            page.locator("h1").wait_for()
            name = path.strip("/").replace("/", "-") or "index"
            page.screenshot(path=SCREENSHOTS / f"site-{name}-{width}-{scheme}.png", animations="disabled")
            assert page.evaluate("document.documentElement.scrollWidth") <= width, f"{path} scrolls sideways"
            found[path] = violations(page, axe)
            page.close()
    assert outside == []
    assert {path: several for path, several in found.items() if several} == {}


def _is_own(url: str, address: str) -> bool:
    return url.startswith((address, "data:", "blob:"))


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: look.code[:40])
def test_an_option_is_written_as_python_takes_it(look: Any) -> None:
    assert set(look.options()) == {look.option}
    LiveActivity("nightly-etl", steps=5, **look.options())


def test_every_option_has_its_place(site: Path) -> None:
    text = (site / "look" / "index.html").read_text()
    for option in EndOptions.__annotations__:
        assert f'<h3 id="{option}">' in text


def test_figures_are_made_by_the_benchmarks_alone() -> None:
    for page in (README, *PAGES):
        measured = re.findall(r"\d ?(?:ms|µs|MiB|kB)\b", page.read_text())
        assert measured == [], f"{page}: what is measured belongs into docs/figures"


def test_what_the_log_says_is_quoted_as_it_is_written() -> None:
    _, _, rows = (ROOT / "docs" / "nothing-appears.md").read_text().partition("| it says | do this |")
    first_cells = "\n".join(row.split("|")[1] for row in rows.splitlines() if row.startswith("| `"))
    quoted = re.findall(r"`([^`]+)`", first_cells)
    sources = "\n".join(file.read_text() for file in (ROOT / "activitysmith_integrations").rglob("*.py"))
    airflows_own = {"is not defined", "isn't defined"}
    for text in set(quoted) - airflows_own:
        words = re.sub(r"answered \d+", "answered ", text).removeprefix("ACTIVITYSMITH_API_KEY: ")
        assert words.strip() in sources, text
