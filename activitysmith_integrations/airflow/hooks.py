"""A Connection becomes a client."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypedDict, Unpack
from uuid import uuid4

from pydantic import SecretStr

from activitysmith_integrations import core
from activitysmith_integrations.airflow import needs_airflow
from activitysmith_integrations.airflow.compat import AirflowNotFoundException

with needs_airflow():
    from airflow.sdk import BaseHook

if TYPE_CHECKING:
    from airflow.sdk import Connection

    from activitysmith_integrations.core.models.requests import EndStreamMembers, StreamMembers

_EXTRAS = ("timeout", "max_retries")
_UNREADABLE = (
    "is set, but Airflow cannot read it; write "
    """'{"conn_type": "activitysmith", "password": "ask_..."}' or activitysmith://:ask_...@"""
)
_PORT = re.compile(r":\d*$")


class _ClientOptions(TypedDict, total=False):
    api_key: SecretStr
    base_url: str | None
    timeout: float
    retry: core.RetryPolicy


class ActivitySmithHook(BaseHook):
    """Ends, starts and updates Live Activity streams with an Airflow connection's key.

    The connection's type is ``activitysmith``. Its password is the API key; its host the base URL with scheme
    and path, empty for the service's own; the extras ``timeout`` (seconds for each step of one attempt) and
    ``max_retries`` (0 = never) are optional.

    Args:
        activitysmith_conn_id: The connection's id.
        retry: How long and how often a call repeats itself, instead of the default and the connection's
            ``max_retries``.
        kwargs: As for every hook.

    Raises:
        InvalidRequestError: An argument is misspelt.
    """

    conn_name_attr = "activitysmith_conn_id"
    default_conn_name = "activitysmith_default"
    conn_type = "activitysmith"
    hook_name = "ActivitySmith"

    def __init__(
        self, activitysmith_conn_id: str = default_conn_name, *, retry: core.RetryPolicy | None = None, **kwargs: Any
    ) -> None:
        if kwargs:
            from activitysmith_integrations.core.suggest import check_names

            check_names(kwargs, ("logger_name",), other=("activitysmith_conn_id", "retry"))
        super().__init__(**kwargs)
        self.activitysmith_conn_id = activitysmith_conn_id
        self.retry = retry

    def get_conn(self) -> core.ActivitySmithClient:
        """The client for the connection; use it in a ``with`` block to make many calls over one connection.

        Raises:
            AirflowNotFoundException: There is no such connection.
            ConfigurationError: The connection cannot be used; the message names it and the field.
        """
        return self._client

    @functools.cached_property
    def _client(self) -> core.ActivitySmithClient:
        return core.ActivitySmithClient(**self._options())

    async def get_async_conn(self) -> core.AsyncActivitySmithClient:
        """As :meth:`get_conn`, for the triggerer; a new client each time."""
        # The SDK's own asynchronous look-up deadlocks before 3.3.2, where it masks secrets synchronously; from
        # an asgiref thread the synchronous one is safe in every version.
        from asgiref.sync import sync_to_async

        return core.AsyncActivitySmithClient(**await sync_to_async(self._options)())

    def end_stream(self, stream_key: str, **members: Unpack[EndStreamMembers]) -> core.EndStreamResponse:
        """End a stream.

        Args:
            stream_key: The stream.
            members: As for :meth:`ActivitySmithClient.end_stream`, which also says what is raised.
        """
        with self.get_conn() as client:
            return client.end_stream(stream_key, **members)

    def stream(self, stream_key: str, **members: Unpack[StreamMembers]) -> core.StreamResponse:
        """Start or update a stream.

        Args:
            stream_key: The stream.
            members: As for :meth:`ActivitySmithClient.stream`, which also says what is raised.
        """
        with self.get_conn() as client:
            return client.stream(stream_key, **members)

    async def async_end_stream(self, stream_key: str, **members: Unpack[EndStreamMembers]) -> core.EndStreamResponse:
        """As :meth:`end_stream`, for the triggerer."""
        async with await self.get_async_conn() as client:
            return await client.end_stream(stream_key, **members)

    async def async_stream(self, stream_key: str, **members: Unpack[StreamMembers]) -> core.StreamResponse:
        """As :meth:`stream`, for the triggerer."""
        async with await self.get_async_conn() as client:
            return await client.stream(stream_key, **members)

    def test_connection(self) -> tuple[bool, str]:
        """Whether the service accepts the key: ends a stream that cannot exist and reads the answer.

        Nothing that anybody has is touched, and the message never holds the key.
        """
        try:
            # Airflow tests a form's values as a connection with an id that means nothing to anybody.
            options = client_options(_find_connection(self.activitysmith_conn_id), name="ActivitySmith connection")
            options["retry"] = core.RetryPolicy(max_retries=1, max_elapsed=10)
            with core.ActivitySmithClient(**options) as client:
                return _test(client)
        except core.ActivitySmithError as error:
            return False, f"{error}{_http_hint(error)}"

    def _options(self) -> _ClientOptions:
        options = client_options(_find_connection(self.activitysmith_conn_id))
        if self.retry is not None:
            options["retry"] = self.retry
        return options

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """The connection form of Airflow 3.1; later versions read the provider's own description."""
        from activitysmith_integrations.airflow.provider_info import get_provider_info

        behaviour = get_provider_info()["connection-types"][0]["ui-field-behaviour"]
        # Without form fields of their own, timeout and retries are written into the extra.
        return {
            "hidden_fields": [name for name in behaviour["hidden-fields"] if name != "extra"],
            "relabeling": behaviour["relabeling"],
            "placeholders": {**behaviour["placeholders"], "extra": '{"timeout": 10, "max_retries": 4}'},
        }


def _find_connection(conn_id: str) -> Connection:
    """A connection, from wherever Airflow keeps it.

    Args:
        conn_id: Its id.

    Raises:
        AirflowNotFoundException: There is none.
        ConfigurationError: It is no id, or its environment variable cannot be read.
    """
    from activitysmith_integrations.airflow.templates import check_conn_id

    check_conn_id(conn_id)
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException as error:
        found: Connection | None = _find_in_database(conn_id)
        if found is not None:
            return found
        variable = f"AIRFLOW_CONN_{conn_id.upper()}"
        if variable in os.environ:  # Airflow says why at debug level only (3.3)
            raise core.ConfigurationError((variable, _UNREADABLE)) from None
        raise error from None


def _find_in_database(conn_id: str) -> Any:
    """The connection as Airflow's database has it.

    ``airflow dags test`` calls a DAG's callbacks in its own process, where the SDK asks nobody (Airflow 3.3). The
    database answers there; where it must not be asked, as on workers, Airflow refuses.
    """
    try:
        from airflow.models.connection import Connection as Stored

        return Stored.get_connection_from_secrets(conn_id)
    except Exception:
        return None


def _test(client: core.ActivitySmithClient) -> tuple[bool, str]:
    try:
        client.end_stream(f"connection-test-{uuid4().hex}")
    except core.NotFoundError as error:
        # The service's own "not found" means that it accepted the key: the stream is rightly unknown.
        if not error.from_service:
            return False, str(error)
        if not _names_stream(error):
            return False, (
                f"{client.base_url} answers, but not as ActivitySmith's API does; the host of the connection is its "
                f"whole address, such as https://activitysmith.com/api. {error}"
            )
    return True, "ActivitySmith accepts the API key."


def _names_stream(error: core.NotFoundError) -> bool:
    """Whether an answer speaks of a stream; one of a wrong path speaks of the path at most."""
    texts = (str(value) for value in error.body.values()) if isinstance(error.body, Mapping) else ()
    return any("stream" in text.lower() and "/stream" not in text.lower() for text in texts)


def _http_hint(error: Exception) -> str:
    """What to do where TLS met a server that speaks plain HTTP (OpenSSL's own words for it)."""
    text = str(error).upper().replace(" ", "_")
    if "WRONG_VERSION_NUMBER" in text or "RECORD_LAYER_FAILURE" in text:
        return " The server seems to speak plain HTTP; if it is on this machine, begin the host with http://."
    return ""


def client_options(connection: Connection, *, name: str | None = None) -> _ClientOptions:
    """What a connection says about a client, whether it came from a form, JSON or a URI.

    Args:
        connection: The connection.
        name: What to call it in messages; its id by default.

    Raises:
        ConfigurationError: A field cannot be used; the message names the connection and the field.
    """
    name = name or f"connection {connection.conn_id!r}"
    try:
        if not connection.password:
            raise core.ConfigurationError(("password", "is empty; it is where the API key goes"))
        key = SecretStr(connection.password)
        options: _ClientOptions = {"api_key": key, "base_url": _base_url(connection)}
        extra = connection.extra_dejson
        if not isinstance(extra, Mapping):
            raise core.ConfigurationError(("extra", "must be a JSON object"))
        _refuse_misspelt(extra)
        if extra.get("timeout") not in (None, ""):
            options["timeout"] = _number("timeout", extra["timeout"])
        if extra.get("max_retries") not in (None, ""):
            retries = _number("max_retries", extra["max_retries"])
            if not retries.is_integer():
                raise core.ConfigurationError(("max_retries", f"{extra['max_retries']!r} is not a whole number"))
            options["retry"] = dataclasses.replace(core.RetryPolicy(), max_retries=int(retries))
        # The client knows the remaining rules; making one opens no connection.
        core.ActivitySmithClient(**options)
    except core.ConfigurationError as error:
        raise error.within(name) from None
    except ValueError as error:
        raise core.ConfigurationError((name, str(error))) from None
    return options


def _base_url(connection: Connection) -> str | None:
    """The base URL from a whole one in the host, or from the parts that a connection URI is cut into."""
    if not connection.host:
        return None
    scheme, _, rest = connection.host.rpartition("://")
    netloc, slash, path = rest.partition("/")
    schema = connection.schema or ""
    if schema in ("http", "https"):
        # Where other connection types keep the scheme.
        scheme, schema = scheme or schema, ""
    if connection.port and not _PORT.search(netloc):
        netloc = f"{netloc}:{connection.port}"
    if schema and not path.strip("/"):
        slash, path = "/", schema
    return f"{scheme or 'https'}://{netloc}{slash}{path}"


def _refuse_misspelt(extra: Mapping[str, Any]) -> None:
    """Other tools may keep extras of their own here, so only what looks like one of ours is refused."""
    from activitysmith_integrations.core.suggest import closest

    for name in extra:
        meant = closest(str(name).lower(), _EXTRAS, similarity=0.7)
        if meant and name not in _EXTRAS:
            raise core.ConfigurationError((str(name), f"is not an extra; did you mean {meant}?"))


def _number(field: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = -1.0
    if isinstance(value, bool) or not 0 <= number < float("inf"):
        raise core.ConfigurationError((field, f"{value!r} is not a number of 0 or more"))
    return number
