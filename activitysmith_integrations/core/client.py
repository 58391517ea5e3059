"""The clients: the only lines that send or sleep. Every decision they take is in ``wire`` and ``retry``."""

import asyncio
import os
import random
import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, Unpack, overload

import httpcore
import httpx
from pydantic import SecretStr

from activitysmith_integrations.core import config, retry as retrying, wire
from activitysmith_integrations.core.errors import (
    ActivitySmithError,
    APIStatusError,
    APITimeoutError,
    ConfigurationError,
    InvalidRequestError,
    RateLimitError,
    may_have_arrived,
)
from activitysmith_integrations.core.given_client import AsyncGivenClient, GivenClient
from activitysmith_integrations.core.models.requests import (
    EndStreamMembers,
    EndStreamRequest,
    StreamMembers,
    StreamRequest,
)
from activitysmith_integrations.core.models.responses import EndStreamResponse, StreamResponse
from activitysmith_integrations.core.retry import RetryPolicy
from activitysmith_integrations.core.transport import AsyncTransport, Transport

DEFAULT_TIMEOUT = 10.0
SECONDS_FOR_PLACE = 3.0

# Sockets count their waits in milliseconds of 32 bits, so they wait for 24 days at most. A day is enough.
_MAX_STEP = 24 * 3600.0

_TIMEOUTS = (httpcore.TimeoutException, httpx.TimeoutException, TimeoutError)
_CONNECTION_FAILURES = (
    *_TIMEOUTS,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpx.TransportError,
    # What a connection that another thread closes raises in the middle of a call.
    OSError,
)

GivenT = TypeVar("GivenT", GivenClient, AsyncGivenClient)


@dataclass
class _Call:
    """One call: what to send, and what is left of its time and attempts."""

    request: wire.WireRequest
    policy: RetryPolicy
    started: float
    attempts: int = 0
    last_error: APIStatusError | None = None
    may_have_arrived: bool = False

    @property
    def deadline(self) -> float:
        return self.started + self.policy.max_elapsed

    def attempt(self, timeout: float) -> float:
        """Count an attempt; the seconds for each of its steps."""
        self.attempts += 1
        return min(max(min(timeout, self.deadline - time.monotonic()), 0.001), _MAX_STEP)

    def next_delay(self, error: ActivitySmithError) -> float:
        """Seconds to wait before the next attempt.

        Raises:
            ActivitySmithError: There is none. The service's last answer says more than an attempt that the call's end
                cut short.
        """
        self.may_have_arrived = self.may_have_arrived or may_have_arrived(error)
        delay = self._delay_after(error)
        if delay is None:
            is_cut_short = isinstance(error, APITimeoutError) and time.monotonic() >= self.deadline
            error = self.last_error if is_cut_short and self.last_error else error
            # The frames that read the answer hold it, and it may repeat the API key.
            raise error.with_traceback(None)
        self.last_error = error if isinstance(error, APIStatusError) else None
        return delay

    def _delay_after(self, error: ActivitySmithError) -> float | None:
        # A place among the account's Live Activities is not free a second later, and each attempt costs a request.
        needs_place = isinstance(error, RateLimitError) and error.is_activity_limit
        return retrying.next_delay(
            self.policy,
            retryable=error.retryable and (self.policy.waits_for_place or not needs_place),
            retry_after=max(error.retry_after or 0.0, SECONDS_FOR_PLACE) if needs_place else error.retry_after,
            attempts=self.attempts,
            elapsed=time.monotonic() - self.started,
            jitter=random.random(),
        )

    def answer(self, answer: EndStreamResponse | StreamResponse) -> EndStreamResponse | StreamResponse:
        """The answer, which knows whether an earlier attempt may have been carried out."""
        answer._is_repeated = self.may_have_arrived
        return answer


class _Client(Generic[GivenT]):
    """What both clients have in common: options, requests and answers."""

    def __init__(
        self,
        api_key: SecretStr | None,
        base_url: str | None,
        timeout: float,
        retry: RetryPolicy,
        given_client: GivenT | None,
    ) -> None:
        self._endpoint = config.resolve_endpoint(api_key, base_url)
        retrying.check_seconds("timeout", timeout)
        if timeout == 0:
            raise ConfigurationError(("timeout", "0 seconds leave no time for a single step"))
        self._timeout = timeout
        self._retry = _check_retry(retry)
        self._given: GivenT | None = given_client

    def __repr__(self) -> str:
        # Tracebacks show an instance whose construction failed, too.
        endpoint = getattr(self, "_endpoint", None)
        return f"{type(self).__name__}(base_url={endpoint.base_url!r})" if endpoint else f"{type(self).__name__}(...)"

    @property
    def base_url(self) -> str:
        """Where calls go."""
        return self._endpoint.base_url

    def with_retry(self, retry: RetryPolicy) -> Self:
        """The same client with another retry policy; the two share their connections.

        Args:
            retry: How often and how long its calls repeat themselves.

        Raises:
            ConfigurationError: It is no policy.
        """
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__, _retry=_check_retry(retry))
        return twin

    def __getstate__(self) -> None:
        raise TypeError(f"{type(self).__name__} holds an API key and connections; make one where it is used")

    def _call(self, stream_key: str, request: EndStreamRequest | StreamRequest) -> _Call:
        if not isinstance(request, (EndStreamRequest, StreamRequest)):
            raise InvalidRequestError(
                ("request", f"must be an EndStreamRequest or a StreamRequest, not {type(request).__name__}")
            )
        return _Call(wire.build_request(self._endpoint, stream_key, request), self._retry, time.monotonic())

    def _failure(self, error: Exception, handled: BaseException | None) -> tuple[ActivitySmithError, Exception | None]:
        wire.forget_frames(error, until=handled)
        through = config.name_of_proxy(self._endpoint) if self._given is None else None
        return wire.connection_error(self._endpoint, error, is_timeout=isinstance(error, _TIMEOUTS), through=through)


def _check_retry(retry: Any) -> RetryPolicy:
    if not isinstance(retry, RetryPolicy):
        raise ConfigurationError(("retry", f"must be a RetryPolicy, not {type(retry).__name__}"))
    return retry


class ActivitySmithClient(_Client[GivenClient]):
    """Ends, starts and updates streams.

    One client keeps its connections for many calls, is safe to share between threads, and goes on working
    in a forked child. A signal handler must not use it, since the locks of httpcore's pools are not reentrant;
    ``advance`` and ``update`` of a :class:`~activitysmith_integrations.core.LiveActivity` may be called there.

    Args:
        api_key: The API key; the environment variable ``ACTIVITYSMITH_API_KEY`` by default.
        base_url: Where the API is; ``ACTIVITYSMITH_BASE_URL``, then ``https://activitysmith.com/api`` by
            default. Plain ``http://`` only to this machine.
        timeout: Seconds for each step of one attempt (connecting, writing, each read).
        retry: How often and how long a call repeats itself; its ``max_elapsed`` bounds a call as a whole.
        http_client: Your own httpx client, for proxies or tests. Its headers, cookies, event hooks and transport
            count, and where both name a header this client's wins; redirects are not followed, and its auth is not
            used. It stays yours to close, and its transport decides how closely a stalled read keeps to the call's
            time. Each process needs one of its own: httpx's connections are not to be used on both sides of a fork.

    Raises:
        ConfigurationError: There is no key, or an argument or a variable of the environment cannot be used. The proxy
            (``HTTPS_PROXY``, ``ALL_PROXY``, ``NO_PROXY``) and the certificates (``SSL_CERT_FILE``,
            ``SSL_CERT_DIR``) are looked at with the first call.

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
        api_key = config.hide(api_key)
        given_client = None if http_client is None else GivenClient(http_client)
        super().__init__(api_key, base_url, timeout, retry, given_client)
        # By process: after a fork the parent's connections must stay open, and out of use.
        self._transports: dict[int, Transport] = {}

    def end_stream(self, stream_key: str, **members: Unpack[EndStreamMembers]) -> EndStreamResponse:
        """End a stream, with an optional last state to show. Ending it again is no error.

        Args:
            stream_key: The stream: 1 to 255 letters, digits, ``_`` and ``-``.
            members: The members of :class:`~activitysmith_integrations.core.EndStreamRequest`.

        Raises:
            InvalidRequestError: The key or a member breaks a rule of the API; nothing was sent.
            NotFoundError: The service never knew the stream.
            APIStatusError: The service refused or failed; its subclasses say how.
            APIConnectionError: No answer arrived within the time allowed.
            InvalidResponseError: The answer made no sense.
        """
        return self.send(stream_key, EndStreamRequest(**members))

    def stream(self, stream_key: str, **members: Unpack[StreamMembers]) -> StreamResponse:
        """Start a stream, or update it.

        Args:
            stream_key: The stream: 1 to 255 letters, digits, ``_`` and ``-``.
            members: The members of :class:`~activitysmith_integrations.core.StreamRequest`.

        Raises:
            InvalidRequestError: The key or a member breaks a rule of the API; nothing was sent.
            NoRecipientsError: There is nobody to show it to.
            RateLimitError: Too many requests, or too many concurrent Live Activities.
            APIStatusError: The service refused or failed; its subclasses say how.
            APIConnectionError: No answer arrived within the time allowed.
            InvalidResponseError: The answer made no sense.
        """
        return self.send(stream_key, StreamRequest(**members))

    @overload
    def send(self, stream_key: str, request: EndStreamRequest) -> EndStreamResponse: ...

    @overload
    def send(self, stream_key: str, request: StreamRequest) -> StreamResponse: ...

    def send(self, stream_key: str, request: Any) -> Any:
        """Send a request that was built before, as :meth:`end_stream` and :meth:`stream` do, which say what is raised.

        Args:
            stream_key: The stream: 1 to 255 letters, digits, ``_`` and ``-``.
            request: The request.
        """
        call = self._call(stream_key, request)
        while True:
            try:
                return call.answer(wire.read_answer(self._endpoint, request, self._attempt(call)))
            except ActivitySmithError as error:
                delay = call.next_delay(error)
            time.sleep(delay)

    def _attempt(self, call: _Call) -> wire.WireResponse:
        handled = sys.exception()
        try:
            return (self._given or self._transport()).send(call.request, call.attempt(self._timeout), call.deadline)
        except _CONNECTION_FAILURES as error:
            failure, cause = self._failure(error, handled)
            raise failure from cause

    def _transport(self) -> Transport:
        found = self._transports.get(os.getpid())
        # Of two threads that get here together, both use the one that came first.
        return found or self._transports.setdefault(os.getpid(), Transport(self._endpoint))

    def close(self) -> None:
        """Close the connections. Calls that are under way keep theirs to their end, and the next one opens new ones."""
        transport = self._transports.pop(os.getpid(), None)
        if transport is not None:
            transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


class AsyncActivitySmithClient(_Client[AsyncGivenClient]):
    """:class:`ActivitySmithClient` for asyncio: the same arguments, meanings and errors.

    Each event loop has connections of its own, which :meth:`aclose` closes for the loop that it runs in.

    Args:
        api_key: The API key; the environment variable ``ACTIVITYSMITH_API_KEY`` by default.
        base_url: Where the API is; ``ACTIVITYSMITH_BASE_URL``, then ``https://activitysmith.com/api`` by default.
        timeout: Seconds for each step of one attempt (connecting, writing, each read).
        retry: How often and how long a call repeats itself.
        http_client: Your own httpx client, for the one event loop that it is used in; it stays yours to close.

    Raises:
        ConfigurationError: There is no key, or an argument or a variable of the environment cannot be used.
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
        api_key = config.hide(api_key)
        given_client = None if http_client is None else AsyncGivenClient(http_client)
        super().__init__(api_key, base_url, timeout, retry, given_client)
        self._transports: dict[asyncio.AbstractEventLoop, AsyncTransport] = {}

    async def end_stream(self, stream_key: str, **members: Unpack[EndStreamMembers]) -> EndStreamResponse:
        """End a stream; see :meth:`ActivitySmithClient.end_stream`."""
        return await self.send(stream_key, EndStreamRequest(**members))

    async def stream(self, stream_key: str, **members: Unpack[StreamMembers]) -> StreamResponse:
        """Start a stream, or update it; see :meth:`ActivitySmithClient.stream`."""
        return await self.send(stream_key, StreamRequest(**members))

    @overload
    async def send(self, stream_key: str, request: EndStreamRequest) -> EndStreamResponse: ...

    @overload
    async def send(self, stream_key: str, request: StreamRequest) -> StreamResponse: ...

    async def send(self, stream_key: str, request: Any) -> Any:
        """Send a request that was built before; see :meth:`ActivitySmithClient.send`."""
        call = self._call(stream_key, request)
        while True:
            try:
                return call.answer(wire.read_answer(self._endpoint, request, await self._attempt(call)))
            except ActivitySmithError as error:
                delay = call.next_delay(error)
            await asyncio.sleep(delay)

    async def _attempt(self, call: _Call) -> wire.WireResponse:
        handled = sys.exception()
        try:
            transport = self._given or self._transport()
            return await transport.send(call.request, call.attempt(self._timeout), call.deadline)
        except _CONNECTION_FAILURES as error:
            failure, cause = self._failure(error, handled)
            raise failure from cause

    def _transport(self) -> AsyncTransport:
        loop = asyncio.get_running_loop()
        for other in [other for other in self._transports if other.is_closed()]:
            del self._transports[other]
        found = self._transports.get(loop)
        if found is None or not found.is_usable:
            found = self._transports[loop] = AsyncTransport(self._endpoint)
        return found

    async def aclose(self) -> None:
        """Close the connections of this event loop, as :meth:`ActivitySmithClient.close` does."""
        transport = self._transports.pop(asyncio.get_running_loop(), None)
        if transport is not None:
            await transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
