"""The lock screen in Chromium."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import BrowserContext, Page, expect
from support.sandbox import Sandbox, running_sandbox

PICTURES = sorted((Path(__file__).parents[2] / "docs" / "pictures").glob("*.json"))
# Until the page is painted and its observers have run.
TWO_FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done))))"
PROGRESS = {"title": "Load", "type": "progress", "percentage": 10}
# Each class of the page with what has it, and whether it changes how anything looks; not those of the cards, which the
# sandbox draws.
CLASSES = """
() => {
  const html = (nodes) => [...nodes].filter((one) => one instanceof HTMLElement);
  const styles = (one) => ["", "::before"].map((part) => ({ ...getComputedStyle(one, part) }));
  const all = (one) => JSON.stringify([one, ...html(one.querySelectorAll("*"))].map(styles));
  const looks = {};
  for (const one of html(document.querySelectorAll("[class]"))) {
    for (const name of [...one.classList]) {
      const where = `${name} of <${one.nodeName} class="${one.getAttribute("class")}">`;
      if (where in looks) continue;
      const before = all(one);
      one.classList.remove(name);
      looks[where] = all(one) !== before;
      one.classList.add(name);
    }
  }
  return looks;
}
"""

Screenshot = Callable[..., None]


def cards(page: Page) -> Any:
    return page.locator("#stack > li:not(.leaving) > svg")


def label(page: Page) -> str:
    return cards(page).first.get_attribute("aria-label") or ""


def show_everything(sandbox: Sandbox) -> None:
    for path in PICTURES:
        request = json.loads(path.read_text())
        sandbox.put(path.stem, request.pop("content_state"), **request)


def test_a_stream_starts_changes_and_ends_on_the_page(page: Page, sandbox: Sandbox, screenshot: Screenshot) -> None:
    expect(page.locator("#nothing")).to_be_visible()
    sandbox.put("etl", PROGRESS)
    expect(cards(page)).to_have_attribute("aria-label", "Load, 10 %")
    sandbox.put("etl", {**PROGRESS, "percentage": 60})
    expect(cards(page)).to_have_attribute("aria-label", "Load, 60 %")
    expect(page.locator("#live")).to_have_text("1 Live Activity is running")
    sandbox.end("etl", content_state={"title": "Load", "type": "alert", "message": "done"})
    expect(cards(page)).to_have_attribute("aria-label", "Load, done")
    expect(page.locator(".end")).to_contain_text("iOS removes it in")
    expect(page.locator("#live")).to_have_text("No Live Activity is running")
    expect(page.locator(".operation")).to_have_text(["started", "updated", "ended"])
    expect(page.locator(".changed").nth(1)).to_have_text("10 % → 60 %")
    screenshot()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_type_is_shown_in_light_and_in_dark(
    page: Page, sandbox: Sandbox, screenshot: Screenshot, scheme: Any
) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": 1280, "height": 1000})
    show_everything(sandbox)
    expect(cards(page)).to_have_count(len(PICTURES))
    paper = cards(page).first.locator("rect.surface").evaluate("one => getComputedStyle(one).fill")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(28, 28, 30)"}[scheme]
    screenshot()
    page.locator(".scroll").evaluate("one => one.scrollTo(0, one.scrollHeight)")
    screenshot("scrolled")


def test_the_appearance_can_be_chosen_against_the_systems(page: Page, sandbox: Sandbox) -> None:
    sandbox.put("etl", PROGRESS)
    paper = cards(page).locator("rect.surface")
    expect(paper).to_have_css("fill", "rgb(255, 255, 255)")
    page.get_by_label("Appearance").select_option("dark")
    expect(paper).to_have_css("fill", "rgb(28, 28, 30)")
    page.emulate_media(color_scheme="dark")
    page.get_by_label("Appearance").select_option("light")
    expect(paper).to_have_css("fill", "rgb(255, 255, 255)")


def test_an_alert_slides_in_as_a_banner_and_goes(page: Page, sandbox: Sandbox, screenshot: Screenshot) -> None:
    sandbox.put("etl", PROGRESS)
    sandbox.end("etl", alert={"title": "nightly_etl", "body": "load failed after 3 m 10 s"})
    banner = page.locator(".banner")
    expect(banner).to_contain_text("load failed after 3 m 10 s")
    expect(banner).to_have_css("animation-name", "slide-in")
    screenshot()
    expect(banner).to_have_count(0, timeout=15_000)


def test_an_earlier_alert_is_not_shown_again(page: Page, sandbox: Sandbox) -> None:
    sandbox.put("etl", PROGRESS, alert={"title": "once"})
    expect(page.locator(".banner")).to_have_count(1)
    page.reload()
    expect(cards(page)).to_have_count(1)
    expect(page.locator(".operation")).to_have_count(1)
    assert page.locator(".banner").count() == 0


def test_markup_in_a_request_is_text(page: Page, sandbox: Sandbox, screenshot: Screenshot) -> None:
    evil = "<script>hacked = 1</script><img src=x onerror='hacked = 1'>"
    state = {"title": evil, "subtitle": evil, "badge": {"title": evil}, "icon": {"symbol": evil}}
    button = {"title": evil, "type": "open_url", "url": "https://example.com"}
    body = {"action": button, "alert": {"title": evil, "body": evil}}
    sandbox.put("etl", {**state, "type": "alert", "message": evil}, **body)
    sandbox.put("etl", {**state, "type": "alert", "message": f"{evil}!"}, **body)
    expect(page.locator(".banner .title")).to_have_text(evil)
    expect(cards(page).locator("text").first).to_contain_text("<script>hacked")
    expect(page.locator(".changed").last).to_contain_text("<script>hacked")
    page.locator("summary").last.click()
    expect(page.locator("#log pre")).to_contain_text(evil)
    assert page.evaluate("typeof hacked") == "undefined"
    assert page.locator("main img, main script").count() == 0
    screenshot()


def test_a_timer_counts_by_itself(page: Page, sandbox: Sandbox) -> None:
    sandbox.put("etl", {"title": "Window", "type": "timer", "duration_seconds": 3000})
    digits, bar = page.locator(".timer-digits"), page.locator(".timer-bar")
    expect(digits).to_have_text(re.compile(r"49:\d\d"), timeout=15_000)
    assert 0 < float(bar.get_attribute("width") or 0) < 332
    sandbox.put("etl", {"title": "Window", "type": "timer", "is_running": False})
    expect(cards(page).get_by_text("Paused")).to_be_visible()
    assert page.locator("[data-counts]").count() == 0


def test_an_ended_activity_fades_when_ios_removes_it(page: Page, sandbox: Sandbox) -> None:
    page.evaluate("() => { animations = []; document.onanimationstart = (one) => animations.push(one.animationName); }")
    sandbox.put("etl", PROGRESS)
    sandbox.end("etl", content_state={**PROGRESS, "auto_dismiss_seconds": 4})
    expect(page.locator(".end")).to_have_text(re.compile("^Ended · iOS removes it in 0:0[0-4]$"))
    expect(page.locator("#stack > li")).to_have_count(0, timeout=15_000)
    expect(page.locator("#nothing")).to_be_visible()
    expect(page.locator("#removed > li")).to_have_count(1)
    expect(page.locator("#removed .label")).to_have_text("Load, 10 %")
    assert page.evaluate("animations") == ["appear", "leave"]


def test_an_activity_that_its_end_removes_at_once_goes(page: Page, sandbox: Sandbox) -> None:
    sandbox.put("etl", PROGRESS)
    expect(cards(page)).to_have_count(1)
    sandbox.end("etl", content_state={**PROGRESS, "auto_dismiss_seconds": 0})
    expect(page.locator("#removed > li")).to_have_count(1)
    expect(page.locator("#stack > li")).to_have_count(0)


def test_who_comes_late_sees_what_ios_has_removed_since(
    page: Page, sandbox: Sandbox, console_errors: list[str], screenshot: Screenshot
) -> None:
    expect(page.locator("#removed-section")).to_be_hidden()
    sandbox.put("nightly_etl", PROGRESS)
    done = {"title": "nightly_etl", "type": "progress", "percentage": 100, "subtitle": "Done in 12 s", "color": "green"}
    sandbox.end("nightly_etl", content_state={**done, "auto_dismiss_seconds": 0})
    sandbox.put("sync_orders", PROGRESS)
    sandbox.end("sync_orders", content_state={"title": "sync_orders", "type": "alert", "message": "load failed"})
    page.reload()
    expect(cards(page)).to_have_count(1)
    (row,) = page.locator("#removed > li").all()
    expect(row.get_by_text("nightly_etl", exact=True)).to_be_visible()
    expect(row.locator(".label")).to_have_text("nightly_etl, Done in 12 s, 100 %")
    expect(row.locator(".dot")).to_have_css("background-color", "rgb(52, 199, 89)")
    screenshot()
    sandbox.put("nightly_etl", PROGRESS)
    expect(page.locator("#removed-section")).to_be_hidden()
    expect(cards(page)).to_have_count(2)


def test_a_row_shows_that_it_opens(page: Page, sandbox: Sandbox) -> None:
    sandbox.put("etl", PROGRESS)
    turned = "one => getComputedStyle(one, '::before').transform"
    summary = page.locator("summary")
    closed = summary.evaluate(turned)
    summary.click()
    expect(page.locator("details[open]")).to_have_count(1)
    page.evaluate("() => Promise.all(document.getAnimations().map((one) => one.finished)).then(() => null)")
    assert summary.evaluate(turned) != closed


def test_the_page_comes_back_when_the_sandbox_does(context: BrowserContext) -> None:
    page = context.new_page()
    with running_sandbox() as sandbox:
        page.goto(sandbox.page_url)
        sandbox.put("etl", PROGRESS)
        expect(cards(page)).to_have_count(1)
    expect(page.locator("#connection")).to_have_text("Reconnecting …")
    with running_sandbox(int(sandbox.page_url.rpartition(":")[2].strip("/"))) as again:
        again.put("other", {**PROGRESS, "percentage": 70})
        expect(page.locator("#connection")).to_have_text("Live", timeout=30_000)
        expect(cards(page)).to_have_count(1)
        expect(cards(page)).to_have_attribute("aria-label", "Load, 70 %")


def test_a_page_in_the_background_does_not_listen_and_then_catches_up(page: Page, sandbox: Sandbox) -> None:
    sandbox.put("etl", PROGRESS)
    expect(cards(page)).to_have_count(1)
    hide = "is => { Object.defineProperty(document, 'hidden', { value: is, configurable: true });"
    hide += " document.dispatchEvent(new Event('visibilitychange')); }"
    with page.expect_event("requestfailed", lambda asked: asked.url.endswith("/sandbox/events")):
        page.evaluate(hide, True)
    sandbox.put("etl", {**PROGRESS, "percentage": 80})
    assert label(page) == "Load, 10 %"
    page.evaluate(hide, False)
    expect(cards(page)).to_have_attribute("aria-label", "Load, 80 %")


def test_nothing_moves_when_states_change(page: Page, sandbox: Sandbox) -> None:
    for key in ("one", "two", "three"):
        sandbox.put(key, {**PROGRESS, "subtitle": "0"})
    expect(cards(page)).to_have_count(3)
    page.evaluate("() => Promise.all(document.getAnimations().map((one) => one.finished)).then(() => null)")
    page.evaluate(TWO_FRAMES)
    page.evaluate("moved()")
    for number in range(10):
        for key in ("one", "two", "three"):
            sandbox.put(key, {**PROGRESS, "percentage": number * 10, "subtitle": "x" * number})
    sandbox.end("two", content_state={**PROGRESS, "percentage": 100, "subtitle": "done"})
    expect(page.locator(".end").nth(1)).to_contain_text("iOS removes it")
    page.evaluate(TWO_FRAMES)
    assert page.evaluate("moved()") == []


def test_a_phones_width_is_enough(page: Page, sandbox: Sandbox, screenshot: Screenshot) -> None:
    page.set_viewport_size({"width": 375, "height": 812})
    show_everything(sandbox)
    expect(cards(page)).to_have_count(len(PICTURES))
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    screenshot()
    page.locator("#log-title").scroll_into_view_if_needed()
    page.locator("#log summary").nth(3).scroll_into_view_if_needed()
    screenshot("log")


def test_the_log_is_read_with_the_keyboard(page: Page, sandbox: Sandbox) -> None:
    sandbox.put("etl", PROGRESS, metadata={"run": "r1"})
    expect(cards(page)).to_have_count(1)
    page.locator(".scroll").focus()
    page.keyboard.press("Tab")
    expect(page.locator("summary")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#log pre")).to_contain_text('"run": "r1"')
    page.keyboard.press("Tab")
    expect(page.get_by_label(re.compile("Request .* as JSON"))).to_be_focused()


def test_nothing_is_animated_where_reduced_motion_is_preferred(page: Page, sandbox: Sandbox) -> None:
    page.emulate_media(reduced_motion="reduce")
    sandbox.put("etl", PROGRESS, alert={"title": "now"})
    expect(page.locator(".banner")).to_have_css("animation-name", "none")
    expect(page.locator("#stack > li")).to_have_css("animation-name", "none")


def test_every_class_changes_how_something_looks_wide_and_light_or_narrow_and_dark(
    page: Page, sandbox: Sandbox
) -> None:
    page.emulate_media(reduced_motion="reduce")
    sandbox.put("etl", PROGRESS)
    sandbox.put("gone", PROGRESS)
    sandbox.end("gone", content_state={**PROGRESS, "auto_dismiss_seconds": 0})
    sandbox.inject_fault(status=503, times=1)
    with pytest.raises(httpx.HTTPStatusError):
        sandbox.put("refused", PROGRESS)
    sandbox.end("etl", alert={"title": "etl", "body": "load failed"})
    expect(page.locator(".banner")).to_have_count(1)
    expect(page.locator("#removed > li")).to_have_count(1)
    wide = page.evaluate(CLASSES)
    page.set_viewport_size({"width": 375, "height": 812})
    page.emulate_media(color_scheme="dark")
    narrow = page.evaluate(CLASSES)
    assert any(where.startswith("banner ") for where in wide)
    assert [where for where in wide | narrow if not wide.get(where) and not narrow.get(where)] == []


@pytest.mark.parametrize("width", [320, 375, 390, 430, 899])
def test_the_phone_is_seen_whole(page: Page, sandbox: Sandbox, screenshot: Screenshot, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    sandbox.put("etl", PROGRESS)
    expect(cards(page)).to_have_count(1)
    phone, screen = page.locator(".phone").bounding_box(), page.locator(".screen").bounding_box()
    assert phone
    assert screen
    assert phone["x"] >= 0
    assert phone["x"] + phone["width"] <= width
    left, right = screen["x"] - phone["x"], phone["x"] + phone["width"] - screen["x"] - screen["width"]
    assert left == pytest.approx(right, abs=0.5)
    assert left > 0
    screenshot(str(width))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("wide", [1280, 375])
def test_axe_finds_nothing_serious(
    context: BrowserContext, axe: Path, sandbox: Sandbox, scheme: Any, wide: int
) -> None:
    context.add_init_script(path=axe)
    page = context.new_page()
    page.set_viewport_size({"width": wide, "height": 900})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.goto(sandbox.page_url)
    expect(page.locator("#settings")).to_contain_text(sandbox.base_url)
    assert findings(page) == []
    show_everything(sandbox)
    sandbox.end("alert", alert={"title": "Freshness check", "body": "orders is 3 hours old"})
    expect(page.locator(".banner")).to_have_count(1)
    page.locator("summary").first.click()
    expect(page.locator("#log pre")).to_contain_text("body")
    sandbox.end("timer", content_state={"title": "Window", "auto_dismiss_seconds": 0})
    expect(page.locator("#removed > li")).to_have_count(1)
    assert findings(page) == []


def findings(page: Page) -> list[str]:
    found = page.evaluate("() => axe.run().then((result) => result.violations)")
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found if one["impact"] in ("serious", "critical")]


def test_a_thousand_streams_are_shown_fifty_at_a_time(page: Page, sandbox: Sandbox, screenshot: Screenshot) -> None:
    for number in range(1000):
        sandbox.put(f"s{number}", {**PROGRESS, "title": f"Load {number}"})
    expect(page.locator("#live")).to_have_text("1000 Live Activities are running")
    more = page.get_by_role("button", name="Show more")
    expect(more).to_have_text("Show more (950 not shown)", timeout=30_000)
    expect(cards(page)).to_have_count(50)
    expect(page.locator("#log > li")).to_have_count(200)
    more.click()
    expect(cards(page)).to_have_count(100)
    sandbox.put("s999", {**PROGRESS, "title": "Load 999", "percentage": 90})
    expect(cards(page).first).to_have_attribute("aria-label", "Load 999, 90 %")
    screenshot()
