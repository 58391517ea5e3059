"""What became of many runs' streams, from what reached the service and what the logs say. Pure."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

_NOT_ENDED = re.compile(r"Live Activity stream '([\w-]+)' (?:was not|may not have been) ended")
_TOOK = re.compile(r"The callback of ([\w-]+) took (\d+\.\d+) s")


@dataclass(frozen=True)
class Account:
    """What became of the runs of one part. A run's id is its stream's key.

    Args:
        runs: How many there were.
        delivered: Streams that the service ended for a run.
        said: Streams that were not, and of which a log line says so.
        lost: Streams of which neither is so.
        wrong: Requests about a stream that came from another one's run, as ``RUN -> STREAM``.
        again: Ends that were sent although the stream had ended: harmless, but a request each.
        refused: Requests that the service refused for their number.
        window: Seconds from the first run's first request to the last run's first request.
        seconds: Seconds from the first request to the last end.
        longest_callback: Seconds; None where none was measured.
    """

    runs: int
    delivered: int
    said: int
    lost: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    again: int = 0
    refused: int = 0
    window: float = 0.0
    seconds: float = 0.0
    longest_callback: float | None = None


def account(streams: Collection[str], requests: Iterable[Mapping[str, Any]], log: str) -> Account:
    """Account for every run.

    Args:
        streams: Their keys.
        requests: The requests that reached the sandbox, oldest first, as it shows them.
        log: All that was logged.
    """
    asked = [request for request in requests if request["method"] == "DELETE"]
    ended = Counter(request["stream_key"] for request in asked if request["status"] == 200)
    delivered = {stream for stream in streams if ended[stream]}
    said = set(_NOT_ENDED.findall(log)).intersection(streams) - delivered
    took = [float(seconds) for stream, seconds in _TOOK.findall(log) if stream in streams]
    first: dict[str, datetime] = {}
    for request in asked:
        first.setdefault(request["stream_key"], _time(request))
    ends = [_time(request) for request in asked if request["status"] == 200]
    began = list(first.values())[:1]
    return Account(
        runs=len(streams),
        delivered=len(delivered),
        said=len(said),
        lost=sorted(set(streams) - delivered - said),
        wrong=[
            f"{run} -> {request['stream_key']}"
            for request in asked
            if (run := _run(request)) != request["stream_key"] or run not in streams
        ],
        again=sum(ended.values()) - len(delivered),
        refused=sum(request["status"] == 429 for request in asked),
        window=_span(first.values()),
        seconds=_span([*began, *ends]),
        longest_callback=max(took, default=None),
    )


def floor(ends: int, per_minute: int) -> float:
    """The least seconds in which a limit lets so many requests through, the first of them at 0 s.

    Args:
        ends: How many.
        per_minute: How many the service lets through within any 60 seconds.
    """
    return max(ends - 1, 0) // per_minute * 60.0


def _run(request: Mapping[str, Any]) -> Any:
    return ((request["body"] or {}).get("metadata") or {}).get("run")


def _time(request: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(request["time"])


def _span(times: Iterable[datetime]) -> float:
    known = sorted(times)
    return (known[-1] - known[0]).total_seconds() if known else 0.0
