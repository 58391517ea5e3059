"""What a request changed, in the page's log."""

from datetime import UTC, datetime
from typing import Any

import pytest

from activitysmith_integrations.sandbox.changes import changes
from activitysmith_integrations.sandbox.models import Stream

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
BUTTON = {"title": "Open", "type": "open_url", "url": "https://example.com"}


def stream(activity: str = "1", *, ended: bool = False, action: dict[str, Any] | None = None, **state: Any) -> Stream:
    shown = {"title": "Load", "type": "progress", **state}
    return Stream("etl", activity, shown, NOON, NOON, ended_at=NOON if ended else None, action=action)


def bar(done: int, **state: Any) -> Stream:
    return stream(type="segmented_progress", number_of_steps=5, current_step=done, **state)


def test_a_new_activity_is_what_it_shows() -> None:
    assert changes(None, stream(percentage=4)) == ["a progress bar: Load, 4 %"]
    assert changes(stream(ended=True), bar(1)) == ["a bar of steps: Load, 1 of 5"]


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (stream(percentage=40), stream(percentage=60), ["40 % → 60 %"]),
        (stream(), stream(percentage=60), ["60 %"]),
        (bar(1), bar(2, subtitle="transform"), ["second line “transform”", "1 of 5 → 2 of 5"]),
        (bar(1, subtitle="s"), bar(1), ["no second line"]),
        (bar(1), bar(1, title="Orders"), ["title “Orders”"]),
        (bar(1), bar(1, step_color="red"), ["steps in other colors"]),
        (stream(), stream(color="red"), ["now red"]),
        (stream(color="red"), stream(), ["now in the default color"]),
        (stream(), stream(badge={"title": "Slow"}), ["badge “Slow”"]),
        (stream(icon={"symbol": "bolt"}), stream(icon={"symbol": "clock"}), ["icon “clock”"]),
        (stream(icon={"symbol": "bolt"}), stream(), ["no icon"]),
        (stream(), stream(action=BUTTON), ["button “Open”"]),
        (stream(action=BUTTON), stream(), ["no button"]),
        (stream(type="value", value=3), stream(type="value", value="four"), ["3 → four"]),
        (stream(type="alert", message="a"), stream(type="alert", message="b"), ["b"]),
        (stream(type="timer"), stream(type="timer", is_running=False), ["paused"]),
        (stream(type="timer", is_running=False), stream(type="timer"), ["runs on"]),
        (stream(type="timer"), stream(type="timer", duration_seconds=90), ["now timer 1:30"]),
        (
            stream(type="metrics", metrics=[{"label": "a", "value": 1}, {"label": "b", "value": 1, "unit": "GB"}]),
            stream(type="metrics", metrics=[{"label": "a", "value": 2}, {"label": "c", "value": "3"}]),
            ["a 1 → 2", "c 3", "b is gone"],
        ),
    ],
)
def test_a_change_is_said_in_the_words_of_who_looks_at_it(before: Stream, after: Stream, said: list[str]) -> None:
    assert changes(before, after) == said


def test_an_end_as_an_alert_says_so() -> None:
    end = stream(type="alert", message="load failed", badge={"title": "Failed"}, color="red", auto_dismiss_minutes=240)
    assert changes(bar(2), end) == ["now an alert: load failed", "badge “Failed”", "now red", "stays for 240 minutes"]
    assert changes(bar(2), bar(2, auto_dismiss_seconds=1)) == ["stays for 1 second"]


def test_many_changes_are_counted_and_long_ones_cut() -> None:
    metrics = [{"label": f"figure {number}", "value": number} for number in range(8)]
    found = changes(stream(type="stats", metrics=metrics[:1]), stream(title="x" * 1000, type="stats", metrics=metrics))
    assert (len(found), found[-1]) == (7, "and 2 more")
    assert found[0] == f"title “{'x' * 59}…”"


def test_what_stayed_as_it_was_is_not_mentioned() -> None:
    same = stream()
    assert changes(same, same) == changes(None, None) == changes(stream(), stream()) == []
