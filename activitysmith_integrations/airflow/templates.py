"""Templates without the engine's traps: nothing is rendered in place, nothing missing becomes empty, texts stay texts.

A DAG with ``render_template_as_native_obj`` makes Python objects of what it renders: ``1,234`` a tuple, ``2026_11_27``
a number. What the API takes as text is therefore rendered as text; only numbers, whole lists and mappings, and what is
the user's own JSON may become what they look like.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from activitysmith_integrations.core.errors import ConfigurationError, InvalidRequestError

if TYPE_CHECKING:
    import jinja2

SYNONYMS = {"conn_id": "activitysmith_conn_id", "key": "stream_key"}
"""What people call some arguments of operators and notifiers."""

_KEYS_BEGIN_WITH = "ask_"  # the API's rule

_NUMBERS = frozenset(
    {
        "auto_dismiss_minutes",
        "auto_dismiss_seconds",
        "current_step",
        "duration_seconds",
        "failure_auto_dismiss_minutes",
        "number_of_steps",
        "percentage",
        "success_auto_dismiss_minutes",
        "upper_limit",
    }
)
_BOOLEANS = frozenset({"counts_down", "include_error", "is_running", "start_unseen_failures"})
_TEXTS = frozenset(
    {
        "activitysmith_conn_id",
        "color",
        "failure_color",
        "label",
        "message",
        "method",
        "on_failure",
        "on_success",
        "step_color",
        "stream_key",
        "subtitle",
        "success_color",
        "symbol",
        "title",
        "type",
        "unit",
        "url",
    }
)
_LISTS_OF_TEXTS = frozenset({"channels", "step_colors", "tags"})

Path: TypeAlias = tuple[str | int, ...]


@dataclass(frozen=True)
class Environments:
    """The Jinja environments of a DAG.

    Args:
        text: Renders texts.
        native: Renders what may become a Python object; the same one unless the DAG renders native objects.
    """

    text: jinja2.Environment
    native: jinja2.Environment


# The DAGs that this process has parsed, or run tasks of: dag.test() calls a DAG's callbacks with a serialized DAG,
# which has no macros, filters or native rendering (Airflow 3.3).
_parsed_dags = weakref.WeakValueDictionary[str, Any]()


def remember_dag(dag: Any) -> None:
    """Keep the DAG of a file in mind, for callbacks that get a serialized one.

    Args:
        dag: The DAG.
    """
    _parsed_dags[str(dag.dag_id)] = dag


def environments(dag: Any, make_environment: Callable[[], jinja2.Environment]) -> Environments:
    """The environments that a DAG's templates are rendered with.

    Args:
        dag: The DAG of the context; it may be a serialized one, or none.
        make_environment: Makes Airflow's plain environment, for where there is no DAG.
    """
    if hasattr(dag, "get_template_env"):
        remember_dag(dag)
    else:
        dag = _parsed_dags.get(str(dag.dag_id))
    if dag is None:
        import jinja2

        environment = make_environment()
        # Without a DAG Airflow's own lets names that nobody knows become empty.
        environment.undefined = jinja2.StrictUndefined
        return Environments(environment, environment)
    return Environments(dag.get_template_env(force_sandboxed=True), dag.get_template_env())


def is_template(value: Any) -> bool:
    """Whether a value is only known when a task runs: a template, or a task's output."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    return _is_resolved_later(value)


def _is_resolved_later(value: Any) -> bool:
    """Whether a value is an argument that Airflow resolves when a task runs, such as another task's output."""
    return callable(getattr(value, "resolve", None)) and not isinstance(value, type)


def check_conn_id(conn_id: Any) -> None:
    """Refuse what is no id of a connection.

    Args:
        conn_id: What was given for ``activitysmith_conn_id``.

    Raises:
        ConfigurationError: It is neither a text nor a template, or an API key, which the message does not quote.
    """
    if isinstance(conn_id, str) and conn_id.startswith(_KEYS_BEGIN_WITH):
        advice = "is an API key. Put it into the password of a connection, and give that connection's id"
        raise ConfigurationError(("activitysmith_conn_id", advice))
    if not is_template(conn_id) and not (isinstance(conn_id, str) and conn_id.strip()):
        raise ConfigurationError(("activitysmith_conn_id", f"{conn_id!r} is not the id of a connection"))


def render_name(name: str, value: Any, context: Mapping[str, Any], environment: jinja2.Environment) -> str:
    """A stream key or connection id, rendered.

    Args:
        name: What it is, for the message.
        value: What the user wrote.
        context: What templates can name.
        environment: Renders texts.

    Raises:
        InvalidRequestError: A part of it renders to None, or all of it to nothing.
    """
    if not is_template(value):
        return str(value)
    if not isinstance(value, str):
        rendered = value.resolve(context)
        _refuse_none(name, rendered, "an earlier task's output")
    else:

        def refuse_none(part: Any) -> Any:
            _refuse_none(name, part, repr(value))
            return part

        rendered = environment.overlay(finalize=refuse_none).from_string(value).render(context)
    if not str(rendered).strip():
        raise InvalidRequestError((name, f"{value!r} renders to nothing"))
    return str(rendered)


def _refuse_none(name: str, part: Any, written: str) -> None:
    if part is None:
        raise InvalidRequestError((name, f"{written} is None; what it looks for is not there"))


def render(value: Any, path: Path, context: Mapping[str, Any], environments: Environments) -> Any:
    """A value with all templates in it rendered; the value itself stays as it is.

    Args:
        value: A string, lists and mappings of strings, or another task's output.
        path: The option that it is, and the members and positions below it.
        context: What templates can name.
        environments: The Jinja environments.
    """
    if isinstance(value, str):
        if not is_template(value):
            return value
        environment = environments.text if _is_text(path) else environments.native
        return environment.from_string(value).render(context)
    if isinstance(value, Mapping):
        return {name: render(member, (*path, str(name)), context, environments) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [render(member, (*path, index), context, environments) for index, member in enumerate(value)]
    if _is_resolved_later(value):
        return value.resolve(context)
    return value


def _is_text(path: Path) -> bool:
    """Whether the API takes what stands there as text."""
    if path[0] == "metadata" or path[:2] in (("action", "body"), ("secondary_action", "body")):
        return False
    names = [part for part in path if isinstance(part, str)]
    is_entry = isinstance(path[-1], int)
    if names[-1] in _LISTS_OF_TEXTS:
        return is_entry
    return path == ("alert", "body") or (names[-1] in _TEXTS and not is_entry)


def plain(value: Any) -> Any:
    """A model as the mapping it stands for, so that templates in it are found and it can be stored as JSON."""
    return value.to_wire() if hasattr(value, "to_wire") else value


def given(values: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given, as plain values.

    Args:
        values: Options by name; None means not given.
    """
    return {name: plain(value) for name, value in values.items() if value is not None}


def typed(options: Mapping[str, Any]) -> Any:
    """Options with the strings that Jinja makes of numbers and booleans turned back, and texts as texts.

    Args:
        options: Rendered options.
    """
    found = {name: _typed(name, value) for name, value in options.items()}
    if isinstance(found.get("content_state"), Mapping):
        found["content_state"] = _typed_state(found["content_state"])
    return found


def _typed_state(state: Mapping[str, Any]) -> dict[str, Any]:
    members = {name: _typed(name, value) for name, value in state.items()}
    if "value" in members and ("upper_limit" in members or members.get("type") == "progress"):
        members["value"] = _number(members["value"])
    if members.get("type") == "metrics" and isinstance(members.get("metrics"), (list, tuple)):
        # Bars are drawn from numbers; what stats show stays as it is written.
        members["metrics"] = [
            {**metric, "value": _number(metric["value"])}
            if isinstance(metric, Mapping) and "value" in metric
            else metric
            for metric in members["metrics"]
        ]
    return members


def _typed(name: str, value: Any) -> Any:
    if name in _NUMBERS:
        return _number(value)
    if name in _BOOLEANS and isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().lower(), value)
    return value


def _number(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    for kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            continue
    return value  # the models say what is wrong with it


def templates_in(value: Any) -> Iterable[Any]:
    """The parts of a value that are only known when a task runs."""
    if isinstance(value, Mapping):
        return [found for member in value.values() for found in templates_in(member)]
    if isinstance(value, (list, tuple)):
        return [found for member in value for found in templates_in(member)]
    return [value] if is_template(value) else []
