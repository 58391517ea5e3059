"""A block of code that shows itself: what the sync and the async one decide alike."""

import asyncio
import logging
import numbers
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Generic, SupportsIndex, TypeVar

from activitysmith_integrations.core.client import ActivitySmithClient, AsyncActivitySmithClient
from activitysmith_integrations.core.counts import whole_number
from activitysmith_integrations.core.errors import (
    ConfigurationError,
    InvalidRequestError,
    error_text,
    message_of,
    on_one_line,
    quoted,
)
from activitysmith_integrations.core.keys import check_stream_key, plain_string
from activitysmith_integrations.core.retry import check_patience, seconds_for_calls
from activitysmith_integrations.core.runs.ending import End, EndResult, build_end_or_default
from activitysmith_integrations.core.runs.outcome import EndOptions, Result, RunOutcome
from activitysmith_integrations.core.runs.picture import check_end_options, open_run, running_labels, shown_title
from activitysmith_integrations.core.runs.progress import Progress
from activitysmith_integrations.core.runs.recent_ends import Ended, remember
from activitysmith_integrations.core.runs.sender import AsyncUpdateSender, UpdateSender
from activitysmith_integrations.core.runs.termination import TerminatedError
from activitysmith_integrations.core.suggest import closest

_log = logging.getLogger("activitysmith_integrations.core.live")

_PARAMETERS = ("stream_key", "steps", "url", "client", "patience")
_MAX_WARNINGS = 100
_LEAST_SECONDS = 2.0
_SYNONYMS = {
    "total": "steps",
    "name": "title",
    "key": "stream_key",
    "credentials": "client",
    "api_key": "client",
    "base_url": "client",
}

# Somebody wanted the work to stop. Anything else is a failure, such as a timeout of Airflow's, which is no Exception.
_CANCELLATIONS = (KeyboardInterrupt, asyncio.CancelledError, GeneratorExit, TerminatedError)
# What an engine stops a run's code with, by its package and its name, since no engine is imported here. It is no
# failure (Prefect 3.9, Airflow 3.3): the run is suspended, deferred or rescheduled, or is over elsewhere.
_GOES_ON_LATER = frozenset(
    {("prefect", "Pause"), ("airflow", "TaskDeferred"), ("airflow", "AirflowRescheduleException")}
)
# Prefect's (a SIGTERM is an ExternalSignal), that of a task of Airflow's which skips itself, and those of command lines
# made with click and typer: a Ctrl-C at a prompt.
_STOPPED_ELSEWHERE = frozenset(
    {
        ("prefect", "PrefectSignal"),
        ("prefect", "ExternalSignal"),
        ("airflow", "AirflowSkipException"),
        ("click", "Abort"),
        ("typer", "Abort"),
    }
)
# Their sys.exit(), by which they leave a command (click 8, typer 0).
_EXITS = frozenset({("click", "Exit"), ("typer", "Exit")})

SenderT = TypeVar("SenderT", UpdateSender, AsyncUpdateSender)
ClientT = TypeVar("ClientT", ActivitySmithClient, AsyncActivitySmithClient)


class Block(Generic[ClientT, SenderT]):
    """What ``LiveActivity`` and ``AsyncLiveActivity`` decide alike.

    Args:
        stream_key: The stream.
        steps: The names of the steps, their number, or None where neither is known.
        url: The run's page.
        client: The user's own client.
        patience: Seconds that the end may take.
        options: How it looks, and its end.
        client_kind: The class of clients.
        make_sender: Makes what sends how far the block is.

    Raises:
        InvalidRequestError: The key, the steps, the URL or an option cannot be used.
        ConfigurationError: The client or the patience cannot be used.
    """

    def __init__(
        self,
        stream_key: str,
        steps: Sequence[str] | SupportsIndex | None,
        url: str | None,
        client: ClientT | None,
        patience: float,
        options: EndOptions,
        client_kind: type[ClientT],
        make_sender: Callable[..., SenderT],
    ) -> None:
        self._key = check_stream_key(stream_key)
        check_end_options(options, other=_PARAMETERS, synonyms=_SYNONYMS)
        self._options = options
        self._seconds = seconds_for_calls(check_patience(patience))
        open_run(url)
        self._outcome = RunOutcome(self._key, "succeeded", url=url)
        self._start = Progress.begin(shown_title(self._outcome, options), steps)
        if client is not None and not isinstance(client, client_kind):
            rule = f"must be an {client_kind.__name__}, not {type(client).__name__}"
            raise ConfigurationError(("client", rule))
        self._client: ClientT | None = client
        self._is_own_client = client is None
        self._client_kind: type[ClientT] = client_kind
        self._make_sender: Callable[..., SenderT] = make_sender
        self._sender: SenderT | None = None
        self._process: int | None = None
        self._names = frozenset(self._start.steps)
        self._warned = set[tuple[str, str]]()

    @property
    def stream_key(self) -> str:
        """The stream."""
        return self._key

    def _record_step(self, step: str | None) -> None:
        """Show that a step began, or without a name that the one being worked on is done."""
        if step is None:
            self._change(lambda progress: progress.advanced(None))
            return
        try:
            name = _text_of(step)
        except Exception as error:  # whatever an object of the user's own does
            fault = error_text(error)
            self._warn_once(("step", fault), lambda: f"advance() was called with a step that has no name: {fault}")
            return
        if isinstance(step, numbers.Number):
            self._warn_once(
                ("step", type(step).__name__),
                lambda: f"advance({quoted(step)}) shows {quoted(name)} as a step's name; update(...) takes a count",
            )
        elif self._names and name not in self._names:
            self._warn_once(
                ("step", name), lambda: f"{quoted(name)} is not among its steps and moves no bar; {self._hint(name)}"
            )
        self._change(lambda progress: progress.advanced(name))

    def _record_progress(self, done: SupportsIndex | None, subtitle: str | None) -> None:
        """Show how many steps are done, and another second line."""
        try:
            count = whole_number(done)
            if count is None and done is not None:
                raise TypeError
            text = None if subtitle is None else _text_of(subtitle)
        except Exception:
            self._warn_once(
                ("update", type(done).__name__),
                lambda: (
                    f"update(done={quoted(done)}, subtitle={quoted(subtitle)}) was passed over: "
                    "done is a whole number of steps, and subtitle a text"
                ),
            )
            return
        self._change(lambda progress: progress.updated(count, text))

    def _change(self, change: Callable[[Progress], Progress]) -> None:
        if self._process is None:
            self._start = change(self._start)
        elif self._belongs_to_another_process():
            text = "advance() and update() show nothing in this process; call them in the one that entered the block"
            self._warn_once(("process", ""), lambda: text)
        elif self._sender is not None:
            self._sender.update(change)

    def _hint(self, name: str) -> str:
        meant = closest(name, self._start.steps)
        return (
            f"did you mean {quoted(meant)}?" if meant else f"they are {on_one_line(', '.join(self._start.steps[:10]))}"
        )

    def _warn_once(self, kind: tuple[str, str], make_text: Callable[[], str]) -> None:
        """Log a wrong call, once a kind: progress is never worth a failed job."""
        if kind in self._warned or len(self._warned) >= _MAX_WARNINGS:
            return
        self._warned.add(kind)
        _log.warning("Live Activity stream %r: %s", self._key, make_text())

    def _use(self) -> None:
        """Count a use.

        Raises:
            InvalidRequestError: The instance was used before.
        """
        if self._process is not None:
            raise InvalidRequestError((type(self).__name__, "was used already; make another one for another block"))
        self._process = os.getpid()
        self._outcome = replace(self._outcome, started_at=datetime.now(UTC))

    def _prepare(self) -> SenderT | None:
        """What is to send how far the block is; None where there is no API key to send with."""
        try:
            self._client = self._client or self._client_kind()
        except ConfigurationError as error:
            _log.error("Live Activity stream %r is not shown; the work goes on: %s", self._key, error)
            return None
        labels = running_labels(self._outcome, self._options)
        self._sender = self._make_sender(self._key, self._start, self._client, labels=labels)
        return self._sender

    def _is_left_running(self, error: BaseException | None) -> bool:
        """Whether the stream is not ended, since the engine goes on with the work later."""
        if not _is_among(_GOES_ON_LATER, error):
            return False
        _log.info("Live Activity stream %r goes on: %s is no end of a run.", self._key, type(error).__name__)
        return True

    def _end_of(self, progress: Progress, error: BaseException | None) -> End:
        """How the stream is to end, by what the block was left with."""
        error = _only_one_of(error)
        run = replace(self._outcome, result=_result(error), ended_at=datetime.now(UTC), steps_total=progress.total)
        if run.result == "succeeded":
            run = replace(run, steps_done=progress.total)
        else:
            run = replace(
                run,
                steps_done=None if progress.total is None else progress.done,
                failed_step=progress.step,
                error_type=type(error).__name__,
                error_text=message_of(error) if error is not None else None,
            )
        return build_end_or_default(run, self._options)

    def _remember(self, end: End, result: EndResult) -> None:
        """Let an engine's hooks know what the stream shows: they may end it too."""
        if result.is_shown:
            remember(Ended(self._key, end.result))

    def _deadline(self, left_at: float) -> float:
        """When the end is given up, by when the block was left; the wait for an update on its way counts."""
        return max(left_at + self._seconds, time.monotonic() + _LEAST_SECONDS)

    def _belongs_to_another_process(self) -> bool:
        """Whether this is a forked child's copy: the stream is its parent's."""
        return self._process != os.getpid()


def _result(error: BaseException | None) -> Result:
    if error is None or (isinstance(error, SystemExit) and not error.code):
        return "succeeded"
    if _is_among(_EXITS, error) and not getattr(error, "exit_code", None):
        return "succeeded"
    is_cancelled = isinstance(error, _CANCELLATIONS) or _is_among(_STOPPED_ELSEWHERE, error)
    return "cancelled" if is_cancelled else "failed"


def _only_one_of(error: BaseException | None) -> BaseException | None:
    """What an exception group is about, such as that of asyncio's TaskGroup, if it holds but one exception."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _is_among(classes: frozenset[tuple[str, str]], error: BaseException | None) -> bool:
    """Whether an error is of one of these classes, given by package and name."""
    return any((kind.__module__.partition(".")[0], kind.__name__) in classes for kind in type(error).__mro__)


def _text_of(value: object) -> str:
    """The characters of a string, which one of a subclass may format as something else; others as they print."""
    return plain_string(value) if isinstance(value, str) else str(value)
