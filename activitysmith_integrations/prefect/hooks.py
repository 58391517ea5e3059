"""State-change hooks that end a stream when a flow or a task ends, and start one when a flow starts.

A hook may run in the flow's process, in the one that serves it, or in a fresh one that imported the flow anew;
it is called by position or by keyword; nobody bounds its time (all seen on Prefect 3.8). So what a hook keeps
is small and pickles, and its work is done in a thread that it stops waiting for when its time is up.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeAlias, TypedDict, TypeVar, Unpack

from prefect import Flow, Task
from prefect.client.schemas.objects import FlowRun, State, TaskRun
from prefect.flows import FlowStateHook
from prefect.logging.loggers import flow_run_logger, task_run_logger

from activitysmith_integrations import core
from activitysmith_integrations.prefect import progress
from activitysmith_integrations.prefect.blocks import ActivitySmithCredentials, by_name, resolve
from activitysmith_integrations.prefect.runs import check_total, hook_outcome, key_or_default, running_outcome

StreamKey: TypeAlias = str | Callable[[Any, Any], str] | None
"""A key; a function of ``(flow, flow_run)`` that makes one; or None for one made of the flow's name."""

# Half a second more than the call may take, for what comes before and after it.
_HOOK_SECONDS = core.CALLBACK_RETRY.max_elapsed + 0.5

_ResultT = TypeVar("_ResultT")


class StateHook(Protocol):
    """A hook as flows and tasks take it. Parameters are named as Prefect's runner gives them."""

    __name__: str

    async def __call__(
        self, flow: Flow[Any, Any] | Task[Any, Any], flow_run: FlowRun | TaskRun, state: State[Any]
    ) -> None:
        """Start or end the stream of the run that enters *state*."""


class FlowHooks(TypedDict, total=False):
    """The hook arguments of ``@flow``."""

    on_completion: list[FlowStateHook[..., Any]]
    on_failure: list[FlowStateHook[..., Any]]
    on_crashed: list[FlowStateHook[..., Any]]
    on_cancellation: list[FlowStateHook[..., Any]]
    on_running: list[FlowStateHook[..., Any]]


def live_activity_hooks(
    stream_key: StreamKey = None,
    *,
    total: int | None = None,
    credentials: ActivitySmithCredentials | str | None = None,
    hooks: Mapping[str, Iterable[FlowStateHook[..., Any]]] | None = None,
    **options: Unpack[core.EndOptions],
) -> FlowHooks:
    """The hook arguments that show a flow's run from its first task to its last, and end its stream.

    The stream starts before the flow's body, moves as tasks finish, and ends as
    :func:`end_live_activity_stream_hooks` ends it. Updates go out from a thread of its own, at most 12 but for runs
    of more than 24 minutes, so no task waits for them; what could not be sent is logged on the run's page.

    A task is counted once it is over, its retries included. The tasks counted are those of the run itself (not of
    its subflows) that run in threads, as they do by default, and that the flow's code can name: in its module,
    around it where it was made, and within the modules, classes and functions found there. For others there is
    ``live_activity_task_hooks``.

    Prefect calls no hook for a run that returns ``Cancelled()``: end its stream in the flow.

    Args:
        stream_key: As for :func:`end_live_activity_stream_hook`.
        total: How many tasks a run has, which makes a bar of segments; without it their count is shown.
        credentials: As there.
        hooks: Hooks that the flow has already; they run after these.
        options: How it looks, and its end; see :class:`~activitysmith_integrations.core.EndOptions`.

    Returns:
        Fresh lists for all five kinds of hooks.

    Raises:
        InvalidRequestError: The key, the total, an option or a kind of hook is none that there is.

    Examples:
        >>> from prefect import flow
        >>> @flow(**live_activity_hooks(total=200))
        ... def nightly_etl(): ...
    """
    lists = end_live_activity_stream_hooks(stream_key, credentials=credentials, hooks=hooks, **options)
    check_total(total)
    account = by_name(credentials)

    async def start_live_activity(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
        await _start_or_log(stream_key, account, total, options, flow, flow_run)

    start: FlowStateHook[..., Any] = start_live_activity
    lists["on_running"] = [start, *lists.get("on_running", ())]
    return lists


def end_live_activity_stream_hooks(
    stream_key: StreamKey = None,
    *,
    credentials: ActivitySmithCredentials | str | None = None,
    hooks: Mapping[str, Iterable[FlowStateHook[..., Any]]] | None = None,
    **options: Unpack[core.EndOptions],
) -> FlowHooks:
    """The hook arguments that end a flow's stream however its run ends.

    Hooks run where the flow runs, so nobody runs them where that place is lost: a worker killed with its
    machine, or a run of ``python flow.py`` that is killed or cancelled from outside. See
    ``end_live_activity_stream_automation`` for those.

    Args:
        stream_key: As for :func:`end_live_activity_stream_hook`.
        credentials: As there.
        hooks: Hooks that the flow has already, such as ``{"on_failure": [tell_the_team]}``. They run after
            this one, which takes 10 s at most.
        options: How the end looks; see :class:`~activitysmith_integrations.core.EndOptions`.

    Returns:
        Fresh lists for ``on_completion``, ``on_failure``, ``on_crashed`` and ``on_cancellation``, and
        ``on_running`` where *hooks* has it.

    Raises:
        InvalidRequestError: The key, an option or a kind of hook is none that there is.

    Examples:
        >>> from prefect import flow
        >>> @flow(**end_live_activity_stream_hooks())
        ... def nightly_etl(): ...
    """
    given = hooks or {}
    for kind in given:
        if kind not in FlowHooks.__annotations__:
            raise core.InvalidRequestError(("hooks", f"{kind!r} is not among {', '.join(FlowHooks.__annotations__)}"))
    hook: FlowStateHook[..., Any] = end_live_activity_stream_hook(stream_key, credentials=credentials, **options)
    lists = FlowHooks(
        on_completion=[hook, *given.get("on_completion", ())],
        on_failure=[hook, *given.get("on_failure", ())],
        on_crashed=[hook, *given.get("on_crashed", ())],
        on_cancellation=[hook, *given.get("on_cancellation", ())],
    )
    if "on_running" in given:
        lists["on_running"] = list(given["on_running"])
    return lists


def end_live_activity_stream_hook(
    stream_key: StreamKey = None,
    *,
    credentials: ActivitySmithCredentials | str | None = None,
    **options: Unpack[core.EndOptions],
) -> StateHook:
    """One hook, for a task's lists and for lists made by hand.

    It takes 10 s at most, never raises, and logs one line to the run's page. Called for a state that is no end
    of a run, as within ``on_running``, it ends nothing.

    Args:
        stream_key: The stream; by default made of the name of the flow (or task) that the hook is on, with
            :func:`~activitysmith_integrations.core.stream_key`. Where each run has its own stream, a function
            of ``(flow, flow_run)``, such as ``lambda flow, run: stream_key(flow.name, run.name)``.
        credentials: The block's name, the block, or None for the environment's key. A block that was saved or
            loaded is kept by its name and loaded anew by each run. One that was not is kept whole, and
            ``flow.serve()`` pickles hooks: its key is then in that pickle, in clear.
        options: How the end looks; see :class:`~activitysmith_integrations.core.EndOptions`.

    Raises:
        InvalidRequestError: The key cannot be one, or an option cannot be used.
    """
    if not callable(stream_key):
        key_or_default(stream_key, "any")
    if options:
        _check_options(options)
    account = by_name(credentials)

    # A plain function, because Prefect shows its name and its pickler takes it as it is.
    async def end_live_activity_stream(
        flow: Flow[Any, Any] | Task[Any, Any], flow_run: FlowRun | TaskRun, state: State[Any]
    ) -> None:
        await _end_and_log(stream_key, account, options, flow, flow_run, state)

    return end_live_activity_stream


def _check_options(options: core.EndOptions) -> None:
    for result in ("succeeded", "failed"):
        core.EndStreamRequest(**core.end_request(core.RunOutcome("checked", result), options))


async def _start_or_log(
    key: StreamKey,
    credentials: ActivitySmithCredentials | str | None,
    total: int | None,
    options: core.EndOptions,
    flow: Flow[Any, Any],
    run: FlowRun,
) -> None:
    """Start a run's stream, and have its tasks counted. It never raises."""
    name = ""
    try:
        name = _key_of(key, flow, run)
        if progress.begin_again(run.id):
            return
        known = running_outcome(flow, run)
        start = core.Progress(core.shown_title(known, options), total=total, unit="task")
        client = await _within_time(lambda: asyncio.run(resolve(credentials)).get_client())
        context = contextvars.copy_context()  # what the updates log from their thread is to find Prefect's settings

        def log(level: int, line: str) -> None:
            context.run(_log, flow, run, level, line)

        updates = core.Updates(name, start, client, log, **core.live_members(known, options))
        progress.watch(flow)
        progress.begin(run.id, progress.LiveRun(name, start, client, updates))
    except Exception as error:
        said = str(error) if isinstance(error, core.ActivitySmithError) else f"{type(error).__name__}: {error}"
        _log(flow, run, logging.WARNING, f"Live Activity stream {name!r} was not started, which stops no work: {said}")


async def _end_and_log(
    key: StreamKey,
    credentials: ActivitySmithCredentials | str | None,
    options: core.EndOptions,
    subject: Flow[Any, Any] | Task[Any, Any],
    run: FlowRun | TaskRun,
    state: State[Any],
) -> None:
    """Everything a hook that ends does. It never raises."""
    deadline = time.monotonic() + core.CALLBACK_RETRY.max_elapsed
    name = ""
    try:
        outcome = hook_outcome(subject, run, state)
        live = progress.take(run.id) if outcome else None
        name = live.stream_key if live else _key_of(key, subject, run)
        if outcome is None:
            level, line = logging.WARNING, f"Live Activity stream {name!r} goes on: {state.name} is no end of a run."
        else:
            work = partial(_end, name, credentials, outcome, live, options, deadline)
            answer, wrong = await _within_time(work)
            level, line = core.report(name, answer)
            if wrong is not None:
                level, line = logging.WARNING, f"{line} It shows the default picture, because of its options {wrong}"
    except Exception as error:
        level, line = core.report(name, error)
    _log(subject, run, level, line)


def _key_of(key: StreamKey, subject: Flow[Any, Any] | Task[Any, Any], run: FlowRun | TaskRun) -> str:
    if callable(key):
        key = key(subject, run) or ""  # a function that makes no key does not ask for the default one
    return key_or_default(key, subject.name)


def _end(
    key: str,
    credentials: ActivitySmithCredentials | str | None,
    outcome: core.RunOutcome,
    live: progress.LiveRun | None,
    options: core.EndOptions,
    deadline: float,
) -> tuple[core.EndStreamResponse, core.InvalidRequestError | None]:
    """End a stream, once its last update has arrived. Also what is wrong with the options, as ``core.plan`` tells."""
    members, wrong = core.plan(live.stop(outcome) if live else outcome, options)
    account = asyncio.run(resolve(credentials))
    left = max(deadline - time.monotonic(), 0.1)
    retry = replace(
        core.CALLBACK_RETRY,
        max_retries=min(core.CALLBACK_RETRY.max_retries, account.max_retries),
        max_elapsed=min(left, account.max_elapsed),
    )
    with account.get_client(retry=retry) as client:
        return client.end_stream(key, **members), wrong


async def _within_time(work: Callable[[], _ResultT]) -> _ResultT:
    """What *work* returns, or TimeoutError once the hook's time is up."""
    try:
        return await asyncio.wait_for(asyncio.wrap_future(_in_thread(work)), _HOOK_SECONDS)
    except TimeoutError:
        raise TimeoutError(f"no answer within {_HOOK_SECONDS} s") from None


def _in_thread(work: Callable[[], _ResultT]) -> Future[_ResultT]:
    """Start *work* in a thread that keeps neither the event loop nor the process's end waiting.

    Cancelling the future gives up waiting; the work itself goes on until its own time is up.
    """
    future: Future[_ResultT] = Future()
    context = contextvars.copy_context()  # Prefect's settings live there

    def run() -> None:
        try:
            result = context.run(work)
        except Exception as error:
            if future.set_running_or_notify_cancel():
                future.set_exception(error)
        else:
            if future.set_running_or_notify_cancel():
                future.set_result(result)

    threading.Thread(target=run, name="activitysmith-hook", daemon=True).start()
    return future


def _log(subject: Flow[Any, Any] | Task[Any, Any], run: FlowRun | TaskRun, level: int, line: str) -> None:
    line = " ".join(line.split())
    try:
        if isinstance(run, TaskRun):
            task_run_logger(run, subject if isinstance(subject, Task) else None).log(level, line)
        else:
            flow_run_logger(run, subject if isinstance(subject, Flow) else None).log(level, line)
    except Exception:
        logging.getLogger(__name__).log(level, line, exc_info=True)
