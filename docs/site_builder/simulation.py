"""What the account's limits leave of many pipelines: the package's rules against the sandbox's, on a clock of its own.

Each run has ten tasks of a minute. One in ten fails, in its last task. Nothing is left to
chance, so that every build gives the same numbers.
"""

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from activitysmith_integrations.core.errors import RateLimitError
from activitysmith_integrations.core.models.requests import StreamRequest
from activitysmith_integrations.core.models.responses import StreamResponse
from activitysmith_integrations.core.retry import DEFAULT_PATIENCE, seconds_for_calls
from activitysmith_integrations.core.runs.budget import UpdateHistory, is_due
from activitysmith_integrations.core.runs.progress import Progress, without_type
from activitysmith_integrations.sandbox.errors import RefusedError
from activitysmith_integrations.sandbox.streams import Account, Limits
from site_builder.members import table

TASKS, TASK_SECONDS, FAILS = 10, 60.0, 10
_START = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)


@dataclass
class _Run:
    """One run, and what its reader has seen of it."""

    key: str
    fails: bool
    is_watched: bool
    progress: Progress
    history: UpdateHistory = field(default_factory=UpdateHistory)
    was_shown: bool = False
    is_end_shown: bool = False


class _Service:
    """The sandbox's rules, on the simulation's clock."""

    def __init__(self) -> None:
        self.account = Account(lambda: "activity", Limits())
        self.sent = Counter[str]()

    def call(self, now: float, work: Callable[[datetime], object]) -> None:
        """Send a request.

        Raises:
            RefusedError: It was refused.
        """
        moment = _START + timedelta(seconds=now)
        self.sent["all"] += 1
        try:
            self.account.admit(moment)
            work(moment)
        except RefusedError as error:
            self.sent["refused"] += error.status == 429
            raise


def _simulate(runs: list[_Run], begins: list[float]) -> _Service:
    service, order = _Service(), itertools.count()
    agenda: list[tuple[float, int, _Run, Callable[[_Run, float], object]]] = []

    def at(seconds: float, run: _Run, what: Callable[[_Run, float], object]) -> None:
        heapq.heappush(agenda, (seconds, next(order), run, what))

    def report(run: _Run, now: float) -> None:
        if run.is_watched and is_due(run.progress, run.history, now):
            _send(service, run, now)

    def end(run: _Run, now: float) -> None:
        deadline = now + seconds_for_calls(DEFAULT_PATIENCE)
        _end(service, run, now, deadline, lambda later, again: at(later, run, again))

    def step(run: _Run, now: float) -> None:
        run.progress = run.progress.advanced(None)
        report(run, now)

    for run, begin in zip(runs, begins, strict=True):
        at(begin, run, report)
        for number in range(1, TASKS):
            at(begin + number * TASK_SECONDS, run, step)
        at(begin + TASKS * TASK_SECONDS, run, end)
    while agenda:
        now, _, run, what = heapq.heappop(agenda)
        what(run, now)
    return service


def _send(service: _Service, run: _Run, now: float) -> None:
    state = run.progress.state if run.history.shown is None else without_type(run.progress.state)
    request = StreamRequest(content_state=state)
    is_start = run.history.shown is None
    run.history = run.history.tried(run.progress, now)
    try:
        service.call(now, lambda moment: service.account.put(run.key, request, moment))
    except RefusedError as error:
        refused = RateLimitError(error.status, error.body, error.retry_after)
        run.history = run.history.failed(refused, now)
        return
    operation = "started" if is_start else "updated"
    answer = StreamResponse(success=True, operation=operation, stream_key=run.key, timestamp=_START)
    run.history = run.history.delivered(run.progress, answer, now)
    run.was_shown = run.was_shown or is_start


def _end(
    service: _Service,
    run: _Run,
    now: float,
    deadline: float,
    again: Callable[[float, Callable[[_Run, float], object]], None],
) -> None:
    """End a run's stream: a success that was never shown sends nothing, a failure is started if need be."""
    if not run.was_shown and not run.fails:
        return
    start = StreamRequest(content_state={"type": "alert", "title": run.key, "message": "failed"})
    try:
        for work in _requests_of_end(service, run, start):
            service.call(now, work)
    except RefusedError as error:
        if error.retry_after is not None and now + error.retry_after < deadline:
            again(now + error.retry_after, lambda run, later: _end(service, run, later, deadline, again))
        return
    run.is_end_shown = True


def _requests_of_end(service: _Service, run: _Run, start: StreamRequest) -> Iterator[Callable[[datetime], object]]:
    if service.account.find(run.key) is None:
        yield lambda moment: None  # the end that finds no stream
        yield lambda moment: service.account.put(run.key, start, moment)
    yield lambda moment: service.account.delete(run.key, None, moment)


def scale() -> str:
    """What becomes of ten, a hundred and a thousand runs, by tag and by when they begin."""
    rows = []
    for number in (10, 100, 1000):
        for spread, begin in (("at once", 0.0), ("one each half minute", 30.0)):
            for watched, tag in ((number, "all `activitysmith`"), (0, "all `activitysmith:failures`")):
                runs = [
                    _Run(f"run-{index}", index % FAILS == FAILS - 1, index < watched, Progress("run", total=TASKS))
                    for index in range(number)
                ]
                service = _simulate(runs, [begin * index for index in range(number)])
                failed = [run for run in runs if run.fails]
                shown = sum(run.was_shown for run in runs)
                seen = sum(run.is_end_shown for run in failed)
                refused = service.sent["refused"]
                rows.append(
                    (
                        f"{number:,}",
                        spread,
                        tag,
                        f"{shown:,}",
                        f"{seen} of {len(failed)}",
                        f"{refused:,} of {service.sent['all']:,}",
                    )
                )
    head = ("runs", "they begin", "tag", "appear", "failures seen", "requests refused")
    return table(head, rows)
