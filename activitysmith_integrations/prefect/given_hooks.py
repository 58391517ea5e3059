"""Hooks and key functions as people write them: what is none is refused where it is written, not at a run's end."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, ParamSpec, TypeAlias, TypedDict, TypeGuard, TypeVar, cast

from prefect import Flow, Task
from prefect.flows import FlowStateHook

from activitysmith_integrations.core.errors import InvalidRequestError
from activitysmith_integrations.core.suggest import unknown_name

_P = ParamSpec("_P")
_MadeT = TypeVar("_MadeT")

# The names by which Prefect's runner gives a hook its arguments (3.9); the engine gives them by position.
_ARGUMENTS = {"flow", "flow_run", "state"}


class FlowHooks(TypedDict, total=False):
    """The hook arguments of ``@flow``."""

    on_completion: list[FlowStateHook[..., Any]]
    on_failure: list[FlowStateHook[..., Any]]
    on_crashed: list[FlowStateHook[..., Any]]
    on_cancellation: list[FlowStateHook[..., Any]]
    on_running: list[FlowStateHook[..., Any]]


GivenHooks: TypeAlias = FlowHooks | Mapping[str, Iterable[FlowStateHook[..., Any]]] | None
"""The hooks that a flow has already, as people write them: a mapping, maybe what another of these functions made."""


def check_given_hooks(hooks: GivenHooks) -> dict[str, list[Any]]:
    """The hooks that a flow has already, as fresh lists.

    Args:
        hooks: What the user gave.

    Raises:
        InvalidRequestError: It is no mapping, or has a kind of hook that there is not, or something that is no hook.
    """
    if hooks is None:
        return {}
    example = "a mapping such as {'on_failure': [tell_the_team]}"
    if not isinstance(hooks, Mapping):
        raise InvalidRequestError(("hooks", f"must be {example}, not {type(hooks).__name__}"))
    return {kind: _check_list(kind, given) for kind, given in hooks.items()}


def check_no_hooks(options: Mapping[str, Any]) -> None:
    """Refuse a flow's own hooks among the options of how its stream looks.

    Args:
        options: What the user gave.

    Raises:
        InvalidRequestError: There is a list of hooks among them, or a hook.
    """
    for kind in FlowHooks.__annotations__:
        given = options.get(kind)
        if callable(given) or (isinstance(given, Iterable) and not isinstance(given, (str, Mapping))):
            rule = f"a flow's own hooks go into hooks={{{kind!r}: [...]}}"
            raise InvalidRequestError((kind, rule))


def is_function(given: object) -> TypeGuard[Callable[..., Any]]:
    """Whether it is called for a value or an effect: a class, a flow and a task can be called, but are not meant.

    Args:
        given: What the user gave.
    """
    return callable(given) and not isinstance(given, (type, Flow, Task))


def also_a_hook(make: Callable[_P, _MadeT]) -> Callable[_P, _MadeT]:
    """Let a function that makes hooks be a hook as well, the one with which it ends a failed run's stream.

    ``on_failure=[end_live_activity_stream_hook]`` is easily written, and would fail only at the run's end.

    Args:
        make: The function; it makes a hook, or the lists of them for ``@flow``.
    """

    @wraps(make)
    def make_or_call(*args: Any, **kwargs: Any) -> Any:
        if (len(args) == len(_ARGUMENTS) and isinstance(args[0], (Flow, Task))) or kwargs.keys() == _ARGUMENTS:
            made: Any = cast(Callable[[], object], make)()
            hook = made["on_failure"][0] if isinstance(made, Mapping) else made
            return hook(*args, **kwargs)  # Prefect awaits it
        return make(*args, **kwargs)

    return cast(Callable[_P, _MadeT], make_or_call)


def _check_list(kind: str, given: object) -> list[Any]:
    if kind not in FlowHooks.__annotations__:
        hint = unknown_name(str(kind), FlowHooks.__annotations__)
        raise InvalidRequestError((f"hooks.{kind}", f"is not a kind of hook; {hint}"))
    if not isinstance(given, Iterable) or isinstance(given, (str, Mapping)):
        raise InvalidRequestError((f"hooks.{kind}", f"must be a list of hooks, not {_kind_of(given)}"))
    found = list(given)
    for number, hook in enumerate(found):
        if not is_function(hook):
            raise InvalidRequestError((f"hooks.{kind}.{number}", f"must be a function, not {_kind_of(hook)}"))
    return found


def check_key_function(make_key: Callable[..., object]) -> None:
    """Refuse a function that cannot make a stream key, such as a hook that was meant for the flow.

    Args:
        make_key: What the user gave in place of a key.

    Raises:
        InvalidRequestError: It does not take a flow and its run, or returns nothing before it is awaited.
    """
    if inspect.iscoroutinefunction(make_key) or not _takes(make_key, "flow", "flow_run"):
        rule = f"must be a function of (flow, flow_run) that is no coroutine, not {_kind_of(make_key)}"
        raise InvalidRequestError(("stream_key", f"{rule}. A hook of your own goes into hooks={{'on_failure': [...]}}"))


def _takes(function: Callable[..., object], *arguments: str) -> bool:
    """Whether a function can be called with so many arguments; one of C's does not always tell."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    except ValueError:
        return True
    return True


def _kind_of(value: object) -> str:
    if isinstance(value, (Flow, Task)):
        return f"the {'flow' if isinstance(value, Flow) else 'task'} {value.name!r}"
    if not callable(value):
        return repr(value)
    return f"the {'class' if isinstance(value, type) else 'function'} {getattr(value, '__name__', '')}".rstrip()
