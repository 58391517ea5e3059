"""What became of runs while something broke, from what reached the service and what the logs say. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

# The line names the stream, and says that something about it did not reach the service.
_SAID = re.compile(r"Live Activity stream '([\w-]+)'[^\n]*?\bnot (?:have been )?(?:shown|started|updated|ended)\b")


@dataclass(frozen=True)
class Run:
    """One run of a pipeline that is shown.

    Args:
        key: Its stream's key.
        failed: Whether the engine counts it as failed; None where it is not over.
    """

    key: str
    failed: bool | None


@dataclass(frozen=True)
class Verdict:
    """What became of the runs that are shown.

    Args:
        runs: How many there were.
        started: Runs of which a start or an update was accepted.
        right: Runs whose stream ended with the picture of their result.
        wrong: Keys of runs whose stream ended with another picture.
        live: Keys of runs that are over and whose stream was never ended.
        unseen: Keys of runs that failed, and of which the service knows nothing.
        said: How many of ``live`` and ``unseen`` a log line names.
        open: How many runs are not over.
    """

    runs: int
    started: int
    right: int
    wrong: list[str] = field(default_factory=list)
    live: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    said: int = 0
    open: int = 0


def verdict(runs: Iterable[Run], streams: Mapping[str, Mapping[str, Any]], log: str) -> Verdict:
    """Judge every run.

    Args:
        runs: The runs.
        streams: What the sandbox knows of each stream, by key.
        log: All that was logged.
    """
    runs = list(runs)
    over = [run for run in runs if run.failed is not None]
    known = [run for run in over if run.key in streams]
    ended = [run for run in known if not streams[run.key]["live"]]
    right = [run for run in ended if _is_failure(streams[run.key]) == run.failed]
    live = sorted(run.key for run in known if run not in ended)
    unseen = sorted(run.key for run in over if run.failed and run.key not in streams)
    named = set(_SAID.findall(log))
    return Verdict(
        runs=len(runs),
        started=sum(run.key in streams for run in runs),
        right=len(right),
        wrong=sorted({run.key for run in ended} - {run.key for run in right}),
        live=live,
        unseen=unseen,
        said=len(named.intersection([*live, *unseen])),
        open=len(runs) - len(over),
    )


def _is_failure(stream: Mapping[str, Any]) -> bool:
    return bool(stream["content_state"]["type"] == "alert")
