"""Who looks, and what each is told."""

import asyncio
from typing import Any

from activitysmith_integrations.sandbox.events import LINES, Feed, News, RequestLog


def line(number: int) -> dict[str, Any]:
    return {"number": number}


def told(*happenings: str | None, keys: list[str] | None = None) -> list[News]:
    """All that a viewer hears who begins to look before things happen and listens only after them."""

    async def look() -> list[News]:
        feed = Feed()
        viewer = feed.open(keys or [], [])
        for number, key in enumerate(happenings):
            feed.happened(line(number), key)
        news = [await feed.news(viewer)]
        while viewer.waiting.is_set():
            news.append(await feed.news(viewer))
        return news

    return asyncio.run(look())


def test_a_viewer_is_first_told_everything() -> None:
    (news,) = told(keys=["b", "a"])
    assert news == News(0, True, ["b", "a"], [])


def test_a_viewer_hears_at_once_of_what_changes_and_then_of_nothing() -> None:
    async def look() -> None:
        feed = Feed()
        viewer = feed.open(["a"], [])
        await feed.news(viewer)
        waiting = asyncio.create_task(feed.news(viewer))
        await asyncio.sleep(0)
        assert not waiting.done()
        feed.happened(line(1), "a")
        assert await waiting == News(1, False, ["a"], [line(1)])
        assert not viewer.waiting.is_set()

    asyncio.run(look())


def test_what_happens_to_a_stream_meanwhile_is_told_once() -> None:
    (news,) = told(*["a", "b"] * 1000, keys=["c"])
    assert news.keys == ["c", "a", "b"]
    assert (news.number, len(news.lines), news.lines[-1]) == (2000, LINES, line(1999))


def test_many_streams_are_told_in_portions_each_once() -> None:
    keys = [f"s{number}" for number in range(120)]
    news = told("s0", "new", keys=keys)
    assert [len(one.keys) for one in news] == [50, 50, 21]
    assert [key for one in news for key in one.keys] == [*keys, "new"]
    assert [one.fresh for one in news] == [True, False, False]
    assert [len(one.lines) for one in news] == [2, 0, 0]


def test_a_request_that_changed_nothing_is_a_line_only() -> None:
    (news,) = told(None)
    assert (news.keys, news.lines) == ([], [line(0)])


def test_when_all_is_forgotten_the_viewer_starts_over() -> None:
    async def look() -> News:
        feed = Feed()
        viewer = feed.open(["a"], [line(1)])
        await feed.news(viewer)
        feed.happened(line(2), "a")
        feed.forgot()
        return await feed.news(viewer)

    assert asyncio.run(look()) == News(2, True, [], [])


def test_nothing_is_kept_for_a_viewer_that_has_gone() -> None:
    feed = Feed()
    viewer = feed.open([], [])
    feed.close(viewer)
    feed.happened(line(1), "a")
    assert (viewer.keys, list(viewer.lines)) == ({}, [])


def test_requests_keep_their_numbers_when_older_ones_are_dropped() -> None:
    log = RequestLog(2)
    assert [log.add({"body": name}, {"key": name})["number"] for name in "abc"] == [1, 2, 3]
    assert [log.find(number) for number in range(5)] == [None, None, {"body": "b"}, {"body": "c"}, None]
    assert log.lines() == [{"number": 2, "key": "b"}, {"number": 3, "key": "c"}]
    log.clear()
    assert (log.find(3), log.requests(), log.add({}, {})["number"]) == (None, [], 4)


def test_a_viewer_is_told_of_the_latest_requests_only() -> None:
    log = RequestLog(10_000)
    for _ in range(LINES + 5):
        log.add({}, {})
    assert [one["number"] for one in log.lines()] == list(range(6, LINES + 6))
