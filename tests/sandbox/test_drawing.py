"""The cards: what is on them, and that no state can spoil one."""

import re
from collections.abc import Mapping
from typing import Any, get_args
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings, strategies as st

from activitysmith_integrations.core.models.fields import Color, StateType
from activitysmith_integrations.sandbox.describe import Clock, describe
from activitysmith_integrations.sandbox.drawing import WIDTH, draw
from activitysmith_integrations.sandbox.palette import DARK, LIGHT
from activitysmith_integrations.sandbox.symbols import SYMBOLS
from activitysmith_integrations.sandbox.text_layout import fit, text_width, wrap

COLORS = get_args(Color)
TYPES = get_args(StateType)
SVG = "{http://www.w3.org/2000/svg}"
NEEDED: dict[str, dict[str, Any]] = {"alert": {"message": "load failed"}, "value": {"value": 7}}


def card(state: Mapping[str, Any], clock: Clock | None = None, **buttons: Any) -> ET.Element:
    return ET.fromstring(draw({"content_state": {"title": "Load", **state}, **buttons}, clock or Clock()))


def words(of: ET.Element) -> list[str]:
    return [text.text or "" for text in of.iter(f"{SVG}text")]


def boxes(of: ET.Element, color: str) -> list[float]:
    """The widths of the boxes in a color."""
    found = [box for box in of.iter(f"{SVG}rect") if box.get("class", "").split()[0] == color]
    return [float(box.get("width", 0)) for box in found]


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_shows_title_and_subtitle(kind: str) -> None:
    shown = card({"type": kind, "subtitle": "nightly", **NEEDED.get(kind, {})})
    assert words(shown)[:2] == ["Load", "nightly"]
    assert shown.get("aria-label", "").startswith("Load, nightly")


@pytest.mark.parametrize("color", COLORS)
def test_every_color_paints_bar_icon_badge_and_button(color: str) -> None:
    state = {"type": "progress", "percentage": 50, "color": color}
    more = {"icon": {"symbol": "checkmark.circle.fill"}, "badge": {"title": "On"}}
    shown = card({**state, **more}, action={"title": "Open"})
    painted = [one.get("class") for one in shown.iter() if one.get("color") == LIGHT[color]]
    assert painted == [color] * 4
    assert len([one for one in shown.iter() if one.get("color") == LIGHT[f"{color}-ink"]]) == 2


@pytest.mark.parametrize("palette", [LIGHT, DARK])
@pytest.mark.parametrize("name", [*(f"{color}-ink" for color in COLORS), "ink", "dim"])
def test_words_stand_out_from_card_and_capsule_in_light_and_in_dark(name: str, palette: Mapping[str, str]) -> None:
    assert contrast(palette[name], palette["surface"]) >= 4.5
    color = name.removesuffix("-ink")
    if color in COLORS:
        assert contrast(palette[name], mixed(palette[color], palette["surface"], 0.18)) >= 4.5


def test_the_palettes_have_the_same_names_and_all_colors_of_the_api() -> None:
    assert set(LIGHT) == set(DARK) >= set(COLORS)


def channels(color: str) -> list[float]:
    return [int(color[index : index + 2], 16) for index in (1, 3, 5)]


def mixed(front: str, back: str, share: float) -> str:
    both = zip(channels(front), channels(back), strict=True)
    return "#" + "".join(f"{round(one * share + other * (1 - share)):02x}" for one, other in both)


def contrast(one: str, other: str) -> float:
    """The contrast ratio of WCAG 2."""
    lights = []
    for color in (one, other):
        linear = [
            c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in channels(color))
        ]
        lights.append(0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2])
    return (max(lights) + 0.05) / (min(lights) + 0.05)


def test_each_step_has_its_color() -> None:
    state = {"type": "segmented_progress", "number_of_steps": 5, "current_step": 3, "color": "blue"}
    shown = card({**state, "step_colors": ["green", "red"], "step_color": "orange"})
    order = [box.get("class") for box in shown.iter(f"{SVG}rect")][2:]
    assert order == ["green", "red", "blue", "orange", "track"]
    assert "3 of 5" in words(shown)


def test_a_run_that_is_complete_has_no_current_step() -> None:
    shown = card({"type": "segmented_progress", "number_of_steps": 2, "current_step": 2, "step_color": "red"})
    assert (len(boxes(shown, "blue")), boxes(shown, "red"), boxes(shown, "track")) == (2, [], [])


def test_more_steps_done_than_there_are_fill_the_bar() -> None:
    shown = card({"type": "segmented_progress", "number_of_steps": 2, "current_step": 9})
    assert (len(boxes(shown, "blue")), boxes(shown, "track")) == (2, [])


def test_a_blank_title_leaves_a_card_that_has_a_name() -> None:
    assert card({"title": " ", "type": "progress"}).get("aria-label") == "Live Activity"


@pytest.mark.parametrize(("steps", "count"), [(40, 40), (41, 2), (10**18, 2)])
def test_too_many_steps_to_distinguish_are_one_bar(steps: int, count: int) -> None:
    shown = card({"type": "segmented_progress", "number_of_steps": steps, "current_step": steps // 2})
    assert len(list(shown.iter(f"{SVG}rect"))) - 2 == count


@pytest.mark.parametrize(
    ("state", "reading"),
    [
        ({"percentage": 0}, "0 %"),
        ({"percentage": 42.5}, "42.5 %"),
        ({"percentage": 99.99}, "99.9 %"),
        ({"percentage": 56.7}, "56.7 %"),
        ({"value": 3, "upper_limit": 4}, "75 %"),
        ({"value": -3, "upper_limit": 4}, "0 %"),
        ({"value": 10**400, "upper_limit": 2 * 10**400}, "50 %"),
        ({"value": 1, "upper_limit": 4, "percentage": 10}, "10 %"),
    ],
)
def test_progress_is_read_as_percent(state: dict[str, Any], reading: str) -> None:
    assert reading in words(card({"type": "progress", **state}))


def test_progress_that_nobody_knows_is_an_empty_track() -> None:
    shown = card({"type": "progress"})
    assert (words(shown), boxes(shown, "blue")) == (["Load"], [])


def test_metrics_are_bars_percentages_of_hundred_and_others_of_the_largest_of_their_unit() -> None:
    metrics = [
        {"label": "CPU", "value": 50, "unit": "%"},
        {"label": "In", "value": 2, "unit": "GB", "color": "red"},
        {"label": "Out", "value": 4, "unit": "GB", "color": "red"},
        {"label": "State", "value": "up"},
    ]
    shown = card({"type": "metrics", "metrics": metrics})
    (track, *_) = boxes(shown, "track")
    assert boxes(shown, "blue") == [pytest.approx(track / 2, abs=0.01)]
    assert boxes(shown, "red") == [pytest.approx(track / 2, abs=0.01), track]
    assert words(shown) == ["Load", "CPU", "50%", "In", "2 GB", "Out", "4 GB", "State", "up"]


@pytest.mark.parametrize("kind", ["metrics", "stats"])
@pytest.mark.parametrize("count", range(1, 9))
def test_one_to_eight_figures_are_all_shown_within_the_card(kind: str, count: int) -> None:
    metrics = [{"label": f"label {number}", "value": number, "unit": "ms"} for number in range(count)]
    shown = card({"type": kind, "metrics": metrics})
    assert {f"{number} ms" for number in range(count)} <= set(words(shown))
    assert_within(shown)


def test_an_alert_wraps_its_message_and_cuts_it_after_four_lines() -> None:
    shown = words(card({"type": "alert", "message": "The quick brown fox jumps. " * 20}))
    assert len(shown) == 5
    assert shown[-1].endswith("…")


def test_a_value_is_shown_as_it_is() -> None:
    assert "$ 2,318.40" in words(card({"type": "value", "value": "$ 2,318.40"}))
    assert "7" in words(card({"type": "value", "value": 7.0}))
    assert "-1e+300" in words(card({"type": "value", "value": -(10**400)}))


@pytest.mark.parametrize(
    ("state", "elapsed", "digits"),
    [
        ({"duration_seconds": 90}, 0, "1:30"),
        ({"duration_seconds": 90}, 30.5, "1:00"),
        ({"duration_seconds": 90}, 1000, "0:00"),
        ({"duration_seconds": 3700, "counts_down": False}, 3661.9, "1:01:01"),
        ({"duration_seconds": 90, "counts_down": False}, 1000, "1:30"),
        ({"duration_seconds": 10**30}, 0, "99:59:59"),
        ({}, 5, "0:05"),
    ],
)
def test_a_timer_shows_its_time(state: dict[str, Any], elapsed: float, digits: str) -> None:
    assert digits in words(card({"type": "timer", **state}, Clock(elapsed)))


def test_a_running_timer_has_what_a_script_needs_to_count_and_a_paused_one_has_not() -> None:
    state = {"type": "timer", "duration_seconds": 90}
    running = card(state, Clock(10, started_at=1000.25))
    attributes = ("data-counts", "data-started", "data-duration")
    assert [running.get(name) for name in attributes] == ["down", "1000.25", "90"]
    assert [card({**state, "is_running": False}, Clock(10)).get(name) for name in attributes] == [None] * 3
    assert "Paused" in words(card({**state, "is_running": False}))


def test_buttons_are_shown_and_the_second_only_where_the_type_has_one() -> None:
    buttons: dict[str, Any] = {"action": {"title": "Open"}, "secondary_action": {"title": "Snooze"}}
    assert words(card({"type": "alert", "message": "m"}, **buttons))[-2:] == ["Open", "Snooze"]
    assert words(card({"type": "timer"}, **buttons))[-1] == "Open"


def test_a_symbol_without_a_drawing_is_named() -> None:
    assert "fish.fill" in words(card({"type": "progress", "icon": {"symbol": "fish.fill"}}))
    assert "bolt" not in words(card({"type": "progress", "icon": {"symbol": "bolt"}}))


@pytest.mark.parametrize("name", SYMBOLS)
def test_every_symbol_is_well_formed(name: str) -> None:
    assert len(ET.fromstring(f"<g>{SYMBOLS[name]}</g>")) > 0


def test_markup_is_text() -> None:
    evil = '<script>alert("1")</script>&amp;'
    state = {"title": evil, "subtitle": evil, "type": "alert", "message": evil, "badge": {"title": evil}}
    shown = card({**state, "icon": {"symbol": evil}}, action={"title": evil})
    assert {element.tag for element in shown.iter()} == {f"{SVG}{tag}" for tag in ("svg", "rect", "text")}
    assert evil in words(shown)
    assert evil in shown.get("aria-label", "")


def test_what_xml_cannot_hold_is_replaced() -> None:
    assert words(card({"title": "a\x00b\x1fc\ufffed\ud83de\nf", "type": "progress"})) == ["a b c\ufffdd\ufffde f"]


def test_a_picture_in_a_file_of_its_own_has_its_dark_colors() -> None:
    content = {"content_state": {"title": "Load", "type": "progress"}}
    assert "prefers-color-scheme:dark" in draw(content, standalone=True)
    assert "<style" not in draw(content)


def test_texts_are_cut_between_characters_and_wide_ones_count_as_wide() -> None:
    family = "👩‍👩‍👧"
    assert fit(family * 9, text_width(family * 3, 16) + text_width("…", 16) + 1, 16) == f"{family * 3}…"
    assert text_width(family, 16) < 2 * text_width("漢", 16)
    assert text_width("漢字", 16) > 1.5 * text_width("ab", 16)
    assert text_width("e\u0301", 16) == text_width("e", 16)
    assert fit("short", 100, 16) == "short"


@pytest.mark.parametrize("text", ["one two three four five", "x" * 300, "漢" * 80, "مرحبا بالعالم " * 20, ""])
def test_wrapped_lines_fit_and_lose_nothing_but_the_end(text: str) -> None:
    lines = wrap(text, 100, 15, 4)
    assert len(lines) <= 4
    assert all(0 < text_width(line, 15) <= 100 for line in lines)
    plain = text.replace(" ", "")
    assert plain.startswith("".join(lines).replace(" ", "").removesuffix("…"))


def assert_within(shown: ET.Element) -> None:
    height = float(shown.get("height", 0))
    for one in shown.iter(f"{SVG}rect"):
        x, y, wide, high = (float(one.get(name, 0)) for name in ("x", "y", "width", "height"))
        assert x >= 0
        assert x + wide <= WIDTH + 0.01
        assert y >= 0
        assert y + high <= height + 0.01
    for one in shown.iter(f"{SVG}text"):
        assert float(one.get("y", 0)) <= height - 10


TEXTS = st.text(st.characters(codec="utf-8"), max_size=80)
SOME = st.text(st.characters(codec="utf-8"), min_size=1, max_size=80)
NUMBERS = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
AMOUNTS = st.integers(min_value=0) | st.floats(min_value=0, allow_nan=False, allow_infinity=False)
POSITIVE = st.integers(min_value=1) | st.floats(min_value=0, exclude_min=True, allow_nan=False, allow_infinity=False)
COLOR = st.sampled_from(COLORS)
METRIC = st.fixed_dictionaries(
    {"label": SOME, "value": AMOUNTS | SOME.filter(lambda text: len(text) <= 64)},
    optional={"unit": TEXTS | st.just("%"), "color": COLOR},
)
COMMON = {
    "subtitle": TEXTS,
    "color": COLOR,
    "icon": st.fixed_dictionaries({"symbol": SOME | st.sampled_from(sorted(SYMBOLS))}, optional={"color": COLOR}),
    "badge": st.fixed_dictionaries({"title": SOME}, optional={"color": COLOR}),
    "number_of_steps": st.integers(min_value=1),
    "current_step": st.integers(min_value=0, max_value=60),
    "step_color": COLOR,
    "step_colors": st.lists(COLOR),
    "percentage": st.floats(0, 100) | st.integers(0, 100),
    "upper_limit": POSITIVE,
    "metrics": st.lists(METRIC, min_size=1, max_size=8),
    "duration_seconds": POSITIVE,
    "counts_down": st.booleans(),
    "is_running": st.booleans(),
}
BUTTON = st.none() | st.fixed_dictionaries({"title": TEXTS})
CONTENTS = st.one_of(
    *(
        st.fixed_dictionaries(
            {
                "content_state": st.fixed_dictionaries(
                    {
                        "title": TEXTS,
                        "type": st.just(kind),
                        "message": SOME,
                        "value": NUMBERS | TEXTS if kind == "value" else NUMBERS,
                    },
                    optional=COMMON,
                ),
                "action": BUTTON,
                "secondary_action": BUTTON,
            }
        )
        for kind in TYPES
    )
)


@settings(deadline=None)
@given(CONTENTS, st.floats(0, 1e9), st.none() | st.floats(0, 1e10))
def test_whatever_a_state_holds_its_card_is_well_formed(
    content: dict[str, Any], elapsed: float, started_at: float | None
) -> None:
    written = draw(content, Clock(elapsed, started_at), standalone=True)
    assert_within(ET.fromstring(written))
    assert not re.search(r' (x|y|width|height|rx|data-\w+)="-?(nan|inf|-)', written)
    assert describe(content)
