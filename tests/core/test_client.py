import asyncio
import multiprocessing
import os
import pickle
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from pydantic import SecretStr
from support.peer import read_request
from support.service import ENDED, KEY, QUICK, STARTED, Service

from activitysmith_integrations.core import (
    ActivitySmithClient,
    ActivitySmithError,
    AlertState,
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AsyncActivitySmithClient,
    AuthenticationError,
    BadRequestError,
    BillingError,
    ConfigurationError,
    EndStreamRequest,
    EndStreamResponse,
    InvalidRequestError,
    InvalidResponseError,
    NoRecipientsError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RetryPolicy,
    ServerError,
    StreamRequest,
    StreamResponse,
)

DONE = {"title": "Nightly", "type": "progress", "percentage": 100}


# What is sent


def test_ending_without_a_state_sends_a_delete_without_a_body(call: Any, service: Service) -> None:
    answer = call("end_stream", "nightly")
    (request,) = service.requests
    assert (request.method, str(request.url)) == (
        "DELETE",
        "https://activitysmith.com/api/live-activity/stream/nightly",
    )
    assert request.content == b""
    assert "Content-Type" not in request.headers
    assert (answer.operation, answer.activity_id) == ("ended", "a1")


def test_ending_sends_exactly_what_was_given(call: Any, service: Service) -> None:
    body = {
        "content_state": {"title": "x", "metrics": [{"label": "CPU", "value": 7}, {"label": "MEM", "value": 7.5}]},
        "action": {"title": "Open", "type": "open_url", "url": "https://example.com"},
        "secondary_action": {"title": "Run", "type": "webhook", "url": "https://example.com", "body": {"a": None}},
        "alert": {"title": "t", "body": "b"},
        "tags": ["a"],
        "metadata": {"run": "r", "n": 1, "f": 0.5, "ok": True},
    }
    call("end_stream", "nightly", **body)
    assert service.bodies == [body]
    assert b'"value":7}' in service.requests[0].content


def test_empty_tags_and_metadata_are_sent_because_they_clear(call: Any, service: Service) -> None:
    call("end_stream", "nightly", tags=[], metadata={})
    assert service.bodies == [{"tags": [], "metadata": {}}]


def test_streaming_puts_the_state(call: Any, service: Service) -> None:
    service.will_answer(httpx.Response(200, json=STARTED))
    answer = call("stream", "nightly", content_state=DONE, channels=["ops"])
    assert service.requests[0].method == "PUT"
    assert service.bodies == [{"content_state": DONE, "channels": ["ops"]}]
    assert answer.operation == "started"


def test_a_model_is_sent_with_its_type_and_nothing_else(call: Any, service: Service) -> None:
    call("end_stream", "nightly", content_state=AlertState(title="t", message="m", subtitle=None))
    assert service.bodies == [{"content_state": {"title": "t", "type": "alert", "message": "m"}}]


def test_a_request_is_built_once_and_sent_to_many_streams(call: Any, service: Service) -> None:
    end = EndStreamRequest(content_state=DONE, tags=["a"])
    for key in ("nightly", "hourly"):
        assert isinstance(call("send", key, end), EndStreamResponse)
    assert [request.method for request in service.requests] == ["DELETE", "DELETE"]
    assert service.bodies == [{"content_state": DONE, "tags": ["a"]}] * 2


def test_a_request_to_start_is_sent_as_one(call: Any, service: Service) -> None:
    service.will_answer(httpx.Response(200, json=STARTED))
    assert isinstance(call("send", "nightly", StreamRequest(content_state=DONE)), StreamResponse)
    assert [request.method for request in service.requests] == ["PUT"]


def test_a_request_without_a_member_has_no_body_and_one_with_none_is_such_a_one(call: Any, service: Service) -> None:
    for end in (EndStreamRequest(), EndStreamRequest(content_state=None, tags=None)):
        call("send", "nightly", end)
    assert service.bodies == [None, None]


@pytest.mark.parametrize("request_", [None, DONE, "nightly", EndStreamRequest], ids=repr)
def test_what_is_no_request_is_refused(call: Any, service: Service, request_: Any) -> None:
    with pytest.raises(InvalidRequestError, match="request: must be an EndStreamRequest or a StreamRequest, not"):
        call("send", "nightly", request_)
    assert service.requests == []


def test_a_request_carries_the_key_and_says_who_sends_it(call: Any, service: Service) -> None:
    call("end_stream", "nightly")
    headers = service.requests[0].headers
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert headers["Accept"] == "application/json"
    assert headers["User-Agent"].startswith("activitysmith-integrations/")


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("", "is empty"),
        ("a/b", "'a/b' is not 1 to 255"),
        ("nightly\n", "is not 1 to 255"),
        ("x" * 256, "x… is not 1 to 255"),
        ("scheduled__2026-11-23T00:00:00+00:00", "stream_key()"),
        ("{{ dag.dag_id }}", "a template that was not rendered"),
        ("{% x %}", "a template that was not rendered"),
        (7, "must be a string, not int"),
    ],
)
def test_a_stream_key_the_service_would_refuse_is_never_sent(
    call: Any, service: Service, key: Any, message: str
) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        call("end_stream", key)
    assert message in str(refused.value)
    assert service.requests == []


def test_a_bad_member_is_refused_before_sending_with_its_path(call: Any, service: Service) -> None:
    with pytest.raises(ValueError, match=r"content_state\.mesage: is not a member; did you mean message\?"):
        call("stream", "nightly", content_state={"title": "x", "mesage": "m"})
    assert service.requests == []


# Where it goes and with which key


def test_key_and_base_url_come_from_the_environment(
    call: Any, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTIVITYSMITH_API_KEY", "ask_env")
    monkeypatch.setenv("ACTIVITYSMITH_BASE_URL", "http://localhost:8765/api/")
    call("end_stream", "nightly", client={"api_key": None})
    assert str(service.requests[0].url) == "http://localhost:8765/api/live-activity/stream/nightly"
    assert service.requests[0].headers["Authorization"] == "Bearer ask_env"


@pytest.mark.parametrize("url", ["http://127.0.0.2:1", "http://[::1]:1/x", "https://example.com/base"])
def test_plain_http_is_for_this_machine_only(call: Any, service: Service, url: str) -> None:
    call("end_stream", "nightly", client={"base_url": url})
    assert str(service.requests[0].url) == f"{url}/live-activity/stream/nightly"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://example.com", "plain http://"),
        ("http://10.0.0.1", "plain http://"),
        ("http://localhost.example.com", "plain http://"),
        ("activitysmith.com/api", "is no URL of the form"),
        ("ftp://example.com", "is no URL of the form"),
        ("https://", "is no URL of the form"),
        ("https://u:p@example.com", "no user name"),
        ("https://example.com?x=1", "query"),
        ("https://example.com#x", "fragment"),
        ("https://example.com/api?", "query"),
        (f"https://{'x' * 70}.example.com", "is no URL of the form"),
        ("https://example.com:99999", "99999 is no port"),
        ("https://example.com:0", "0 is no port"),
        ("https://example.com/\ud800", "is no URL of the form"),
        ("https://xn--0.example.com", "is no URL of the form"),
        ("https://XN--", "is no URL of the form"),
        ("http://[::1", "is no URL"),
        (7, "must be a string, not int"),
    ],
)
def test_a_base_url_the_key_must_not_travel_to_is_refused(flavor: str, url: Any, message: str) -> None:
    client = ActivitySmithClient if flavor == "sync" else AsyncActivitySmithClient
    with pytest.raises(ConfigurationError, match=f"base_url: .*{message}"):
        client(KEY, base_url=url)


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (None, "ACTIVITYSMITH_API_KEY: is not set; set it to the API key, or make the client with api_key=..."),
        ("", "is blank"),
        ("  ", "is blank"),
        ("ask_secret\n", "line break"),
        ("ask_secret\r\nX: y", "line break"),
        ('"ask_secret"', "quotation marks"),
        ("'ask_secret'", "quotation marks"),
        ("ask_sécret", "non-ASCII"),
        ("ask secret", "space"),
        ("ask_\x00secret", "control"),
        (b"ask_secret", "must be a string"),
    ],
)
def test_a_key_that_cannot_stand_in_a_header_is_refused_and_not_shown(
    flavor: str, key: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ACTIVITYSMITH_API_KEY", raising=False)
    client = ActivitySmithClient if flavor == "sync" else AsyncActivitySmithClient
    with pytest.raises(ConfigurationError) as refused:
        client(key)
    assert message in str(refused.value)
    assert "secret" not in str(refused.value)


def test_the_key_is_in_no_repr_and_a_client_does_not_pickle(flavor: str) -> None:
    client = (ActivitySmithClient if flavor == "sync" else AsyncActivitySmithClient)(SecretStr(KEY))
    assert KEY not in repr(client)
    assert KEY not in repr(vars(client))
    assert client.base_url in repr(client)
    with pytest.raises(TypeError, match="make one where it is used"):
        pickle.dumps(client)


@pytest.mark.parametrize("timeout", [-1, float("nan"), True, "10", 0])
def test_a_timeout_is_a_number_of_seconds(timeout: Any) -> None:
    with pytest.raises(ValueError, match=r"timeout: .* (is not a number of|leave no time)"):
        ActivitySmithClient(KEY, timeout=timeout)


# What comes back


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, BadRequestError),
        (401, AuthenticationError),
        (402, BillingError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (418, APIStatusError),
        (501, ServerError),
    ],
)
def test_a_status_that_cannot_pass_is_raised_at_once(
    call: Any, service: Service, status: int, error: type[APIStatusError]
) -> None:
    service.will_answer(httpx.Response(status, json={"error": "Nope", "message": "no\nway."}))
    with pytest.raises(APIStatusError) as raised:
        call("end_stream", "nightly")
    assert type(raised.value) is error
    assert raised.value.status_code == status
    assert raised.value.body == {"error": "Nope", "message": "no\nway."}
    assert f"ActivitySmith answered {status} (Nope: no way.)" in str(raised.value)
    assert len(service.requests) == 1


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_status_that_can_pass_is_tried_again(call: Any, service: Service, status: int) -> None:
    service.will_answer(httpx.Response(status), httpx.Response(status, text="<html>"))
    assert call("end_stream", "nightly", content_state=DONE).operation == "ended"
    assert service.bodies == [{"content_state": DONE}] * 3


def test_after_the_last_retry_the_last_error_is_raised(call: Any, service: Service) -> None:
    service.will_answer(*[httpx.Response(503)] * 3)
    with pytest.raises(ServerError, match="answered 503"):
        call("end_stream", "nightly")
    assert len(service.requests) == 3


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (httpx.ConnectError("refused"), APIConnectionError),
        (httpx.RemoteProtocolError("cut off"), APIConnectionError),
        (httpx.ReadTimeout("slow"), APITimeoutError),
        (httpx.PoolTimeout(""), APITimeoutError),
    ],
)
def test_a_failed_connection_is_tried_again_and_keeps_its_cause(
    call: Any, service: Service, failure: Exception, error: type[Exception]
) -> None:
    service.will_answer(failure)
    assert call("end_stream", "nightly").success
    service.will_answer(failure, failure, failure)
    with pytest.raises(APIConnectionError) as raised:
        call("end_stream", "nightly")
    assert type(raised.value) is error
    assert raised.value.__cause__ is failure
    assert "https://activitysmith.com/api" in str(raised.value)


def test_retry_after_is_obeyed_while_it_fits(call: Any, service: Service) -> None:
    service.will_answer(httpx.Response(429, headers={"Retry-After": "0.05"}))
    began = time.monotonic()
    call("end_stream", "nightly")
    assert time.monotonic() - began >= 0.05


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_beyond_the_budget_raises_at_once_with_the_wait(call: Any, service: Service, form: str) -> None:
    hour = {"seconds": "3600", "date": format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)}
    service.will_answer(httpx.Response(429, headers={"Retry-After": hour[form]}, json={"error": "Slow"}))
    with pytest.raises(RateLimitError) as raised:
        call("end_stream", "nightly")
    assert raised.value.retry_after == pytest.approx(3600, abs=10)
    assert "asks to wait" in str(raised.value)
    assert len(service.requests) == 1


def test_a_billing_error_says_where_to_upgrade(call: Any, service: Service) -> None:
    service.will_answer(
        httpx.Response(402, json={"error": "trial_expired", "upgrade_url": "https://activitysmith.com/upgrade"})
    )
    with pytest.raises(BillingError, match=r"trial_expired.*See https://activitysmith\.com/upgrade"):
        call("end_stream", "nightly")


def test_an_answer_that_repeats_the_key_is_quoted_without_it(call: Any, service: Service) -> None:
    service.will_answer(httpx.Response(401, json={"message": f"bad key {KEY}"}))
    with pytest.raises(AuthenticationError) as raised:
        call("end_stream", "nightly")
    assert "bad key ***" in str(raised.value)
    assert KEY not in repr(raised.value) + repr(raised.value.body)


@pytest.mark.parametrize("key", ["a", "true", "stream"])
def test_a_key_that_occurs_in_an_answer_spoils_no_answer(call: Any, service: Service, key: str) -> None:
    assert call("end_stream", "nightly", client={"api_key": key}).stream_key == "nightly"


def test_a_key_is_cut_out_of_escaped_and_nested_texts_too(call: Any, service: Service) -> None:
    service.will_answer(httpx.Response(400, text='{"error": {"keys": ["ask_a\\/b"]}, "message": "ask_a\\/b"}'))
    with pytest.raises(BadRequestError) as raised:
        call("end_stream", "nightly", client={"api_key": "ask_a/b"})
    assert "ask_a" not in str(raised.value) + repr(raised.value)


def test_a_404_that_is_not_the_services_own_asks_for_the_base_url(call: Any, service: Service) -> None:
    service.will_answer(httpx.Response(404, json={"error": "Not Found"}), httpx.Response(404, text="<html>"))
    for from_service, message in ((True, "Check the stream key"), (False, "check that base_url is the address")):
        with pytest.raises(NotFoundError, match=message) as raised:
            call("end_stream", "nightly")
        assert raised.value.from_service is from_service
        assert pickle.loads(pickle.dumps(raised.value)).from_service is from_service


def test_a_404_for_want_of_recipients_asks_for_an_iphone_and_not_for_the_key(call: Any, service: Service) -> None:
    nobody = {"error": "No recipients found", "message": "No devices matched"}
    service.will_answer(httpx.Response(404, json=nobody))
    with pytest.raises(NoRecipientsError, match="Pair an iPhone") as raised:
        call("stream", "nightly", content_state=DONE)
    assert raised.value.from_service
    assert "stream key" not in str(raised.value)


def test_a_long_error_body_is_cut_in_the_message(call: Any, service: Service) -> None:
    service.will_answer(httpx.Response(418, text="x" * 5000))
    with pytest.raises(APIStatusError) as raised:
        call("end_stream", "nightly")
    assert len(str(raised.value)) < 400
    assert len(repr(raised.value)) < 2100


def test_a_redirect_is_not_followed_and_says_why(call: Any, service: Service) -> None:
    service.will_answer(httpx.Response(307, headers={"Location": "https://elsewhere.example/"}))
    with pytest.raises(APIStatusError, match=r"answered 307 .*not followed because it would carry the API key"):
        call("end_stream", "nightly")
    assert len(service.requests) == 1


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ({"text": "<html>sign in</html>"}, "not a JSON object"),
        ({"content": b"\xff\xfe"}, "not a JSON object"),
        ({"json": [1]}, "not a JSON object"),
        ({}, "not a JSON object"),
        ({"text": "[" * 100_000}, "not a JSON object"),
        ({"json": {"success": True}}, "look at operation, stream_key, timestamp"),
    ],
)
def test_a_success_that_makes_no_sense_is_an_invalid_response(
    call: Any, service: Service, answer: dict[str, Any], message: str
) -> None:
    service.will_answer(httpx.Response(200, **answer))
    with pytest.raises(InvalidResponseError, match=message):
        call("end_stream", "nightly")
    assert len(service.requests) == 1


def test_an_already_inactive_stream_is_a_success(call: Any, service: Service) -> None:
    service.will_answer(httpx.Response(200, json={**ENDED, "activity_id": None, "ignored": True}))
    answer = call("end_stream", "nightly")
    assert (answer.activity_id, answer.ignored) == (None, True)


def test_unknown_members_of_an_answer_are_kept(call: Any, service: Service) -> None:
    service.will_answer(httpx.Response(200, json={**ENDED, "brand_new": {"a": 1}}))
    answer = call("end_stream", "nightly")
    assert answer.to_json()["brand_new"] == {"a": 1}
    assert answer.to_json()["timestamp"].startswith("2026-11-23T12:10:00")


# Time, size and connections, over real sockets


def _options(base_url: str, **options: Any) -> dict[str, Any]:
    # With an hour for each step, only the call's own budget can end one that hangs.
    return {"api_key": KEY, "base_url": base_url, "retry": QUICK, "timeout": 3600, **options}


def test_a_given_client_is_held_to_the_time_between_two_reads_of_the_body(flavor: str, peer: Any) -> None:
    stop = threading.Event()

    def drip(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not stop.wait(0.02):
            connection.sendall(b"x")

    options = _options(peer(drip).base_url, retry=RetryPolicy(max_retries=0, max_elapsed=0.3))

    async def end_through_own_client() -> None:
        async with httpx.AsyncClient() as own:
            await AsyncActivitySmithClient(**options, http_client=own).end_stream("nightly")

    def end() -> None:
        if flavor == "async":
            asyncio.run(end_through_own_client())
        with httpx.Client() as own:
            ActivitySmithClient(**options, http_client=own).end_stream("nightly")

    with pytest.raises(APITimeoutError, match="time is up"):
        end()
    stop.set()


@pytest.mark.parametrize("announced", [True, False])
def test_an_oversized_answer_is_refused_without_reading_it_all(over_the_wire: Any, peer: Any, announced: bool) -> None:
    sent = []

    def flood(connection: socket.socket) -> None:
        read_request(connection)
        length = b"Content-Length: 1000000000\r\n" if announced else b"Connection: close\r\n"
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n")
        for _ in range(64):
            connection.sendall(b"x" * 1024 * 1024)
            sent.append(1)

    with pytest.raises(InvalidResponseError, match="larger than 1048576 bytes"):
        over_the_wire(_options(peer(flood).base_url), "end_stream", "nightly")
    assert len(sent) < 64


def _answer_for_ever(connection: socket.socket) -> None:
    body = httpx.Response(200, json=ENDED).content
    while True:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def test_one_client_uses_one_connection_for_many_calls_and_works_again_after_close(peer: Any) -> None:
    server = peer(_answer_for_ever)
    with ActivitySmithClient(KEY, base_url=server.base_url) as client:
        for _ in range(3):
            client.end_stream("nightly")
        assert server.connections == 1
        client.close()
        client.end_stream("nightly")
        assert server.connections == 2
    client.close()


def test_one_async_client_uses_one_connection_for_many_calls(peer: Any) -> None:
    server = peer(_answer_for_ever)

    async def run() -> None:
        async with AsyncActivitySmithClient(KEY, base_url=server.base_url) as client:
            for _ in range(3):
                await client.end_stream("nightly")
        await client.aclose()

    asyncio.run(run())
    assert server.connections == 1


def test_a_client_with_another_patience_uses_the_same_connections(peer: Any) -> None:
    server = peer(_answer_for_ever)
    with ActivitySmithClient(KEY, base_url=server.base_url) as client:
        client.with_retry(RetryPolicy(max_retries=0)).end_stream("nightly")
        client.end_stream("nightly")
    assert server.connections == 1


def _end_in_child(client: ActivitySmithClient, result: Any) -> None:
    result.put((os.getpid(), client.end_stream("nightly").operation))
    client.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_a_client_goes_on_working_in_a_forked_child_and_in_its_parent(peer: Any) -> None:
    server = peer(_answer_for_ever)
    fork = multiprocessing.get_context("fork")
    with ActivitySmithClient(KEY, base_url=server.base_url) as client:
        client.end_stream("nightly")
        result = fork.Queue()
        child = fork.Process(target=_end_in_child, args=(client, result))
        child.start()
        pid, operation = result.get()
        child.join()
        assert (pid == os.getpid(), operation, child.exitcode) == (False, "ended", 0)
        client.end_stream("nightly")
    assert server.connections == 2


def test_the_caller_can_catch_everything_at_the_root(call: Any, service: Service) -> None:
    service.will_answer(httpx.Response(400))
    with pytest.raises(ActivitySmithError):
        call("end_stream", "nightly")
