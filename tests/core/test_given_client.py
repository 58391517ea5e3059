"""An httpx client of the user's own behaves as its user expects, and what goes wrong in it is an error of ours."""

import asyncio
import socket
import traceback
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from support.peer import read_request
from support.service import ENDED, KEY, Service

from activitysmith_integrations.core import (
    ActivitySmithClient,
    APIConnectionError,
    APIStatusError,
    AsyncActivitySmithClient,
    ConfigurationError,
    InvalidResponseError,
    RateLimitError,
    RetryPolicy,
    ServerError,
)

ONCE = RetryPolicy(max_retries=0)


@pytest.fixture
def end(flavor: str, service: Service) -> Callable[..., Any]:
    """End a stream through an httpx client with these options, which asks the stand-in service."""

    def end_sync(hooks: dict[str, Any], **options: Any) -> Any:
        options = {"transport": httpx.MockTransport(service), **options}
        with httpx.Client(event_hooks=hooks, **options) as own:
            return ActivitySmithClient(KEY, http_client=own, retry=ONCE).end_stream("nightly", tags=["a"])

    async def end_async(hooks: dict[str, Any], **options: Any) -> Any:
        options = {"transport": httpx.MockTransport(service), **options}
        hooks = {name: [_awaited(hook) for hook in of_name] for name, of_name in hooks.items()}
        async with httpx.AsyncClient(event_hooks=hooks, **options) as own:
            return await AsyncActivitySmithClient(KEY, http_client=own, retry=ONCE).end_stream("nightly", tags=["a"])

    def end(hooks: dict[str, Any] | None = None, **options: Any) -> Any:
        if flavor == "sync":
            return end_sync(hooks or {}, **options)
        return asyncio.run(end_async(hooks or {}, **options))

    return end


def _awaited(hook: Callable[[Any], Any]) -> Callable[[Any], Any]:
    async def awaited(value: Any) -> None:
        result = hook(value)
        if result is not None and hasattr(result, "__await__"):
            await result

    return awaited


# What it is set up with counts


def test_its_headers_and_cookies_go_along_and_ours_win(end: Any, service: Service) -> None:
    defaults = {"X-Gateway": "token", "authorization": "Basic x", "User-Agent": "corp", "accept-encoding": "gzip"}
    end(headers=defaults, cookies={"session": "1"})
    headers = service.requests[0].headers
    assert headers["X-Gateway"] == "token"
    assert headers["Cookie"] == "session=1"
    assert headers.get_list("Authorization") == [f"Bearer {KEY}"]
    assert headers.get_list("Accept-Encoding") == ["identity"]
    assert headers["User-Agent"].startswith("activitysmith-integrations/")
    assert headers["Host"] == "activitysmith.com"


def test_its_auth_is_not_used_and_its_redirects_are_not_followed(end: Any, service: Service) -> None:
    service.will_answer(httpx.Response(307, headers={"Location": "https://elsewhere.example/"}))
    with pytest.raises(APIStatusError, match="answered 307"):
        end(auth=("user", "password"), follow_redirects=True)
    assert [request.headers["Authorization"] for request in service.requests] == [f"Bearer {KEY}"]


def test_its_event_hooks_see_and_change_what_is_sent(end: Any, service: Service) -> None:
    seen = []
    end(
        {
            "request": [lambda request: request.headers.update({"X-Trace": "7"})],
            "response": [lambda response: seen.append(response.status_code)],
        }
    )
    assert service.requests[0].headers["X-Trace"] == "7"
    assert seen == [200]


def test_its_mounts_count(end: Any, service: Service) -> None:
    other = Service()
    end(mounts={"https://activitysmith.com": httpx.MockTransport(other)})
    assert (len(service.requests), len(other.requests)) == (0, 1)


def test_it_stays_open(service: Service) -> None:
    with httpx.Client(transport=httpx.MockTransport(service)) as own:
        with ActivitySmithClient(KEY, http_client=own) as client:
            client.end_stream("nightly")
        assert not own.is_closed


def test_it_calls_over_real_connections(flavor: str, peer: Any) -> None:
    body = httpx.Response(200, json=ENDED).content

    def answer(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))

    async def end(base_url: str) -> Any:
        async with httpx.AsyncClient() as own:
            return await AsyncActivitySmithClient(KEY, base_url=base_url, http_client=own).end_stream("nightly")

    base_url = peer(answer).base_url
    if flavor == "async":
        assert asyncio.run(end(base_url)).success
    else:
        with httpx.Client() as own:
            assert ActivitySmithClient(KEY, base_url=base_url, http_client=own).end_stream("nightly").success


# What goes wrong


def test_one_of_the_wrong_kind_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"http_client: must be an httpx\.Client, not AsyncClient"):
        ActivitySmithClient(KEY, http_client=httpx.AsyncClient())  # type: ignore[arg-type]
    with (
        httpx.Client() as own,
        pytest.raises(ConfigurationError, match=r"http_client: must be an httpx\.AsyncClient, not Client"),
    ):
        AsyncActivitySmithClient(KEY, http_client=own)  # type: ignore[arg-type]


def test_a_closed_one_is_named_when_it_is_given_and_when_it_is_used(flavor: str) -> None:
    async def close(own: httpx.AsyncClient) -> None:
        await own.aclose()

    async def end(client: AsyncActivitySmithClient) -> None:
        await client.end_stream("nightly")

    if flavor == "sync":
        own = httpx.Client()
        client = ActivitySmithClient(KEY, http_client=own)
        own.close()
        with pytest.raises(ConfigurationError, match="http_client: is closed"):
            ActivitySmithClient(KEY, http_client=own)
        with pytest.raises(ConfigurationError, match=r"http_client: cannot send: .* has been closed"):
            client.end_stream("nightly")
    else:
        own_async = httpx.AsyncClient()
        async_client = AsyncActivitySmithClient(KEY, http_client=own_async)
        asyncio.run(close(own_async))
        with pytest.raises(ConfigurationError, match="http_client: is closed"):
            AsyncActivitySmithClient(KEY, http_client=own_async)
        with pytest.raises(ConfigurationError, match=r"http_client: cannot send: .* has been closed"):
            asyncio.run(end(async_client))


def _raise_for_status(response: httpx.Response) -> None:
    response.raise_for_status()


@pytest.mark.parametrize(("status", "error"), [(500, ServerError), (429, RateLimitError), (307, APIStatusError)])
def test_a_hook_that_raises_for_a_status_raises_ours(
    end: Any, service: Service, status: int, error: type[APIStatusError]
) -> None:
    service.will_answer(httpx.Response(status, headers={"Retry-After": "3600"}))
    with pytest.raises(error) as raised:
        end({"response": [_raise_for_status]})
    assert type(raised.value) is error
    assert (raised.value.status_code, raised.value.retry_after) == (status, 3600)


def test_a_status_that_a_hook_raises_for_is_tried_again_if_it_can_pass(service: Service) -> None:
    service.will_answer(httpx.Response(503))
    hooks = {"response": [_raise_for_status]}
    retry = RetryPolicy(initial_delay=0.001)
    with httpx.Client(transport=httpx.MockTransport(service), event_hooks=hooks) as own:
        assert ActivitySmithClient(KEY, http_client=own, retry=retry).end_stream("nightly").success
    assert len(service.requests) == 2


@pytest.mark.parametrize("when", ["request", "response"])
def test_a_hook_that_raises_anything_else_is_named_with_its_error(end: Any, when: str) -> None:
    def fail(_: object) -> None:
        raise LookupError("no token\nto be had")

    with pytest.raises(ConfigurationError, match="http_client: cannot send: LookupError: no token to be had") as raised:
        end({when: [fail]})
    assert isinstance(raised.value.__cause__, LookupError)


def test_a_hook_that_raises_shows_no_key_to_what_collects_local_variables(end: Any) -> None:
    def fail(_: object) -> None:
        raise LookupError("no token")

    with pytest.raises(ConfigurationError) as raised:
        end({"request": [fail]})
    shown = traceback.TracebackException.from_exception(raised.value, capture_locals=True)
    assert KEY not in "".join(shown.format())


def test_a_hook_that_raises_what_a_connection_does_is_a_connection_error(end: Any) -> None:
    def fail(_: object) -> None:
        raise httpx.ConnectError("refused")

    with pytest.raises(APIConnectionError, match="refused"):
        end({"request": [fail]})


def test_a_hook_may_read_the_response(flavor: str, end: Any) -> None:
    def read(response: httpx.Response) -> Any:
        return response.read() if flavor == "sync" else response.aread()

    assert end({"response": [read]}).activity_id == ENDED["activity_id"]


def test_what_a_hook_has_read_is_no_larger_than_any_other_answer(flavor: str, end: Any, service: Service) -> None:
    def read(response: httpx.Response) -> Any:
        return response.read() if flavor == "sync" else response.aread()

    service.will_answer(httpx.Response(200, stream=_Large()))
    with pytest.raises(InvalidResponseError, match="larger than"):
        end({"response": [read]})


class _Large(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Two megabytes whose length is not announced."""

    def __iter__(self) -> Any:
        yield b" " * 2_000_000

    async def __aiter__(self) -> Any:
        yield b" " * 2_000_000


def test_a_hook_that_takes_the_response_away_is_named(flavor: str, end: Any, service: Service) -> None:
    def close(response: httpx.Response) -> Any:
        return response.close() if flavor == "sync" else response.aclose()

    service.will_answer(httpx.Response(200, stream=_Large()))
    with pytest.raises(ConfigurationError, match="http_client: an event hook closed the response"):
        end({"response": [close]})


def test_an_encoded_answer_is_not_decoded(end: Any, service: Service) -> None:
    service.will_answer(httpx.Response(200, headers={"Content-Encoding": "gzip"}, stream=_Large()))
    with pytest.raises(InvalidResponseError, match=r"encoded \(gzip\)"):
        end()


def test_a_hooks_error_that_quotes_the_key_is_told_without_it(end: Any) -> None:
    def raise_with_key(request: httpx.Request) -> None:
        raise LookupError(f"unknown header {request.headers['authorization']}")

    with pytest.raises(ConfigurationError, match=r"cannot send: LookupError: .*\*\*\*") as caught:
        end({"request": [raise_with_key]})
    assert KEY not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_hook_that_takes_an_error_away_leaves_its_status(flavor: str, end: Any, service: Service) -> None:
    def close(response: httpx.Response) -> Any:
        return response.close() if flavor == "sync" else response.aclose()

    service.will_answer(httpx.Response(503, stream=_Large()))
    with pytest.raises(ServerError):
        end({"response": [close]})
