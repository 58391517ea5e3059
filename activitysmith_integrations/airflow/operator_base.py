"""What the operators have in common: arguments, rendering, and what a failed call means for the task."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from activitysmith_integrations import core
from activitysmith_integrations.airflow import needs_airflow, templates
from activitysmith_integrations.airflow.arguments import given, plain
from activitysmith_integrations.airflow.compat import AirflowFailException, conf
from activitysmith_integrations.airflow.developer_commands import TASKS_TEST_SHOWS_NOTHING
from activitysmith_integrations.airflow.hooks import ActivitySmithHook
from activitysmith_integrations.core.errors import quoted

with needs_airflow():
    from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context
    from airflow.sdk.definitions.mappedoperator import OperatorPartial

    from activitysmith_integrations.airflow.run import Run

DEFERS = conf.getboolean("operators", "default_deferrable", fallback=False)
"""Whether operators are deferrable by default."""

NAMES = ("stream_key", "activitysmith_conn_id")
"""The arguments of every operator that name something; they may be templates."""

# The arguments that may not be templates.
_SETTINGS = ("deferrable", "missing_ok", "poll_interval", "patience")
_FLAGS = ("deferrable", "missing_ok")
_ADVICE = {"patience": "an operator tries once; give its task `retries`, and Airflow tries again until it is delivered"}
_MAX_DEFERRALS = 10
_JSON_FIELDS = dict.fromkeys(("content_state", "action", "secondary_action", "alert", "metadata"), "json")

_Init = TypeVar("_Init", bound=Callable[..., None])


def keeps_arguments(init: _Init) -> _Init:
    """Let an operator keep its own arguments as attributes of their names, and check them once it is made.

    Airflow reads templates from such attributes, and matches ``default_args`` and ``expand`` with the signature.

    Args:
        init: The operator's ``__init__``.
    """
    own = _own_parameters(init)

    @functools.wraps(init)
    def keep(self: Operator, **arguments: Any) -> None:
        _refuse_misspelt(type(self), arguments)
        kept = {name: plain(arguments.get(name, default), (name,)) for name, default in own.items()}
        for name, value in kept.items():
            setattr(self, name, value)
        init(self, **arguments)
        self._check(kept)

    return keep  # type: ignore[return-value]


def options_of(init: Callable[..., None]) -> tuple[str, ...]:
    """The arguments of an operator that say what is shown; all of them may be templates.

    Args:
        init: The operator's ``__init__``.
    """
    return tuple(name for name in _own_parameters(init) if name not in (*NAMES, *_SETTINGS))


def _own_parameters(init: Callable[..., None]) -> dict[str, Any]:
    """What an operator takes beside what every operator of Airflow does, with the defaults."""
    every = inspect.signature(init).parameters.values()
    return {one.name: one.default for one in every if one.kind is one.KEYWORD_ONLY}


def _refuse_misspelt(kind: type[Operator], arguments: Mapping[str, Any]) -> None:
    """Say what was meant by an argument that looks like one of ours; what looks like none is left to Airflow."""
    known = _known_arguments(kind)
    for name in arguments.keys() - set(known):
        from activitysmith_integrations.core.suggest import meant_option

        hint = _ADVICE.get(name) or meant_option(name, known)
        if hint:
            raise core.InvalidRequestError((name, f"is not an option; {hint}"))


@functools.cache
def _known_arguments(kind: type[Operator]) -> tuple[str, ...]:
    """What an operator takes, that of its bases included, as Airflow looks for it."""
    inits = [vars(one)["__init__"] for one in kind.mro() if "__init__" in vars(one)]
    every = [one for init in inits for one in inspect.signature(init).parameters.values()]
    return tuple(dict.fromkeys(one.name for one in every if one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD)))


class Operator(BaseOperator):
    """What the operators have in common."""

    stream_key: str | None
    activitysmith_conn_id: str
    deferrable: bool
    option_names: ClassVar[tuple[str, ...]]
    template_fields_renderers: ClassVar[dict[str, str]] = _JSON_FIELDS
    fail_at_once: ClassVar[frozenset[int]] = frozenset({400, 401, 402, 403})
    """Statuses after which somebody has to change something before the call can succeed."""

    @classmethod
    def partial(cls, **arguments: Any) -> OperatorPartial:
        """As for every operator; what is given here is checked like what an operator is made with.

        Args:
            arguments: Those that all mapped instances share.

        Raises:
            InvalidRequestError: An argument is misspelt, or a value that is no template breaks a rule of the API.
            ConfigurationError: A number of seconds or the connection's id is no such thing.
        """
        _refuse_misspelt(cls, arguments)
        own = {name: plain(arguments[name], (name,)) for name in (*NAMES, *cls.option_names) if name in arguments}
        arguments |= own
        cls._check(arguments)
        found: OperatorPartial = super().partial(**arguments)
        return found

    @classmethod
    def _check(cls, arguments: Mapping[str, Any]) -> None:
        """Refuse values that are wrong, when the DAG is parsed; templates are looked at when they are rendered."""
        templates.check_conn_id(arguments.get("activitysmith_conn_id", ActivitySmithHook.default_conn_name))
        for name in _FLAGS:
            if name in _known_arguments(cls) and not isinstance(arguments.get(name, True), bool):
                raise core.InvalidRequestError((name, f"must be True or False, not {quoted(arguments[name])}"))
        key = arguments.get("stream_key")
        options = given({name: arguments.get(name) for name in cls.option_names})
        if key is not None or options:
            from activitysmith_integrations.airflow import literals

            literals.check_key(key)
            cls._check_literals(options)

    @staticmethod
    def _check_literals(options: Mapping[str, Any]) -> None:
        """Refuse options with which no end can be shown; an operator that ends nothing has a check of its own."""
        from activitysmith_integrations.airflow import literals

        literals.check_end(options)

    @property
    def _written_key(self) -> str | None:
        """The stream as the user wrote it; this may be a rendered copy of the DAG's operator."""
        from activitysmith_integrations.airflow.dag_tasks import written_key

        dag = self.get_dag()
        return written_key(dag.get_task(self.task_id) if dag else self)

    def _options(self) -> dict[str, Any]:
        return given({name: getattr(self, name) for name in self.option_names})

    def render_template(
        self,
        content: Any,
        context: Context,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """Render one field: texts as texts, also in a DAG that renders native objects.

        Args:
            content: What the user wrote.
            context: What templates can name.
            jinja_env: Airflow's environment; the DAG's own are used.
            seen_oids: The ids of what upstream tasks returned, for a mapped operator: data, and no templates.

        Raises:
            AirflowFailException: The stream key or the connection renders to None or to nothing, or a value holds
                itself.
        """
        if seen_oids is not None and id(content) in seen_oids:
            return content
        how = templates.rendering(self.dag, self.get_template_env)
        name = next((field for field in self.template_fields if getattr(self, field) is content), None)
        if name is None:
            return super().render_template(content, context, jinja_env, seen_oids)
        known: Mapping[str, Any] = {**context}
        try:
            if name in NAMES:
                return templates.render_name(name, content, known, how.text)
            return templates.render(content, (name,), known, how)
        except core.InvalidRequestError as error:
            raise AirflowFailException(str(error)) from error

    def execute(self, context: Context, deferrals: int = 0) -> dict[str, Any]:
        """Make the call.

        Args:
            context: Airflow's.
            deferrals: How often this try has waited already.

        Returns:
            The service's answer as plain JSON; nothing in ``airflow tasks test``.

        Raises:
            AirflowFailException: The request, the key or the account has to change first.
            APIStatusError: The service failed, or asks to wait longer than this call may take.
            APIConnectionError: No answer arrived.
            NotFoundError: The service does not know the stream, and *missing_ok* is off.
        """
        from activitysmith_integrations.airflow.run import Run

        run = Run(context, self._written_key)
        if run.is_temporary:
            self.log.info(TASKS_TEST_SHOWS_NOTHING)
            return {}
        try:
            key = self.stream_key if self.stream_key is not None else run.stream_key
            answer = self._call(ActivitySmithHook(self.activitysmith_conn_id), key, run)
        except (core.InvalidRequestError, core.ConfigurationError) as error:
            raise AirflowFailException(str(error)) from error
        except core.APIStatusError as error:
            is_wrong_address = isinstance(error, core.NotFoundError) and not error.from_service
            if error.status_code in self.fail_at_once or is_wrong_address:
                raise AirflowFailException(str(error)) from error
            if self.deferrable and error.retryable and error.retry_after is not None and deferrals < _MAX_DEFERRALS:
                self._come_back_after(error.retry_after, deferrals + 1)
            raise
        return answer.to_json()

    def resume(self, context: Context, event: Mapping[str, Any] | None = None, deferrals: int = 1) -> dict[str, Any]:
        """Make the call after the wait that the service asked for.

        Args:
            context: Airflow's.
            event: The trigger's; it says nothing of use.
            deferrals: How often this try has waited.
        """
        return self.execute(context, deferrals)

    def _call(self, hook: ActivitySmithHook, key: str, run: Run) -> core.EndStreamResponse | core.StreamResponse:
        raise NotImplementedError

    def _come_back_after(self, seconds: float, deferrals: int) -> None:
        from airflow.providers.standard.triggers.temporal import TimeDeltaTrigger

        self.log.info("ActivitySmith asks to wait %.0f s; the task is deferred for that long.", seconds)
        trigger = TimeDeltaTrigger(timedelta(seconds=seconds))
        self.defer(trigger=trigger, method_name="resume", kwargs={"deferrals": deferrals})
