"""What the page's viewers are sent: which streams have changed, and the new lines of the log.

All viewers share one list of changes, in which a stream is once, however often it changed. Of a viewer only the number
of the last change that it was sent is kept. A viewer that is too slow for the list starts over with the latest changes.
So many or slow viewers cost no memory, and publishing a change costs the same without a viewer and with many.
"""

import asyncio
import math
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

MAX_STREAMS = 1000
"""How many streams a viewer is sent: those that changed last."""
MAX_LINES = 200
"""How many lines of the log a viewer is sent: the latest."""
_STREAMS_IN_AN_EVENT = 50
_MIN_INTERVAL_SECONDS = 0.1
_BYTES_PER_SECOND = 20_000_000
_OVERHEAD_BYTES = 10_000  # what sending an event costs however small it is


@dataclass(frozen=True)
class Event:
    """What a viewer is sent at once.

    Args:
        number: How many changes have been published in all.
        fresh: Whether what was sent before no longer counts.
        keys: Streams to be shown as they are now, latest change first.
        lines: New lines of the log as JSON, oldest first.
    """

    number: int
    fresh: bool
    keys: tuple[str, ...]
    lines: tuple[str, ...]


@dataclass
class Viewer:
    """One open page.

    Args:
        sent: The number of the last change that it was sent.
        remaining: Streams that did not fit into its last event.
    """

    sent: int = -1
    remaining: tuple[str, ...] = ()


class Feed:
    """Publishes changes to the viewers."""

    def __init__(self) -> None:
        self._number = 0
        # The number of each stream's latest change, oldest first, and of each line.
        self._changes: OrderedDict[str, int] = OrderedDict()
        self._lines: deque[tuple[int, str]] = deque(maxlen=MAX_LINES)
        # Later changes than this one are all in the list.
        self._complete_since = 0
        self._published = asyncio.Event()
        self.viewers = 0

    @contextmanager
    def viewer(self) -> Iterator[Viewer]:
        """A viewer for as long as the block goes on."""
        self.viewers += 1
        try:
            yield Viewer()
        finally:
            self.viewers -= 1

    def publish(self, line: str, changed: str | None) -> None:
        """Publish that a request was answered.

        Args:
            line: Its line in the log, as JSON.
            changed: The key of the stream that it changed.
        """
        self._number += 1
        self._lines.append((self._number, line))
        if changed is not None:
            self._changes[changed] = self._number
            self._changes.move_to_end(changed)
            if len(self._changes) > MAX_STREAMS:
                _, self._complete_since = self._changes.popitem(last=False)
        self._wake()

    def publish_reset(self) -> None:
        """Publish that all streams and requests were forgotten."""
        self._number += 1
        self._changes.clear()
        self._lines.clear()
        self._complete_since = self._number
        self._wake()

    def _wake(self) -> None:
        self._published.set()
        self._published = asyncio.Event()

    async def next_event(self, viewer: Viewer) -> Event:
        """The next event for a viewer; waits until there is something to send."""
        while viewer.sent == self._number and not viewer.remaining:
            await self._published.wait()
        fresh = viewer.sent < self._complete_since
        keys = list(self._changed_since(-1 if fresh else viewer.sent))
        if viewer.remaining and not fresh:
            keys = list(dict.fromkeys([*keys, *viewer.remaining]))
        lines = tuple(line for number, line in self._lines if fresh or number > viewer.sent)
        viewer.sent, viewer.remaining = self._number, tuple(keys[_STREAMS_IN_AN_EVENT:])
        return Event(self._number, fresh, tuple(keys[:_STREAMS_IN_AN_EVENT]), lines)

    def _changed_since(self, number: int) -> Iterator[str]:
        for key in reversed(self._changes):
            if self._changes[key] <= number:
                break
            yield key

    def interval(self, size: int) -> float:
        """Seconds until a viewer's next event, so that all viewers together get no more than 20 MB a second.

        A power of two times 0.1 s: viewers that wait for multiples of it are sent the same events.

        Args:
            size: Bytes of its last event.
        """
        needed = self.viewers * (size + _OVERHEAD_BYTES) / _BYTES_PER_SECOND / _MIN_INTERVAL_SECONDS
        return _MIN_INTERVAL_SECONDS * 2.0 ** math.ceil(math.log2(max(needed, 1)))
