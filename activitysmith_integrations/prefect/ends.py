"""What this process has ended of each run: a failure is shown once, by whichever of its hooks and tasks comes first."""

from __future__ import annotations

import threading
from uuid import UUID

from activitysmith_integrations.core import forks
from activitysmith_integrations.core.runs.outcome import Result

# A process may have more runs than anybody counts. An end is asked about soon or never.
_MOST = 1000


class _Ends:
    """The results that streams were ended with, by run and stream."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start with none, as a forked child does."""
        self.results: dict[tuple[UUID, str], list[Result]] = {}
        self.lock = threading.Lock()


_ends = _Ends()
forks.in_child(_ends.forget)


def is_news(run_id: UUID | None, stream_key: str, result: Result, *, is_first_of_run: bool) -> bool:
    """Whether a stream that has ended does not show yet how a run went; from now on it is taken to.

    Args:
        run_id: The run's id, None outside of a run.
        stream_key: The stream.
        result: The result that is about to be shown.
        is_first_of_run: Whether it must have been another run that ended the stream, as far as this process's hooks and
            tasks have not: nothing was shown of this one, or the key is the user's own.
    """
    if run_id is None:
        return is_first_of_run
    with _ends.lock:
        results = _ends.results.setdefault((run_id, stream_key), [])
        before = results[-1] if results else None
        results.append(result)
        if len(_ends.results) > _MOST:
            del _ends.results[next(iter(_ends.results))]  # the oldest
    return before == "succeeded" or (before is None and is_first_of_run)


def take_back(run_id: UUID | None, stream_key: str) -> None:
    """Forget the last end of a stream, which did not arrive.

    Args:
        run_id: The run's id, None outside of a run.
        stream_key: The stream.
    """
    if run_id is None:
        return
    with _ends.lock:
        results = _ends.results.get((run_id, stream_key), [])
        if results:
            results.pop()
        if not results:
            _ends.results.pop((run_id, stream_key), None)
