"""The streams that are remembered."""

from datetime import UTC, datetime
from typing import Any

from activitysmith_integrations.sandbox.models import Stream
from activitysmith_integrations.sandbox.stream_store import StreamStore

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def stream(key: str, *, live: bool = True, **members: Any) -> Stream:
    state = {"title": key, "type": "progress"}
    return Stream(key, "1", state, NOON, NOON, None if live else NOON, payload={"content_state": state}, **members)


def keys(store: StreamStore) -> list[str]:
    return [stream.key for stream in store]


def test_streams_are_kept_by_key_longest_unchanged_first() -> None:
    store = StreamStore(max_streams=10, max_bytes=10_000)
    for key in "abca":
        store.put(stream(key))
    assert keys(store) == ["b", "c", "a"]
    assert store.get("c") == stream("c")
    assert store.get("d") is None


def test_ended_streams_are_forgotten_before_live_ones() -> None:
    store = StreamStore(max_streams=3, max_bytes=10_000)
    for key, live in (("a", True), ("b", False), ("c", False), ("d", True), ("e", True), ("f", True)):
        store.put(stream(key, live=live))
    assert (keys(store), store.live_count) == (["d", "e", "f"], 3)


def test_live_streams_are_counted_through_every_change() -> None:
    store = StreamStore(max_streams=3, max_bytes=10_000)
    for live, count in ((True, 1), (True, 1), (False, 0), (False, 0), (True, 1)):
        store.put(stream("a", live=live))
        assert store.live_count == count
    store.clear()
    assert (store.live_count, keys(store)) == (0, [])


def test_large_streams_are_forgotten_earlier_and_the_latest_never() -> None:
    store = StreamStore(max_streams=100, max_bytes=1000)
    for number in range(100):
        store.put(stream(f"s{number}", metadata={"note": "x" * 200}))
    assert keys(store) == ["s97", "s98", "s99"]
    store.put(stream("large", tags=["x" * 64] * 100))
    assert keys(store) == ["large"]
