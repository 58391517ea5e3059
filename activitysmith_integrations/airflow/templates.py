"""Templates without the engine's traps: nothing is rendered in place, nothing missing becomes empty, texts stay texts.

Jinja's native rendering evaluates texts that look like Python: ``1,234`` becomes a tuple, ``2026_11_27`` a number. In a
DAG with ``render_template_as_native_obj`` everything is therefore rendered as text, too. Only a template that is one
value, and no text, gives this value, where the API takes such a one.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from numbers import Number
from typing import TYPE_CHECKING, Any

from activitysmith_integrations.airflow.arguments import Path, is_own_json, is_resolved_later, plain
from activitysmith_integrations.core.errors import ConfigurationError, InvalidRequestError

if TYPE_CHECKING:
    import jinja2

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


@dataclass(frozen=True)
class Rendering:
    """How the templates of a DAG are rendered.

    Args:
        text: Renders texts.
        is_native: Whether the DAG renders native objects.
    """

    text: jinja2.Environment
    is_native: bool = False


# The DAGs that this process has parsed, or run tasks of: dag.test() calls a DAG's callbacks with a serialized DAG,
# which has no macros, filters or native rendering (Airflow 3.3).
_parsed_dags = weakref.WeakValueDictionary[str, Any]()


def remember_dag(dag: Any) -> None:
    """Keep the DAG of a file in mind, for callbacks that get a serialized one.

    Args:
        dag: The DAG.
    """
    _parsed_dags[str(dag.dag_id)] = dag


def rendering(dag: Any, make_environment: Callable[[], jinja2.Environment]) -> Rendering:
    """How a DAG's templates are rendered.

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
        return Rendering(environment)
    is_native = bool(getattr(dag, "render_template_as_native_obj", False))
    return Rendering(dag.get_template_env(force_sandboxed=True), is_native)


def is_template(value: Any) -> bool:
    """Whether a value is only known when a task runs: a template, or a task's output."""
    if isinstance(value, str):
        return "{{" in value or "{%" in value
    return is_resolved_later(value)


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

    What a template makes of a run, such as its id or a date, may hold what the service takes in no key. The key is made
    of it then, the same one in every process.

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
        rendered = plain(value.resolve(context), (name,))
        _refuse_none(name, rendered, "an earlier task's output")
    else:

        def refuse_none(part: Any) -> Any:
            _refuse_none(name, part, repr(value))
            return part

        rendered = environment.overlay(finalize=refuse_none).from_string(value).render(context)
    if not str(rendered).strip():
        raise InvalidRequestError((name, f"{value!r} renders to nothing"))
    return _legal_key(rendered) if name == "stream_key" and isinstance(rendered, str) else str(rendered)


def _legal_key(rendered: str) -> str:
    from activitysmith_integrations.core.keys import looks_like_api_key, stream_key

    return rendered if looks_like_api_key(rendered.strip()) else stream_key(rendered)  # an API key is refused later


def _refuse_none(name: str, part: Any, written: str) -> None:
    if part is None:
        raise InvalidRequestError((name, f"{written} is None; what it looks for is not there"))


def render(value: Any, path: Path, context: Mapping[str, Any], how: Rendering) -> Any:
    """A value with all templates in it rendered; the value itself stays as it is.

    Args:
        value: A string, lists and mappings of strings, or another task's output.
        path: The option that it is, and the members and positions below it.
        context: What templates can name.
        how: How the DAG's templates are rendered.

    Raises:
        InvalidRequestError: An object that it renders to holds itself.
    """
    if isinstance(value, str):
        if not is_template(value):
            return value
        if how.is_native and not _is_text(path):
            return _object_or_text(value, path, context, how.text)
        return how.text.from_string(value).render(context)
    if isinstance(value, Mapping):
        return {name: render(member, (*path, str(name)), context, how) for name, member in value.items()}
    if isinstance(value, (list, tuple)):
        return [render(member, (*path, index), context, how) for index, member in enumerate(value)]
    if is_resolved_later(value):
        return plain(value.resolve(context), path)
    return value


def _object_or_text(template: str, path: Path, context: Mapping[str, Any], environment: jinja2.Environment) -> Any:
    """The value that a template is, if it is but one and the API takes it there; else the text."""
    import jinja2

    from activitysmith_integrations.core.models import fields

    parts, finalize = list[Any](), environment.finalize

    @jinja2.pass_context  # of what needs no context Jinja makes texts when it compiles
    def keep(_: Any, part: Any) -> Any:
        parts.append(part if finalize is None else finalize(part))
        return parts[-1]

    text = environment.overlay(finalize=keep).from_string(template).render(context)
    if len(parts) != 1 or isinstance(parts[0], jinja2.Undefined) or str(parts[0]).strip() != text.strip():
        return text
    found = plain(fields.plain(parts[0]), path)
    return found if _is_taken(found, path) else text


def _is_taken(found: Any, path: Path) -> bool:
    """Whether the API takes an object where texts are taken as well; elsewhere the models say what is wrong with it."""
    if isinstance(found, (float, Decimal)) and not math.isfinite(found):
        return False
    is_number = isinstance(found, Number)  # booleans count as numbers
    if not is_own_json(path):
        if path[0] == "metadata" and len(path) > 1:
            return is_number
        if path[-1] == "value":
            return is_number and not isinstance(found, bool) and found >= 0
    return found is None or is_number or isinstance(found, (Mapping, list, tuple))


def _is_text(path: Path) -> bool:
    """Whether the API takes what stands there as text."""
    if path[0] == "metadata" or is_own_json(path):
        return False
    names = [part for part in path if isinstance(part, str)]
    is_entry = isinstance(path[-1], int)
    if names[-1] in _LISTS_OF_TEXTS:
        return is_entry
    return path == ("alert", "body") or (names[-1] in _TEXTS and not is_entry)


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
