"""What this process has ended of late: whoever ends a stream later can tell whether a failure is shown already."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from activitysmith_integrations.core import forks
from activitysmith_integrations.core.runs.outcome import FAILURES, Result

# A process may end more streams than anybody counts. An end is asked about soon or never.
_MOST = 1000


@dataclass(frozen=True, eq=False)
class Ended:
    """One end of a stream.

    Args:
        stream_key: The stream.
        result: What it was ended with.
        run_id: The engine's run that it was the end of, however the engine's package tells runs apart; None where
            that is not known, as of a block of code.
        parent_id: What the engine's run is a part of, None where it is a part of nothing.
        error: The class and the message of what went wrong.
        at: When.
    """

    stream_key: str
    result: Result
    run_id: UUID | str | None = None
    parent_id: UUID | None = None
    error: tuple[str | None, str | None] = (None, None)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def is_failure(self) -> bool:
        """Whether it showed a failure, a crash or a timeout."""
        return self.result in FAILURES


class _Memory:
    """The latest ends, oldest first."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start with none, as a forked child does."""
        self.ends = deque[Ended](maxlen=_MOST)
        self.lock = threading.Lock()


_memory = _Memory()
forks.in_child(_memory.forget)


def remember(ended: Ended) -> list[Ended]:
    """Remember an end; ask before it is sent, so that of two at once one is the first.

    Args:
        ended: The end.

    Returns:
        The earlier ends of its stream, oldest first.
    """
    with _memory.lock:
        before = [other for other in _memory.ends if other.stream_key == ended.stream_key]
        _memory.ends.append(ended)
    return before


def take_back(ended: Ended) -> None:
    """Forget an end, which did not arrive.

    Args:
        ended: What was remembered.
    """
    with _memory.lock:
        if ended in _memory.ends:
            _memory.ends.remove(ended)
