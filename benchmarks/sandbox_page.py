"""The sandbox's page with many living streams in Chromium: how long it takes to show them and each change of them."""

import time
from collections.abc import Sequence
from typing import TypeAlias

from comparison import Spread
from playwright.sync_api import CDPSession, Page, TimeoutError as PlaywrightTimeoutError
from support.chromium import executable, launched
from support.processes import DeploymentError
from support.sandbox import Sandbox

Row: TypeAlias = tuple[str, str, str]
"""What was measured, the figure and its unit."""

_SECONDS_BETWEEN_UPDATES = 0.05
_WATCH_LONG_TASKS = """
const tasks = [];
const watch = new PerformanceObserver((list) => tasks.push(...list.getEntries()));
watch.observe({ type: "longtask", buffered: true });
// Milliseconds of each since the last call.
window.longTasks = () => [...tasks.splice(0), ...watch.takeRecords()].map((task) => task.duration);
"""
# Asked in each frame. That all are there counts in the frame after, when they have been painted.
_SHOW_ALL = """
(streams) => {
  const all = document.getElementById("stack").childElementCount >= streams;
  const more = document.getElementById("more");
  if (!all && !more.hidden) more.click();
  return all;
}
"""
_WATCH_CARDS = """
() => {
  window.shownAt = {};
  const labels = (change) => [...change.addedNodes].map((node) => node.ariaLabel).filter(Boolean);
  const watch = new MutationObserver((changes) => {
    const shown = changes.flatMap(labels);
    // The next frame shows them; what waits for a frame runs before it, and a timer that is set there after it.
    const note = () => shown.forEach((label) => { window.shownAt[label] = Date.now(); });
    requestAnimationFrame(() => setTimeout(note));
  });
  watch.observe(document.getElementById("stack"), { childList: true, subtree: true });
}
"""


def measure(sandbox: Sandbox, streams: int, updates: int) -> list[Row]:
    """Open the page, show all streams, and update them.

    Args:
        sandbox: One without streams and limits.
        streams: How many live; 1000 at most, since the page shows no more.
        updates: How many of them are updated one after the other, 20 a second.

    Raises:
        DeploymentError: Chromium is missing, or the page does not show all in time.
    """
    if (program := executable()) is None:
        raise DeploymentError("Chromium is missing")
    sandbox.start(*(f"stream-{number}" for number in range(streams)))
    with launched(program) as browser, browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        context.add_init_script(_WATCH_LONG_TASKS)
        page = context.new_page()
        try:
            return _measure(page, context.new_cdp_session(page), sandbox, streams, updates)
        except PlaywrightTimeoutError as error:
            raise DeploymentError(f"the page did not show all: {error}") from error


def _measure(page: Page, devtools: CDPSession, sandbox: Sandbox, streams: int, updates: int) -> list[Row]:
    start = time.perf_counter()
    page.goto(sandbox.page_url)
    page.locator("#stack > li").first.wait_for()
    first_shown = time.perf_counter() - start
    page.wait_for_function(_SHOW_ALL, arg=streams)
    all_shown = time.perf_counter() - start
    opening: list[float] = page.evaluate("longTasks()")
    before = _heap(devtools)
    page.evaluate(_WATCH_CARDS)
    page.evaluate("longTasks()")  # collecting the garbage was one
    start = time.perf_counter()
    sent = _update(sandbox, streams, updates)
    took = time.perf_counter() - start
    page.wait_for_function("(updates) => Object.keys(shownAt).length >= updates", arg=updates)
    shown_at: dict[str, float] = page.evaluate("shownAt")
    updating: list[float] = page.evaluate("longTasks()")
    return [
        (f"the page with {streams} streams: the first card", f"{first_shown:.2f}", "s"),
        ("all cards, by Show more in each frame", f"{all_shown:.2f}", "s"),
        *_long_tasks("until then", opening),
        (f"{updates} updates", f"{took:.1f}", "s"),
        ("from an update to its card", str(Spread.of([shown_at[label] - sent[label] for label in sent])), "ms"),
        *_long_tasks("meanwhile", updating),
        ("JavaScript's heap before the updates", f"{before:.1f}", "MB"),
        ("JavaScript's heap after them", f"{_heap(devtools):.1f}", "MB"),
    ]


def _update(sandbox: Sandbox, streams: int, updates: int) -> dict[str, float]:
    """Update streams in turns; by its card's label, the Unix time of each update in milliseconds."""
    sent, start = dict[str, float](), time.perf_counter()
    for number in range(updates):
        time.sleep(max(0, start + number * _SECONDS_BETWEEN_UPDATES - time.perf_counter()))
        title = f"Update {number}"
        sent[f"{title}, 50 %"] = time.time() * 1e3
        sandbox.put(f"stream-{number % streams}", {"title": title, "type": "progress", "percentage": 50})
    return sent


def _long_tasks(when: str, milliseconds: Sequence[float]) -> list[Row]:
    """Those of 50 ms and more, which keep the page from reacting."""
    return [
        (f"long tasks {when}, {len(milliseconds)} in all", f"{sum(milliseconds):.0f}", "ms"),
        ("the longest", f"{max(milliseconds, default=0):.0f}", "ms"),
    ]


def _heap(devtools: CDPSession) -> float:
    """MB that are still used."""
    devtools.send("HeapProfiler.collectGarbage")
    return float(devtools.send("Runtime.getHeapUsage")["usedSize"]) / 1e6
