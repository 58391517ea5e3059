"""The notifiers: show a run and end its stream from callbacks, never at the pipeline's expense."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Generator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from airflow.sdk.bases.notifier import BaseNotifier

from activitysmith_integrations import core
from activitysmith_integrations.airflow import context as contexts
from activitysmith_integrations.airflow import progress, rendering
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
class _Call:
    """One call to make: nothing of it is shared with another run's.

    Args:
        stream_key: The stream.
        members: What to send.
        hook: Who sends it.
        otherwise: What to send if the service refuses that as a bad request.
        pause: Seconds to wait before.
        deadline: The time on the monotonic clock by which all of it is over, or given up.
    """

    stream_key: str
    members: dict[str, Any]
    hook: ActivitySmithHook
    otherwise: dict[str, Any] | None = None
    pause: float = 0.0
    deadline: float = 0.0

    def attempt(self) -> core.RetryPolicy:
        """The one attempt that the time left allows.

        Raises:
            TimeoutError: None is left.
        """
        left = self.deadline - time.monotonic()
        if left < _TOO_SHORT_TO_TRY:
            raise TimeoutError("Airflow took all of its time to hand out the run's states and the connection")
        return core.RetryPolicy(max_retries=0, max_elapsed=left)


class _Notifier(BaseNotifier):
    """What both have in common: templates, and Airflow's traps."""

    names: ClassVar[tuple[str, ...]]
    title: str | None

    def __init__(
        self,
        stream_key: str | None,
        activitysmith_conn_id: str,
        context: Context | None,
        options: Mapping[str, Any],
    ) -> None:
        self.stream_key = stream_key
        self.activitysmith_conn_id = activitysmith_conn_id
        for name in self.names:
            setattr(self, name, rendering.plain(options.get(name)))
        super().__init__(context=context)

    def _rendered_names(self, context: Mapping[str, Any], environment: Any) -> tuple[str, str]:
        """The stream and the connection."""
        key = rendering.name(rendering.render(self.stream_key, context, environment))
        conn_id = rendering.name(rendering.render(self.activitysmith_conn_id, context, environment))
        return core.stream_key(context["dag"].dag_id) if self.stream_key is None else key, conn_id

    def _rendered_options(self, context: Mapping[str, Any], environment: Any) -> Any:
        try:
            return rendering.typed(rendering.render(rendering.options_of(self, self.names), context, environment))
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

    # BaseNotifier renders in place and writes into the context, so that of two runs in one process the second
    # would end the first one's stream (seen in Airflow 3.3.2). Both of its entrances therefore lead past that.

    def __call__(self, *args: Any) -> None:
        """How Airflow calls a callback."""
        self.notify(args[0])

    def __await__(self) -> Generator[Any, None, None]:
        return self.async_notify(self.context).__await__()


class ActivitySmithEndStreamNotifier(_Notifier):
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

    names = rendering.OPTIONS
    template_fields = ("stream_key", "activitysmith_conn_id", *names)

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
        super().__init__(stream_key, activitysmith_conn_id, context, options)

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
        time.sleep(end.pause)
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
        await asyncio.sleep(end.pause)
        try:
            self._report(end.stream_key, await end.hook.async_end_stream(end.stream_key, **end.members))
        except Exception as error:
            self._report(end.stream_key, error)

    def _plan(self, given: Mapping[str, Any], seconds: float) -> _Call | None:
        """What to send within some seconds, or None where nothing is over or cannot be said which stream."""
        started = time.monotonic()
        try:
            context = contexts.normalized(given)
            ended_as = contexts.result(context)
            if ended_as is None:
                self.log.info("Nothing is over yet, so the Live Activity stream goes on.")
                return None
            is_left = self._is_left_to_the_dag(context, ended_as)
            outcome = None if is_left else contexts.outcome(context, ended_as, of_the_run=self.stream_key is None)
            if outcome is None:
                self.log.info("Other tasks of the run are not over, so the DAG's Live Activity stream goes on.")
                return None
            environment = self._environment(context)
            key, conn_id = self._rendered_names(context, environment)
            # No update of a run moves a stream that is a task's own.
            is_runs = self.stream_key is None or "reason" in context
            pause = min(progress.seconds_on_its_way(context), seconds / 2) if is_runs else 0.0
        except Exception as error:
            self.log.error("The Live Activity stream %r was not ended: %s", self.stream_key, _words(error))
            return None
        options = self._rendered_options(context, environment)
        if self.stream_key is not None and "reason" not in context and context.get("task_instance") is not None:
            options = {"title": contexts.label(context["task_instance"]), **options}
        members, refused = core.plan(progress.completed(outcome, context["dag"]), options)
        if refused is not None:
            self.log.warning("The default picture is shown instead, since this is refused: %s", refused)
        left = max(seconds - pause - (time.monotonic() - started), min(seconds, _LEAST_SECONDS), _TOO_SHORT_TO_TRY)
        retry = dataclasses.replace(core.CALLBACK_RETRY, max_elapsed=left)
        return _Call(key, members, ActivitySmithHook(conn_id, retry=retry), pause=pause)

    def _is_left_to_the_dag(self, context: Mapping[str, Any], ended_as: core.Result) -> bool:
        """Whether a task's failure is no end yet: other tasks show on, and the DAG itself ends its stream."""
        if self.stream_key is not None or "reason" in context or "deadline" in context or ended_as == "succeeded":
            return False
        callbacks = progress.as_list(getattr(context["dag"], "on_failure_callback", None))
        if not any(isinstance(callback, ActivitySmithEndStreamNotifier) for callback in callbacks):
            return False
        return progress.is_shown(context["dag"]) and progress.has_more_to_come(context, ended_as)

    def _report(self, key: str, came_of_it: core.EndStreamResponse | Exception) -> None:
        self.log.log(*core.report(key, came_of_it))


class ActivitySmithStreamNotifier(_Notifier):
    """Shows a run on the lock screen from callbacks of its tasks: it starts the stream and moves it.

    Give one instance to ``on_execute_callback``, ``on_success_callback``, ``on_failure_callback`` and
    ``on_skipped_callback`` of all tasks of a DAG, as in ``default_args``, and the notifier that ends the stream to
    the DAG. The first task to begin starts the stream; of the others only those report with which a segment of
    the bar ends, ten at most, and the first one to fail. What the end is about to show is left to it.

    A report is one attempt of at most 3 seconds, which raises nothing: the next one makes up for it. A DAG whose
    tasks have this notifier ends its stream up to 3 seconds later than others, once no report can be on its way.

    Args:
        stream_key: The stream; made from the DAG's id where left out. Templated.
        activitysmith_conn_id: The connection. Templated.
        content_state: A whole state of your own instead of the run's progress. It is sent whenever a task calls
            this and the run goes on, so give it to a few tasks: iOS has room for 12 updates of a run of less than
            24 minutes.
        title: First line instead of the DAG's id.
        subtitle: Second line instead of what was done last; a failure is said all the same.
        action: A button.
        secondary_action: A second button.
        alert: A banner.
        tags: Tags beside the engine's name.
        metadata: Metadata beside engine, pipeline and run.
        channels: The channels to show it in; all that the key may use where left out.
        context: Airflow's own, for asynchronous callbacks.
    """

    content_state: Mapping[str, Any] | None
    shows_progress = True

    names = rendering.STREAM_OPTIONS
    template_fields = ("stream_key", "activitysmith_conn_id", *names)

    def __init__(
        self,
        stream_key: str | None = None,
        *,
        activitysmith_conn_id: str = ActivitySmithHook.default_conn_name,
        content_state: core.StateInput | None = None,
        title: str | None = None,
        subtitle: str | None = None,
        action: core.ActionInput | None = None,
        secondary_action: core.ActionInput | None = None,
        alert: core.AlertInput | None = None,
        tags: Sequence[str] | None = None,
        metadata: core.MetadataInput | None = None,
        channels: Sequence[str] | None = None,
        context: Context | None = None,
    ) -> None:
        options = {
            "content_state": content_state,
            "title": title,
            "subtitle": subtitle,
            "action": action,
            "secondary_action": secondary_action,
            "alert": alert,
            "tags": tags,
            "metadata": metadata,
            "channels": channels,
        }
        super().__init__(stream_key, activitysmith_conn_id, context, options)

    def notify(self, context: Context) -> None:
        """Show how far the run is, from a process that may wait.

        Args:
            context: Airflow's context; it is not changed.
        """
        began = time.monotonic()
        try:
            call = self._plan(context, min(progress.UPDATE_SECONDS, _batch.share(began)))
            if call is not None:
                with call.hook.get_conn() as client:
                    try:
                        client.with_retry(call.attempt()).stream(call.stream_key, **call.members)
                    except core.BadRequestError:
                        if call.otherwise is None:
                            raise
                        client.with_retry(call.attempt()).stream(call.stream_key, **call.otherwise)
                self._did(call)
        except Exception as error:
            self._could_not(error)
        finally:
            _batch.spend(began, time.monotonic())

    async def async_notify(self, context: Context) -> None:
        """Show how far the run is, from the triggerer.

        Args:
            context: Airflow's context; it is not changed.
        """
        try:
            call = self._plan(context, progress.UPDATE_SECONDS)
            if call is not None:
                async with await call.hook.get_async_conn() as client:
                    try:
                        await client.with_retry(call.attempt()).stream(call.stream_key, **call.members)
                    except core.BadRequestError:
                        if call.otherwise is None:
                            raise
                        await client.with_retry(call.attempt()).stream(call.stream_key, **call.otherwise)
                self._did(call)
        except Exception as error:
            self._could_not(error)

    def _did(self, call: _Call) -> None:
        self.log.info("Live Activity stream %r is up to date.", call.stream_key)

    def _could_not(self, error: Exception) -> None:
        stream = f"stream {self.stream_key!r}" if self.stream_key else "stream of the DAG"
        self.log.warning("The Live Activity %s was not updated, which stops no work: %s", stream, _words(error))

    def _plan(self, given: Mapping[str, Any], seconds: float) -> _Call | None:
        """What to send within some seconds, or None where this is not the time for it."""
        # The budget begins before the look at the states: that is what the end relies on.
        deadline = time.monotonic() + seconds
        context = contexts.normalized(given)
        ended_as = None if contexts.is_running(context) else contexts.result(context)
        if not (_may_show(context) and (self.content_state is not None or _is_due(context, ended_as))):
            return None
        environment = self._environment(context)
        key, conn_id = self._rendered_names(context, environment)
        options = self._rendered_options(context, environment)
        state = progress.state(context, options, ended_as)
        if state is None:
            return None
        members = dict(progress.members(context, options, state))
        hook = ActivitySmithHook(conn_id)
        if self.content_state is not None or contexts.is_running(context):
            return _Call(key, members, hook, deadline=deadline)
        # A stream that does not run refuses what only moves it. At once, that means that its start was lost; after
        # the end, where a slow service gets to it, that nothing is started.
        moves = {**members, "content_state": core.as_update(state)}
        return _Call(key, moves, hook, otherwise=members, deadline=deadline)


def _may_show(context: Mapping[str, Any]) -> bool:
    """Whether the run goes on, and not for the sake of a task that only goes on."""
    if "reason" in context:
        return False
    return not (contexts.is_running(context) and progress.is_resumed(context))


def _is_due(context: Mapping[str, Any], ended_as: core.Result | None) -> bool:
    if context.get("task_instance") is None or "deadline" in context:
        return False  # the run is late
    if contexts.is_running(context):
        return progress.begins_the_run(context)
    return ended_as is not None and progress.ends_a_segment(context, ended_as)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


end_activitysmith_stream = ActivitySmithEndStreamNotifier
