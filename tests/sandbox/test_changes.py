"""What the page's log says of a request."""

from datetime import UTC, datetime
from typing import Any

from activitysmith_integrations.sandbox.changes import what_changed
from activitysmith_integrations.sandbox.streams import Stream

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
BUTTON = {"title": "Open", "type": "open_url", "url": "https://example.com"}


def stream(activity: str = "1", action: dict[str, Any] | None = None, **state: Any) -> Stream:
    return Stream("etl", activity, {"title": "Load", "type": "progress", **state}, NOON, NOON, action=action)


def test_a_new_activity_is_said_to_be_what_it_is() -> None:
    assert what_changed(None, stream()) == ["progress: Load"]
    assert what_changed(stream("1"), stream("2", percentage=4)) == ["progress: Load"]


def test_changed_members_are_named_with_what_they_were_and_are() -> None:
    before = stream(percentage=40, badge={"title": "Slow", "color": "red"}, metrics=[{"label": "a", "value": 1}])
    after = stream(percentage=60, badge={"title": "Fast", "color": "red"}, metrics=[{"label": "a", "value": 2}])
    assert what_changed(before, after) == ["percentage 40 → 60", "badge.title Slow → Fast", "metrics.0.value 1 → 2"]


def test_members_come_and_go() -> None:
    assert what_changed(stream(subtitle="s"), stream(color="red")) == ["color red", "subtitle gone"]
    assert what_changed(stream(), stream(action=BUTTON))[0] == "action.title Open"


def test_many_changes_are_counted_and_long_ones_cut() -> None:
    said = what_changed(stream(), stream(message="x" * 1000, step_colors=["red"] * 20))
    assert len(said) == 7
    assert (len(said[0]), said[-1]) == (len("message ") + 60, "and 15 more")


def test_what_stayed_as_it_was_is_not_mentioned() -> None:
    same = stream()
    assert what_changed(same, same) == what_changed(None, None) == what_changed(stream(), stream()) == []
