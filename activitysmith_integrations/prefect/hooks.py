"""State-change hooks that end a stream when a flow or a task ends, and start one when a flow starts.

A hook may run in the flow's process, in the one that serves it, or in a fresh one that imported the flow anew; it is
called by position or by keyword (all seen on Prefect 3.8). So what a hook keeps is small and pickles. What it does
when it is called is in ``hook_calls``, which is imported by then.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeAlias, Unpack, cast

from prefect import Flow, Task
from prefect.client.schemas.objects import FlowRun, State, TaskRun
from prefect.flows import FlowStateHook

from activitysmith_integrations import core
from activitysmith_integrations.core.counts import check_total
from activitysmith_integrations.core.keys import check_stream_key
from activitysmith_integrations.core.retry import DEFAULT_PATIENCE, check_patience
from activitysmith_integrations.prefect.blocks import ActivitySmithCredentials, name_or_block
from activitysmith_integrations.prefect.given_hooks import (
    FlowHooks,
    GivenHooks,
    also_a_hook,
    check_given_hooks,
    check_key_function,
    check_no_hooks,
    is_function,
)

StreamKey: TypeAlias = str | Callable[[Any, Any], str] | None
"""A key; a function of ``(flow, flow_run)`` that makes one; or None for the run's own."""

_OTHER_PARAMETERS = ("stream_key", "credentials", "patience")
_PARAMETERS_OF_LISTS = (*_OTHER_PARAMETERS, "hooks")
_PARAMETERS_OF_LIVE_ACTIVITY = (*_PARAMETERS_OF_LISTS, "total")
# What LiveActivity and the client call them.
_SYNONYMS = {"steps": "total", "api_key": "credentials"}


@dataclass(frozen=True)
class HookSettings:
    """What a hook was made with. It pickles.

    Args:
        stream_key: See :func:`end_live_activity_stream_hook`.
        account: The block's name, the block, or None for the environment's key.
        patience: Seconds that a call of the hook takes at most.
        options: How the end looks.
        total: How many tasks a run has, None where that is not known.
    """

    stream_key: StreamKey
    account: ActivitySmithCredentials | str | None
    patience: float
    options: core.EndOptions
    total: int | None = None

    def are_of_stream_of(self, other: HookSettings) -> bool:
        """Whether hooks with these settings and with others show a run in one stream of one account."""
        return (self.stream_key, self.account) == (other.stream_key, other.account)


class StateHook(Protocol):
    """A hook as flows and tasks take it. Parameters are named as Prefect's runner gives them."""

    __name__: str

    async def __call__(
        self, flow: Flow[Any, Any] | Task[Any, Any], flow_run: FlowRun | TaskRun, state: State[Any]
    ) -> None:
        """Start or end the stream of the run that enters *state*."""


@also_a_hook
def live_activity_hooks(
    stream_key: StreamKey = None,
    *,
    total: int | None = None,
    credentials: ActivitySmithCredentials | str | None = None,
    patience: float = DEFAULT_PATIENCE,
    hooks: GivenHooks = None,
    **options: Unpack[core.EndOptions],
) -> FlowHooks:
    """The hook arguments that show a flow's run from its first task to its last, and end its stream.

    The stream starts with the flow's body, moves as tasks finish, and ends as :func:`end_live_activity_stream_hooks`
    ends it. A thread of its own asks Prefect's API how far the run is: once a second at first, every 15 s in the end.
    No task waits for it, and none needs anything: it counts wherever a task is defined and whatever runs it. At most
    12 updates go out, but for runs of more than 24 minutes (iOS allows no more); each is logged on the run's page.

    Args:
        stream_key: See :func:`end_live_activity_stream_hook`.
        total: How many task runs a run has in all, nested ones included, and one for each subflow. It makes a bar of
            segments; without it their count is shown. One that turns out wrong does no harm: the end shows the result.
        credentials: See :func:`end_live_activity_stream_hook`.
        patience: See :func:`end_live_activity_stream_hook`.
        hooks: Hooks that the flow has already; they run after these.
        options: How it looks, and its end; see :class:`~activitysmith_integrations.core.EndOptions`.

    Returns:
        Fresh lists for all five kinds of hooks.

    Raises:
        InvalidRequestError: The key, the total, an option or a kind of hook cannot be used.
        ConfigurationError: The credentials or the patience cannot be used.

    Examples:
        >>> from prefect import flow
        >>> @flow(**live_activity_hooks(total=200))
        ... def nightly_etl(): ...
    """
    total = check_total(total)
    _check_options(options, _PARAMETERS_OF_LIVE_ACTIVITY)
    settings = replace(_check_settings(stream_key, credentials, patience, options), total=total)
    lists = _lists(settings, hooks)

    async def start_live_activity(flow: Flow[Any, Any], flow_run: FlowRun, state: State[Any]) -> None:
        from activitysmith_integrations.prefect import hook_calls

        hook_calls.start(settings, flow, flow_run)

    start: FlowStateHook[..., Any] = start_live_activity
    lists["on_running"] = [start, *lists.get("on_running", ())]
    return lists


@also_a_hook
def end_live_activity_stream_hooks(
    stream_key: StreamKey = None,
    *,
    credentials: ActivitySmithCredentials | str | None = None,
    patience: float = DEFAULT_PATIENCE,
    hooks: GivenHooks = None,
    **options: Unpack[core.EndOptions],
) -> FlowHooks:
    """The hook arguments that end a flow's stream however its run ends.

    Hooks run where the flow runs, so nobody runs them where that place is lost: a worker killed with its
    machine, or a run of ``python flow.py`` that is killed or cancelled from outside. See
    ``end_live_activity_stream_automation`` for those.

    Args:
        stream_key: See :func:`end_live_activity_stream_hook`.
        credentials: See :func:`end_live_activity_stream_hook`.
        patience: See :func:`end_live_activity_stream_hook`.
        hooks: Hooks that the flow has already, such as ``{"on_failure": [tell_the_team]}``. They run after
            this one.
        options: How the end looks; see :class:`~activitysmith_integrations.core.EndOptions`.

    Returns:
        Fresh lists for ``on_completion``, ``on_failure``, ``on_crashed`` and ``on_cancellation``, and
        ``on_running`` where *hooks* has it.

    Raises:
        InvalidRequestError: The key, an option or a kind of hook cannot be used.
        ConfigurationError: The credentials or the patience cannot be used.

    Examples:
        >>> from prefect import flow
        >>> @flow(**end_live_activity_stream_hooks())
        ... def nightly_etl(): ...
    """
    _check_options(options, _PARAMETERS_OF_LISTS)
    return _lists(_check_settings(stream_key, credentials, patience, options), hooks)


@also_a_hook
def end_live_activity_stream_hook(
    stream_key: StreamKey = None,
    *,
    credentials: ActivitySmithCredentials | str | None = None,
    patience: float = DEFAULT_PATIENCE,
    **options: Unpack[core.EndOptions],
) -> StateHook:
    """One hook, for a task's lists and for lists made by hand. In a list itself, it is the hook without arguments.

    It keeps to its patience, never raises, and logs one line to the run's page. Called for a state that is no end
    of a run, such as within ``on_running``, it ends nothing. A stream that ``live_activity_hooks`` keep moving, of the
    task's flow or of a subflow's parent, stands still once it is ended here.

    Args:
        stream_key: The stream; each run's own by default, made of the name of the flow (or task) that the hook is on
            and the id of its run. A key of your own is one stream for all runs that share it, and a function of
            ``(flow, flow_run)`` makes one of what never changes: the run's id and parameters. Its name can change
            while it runs, and where the run was killed or cancelled the hook is given the old one (Prefect 3.8).
        credentials: The block's name, the block, or None for the environment's key. A block that was saved or
            loaded is kept by its name and loaded anew by each run. One that was not is kept whole, and
            ``flow.serve()`` pickles hooks: its key is then in that pickle, in clear.
        patience: Seconds that it repeats itself at most until the stream is ended, 10 by default, 2 at least. More
            lets an end wait out an outage or a rate limit; the flow's process lives that much longer.
        options: How the end looks; see :class:`~activitysmith_integrations.core.EndOptions`.

    Raises:
        InvalidRequestError: The key or an option cannot be used.
        ConfigurationError: The credentials or the patience cannot be used.
    """
    _check_options(options, _OTHER_PARAMETERS)
    return _end_hook(_check_settings(stream_key, credentials, patience, options))


def _lists(settings: HookSettings, hooks: GivenHooks) -> FlowHooks:
    given = check_given_hooks(hooks)
    hook: FlowStateHook[..., Any] = _end_hook(settings)
    lists = FlowHooks(
        on_completion=[hook, *given.get("on_completion", ())],
        on_failure=[hook, *given.get("on_failure", ())],
        on_crashed=[hook, *given.get("on_crashed", ())],
        on_cancellation=[hook, *given.get("on_cancellation", ())],
    )
    if "on_running" in given:
        lists["on_running"] = given["on_running"]
    return lists


def _end_hook(settings: HookSettings) -> StateHook:
    # A plain function, because Prefect shows its name and its pickler takes it as it is.
    async def end_live_activity_stream(
        flow: Flow[Any, Any] | Task[Any, Any], flow_run: FlowRun | TaskRun, state: State[Any]
    ) -> None:
        from activitysmith_integrations.prefect import hook_calls

        await hook_calls.end(settings, flow, flow_run, state)

    return end_live_activity_stream


def _check_settings(
    stream_key: StreamKey,
    credentials: ActivitySmithCredentials | str | None,
    patience: float,
    options: core.EndOptions,
) -> HookSettings:
    if is_function(stream_key):
        check_key_function(stream_key)
    elif stream_key is not None:
        check_stream_key(cast(str, stream_key))
    return HookSettings(stream_key, name_or_block(credentials), check_patience(patience), options)


def _check_options(options: core.EndOptions, other: tuple[str, ...]) -> None:
    if not options:
        return
    from activitysmith_integrations.core.runs.picture import check_end_options

    if "hooks" in other:
        check_no_hooks(options)
    known = {name: meant for name, meant in _SYNONYMS.items() if meant in other}
    check_end_options(options, other=other, synonyms=known)
