"""What the operators have in common: rendering, checks when the DAG is parsed, and what a failed call means."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

from activitysmith_integrations import core
from activitysmith_integrations.airflow import templates
from activitysmith_integrations.airflow.compat import AirflowFailException
from activitysmith_integrations.airflow.hooks import ActivitySmithHook

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context

    from activitysmith_integrations.airflow.run import Run

_MAX_DEFERRALS = 10
TASKS_TEST_SHOWS_NOTHING = "`airflow tasks test` shows nothing."
_JSON_FIELDS = dict.fromkeys(("content_state", "action", "secondary_action", "alert", "metadata"), "json")


class Operator(BaseOperator):
    """What the operators have in common: rendering, and what a failed call means for the task."""

    stream_key: str | None
    activitysmith_conn_id: str
    deferrable: bool
    template_fields_renderers: ClassVar[dict[str, str]] = _JSON_FIELDS
    fail_at_once: ClassVar[frozenset[int]] = frozenset({400, 401, 402, 403})
    """Statuses after which somebody has to change something before the call can succeed."""

    def _check_literals(self, options: Mapping[str, Any]) -> None:
        """Refuse values that are wrong, when the DAG is parsed; templates are looked at when they are rendered.

        Args:
            options: Those that were given, by name.

        Raises:
            InvalidRequestError: A value that is no template breaks a rule of the API.
        """
        raise NotImplementedError

    def _check(self) -> None:
        templates.check_conn_id(self.activitysmith_conn_id)
        options = self._options()
        if self.stream_key is not None or options:
            from activitysmith_integrations.airflow import literals

            literals.check_key(self.stream_key)
            self._check_literals(options)

    def _options(self) -> dict[str, Any]:
        names = (name for name in self.template_fields if name not in ("stream_key", "activitysmith_conn_id"))
        return templates.given({name: getattr(self, name) for name in names})

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
            seen_oids: Airflow's; not used.

        Raises:
            AirflowFailException: The stream key or the connection renders to None or to nothing.
        """
        found = templates.environments(self.dag, self.get_template_env)
        name = next((field for field in self.template_fields if getattr(self, field) is content), None)
        if name is None:
            return super().render_template(content, context, jinja_env, seen_oids)
        known: Mapping[str, Any] = {**context}
        if name in ("stream_key", "activitysmith_conn_id"):
            try:
                return templates.render_name(name, content, known, found.text)
            except core.InvalidRequestError as error:
                raise AirflowFailException(str(error)) from error
        return templates.render(content, (name,), known, found)

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

        run = Run(context)
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
