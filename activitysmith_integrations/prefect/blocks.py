"""Blocks: an account's API key and how to reach the service; and a notification that ends a stream."""

from __future__ import annotations

import inspect
import re
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, Any, Self, cast

from prefect.blocks.abstract import CredentialsBlock, NotificationBlock, NotificationError
from prefect.blocks.core import Block
from prefect.utilities.asyncutils import run_coro_as_sync
from pydantic import AfterValidator, ConfigDict, Field, SecretStr, model_validator

from activitysmith_integrations import core
from activitysmith_integrations.core.config import resolve_endpoint
from activitysmith_integrations.core.errors import ConfigurationError, error_text
from activitysmith_integrations.core.keys import check_stream_key
from activitysmith_integrations.core.retry import RetryPolicy
from activitysmith_integrations.core.suggest import check_names
from activitysmith_integrations.prefect.runs import is_async_code

# Prefect's pages load it from here, and its test suite asks for a square bitmap of 45 to 1000 pixels.
_LOGO_URL = "https://github.com/ActivitySmithHQ.png?size=200"
_DOCUMENTATION_URL = "https://activitysmith.com/docs"

_RETRY = RetryPolicy()
_LOADING_RULE = "must be a block, not a coroutine: await ActivitySmithCredentials.aload(), or give its name"
_CREDENTIALS_RULE = "must be an ActivitySmithCredentials block or its name, not {}"
# Prefect's rule for the names of blocks (3.9). No API key keeps it: each has a "_" in it.
_NAME = re.compile(r"[a-z0-9-]+")
_NAME_RULE = (
    "must be a block's name (lower-case letters, digits, dashes); "
    "a key goes into a block, or into ACTIVITYSMITH_API_KEY"
)


class ActivitySmithCredentials(CredentialsBlock):
    """An ActivitySmith account's API key, and how its service is reached.

    A value that cannot be used says so when the block is made or loaded. It holds no connections, so it
    pickles; a pickle holds the key in clear, as it does for every block.

    Attributes:
        api_key: The API key.
        base_url: Where the API is.
        timeout: Seconds for each step of one attempt.
        max_retries: Repetitions of one call after its first attempt; None for as many as fit.
        max_elapsed: Seconds for a call with all of its repetitions.

    Example:
        ```python
        from activitysmith_integrations.prefect import ActivitySmithCredentials

        credentials = ActivitySmithCredentials.load("BLOCK_NAME")
        with credentials.get_client() as client:
            client.end_stream("nightly-etl")
        ```
    """

    _block_type_name = "ActivitySmith Credentials"
    _block_type_slug = "activitysmith-credentials"
    _logo_url = _LOGO_URL  # type: ignore[assignment]  # a plain string, as every integration writes it
    _documentation_url = _DOCUMENTATION_URL  # type: ignore[assignment]
    _description = "An ActivitySmith account's API key, to show flow runs as Live Activities: start, progress and end."

    # Pydantic would quote the fields, the key among them, in its message about a wrong one.
    model_config = ConfigDict(hide_input_in_errors=True, defer_build=True)

    api_key: SecretStr = Field(
        title="API key", description="The API key: ask_... from the ActivitySmith app or website."
    )
    base_url: str | None = Field(
        default=None,
        title="Base URL",
        description="Where the API is; the variable ACTIVITYSMITH_BASE_URL, then ActivitySmith itself by default.",
    )
    timeout: float = Field(
        default=10.0, title="Timeout", description="Seconds for each step of one attempt: connecting, sending, reading."
    )
    max_retries: int | None = Field(
        default=_RETRY.max_retries,
        title="Retries",
        description="How many times a call is repeated on faults that can pass; 0 for never, none for as often as the "
        "seconds in all allow.",
    )
    max_elapsed: float = Field(
        default=_RETRY.max_elapsed,
        title="Seconds in all",
        description="Seconds that one call may take with all of its waits and repetitions.",
    )

    if TYPE_CHECKING:  # what pydantic takes: a plain string is a key as well

        def __init__(
            self,
            *,
            api_key: SecretStr | str,
            base_url: str | None = None,
            timeout: float = 10.0,
            max_retries: int | None = _RETRY.max_retries,
            max_elapsed: float = _RETRY.max_elapsed,
        ) -> None: ...

    @model_validator(mode="after")
    def _usable(self) -> Self:
        _check_fields(self)
        self.get_client()
        return self

    def get_client(self, *, retry: RetryPolicy | None = None) -> core.ActivitySmithClient:
        """A client, which is the caller's to close.

        Args:
            retry: How the client repeats its calls; by default as the block says.
        """
        return core.ActivitySmithClient(**self._options(retry))

    def get_async_client(self, *, retry: RetryPolicy | None = None) -> core.AsyncActivitySmithClient:
        """A client for asyncio, which is the caller's to close.

        Args:
            retry: How the client repeats its calls; by default as the block says.
        """
        return core.AsyncActivitySmithClient(**self._options(retry))

    def _options(self, retry: RetryPolicy | None) -> dict[str, Any]:
        return {
            "api_key": self.api_key,
            "base_url": self.base_url or None,  # an empty form field is no URL
            "timeout": self.timeout,
            "retry": retry or RetryPolicy(max_retries=self.max_retries, max_elapsed=self.max_elapsed),
        }


class ActivitySmithNotification(NotificationBlock):
    """Ends a stream with an alert made of a notification's subject and body.

    It is for the automation action "Send a notification", on servers whose environment has this package: the
    server runs the block's code. Elsewhere, Prefect Cloud among them, use ``end_live_activity_stream_automation``. In
    async code, await :meth:`anotify`.

    Attributes:
        credentials: The account.
        stream_key: The stream to end.

    Example:
        ```python
        from activitysmith_integrations.prefect import ActivitySmithNotification

        notification = ActivitySmithNotification.load("BLOCK_NAME")
        notification.notify("The run needs a look", subject="Nightly ETL")
        ```
    """

    _block_type_name = "ActivitySmith Notification"
    _block_type_slug = "activitysmith-notification"
    _logo_url = _LOGO_URL  # type: ignore[assignment]
    _documentation_url = _DOCUMENTATION_URL  # type: ignore[assignment]
    _description = "Ends an ActivitySmith Live Activity with an alert. The server needs the package installed."

    # The credentials' own setting does not hold where they are validated within this block.
    model_config = ConfigDict(hide_input_in_errors=True)

    credentials: ActivitySmithCredentials = Field(description="The ActivitySmith account.")
    stream_key: Annotated[str, AfterValidator(check_stream_key)] = Field(
        title="Stream key",
        json_schema_extra={"pattern": r"^[A-Za-z0-9_-]{1,255}$"},
        description="The stream to end: 1 to 255 letters, digits, _ and -.",
    )

    @model_validator(mode="after")
    def _usable(self) -> Self:
        _check_fields(self)
        return self

    def notify(self, body: str, subject: str | None = None) -> Coroutine[Any, Any, None] | None:  # type: ignore[override]
        """End the stream: at once in sync code, and awaited in async code.

        A stream that does not run is started, so that the notification is seen, and ended with the same picture.

        Args:
            body: The alert's message; the subject where it is empty.
            subject: The alert's title; the stream key where there is none.

        Raises:
            NotificationError: The stream was not ended. Within ``raise_on_failure()`` only, as with every
                notification block; elsewhere it is logged. An automation on a server runs within it, and would
                deliver three times more after an error of any other class (Prefect 3.8).
        """
        notifying = self.anotify(body, subject)
        if is_async_code():
            return notifying
        run_coro_as_sync(notifying)
        return None

    async def anotify(self, body: str, subject: str | None = None) -> None:
        """:meth:`notify` for async code: the same arguments, meanings and errors."""
        from activitysmith_integrations.core.runs.ending import End, async_end_stream

        try:
            title, message = subject or self.stream_key, body or subject or self.stream_key
            request = core.EndStreamRequest(
                content_state=core.AlertState(title=title, message=message),
                alert=core.AlertPayload(title=title, body=message),
            )
            async with self.credentials.get_async_client() as client:
                end = End("failed", request, starts="where_inactive")
                result = await async_end_stream(client, self.stream_key, end)
            result.response(self.stream_key, missing_ok=False)
        except Exception as error:
            if self._raise_on_failure:
                raise NotificationError(error_text(error)) from error
            self.logger.error("Live Activity stream %r was not ended: %s", self.stream_key, error_text(error))


def _check_fields(block: Block) -> None:
    """Refuse fields that a block does not have: Prefect takes whatever is given, and adds some of its own."""
    given = {name: value for name, value in (block.model_extra or {}).items() if not name.startswith("_")}
    given.pop("block_type_slug", None)
    check_names(given, type(block).model_fields)


def from_environment() -> ActivitySmithCredentials:
    """The account that the environment names.

    Raises:
        ConfigurationError: ``ACTIVITYSMITH_API_KEY`` is not set, or it or the base URL cannot be used.
    """
    return ActivitySmithCredentials(api_key=resolve_endpoint(None, None).api_key)


async def resolve(credentials: ActivitySmithCredentials | str | None) -> ActivitySmithCredentials:
    """The account that a user named.

    Args:
        credentials: The block, its name (``"prod"`` or ``"activitysmith-credentials/prod"``), or None for the
            environment's.

    Raises:
        ConfigurationError: None was given, and the environment names none that can be used; or it is something else,
            such as a key, which the message does not quote.
        ValueError: Prefect's own, where there is no block of that name, or its values cannot be used.
    """
    if isinstance(credentials, str):
        return await ActivitySmithCredentials.aload(_checked_name(credentials))
    return _block_or_environment(credentials)


def resolve_now(credentials: ActivitySmithCredentials | str | None) -> ActivitySmithCredentials:
    """:func:`resolve` for sync code, whether or not an event loop runs in its thread, or the process is exiting."""
    if isinstance(credentials, str):
        # Prefect's own switch, without which async flows get a coroutine; its type leaves it out (3.6 to 3.9).
        loaded: Any = ActivitySmithCredentials.load(_checked_name(credentials), _sync=True)  # type: ignore[call-arg]
        return cast(ActivitySmithCredentials, loaded)
    return _block_or_environment(credentials)


def _block_or_environment(credentials: ActivitySmithCredentials | None) -> ActivitySmithCredentials:
    if credentials is None:
        return from_environment()
    _check_block(credentials)
    return credentials


def name_or_block(credentials: ActivitySmithCredentials | str | None) -> ActivitySmithCredentials | str | None:
    """A block's name where it was saved or loaded, so that what keeps the name holds no key; else the block itself.

    Args:
        credentials: The block, its name, or None.

    Raises:
        ConfigurationError: It is something else, such as a key, which the message does not quote.
    """
    if credentials is None:
        return None
    if isinstance(credentials, str):
        return _checked_name(credentials)
    _check_block(credentials)
    return _saved_name(credentials) or credentials


def _checked_name(given: str) -> str:
    """A block's name without its type, if it can be one. What cannot may be a key, so no message quotes it."""
    name = given.removeprefix(f"{ActivitySmithCredentials.get_block_type_slug()}/")
    if not _NAME.fullmatch(name):
        raise ConfigurationError(("credentials", _NAME_RULE))
    return name


def _check_block(given: object) -> None:
    if inspect.iscoroutine(given):  # ActivitySmithCredentials.load() makes one where an event loop runs
        given.close()
        raise ConfigurationError(("credentials", _LOADING_RULE))
    if not isinstance(given, ActivitySmithCredentials):
        raise ConfigurationError(("credentials", _CREDENTIALS_RULE.format(type(given).__name__)))


def _saved_name(block: Block) -> str | None:
    try:
        return block.get_block_placeholder().rpartition(".")[2]
    except RuntimeError:  # Prefect's way to say that it was never saved
        return None
