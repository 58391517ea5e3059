"""What all of our callbacks have in common: rendered names and options, shared time, and a log that cannot fail."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from activitysmith_integrations.airflow import needs_airflow, templates
from activitysmith_integrations.airflow.arguments import given, plain
from activitysmith_integrations.airflow.callback_budget import (
    LEAST_SECONDS,
    MAX_SECONDS_IN_TASK,
    TOO_SHORT_TO_TRY,
    CallbackBudget,
)
from activitysmith_integrations.core.errors import error_text
from activitysmith_integrations.core.retry import DEFAULT_PATIENCE, seconds_for_calls

with needs_airflow():
    from airflow.sdk.bases.notifier import BaseNotifier

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

    from activitysmith_integrations.airflow.run import Run

NO_TIME = "earlier callbacks in this process took the time that Airflow leaves them; is the service down?"

OTHER_PARAMETERS = ("stream_key", "activitysmith_conn_id", "patience")
"""What a notifier takes beside what it shows; a misspelt option may mean one of them."""

budget = CallbackBudget()
"""The time of the callbacks of this process."""

task_budget = CallbackBudget(seconds=MAX_SECONDS_IN_TASK, parts=2)
"""The time of a task's own callbacks, where this is the process of a task."""


@dataclass(frozen=True)
class Target:
    """Where a callback's calls go.

    Args:
        stream_key: The stream.
        conn_id: The connection.
    """

    stream_key: str
    conn_id: str


@dataclass(frozen=True)
class Allowance:
    """The time that one callback may take.

    Args:
        began: When it began, on ``time.monotonic()``'s clock.
        seconds: What its calls may take.
    """

    began: float
    seconds: float

    @property
    def is_too_short(self) -> bool:
        """Whether earlier callbacks left nothing worth a request."""
        return self.seconds < TOO_SHORT_TO_TRY

    @property
    def deadline(self) -> float:
        """The moment until which calls may go on; a little is left however long Airflow took to say what is asked."""
        return max(self.began + self.seconds, time.monotonic() + min(self.seconds, LEAST_SECONDS))


class Callback(BaseNotifier):
    """A callback that never raises, renders nothing in place and keeps its options to itself.

    BaseNotifier renders in place and writes into the context, so that of two runs in one process the second would end
    the first one's stream (seen in Airflow 3.3.2). Both of its entrances therefore lead past that.

    Args:
        stream_key: The stream; the run's own where None. Templated.
        activitysmith_conn_id: The connection. Templated.
        options: The other arguments of the user. Templated.
        context: Airflow's own, for asynchronous callbacks.
    """

    template_fields = ("stream_key", "activitysmith_conn_id", "options")

    ends_stream: ClassVar[bool] = False
    """Whether it ends a stream, where something is over."""

    reports_progress: ClassVar[bool] = False
    """Whether it shows how far the run is."""

    def __init__(
        self,
        stream_key: str | None,
        activitysmith_conn_id: str,
        options: Mapping[str, Any],
        context: Context | None = None,
    ) -> None:
        self.stream_key = plain(stream_key, ("stream_key",))
        self.activitysmith_conn_id = plain(activitysmith_conn_id, ("activitysmith_conn_id",))
        self.options = given(options)
        templates.check_conn_id(activitysmith_conn_id)
        super().__init__(context=context)

    def __call__(self, *args: Any) -> None:
        """How Airflow calls a callback."""
        self.notify(args[0])

    def __await__(self) -> Generator[Any, None, None]:
        return self.async_notify(self.context).__await__()


def target_of(callback: Callback, run: Run) -> Target:
    """The stream and the connection of a callback, rendered.

    Args:
        callback: The callback.
        run: The run that it is about.

    Raises:
        InvalidRequestError: The key cannot be told, or the service would refuse it.
    """
    from activitysmith_integrations.core.keys import check_stream_key

    text = _rendering(callback, run).text
    conn_id = templates.render_name("activitysmith_conn_id", callback.activitysmith_conn_id, run.context, text)
    written = callback.stream_key
    key = run.stream_key if written is None else _rendered_key(callback, written, run, text)
    return Target(check_stream_key(key), conn_id)


def _rendered_key(callback: Callback, written: str, run: Run, environment: jinja2.Environment) -> str:
    if templates.is_template(written) and (callback.reports_progress or not run.is_of_task):
        from activitysmith_integrations.airflow.run_memory import RunMemory

        # A template may name the present time or the task, and where no task ran Airflow gives a DAG's callback nothing
        # but the DAG, the run's id and the reason. Once the first task is tried again, its XComs are gone.
        known = RunMemory(run).key(written)
        if known is not None:
            return known
    try:
        return templates.render_name("stream_key", written, run.context, environment)
    except Exception as error:
        if run.is_of_task or run.result == "succeeded":
            raise
        # No task could tell the key either, such as one made of ds in a run without a logical date.
        text = f"{stream_in_words(callback)} has no key in this run, so its failure is shown in a stream of its own"
        say(callback, (logging.WARNING, f"{text}: {error_text(error)}"))
        return run.stream_key


def rendered_options(callback: Callback, run: Run) -> dict[str, Any]:
    """The options of a callback, rendered.

    Args:
        callback: The callback.
        run: The run that it is about.
    """
    how = _rendering(callback, run)
    rendered = {name: templates.render(value, (name,), run.context, how) for name, value in callback.options.items()}
    return dict(templates.typed(rendered))


def options_to_show(callback: Callback, run: Run) -> dict[str, Any]:
    """The options of a callback, rendered; none, and a line in the log, where one of them cannot be.

    Args:
        callback: The callback.
        run: The run that it is about.
    """
    try:
        return rendered_options(callback, run)
    except Exception as error:
        say(callback, (logging.WARNING, f"The default picture is shown instead: {error_text(error)}"))
        return {}


def _rendering(callback: Callback, run: Run) -> templates.Rendering:
    return templates.rendering(run.dag, lambda: callback.get_template_env(dag=None))


def say(callback: Callback, line: tuple[int, str]) -> None:
    """Log a line; a log that is gone, such as that of a dag-processor that died, stops nothing.

    Args:
        callback: The callback that says it.
        line: Its level and its text.
    """
    level, text = line
    with suppress(Exception):
        callback.log.log(level, "%s", text)


def say_unknown_failure(callback: Callback, error: Exception) -> None:
    """Log that a state was not sent, where it may be the stream's key that is not known.

    Args:
        callback: The callback that says it.
        error: What went wrong.
    """
    text = f"{stream_in_words(callback)} was not updated; the work goes on: {error_text(error)}"
    say(callback, (logging.WARNING, text))


def stream_in_words(callback: Callback) -> str:
    """The stream of a callback as it is written, for messages where what it renders to is not known."""
    which = "of the run" if callback.stream_key is None else repr(callback.stream_key)
    return f"Live Activity stream {which}"


@contextmanager
def allowance(context: Mapping[str, Any], patience: float = DEFAULT_PATIENCE) -> Iterator[Allowance]:
    """The time of one callback, which is counted when it is over.

    Args:
        context: Airflow's context.
        patience: Seconds that its user allows.
    """
    began = time.monotonic()
    shared = (budget, task_budget) if _is_of_task_process(context) else (budget,)
    try:
        yield Allowance(began, min(one.share(began, patience) for one in shared))
    finally:
        for one in shared:
            one.spend(began, time.monotonic())


def _is_of_task_process(context: Mapping[str, Any]) -> bool:
    """Whether a callback runs in its task's process; that of a killed task runs in the dag-processor, without state."""
    if "reason" in context or "deadline" in context:
        return False
    return getattr(context.get("task_instance"), "state", None) is not None


def allowance_of_its_own(patience: float) -> Allowance:
    """The time of a callback in the triggerer: Airflow kills nothing there, and callbacks run side by side.

    Args:
        patience: Seconds that its user allows.
    """
    return Allowance(time.monotonic(), seconds_for_calls(patience))
