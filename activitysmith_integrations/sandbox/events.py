"""Who looks at the page, and what each of them has still to be told.

A viewer is told of streams, not of changes: whatever happened to a stream since it was last told, it is told once, as
it is by then. So what waits for a viewer that is slow never grows beyond the number of streams, and where nobody
looks nothing waits.
"""

import asyncio
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

LINES = 200
"""How many lines of the request log a viewer is told at most."""
_STREAMS_AT_ONCE = 50


class RequestLog:
    """The latest requests, each with a number of its own.

    Args:
        most: How many are kept.
    """

    def __init__(self, most: int) -> None:
        self._entries: deque[tuple[dict[str, Any], dict[str, Any]]] = deque(maxlen=most)
        self._count = 0

    def add(self, request: dict[str, Any], line: dict[str, Any]) -> dict[str, Any]:
        """Remember a request.

        Args:
            request: All that is known of it.
            line: What the page's log says of it.

        Returns:
            The line with its number.
        """
        self._count += 1
        numbered = {"number": self._count, **line}
        self._entries.append((request, numbered))
        return numbered

    def find(self, number: int) -> dict[str, Any] | None:
        """A request by its number; None where it was forgotten or never was."""
        index = number - self._count + len(self._entries) - 1
        return self._entries[index][0] if 0 <= index < len(self._entries) else None

    def requests(self) -> list[dict[str, Any]]:
        """All that are kept, oldest first."""
        return [request for request, _ in self._entries]

    def lines(self) -> list[dict[str, Any]]:
        """What the page's log says, oldest first: as much of it as a viewer is told."""
        start = max(0, len(self._entries) - LINES)
        return [self._entries[index][1] for index in range(start, len(self._entries))]

    def clear(self) -> None:
        """Forget all; numbers go on."""
        self._entries.clear()


@dataclass(frozen=True)
class News:
    """What a viewer is told at once.

    Args:
        number: How much has happened in all.
        fresh: Whether what was told before is no longer so.
        keys: Streams to be shown as they are now.
        lines: New lines of the request log.
    """

    number: int
    fresh: bool
    keys: list[str]
    lines: list[dict[str, Any]]


@dataclass
class Viewer:
    """Somebody who looks, and what is still to be told."""

    keys: dict[str, None] = field(default_factory=dict)
    lines: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=LINES))
    fresh: bool = True
    waiting: asyncio.Event = field(default_factory=asyncio.Event)

    def start_over(self, keys: Iterable[str], lines: Iterable[dict[str, Any]]) -> None:
        """Tell everything anew."""
        self.keys = dict.fromkeys(keys)
        self.lines.clear()
        self.lines.extend(lines)
        self.fresh = True
        self.waiting.set()


class Feed:
    """Tells those who look."""

    def __init__(self) -> None:
        self._viewers: list[Viewer] = []
        self._number = 0

    def open(self, keys: Iterable[str], lines: Iterable[dict[str, Any]]) -> Viewer:
        """Somebody begins to look.

        Args:
            keys: The streams there are, the one to be told first in front.
            lines: What the log says so far.
        """
        viewer = Viewer()
        viewer.start_over(keys, lines)
        self._viewers.append(viewer)
        return viewer

    def close(self, viewer: Viewer) -> None:
        """Nobody looks there any more."""
        self._viewers.remove(viewer)

    def happened(self, line: dict[str, Any], changed: str | None) -> None:
        """A request was answered.

        Args:
            line: What the log says of it.
            changed: The key of the stream that is different now.
        """
        self._number += 1
        for viewer in self._viewers:
            viewer.lines.append(line)
            if changed is not None:
                viewer.keys[changed] = None
            viewer.waiting.set()

    def forgot(self) -> None:
        """All streams and requests were forgotten."""
        self._number += 1
        for viewer in self._viewers:
            viewer.start_over((), ())

    async def news(self, viewer: Viewer) -> News:
        """What there is to tell; waits until there is something."""
        await viewer.waiting.wait()
        keys = list(viewer.keys)[:_STREAMS_AT_ONCE]
        for key in keys:
            del viewer.keys[key]
        news = News(self._number, viewer.fresh, keys, list(viewer.lines))
        viewer.fresh = False
        viewer.lines.clear()
        if not viewer.keys:
            viewer.waiting.clear()
        return news
