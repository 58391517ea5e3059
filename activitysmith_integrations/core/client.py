"""The clients: the only lines that send or sleep. Every decision they take is in ``wire`` and ``retry``."""

import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Generic, Required, Self, TypeAlias, TypedDict, TypeVar

import httpx
from pydantic import SecretStr

from activitysmith_integrations.core import retry as retrying
from activitysmith_integrations.core import transport, wire
from activitysmith_integrations.core.errors import ActivitySmithError, InvalidRequestError
from activitysmith_integrations.core.models import (
    AlertPayload,
    AnyAction,
    AnyState,
    EndStreamResponse,
    StreamResponse,
)
from activitysmith_integrations.core.retry import RetryPolicy

DEFAULT_TIMEOUT = 10.0

StateInput: TypeAlias = AnyState | Mapping[str, Any]
ActionInput: TypeAlias = AnyAction | Mapping[str, Any]
AlertInput: TypeAlias = AlertPayload | Mapping[str, Any]
MetadataInput: TypeAlias = Mapping[str, str | int | float | bool]


class EndStreamMembers(TypedDict, total=False):
    """The members of ``end_stream``, for functions that hand them on."""

    content_state: StateInput | None
    action: ActionInput | None
    secondary_action: ActionInput | None
    alert: AlertInput | None
    tags: Sequence[str] | None
    metadata: MetadataInput | None


class StreamMembers(EndStreamMembers, total=False):
    """The members of ``stream``, for functions that hand them on."""

    content_state: Required[StateInput]  # type: ignore[misc]  # narrower than there: a start shows something
    channels: Sequence[str] | None


AnswerT = TypeVar("AnswerT", EndStreamResponse, StreamResponse)
ClientT = TypeVar("ClientT", httpx.Client, httpx.AsyncClient)

# What httpx raises for a connection, and the loop over the body when time is up.
_CONNECTION_FAILURES = (httpx.TransportError, httpx.DecodingError, TimeoutError)


@dataclass
class _Budget:
    """The time and the attempts of one call."""

    policy: RetryPolicy
    started: float
    attempts: int = 0

    @property
    def deadline(self) -> float:
        return self.started + self.policy.max_elapsed

    def next_attempt(self, timeout: float) -> httpx.Timeout:
        """Count an attempt; the timeout of each of its steps."""
        self.attempts += 1
        return httpx.Timeout(max(min(timeout, self.deadline - time.monotonic()), 0.001))

    def next_delay(self, error: ActivitySmithError) -> float | None:
        """Seconds to wait before the next attempt, None to give up."""
        return retrying.next_delay(
            self.policy,
            retryable=error.retryable,
            retry_after=error.retry_after,
            attempts=self.attempts,
            elapsed=time.monotonic() - self.started,
            jitter=random.random(),
        )


@dataclass
class _Call(Generic[AnswerT]):
    """One call: what to send, how to read the answer, what is left of its time."""

    request: httpx.Request
    read: Callable[[httpx.Response, bytes], AnswerT]
    budget: _Budget

    def attempt(self, timeout: float) -> httpx.Request:
        """The request for the next attempt, with that attempt's timeouts."""
        self.request.extensions = {"timeout": self.budget.next_attempt(timeout).as_dict()}
        return self.request


class _Client(Generic[ClientT]):
    """What both clients are made of: options, requests and connections."""

    def __init__(
        self,
        api_key: str | SecretStr | None,
        base_url: str | None,
        timeout: float,
        retry: RetryPolicy,
        http_client: ClientT | None,
        make_http_client: Callable[..., ClientT],
    ) -> None:
        self._endpoint = wire.resolve_endpoint(api_key, base_url)
        retrying.check_seconds("timeout", timeout)
        if timeout == 0:
            raise ValueError("timeout: 0 seconds leave no time for a single step")
        self._timeout = timeout
        self._retry = retry
        self._given_http_client: ClientT | None = http_client
        self._make_http_client: Callable[..., ClientT] = make_http_client
        # By process: after a fork the parent's connections must stay open, and out of use.
        self._own_http_clients: dict[int, ClientT] = {}

    def __repr__(self) -> str:
        return f"{type(self).__name__}(base_url={self._endpoint.base_url!r})"

    @property
    def base_url(self) -> str:
        """Where calls go."""
        return self._endpoint.base_url

    def with_retry(self, retry: RetryPolicy) -> Self:
        """The same client with another patience; the two share their connections.

        Args:
            retry: How often and how long its calls repeat themselves.
        """
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__, _retry=retry)
        return twin

    def __getstate__(self) -> None:
        raise TypeError(f"{type(self).__name__} holds an API key and connections; make one where it is used")

    def _http_client(self) -> ClientT:
        if self._given_http_client is not None:
            return self._given_http_client
        client = self._own_http_clients.get(os.getpid())
        if client is not None:
            return client
        try:
            # Plain http:// is for this machine only, and a proxy is another machine.
            made = self._make_http_client(local=self.base_url.startswith("http:"))
        except (ImportError, ValueError) as error:
            raise InvalidRequestError(("HTTPS_PROXY, ALL_PROXY", f"cannot be used: {error}")) from None
        # Of two threads that get here together, both use the one that came first.
        return self._own_http_clients.setdefault(os.getpid(), made)

    def _take_own_http_client(self) -> ClientT | None:
        """The connections to close, if any were made in this process."""
        return self._own_http_clients.pop(os.getpid(), None)

    def _end_stream(self, stream_key: str, members: Mapping[str, Any]) -> _Call[EndStreamResponse]:
        return self._call(wire.end_stream_request(self._endpoint, stream_key, members), EndStreamResponse)

    def _stream(self, stream_key: str, members: Mapping[str, Any]) -> _Call[StreamResponse]:
        return self._call(wire.stream_request(self._endpoint, stream_key, members), StreamResponse)

    def _call(self, request: httpx.Request, answer: type[AnswerT]) -> _Call[AnswerT]:
        read = partial(wire.read_answer, self._endpoint, answer=answer)
        return _Call(request, read, _Budget(self._retry, time.monotonic()))


class ActivitySmithClient(_Client[httpx.Client]):
    """Ends, starts and updates streams.

    One client keeps its connections for many calls, is safe to share between threads, and goes on working
    in a forked child.

    Args:
        api_key: The API key; the environment variable ``ACTIVITYSMITH_API_KEY`` by default.
        base_url: Where the API is; ``ACTIVITYSMITH_BASE_URL``, then ``https://activitysmith.com/api`` by
            default. Plain ``http://`` only to this machine.
        timeout: Seconds for each step of one attempt (connecting, writing, each read).
        retry: How often and how long a call repeats itself; its ``max_elapsed`` bounds a call as a whole.
        http_client: Your own httpx client, for proxies or tests. It stays yours to close, and its
            transport decides how closely a stalled read keeps to the call's time.

    Raises:
        InvalidRequestError: There is no key, or the key or the base URL cannot be used.

    Examples:
        >>> with ActivitySmithClient() as client:  # doctest: +SKIP
        ...     client.end_stream("nightly-etl", content_state={"title": "Nightly ETL", "percentage": 100})
    """

    def __init__(
        self,
        api_key: str | SecretStr | None = None,
        *,
        base_url: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        retry: RetryPolicy = RetryPolicy(),
        http_client: httpx.Client | None = None,
    ) -> None:
        super().__init__(api_key, base_url, timeout, retry, http_client, transport.sync_client)

    def end_stream(
        self,
        stream_key: str,
        *,
        content_state: StateInput | None = None,
        action: ActionInput | None = None,
        secondary_action: ActionInput | None = None,
        alert: AlertInput | None = None,
        tags: Sequence[str] | None = None,
        metadata: MetadataInput | None = None,
    ) -> EndStreamResponse:
        """End a stream, with an optional last state to show. Ending it again is no error.

        Args:
            stream_key: The stream: 1 to 255 letters, digits, ``_`` and ``-``.
            content_state: The last state; the latest one that the service knows where left out. iOS shows it
                for two minutes unless its ``auto_dismiss_minutes`` or ``auto_dismiss_seconds`` say otherwise.
            action: A button.
            secondary_action: A second button, for alert, progress, segmented_progress and value.
            alert: A notification with sound and banner.
            tags: Strings of 1 to 64 characters that the history can be filtered by.
            metadata: Strings, finite numbers and booleans for the history; ``{}`` clears what was there.

        Raises:
            InvalidRequestError: The key or a member breaks a rule of the API; nothing was sent.
            NotFoundError: The service never knew the stream.
            APIStatusError: The service refused or failed; its subclasses say how.
            APIConnectionError: No answer arrived within the time allowed.
            InvalidResponseError: The answer made no sense.
        """
        return self._run(self._end_stream(stream_key, _members(locals())))

    def stream(
        self,
        stream_key: str,
        *,
        content_state: StateInput,
        action: ActionInput | None = None,
        secondary_action: ActionInput | None = None,
        alert: AlertInput | None = None,
        tags: Sequence[str] | None = None,
        metadata: MetadataInput | None = None,
        channels: Sequence[str] | None = None,
    ) -> StreamResponse:
        """Start a stream, or update it.

        Args:
            stream_key: The stream: 1 to 255 letters, digits, ``_`` and ``-``.
            content_state: The state to show now; the first one of a stream names its ``type``.
            action: A button.
            secondary_action: A second button, for alert, progress, segmented_progress and value.
            alert: A notification with sound and banner.
            tags: Strings of 1 to 64 characters; left out keeps the stream's, ``[]`` clears them.
            metadata: Strings, finite numbers and booleans; left out keeps the stream's, ``{}`` clears it.
            channels: Slugs of the channels whose members see it; the key's scope decides where left out.

        Raises:
            InvalidRequestError: The key or a member breaks a rule of the API; nothing was sent.
            NotFoundError: There is nobody to show it to.
            RateLimitError: Too many requests, or too many concurrent Live Activities.
            APIStatusError: The service refused or failed; its subclasses say how.
            APIConnectionError: No answer arrived within the time allowed.
            InvalidResponseError: The answer made no sense.
        """
        return self._run(self._stream(stream_key, _members(locals())))

    def _run(self, call: _Call[AnswerT]) -> AnswerT:
        while True:
            try:
                response, content = self._send(call.attempt(self._timeout), call.budget.deadline)
                return call.read(response, content)
            except ActivitySmithError as error:
                delay = call.budget.next_delay(error)
                if delay is None:
                    raise
            time.sleep(delay)

    def _send(self, request: httpx.Request, deadline: float) -> tuple[httpx.Response, bytes]:
        try:
            with transport.deadline(deadline):
                response = self._http_client().send(request, stream=True, auth=None, follow_redirects=False)
                try:
                    wire.refuse_oversized(wire.announced_size(response))
                    content = bytearray()
                    for chunk in response.iter_bytes():
                        content += chunk
                        wire.refuse_oversized(len(content))
                        wire.refuse_late(deadline)
                    return response, bytes(content)
                finally:
                    response.close()
        except _CONNECTION_FAILURES as error:
            failure, cause = wire.connection_error(self._endpoint, error)
            raise failure from cause

    def close(self) -> None:
        """Close the connections; the next call opens new ones."""
        client = self._take_own_http_client()
        if client is not None:
            client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncActivitySmithClient(_Client[httpx.AsyncClient]):
    """As :class:`ActivitySmithClient`, for asyncio: same arguments, same meanings, same errors.

    Its connections belong to the event loop of its first call; make one for each loop.

    Args:
        api_key: As there.
        base_url: As there.
        timeout: As there.
        retry: As there.
        http_client: Your own httpx client; it stays yours to close.

    Raises:
        InvalidRequestError: There is no key, or the key or the base URL cannot be used.
    """

    def __init__(
        self,
        api_key: str | SecretStr | None = None,
        *,
        base_url: str | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        retry: RetryPolicy = RetryPolicy(),
        http_client: httpx.AsyncClient | None = None,
    ) -> None:
        super().__init__(api_key, base_url, timeout, retry, http_client, transport.async_client)

    async def end_stream(
        self,
        stream_key: str,
        *,
        content_state: StateInput | None = None,
        action: ActionInput | None = None,
        secondary_action: ActionInput | None = None,
        alert: AlertInput | None = None,
        tags: Sequence[str] | None = None,
        metadata: MetadataInput | None = None,
    ) -> EndStreamResponse:
        """As :meth:`ActivitySmithClient.end_stream`."""
        return await self._run(self._end_stream(stream_key, _members(locals())))

    async def stream(
        self,
        stream_key: str,
        *,
        content_state: StateInput,
        action: ActionInput | None = None,
        secondary_action: ActionInput | None = None,
        alert: AlertInput | None = None,
        tags: Sequence[str] | None = None,
        metadata: MetadataInput | None = None,
        channels: Sequence[str] | None = None,
    ) -> StreamResponse:
        """As :meth:`ActivitySmithClient.stream`."""
        return await self._run(self._stream(stream_key, _members(locals())))

    async def _run(self, call: _Call[AnswerT]) -> AnswerT:
        while True:
            try:
                response, content = await self._send(call.attempt(self._timeout), call.budget.deadline)
                return call.read(response, content)
            except ActivitySmithError as error:
                delay = call.budget.next_delay(error)
                if delay is None:
                    raise
            import asyncio  # loaded anyhow where this runs; a script that ends one stream does without

            await asyncio.sleep(delay)

    async def _send(self, request: httpx.Request, deadline: float) -> tuple[httpx.Response, bytes]:
        try:
            with transport.deadline(deadline):
                response = await self._http_client().send(request, stream=True, auth=None, follow_redirects=False)
                try:
                    wire.refuse_oversized(wire.announced_size(response))
                    content = bytearray()
                    async for chunk in response.aiter_bytes():
                        content += chunk
                        wire.refuse_oversized(len(content))
                        wire.refuse_late(deadline)
                    return response, bytes(content)
                finally:
                    await response.aclose()
        except _CONNECTION_FAILURES as error:
            failure, cause = wire.connection_error(self._endpoint, error)
            raise failure from cause

    async def aclose(self) -> None:
        """Close the connections; the next call opens new ones."""
        client = self._take_own_http_client()
        if client is not None:
            await client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


def _members(arguments: dict[str, Any]) -> dict[str, Any]:
    """The body's members out of a method's ``locals()``: all of its arguments but these two."""
    return {name: value for name, value in arguments.items() if name not in ("self", "stream_key")}
