"""The events that the page's viewers are sent."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from activitysmith_integrations.sandbox.events import MAX_LINES, MAX_STREAMS, Event, Feed, Viewer


def publish(feed: Feed, *changed: str | None) -> None:
    for number, key in enumerate(changed):
        feed.publish(f"line {number}", key)


async def pending(feed: Feed, viewer: Viewer) -> list[Event]:
    """The events that a viewer is sent without waiting."""
    events = []
    while True:
        try:
            async with asyncio.timeout(0):
                events.append(await feed.next_event(viewer))
        except TimeoutError:
            return events


def view(scene: Callable[[Feed, Viewer], Awaitable[None]]) -> None:
    async def run() -> None:
        feed = Feed()
        with feed.viewer() as viewer:
            await scene(feed, viewer)

    asyncio.run(run())


def test_a_viewer_is_first_sent_everything_latest_change_first() -> None:
    async def scene(feed: Feed, viewer: Viewer) -> None:
        publish(feed, "a", "b", None, "a")
        assert await pending(feed, viewer) == [
            Event(4, True, ("a", "b"), ("line 0", "line 1", "line 2", "line 3")),
        ]

    view(scene)


def test_a_viewer_of_an_empty_sandbox_is_sent_that_it_is_empty() -> None:
    async def scene(feed: Feed, viewer: Viewer) -> None:
        assert await pending(feed, viewer) == [Event(0, True, (), ())]

    view(scene)


def test_a_viewer_is_sent_a_change_at_once_and_then_nothing() -> None:
    async def scene(feed: Feed, viewer: Viewer) -> None:
        await feed.next_event(viewer)
        waiting = asyncio.create_task(feed.next_event(viewer))
        await asyncio.sleep(0)
        assert not waiting.done()
        publish(feed, "a")
        assert await waiting == Event(1, False, ("a",), ("line 0",))
        assert await pending(feed, viewer) == []

    view(scene)


def test_a_stream_that_changes_several_times_meanwhile_is_sent_once() -> None:
    async def scene(feed: Feed, viewer: Viewer) -> None:
        await pending(feed, viewer)
        publish(feed, *["a", "b"] * 1000)
        (event,) = await pending(feed, viewer)
        assert (event.fresh, event.keys) == (False, ("b", "a"))
        assert (len(event.lines), event.lines[-1]) == (MAX_LINES, "line 1999")

    view(scene)


def test_many_streams_are_sent_in_portions_each_once() -> None:
    async def scene(feed: Feed, viewer: Viewer) -> None:
        publish(feed, *(f"s{number}" for number in range(120)))
        first = await feed.next_event(viewer)
        publish(feed, "s0", "new")
        events = [first, *await pending(feed, viewer)]
        assert [event.fresh for event in events] == [True, False, False]
        assert [len(event.keys) for event in events] == [50, 50, 21]
        assert events[1].keys[:2] == ("new", "s0")
        sent = [key for event in events for key in event.keys]
        assert sorted(sent) == sorted([*(f"s{number}" for number in range(120)), "new"])
        assert [len(event.lines) for event in events] == [120, 2, 0]

    view(scene)


def test_a_request_that_changed_nothing_is_a_line_only() -> None:
    async def scene(feed: Feed, viewer: Viewer) -> None:
        await pending(feed, viewer)
        publish(feed, None)
        assert await pending(feed, viewer) == [Event(1, False, (), ("line 0",))]

    view(scene)


def test_after_a_reset_the_viewer_starts_over() -> None:
    async def scene(feed: Feed, viewer: Viewer) -> None:
        publish(feed, *(f"s{number}" for number in range(120)))
        await feed.next_event(viewer)
        feed.publish_reset()
        assert await pending(feed, viewer) == [Event(121, True, (), ())]

    view(scene)


@pytest.mark.parametrize("reads", [True, False])
def test_a_viewer_that_is_too_slow_starts_over_with_the_latest_changes(reads: bool) -> None:
    async def scene(feed: Feed, viewer: Viewer) -> None:
        await pending(feed, viewer)
        for number in range(10 * MAX_STREAMS):
            feed.publish("", f"s{number}")
            if reads and number % 40 == 0:
                assert not (await feed.next_event(viewer)).fresh
        events = await pending(feed, viewer)
        assert events[0].fresh is not reads
        assert events[0].keys[0] == f"s{10 * MAX_STREAMS - 1}"
        if not reads:
            assert sum(len(event.keys) for event in events) == MAX_STREAMS

    view(scene)


def test_viewers_at_the_same_place_are_sent_equal_events() -> None:
    async def scene(feed: Feed, viewer: Viewer) -> None:
        with feed.viewer() as other:
            for changed in (["a"], [f"s{number}" for number in range(5000)], ["b"]):
                publish(feed, *changed)
                assert await pending(feed, viewer) == await pending(feed, other)

    view(scene)


def test_events_of_many_viewers_come_less_often_where_they_are_large() -> None:
    feed = Feed()
    feed.viewers = 1
    assert feed.interval(300_000) == 0.1
    feed.viewers = 200
    assert feed.interval(1_000) == 0.2
    assert feed.interval(190_000) == 3.2


def test_viewers_are_counted_while_they_are_connected() -> None:
    feed = Feed()
    with feed.viewer(), feed.viewer():
        assert feed.viewers == 2
    assert feed.viewers == 0
