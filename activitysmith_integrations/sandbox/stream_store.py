"""The streams that the sandbox remembers: the latest ones, bounded in number and size."""

import json
from collections import OrderedDict
from collections.abc import Iterator

from activitysmith_integrations.sandbox.models import Stream


class StreamStore:
    """Streams by key. Where there are too many, ended ones are forgotten first, and of these the longest unchanged.

    Args:
        max_streams: How many are kept.
        max_bytes: How large they may be together, as JSON.
    """

    def __init__(self, max_streams: int, max_bytes: int) -> None:
        self._max_streams, self._max_bytes = max_streams, max_bytes
        # Longest unchanged first, and each with its size.
        self._streams: OrderedDict[str, tuple[Stream, int]] = OrderedDict()
        self._ended: OrderedDict[str, None] = OrderedDict()
        self._bytes = 0

    def __iter__(self) -> Iterator[Stream]:
        """The streams, longest unchanged first."""
        return (stream for stream, _ in self._streams.values())

    @property
    def live_count(self) -> int:
        """How many have not ended."""
        return len(self._streams) - len(self._ended)

    def get(self, key: str) -> Stream | None:
        """The stream of a key; None where there is none."""
        found = self._streams.get(key)
        return found[0] if found else None

    def put(self, stream: Stream) -> None:
        """Keep a stream in place of the one of the same key."""
        self._remove(stream.key)
        size = len(json.dumps([stream.payload, stream.tags, stream.metadata]))
        self._streams[stream.key] = stream, size
        if not stream.live:
            self._ended[stream.key] = None
        self._bytes += size
        while len(self._streams) > self._max_streams or (self._bytes > self._max_bytes and len(self._streams) > 1):
            self._remove(next(iter(self._ended or self._streams)))

    def clear(self) -> None:
        """Forget all streams."""
        self._streams.clear()
        self._ended.clear()
        self._bytes = 0

    def _remove(self, key: str) -> None:
        if key in self._streams:
            _, size = self._streams.pop(key)
            self._bytes -= size
            self._ended.pop(key, None)
