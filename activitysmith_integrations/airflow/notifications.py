"""The notifier: ends a stream from a callback, never at the pipeline's expense."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, Unpack

from airflow.sdk.bases.notifier import BaseNotifier

from activitysmith_integrations import core
from activitysmith_integrations.airflow import context as contexts
from activitysmith_integrations.airflow import rendering
from activitysmith_integrations.airflow.hooks import ActivitySmithHook

if TYPE_CHECKING:
    from airflow.sdk import Context

_LEAST_SECONDS = 1.0
_TOO_SHORT_TO_TRY = 0.3


@dataclasses.dataclass
class _Batch:
    """The time of the callbacks that one process runs right after each other.

    Airflow hands the callbacks of many runs to one process, which it kills after 50 s (``[dag_processor]
    dag_file_processor_timeout``); what is left of them then is never heard of again (seen in Airflow 3.3.2). So
    each may take a part of what is left for all: where the service does not answer, the first ones wait as long
    as they may, and the last ones can still say that they ended nothing.

    Args:
        seconds: For all of them together.
        pause: Seconds without a callback after which the next one starts a new batch.
        spent: Seconds that the callbacks of this batch took.
        ended: When the last one ended.
    """

    seconds: float = 40.0
    pause: float = 10.0
    spent: float = 0.0
    ended: float = 0.0

    def share(self, now: float) -> float:
        """Seconds for the callback that starts now."""
        if now - self.ended > self.pause:
            self.spent = 0.0
        return min(core.CALLBACK_RETRY.max_elapsed, (self.seconds - self.spent) / 4)

    def spend(self, began: float, ended: float) -> None:
        """Count a callback."""
        self.spent += ended - began
        self.ended = ended


_batch = _Batch()


@dataclasses.dataclass(frozen=True)
class _End:
    """One end to send: nothing of it is shared with another run's."""

    stream_key: str
    members: dict[str, Any]
    hook: ActivitySmithHook


class ActivitySmithEndStreamNotifier(BaseNotifier):
    """Ends a Live Activity stream when a DAG or task is over, with the picture of what happened.

    One instance serves ``on_success_callback``, ``on_failure_callback`` and ``on_skipped_callback``, on a DAG, a
    task or in ``default_args``, and a ``DeadlineAlert`` (as ``AsyncCallback`` or ``SyncCallback``): it tells
    success from failure by itself. On a start or a retry, where nothing is over, it does nothing.

    It takes at most 10 seconds whatever the network does (and what Airflow itself takes to hand out a
    connection), logs one line, and never raises. Many callbacks in one process share 40 seconds.

    Args:
        stream_key: The stream; made from the DAG's id where left out. Templated. A task's callback with a key
            ends that stream with what became of the task; without one it is about the DAG's stream, so a
            success ends it only once all other tasks of the run are over.
        activitysmith_conn_id: The connection. Templated.
        context: Airflow's own, for asynchronous callbacks.
        options: What to show instead of the default picture: see
            :class:`~activitysmith_integrations.core.EndOptions`. All of it is templated.

    Raises:
        InvalidRequestError: An option is misspelt.
    """

    template_fields = ("stream_key", "activitysmith_conn_id", *rendering.OPTIONS)

    def __init__(
        self,
        stream_key: str | None = None,
        *,
        activitysmith_conn_id: str = ActivitySmithHook.default_conn_name,
        context: Context | None = None,
        **options: Unpack[core.EndOptions],
    ) -> None:
        # Only the names: values can be templates, which say what they are when they are rendered.
        if options:
            core.check_options(dict.fromkeys(options))
        self.stream_key = stream_key
        self.activitysmith_conn_id = activitysmith_conn_id
        for name in rendering.OPTIONS:
            setattr(self, name, rendering.plain(options.get(name)))
        super().__init__(context=context)

    def notify(self, context: Context) -> None:
        """End the stream, from a process that may wait.

        Args:
            context: Airflow's context; it is not changed.
        """
        began = time.monotonic()
        try:
            self._notify(context, _batch.share(began))
        finally:
            _batch.spend(began, time.monotonic())

    def _notify(self, context: Mapping[str, Any], seconds: float) -> None:
        end = self._plan(context, seconds)
        if end is None:
            return
        if seconds < _TOO_SHORT_TO_TRY:
            why = "earlier callbacks in this process took the time that Airflow leaves them; is the service down?"
            self.log.error("Live Activity stream %r was not ended: %s", end.stream_key, why)
            return
        try:
            self._report(end.stream_key, end.hook.end_stream(end.stream_key, **end.members))
        except Exception as error:
            self._report(end.stream_key, error)

    async def async_notify(self, context: Context) -> None:
        """End the stream, from the triggerer.

        Args:
            context: Airflow's context; it is not changed.
        """
        end = self._plan(context, core.CALLBACK_RETRY.max_elapsed)
        if end is None:
            return
        try:
            self._report(end.stream_key, await end.hook.async_end_stream(end.stream_key, **end.members))
        except Exception as error:
            self._report(end.stream_key, error)

    def _plan(self, given: Mapping[str, Any], seconds: float) -> _End | None:
        """What to send within some seconds, or None where nothing is over or cannot be said which stream."""
        started = time.monotonic()
        try:
            context = contexts.normalized(given)
            ended_as = contexts.result(context)
            if ended_as is None:
                self.log.info("Nothing is over yet, so the Live Activity stream goes on.")
                return None
            outcome = contexts.outcome(context, ended_as, of_the_run=self.stream_key is None)
            if outcome is None:
                self.log.info("Other tasks of the run are not over, so the DAG's Live Activity stream goes on.")
                return None
            environment = self._environment(context)
            key = rendering.name(rendering.render(self.stream_key, context, environment))
            conn_id = rendering.name(rendering.render(self.activitysmith_conn_id, context, environment))
            key = core.stream_key(context["dag"].dag_id) if self.stream_key is None else key
        except Exception as error:
            self.log.error("The Live Activity stream %r was not ended: %s", self.stream_key, _words(error))
            return None
        options = self._options(context, environment)
        if self.stream_key is not None and "reason" not in context and context.get("task_instance") is not None:
            options = {"title": contexts.label(context["task_instance"]), **options}
        members, refused = core.plan(outcome, options)
        if refused is not None:
            self.log.warning("The default picture is shown instead, since this is refused: %s", refused)
        left = max(seconds - (time.monotonic() - started), min(seconds, _LEAST_SECONDS), _TOO_SHORT_TO_TRY)
        retry = dataclasses.replace(core.CALLBACK_RETRY, max_elapsed=left)
        return _End(key, members, ActivitySmithHook(conn_id, retry=retry))

    def _options(self, context: Mapping[str, Any], environment: Any) -> core.EndOptions:
        given = {name: value for name in rendering.OPTIONS if (value := getattr(self, name)) is not None}
        try:
            return rendering.typed(rendering.render(given, context, environment))
        except Exception as error:
            self.log.warning("The default picture is shown instead: %s", _words(error))
            return {}

    def _environment(self, context: Mapping[str, Any]) -> Any:
        """The DAG's Jinja environment, or where there is none one that refuses unknown names as well."""
        dag: Any = context["dag"]
        if hasattr(dag, "get_template_env"):
            return self.get_template_env(dag=dag)
        import jinja2

        environment = self.get_template_env(dag=None)
        environment.undefined = jinja2.StrictUndefined
        return environment

    def _report(self, key: str, came_of_it: core.EndStreamResponse | Exception) -> None:
        self.log.log(*core.report(key, came_of_it))

    # BaseNotifier renders in place and writes into the context, so that of two runs in one process the second
    # would end the first one's stream (seen in Airflow 3.3.2). Both of its entrances therefore lead past that.

    def __call__(self, *args: Any) -> None:
        """End the stream: how Airflow calls a callback."""
        self.notify(args[0])

    def __await__(self) -> Generator[Any, None, None]:
        return self.async_notify(self.context).__await__()


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


end_activitysmith_stream = ActivitySmithEndStreamNotifier
