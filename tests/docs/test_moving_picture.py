"""The moving picture at the top of the README."""

import json
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from moving_picture import moving_picture
from pictures import FOLDER, RECORDED, keep, record
from playwright.sync_api import Browser, Page

PICTURE = FOLDER / "lock-screen.svg"
RECORDINGS = sorted(RECORDED.glob("*.json"))


def test_it_is_what_is_drawn_of_the_recorded_runs() -> None:
    assert PICTURE.read_text() == moving_picture(RECORDINGS), "python tools/pictures.py draw"


def test_it_is_one_file_without_scripts() -> None:
    text = PICTURE.read_text()
    root = ET.fromstring(text)
    kinds = {element.tag.rpartition("}")[2] for element in root.iter()}
    assert kinds.isdisjoint({"script", "image", "foreignObject", "use"})
    assert re.findall(r"(?:href|url\()=?['\"]?(?!#)\w", text.replace("url(#", "(#")) == []
    assert len(text) < 60_000


def test_the_recorded_runs_start_move_and_end_and_one_fails() -> None:
    ends = []
    for file in RECORDINGS:
        requests = json.loads(file.read_text())["requests"]
        assert requests[0]["method"] == "PUT"
        assert len(requests) > 3
        assert [one["method"] for one in requests].index("DELETE") == len(requests) - 1
        ends.append(requests[-1]["body"]["content_state"]["color"])
    assert sorted(ends) == ["green", "red"]


def test_what_leads_to_this_machine_is_not_recorded() -> None:
    for file in FOLDER.rglob("*.json"):
        assert re.findall(r"localhost|127\.0\.0\.1|/home/|/tmp/", file.read_text()) == []


@pytest.fixture
def shown(browser: Browser) -> Page:
    """The picture, as its own document."""
    page = browser.new_page(viewport={"width": 424, "height": 560})
    page.goto(PICTURE.as_uri())
    return page


def seen(page: Page, seconds: float) -> str:
    """The names and messages on the screen at a moment of the picture."""
    page.evaluate(
        "at => document.getAnimations().forEach(one => { one.pause(); one.currentTime = at })", seconds * 1000
    )
    texts: list[str] = page.evaluate(
        "() => [...document.querySelectorAll('.moving')].filter(one => getComputedStyle(one).opacity > 0.5)"
        ".map(one => one.textContent)"
    )
    return " ".join(texts)


def test_it_begins_empty_moves_and_ends_with_both_results(shown: Page) -> None:
    first, last = (json.loads(file.read_text())["requests"] for file in RECORDINGS)
    title, message = first[0]["body"]["content_state"]["title"], last[-1]["body"]["content_state"]["message"]
    # A still takes the first moment, so that the loop begins in its middle.
    assert title in seen(shown, 0)
    length = shown.evaluate("document.getAnimations()[0].effect.getTiming().duration / 1000")
    begin = length / 2
    assert seen(shown, begin + 0.1) == ""
    assert title in seen(shown, begin + 2)
    assert message not in seen(shown, begin + 2)
    assert title in seen(shown, begin - 2)
    assert message in seen(shown, begin - 2)


def test_it_stands_still_at_its_end_for_who_asked_for_less_motion(shown: Page) -> None:
    shown.emulate_media(reduced_motion="reduce")
    shown.reload()
    assert shown.evaluate("document.getAnimations().length") == 0
    opacities = shown.evaluate(
        "() => [...document.querySelectorAll('.moving')].map(one => getComputedStyle(one).opacity)"
    )
    assert opacities.count("1") == len(RECORDINGS)


def test_a_run_is_recorded_without_its_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pictures.RECORDED", tmp_path)
    button = {"type": "open_url", "title": "Open run", "url": "http://127.0.0.1:8080/dags"}
    body = {"content_state": {"title": "a"}, "action": button, "metadata": {"run": "1"}}
    asked = {"stream_key": "a", "method": "PUT", "status": 200, "body": body}
    record([asked, {**asked, "status": 429}, {**asked, "stream_key": "b"}], ["a"])
    (file,) = tmp_path.iterdir()
    (kept,) = json.loads(file.read_text())["requests"]
    assert kept["body"] == {"content_state": {"title": "a"}, "action": {**button, "url": "https://example.com"}}


def test_a_picture_that_differs_in_durations_alone_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pictures.FOLDER", tmp_path)
    keep("run", {"content_state": {"title": "a", "subtitle": "Done in 12 s"}, "action": None})
    keep("run", {"content_state": {"title": "a", "subtitle": "Done in 3 m 10 s"}, "action": None})
    assert "12 s" in (tmp_path / "run.json").read_text()
    keep("run", {"content_state": {"title": "b", "subtitle": "Done in 3 m 10 s"}, "action": None})
    assert "3 m 10 s" in (tmp_path / "run.json").read_text()
