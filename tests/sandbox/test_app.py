"""The sandbox's HTTP side, called in this process."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from activitysmith_integrations.core.models import EndStreamResponse, StreamResponse
from activitysmith_integrations.sandbox.app import create_app

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
PATH = "/api/live-activity/stream/etl"
PROGRESS = {"content_state": {"title": "Load", "type": "progress", "percentage": 42}}


class InProcess(httpx.BaseTransport):
    """Calls an ASGI app from synchronous code.

    Args:
        app: The app.
    """

    def __init__(self, app: Starlette) -> None:
        self._transport = httpx.ASGITransport(app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return asyncio.run(self._handle(request))

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        answer = await self._transport.handle_async_request(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())


def client_of(app: Starlette, key: str | None = "ask_sandbox") -> httpx.Client:
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return httpx.Client(transport=InProcess(app), base_url="http://sandbox", headers=headers)


@pytest.fixture
def app() -> Starlette:
    return create_app(clock=lambda: NOON)


@pytest.fixture
def client(app: Starlette) -> Iterator[httpx.Client]:
    with client_of(app) as client:
        yield client


def delete(client: httpx.Client, path: str, body: Any) -> Any:
    return client.request("DELETE", path, json=body)


def misbehave(client: httpx.Client, **instruction: Any) -> Any:
    return client.post("/sandbox/misbehave", json=instruction)


def test_stream_is_started_and_ended_with_answers_that_the_models_understand(client: httpx.Client) -> None:
    started = StreamResponse.model_validate(client.put(PATH, json=PROGRESS).json())
    assert (started.operation, started.stream_key, started.devices_queued) == ("started", "etl", 1)
    ended = EndStreamResponse.model_validate(client.delete(PATH).json())
    assert (ended.operation, ended.activity_id, ended.timestamp) == ("ended", started.activity_id, NOON)
    again = EndStreamResponse.model_validate(client.delete(PATH).json())
    assert (again.activity_id, again.ignored) == (None, True)


def test_api_is_served_with_and_without_its_prefix(client: httpx.Client) -> None:
    client.put(PATH, json=PROGRESS)
    assert client.delete("/live-activity/stream/etl").json()["operation"] == "ended"


def test_two_activities_have_different_ids(client: httpx.Client) -> None:
    ids = {client.put(f"{PATH}-{number}", json=PROGRESS).json()["activity_id"] for number in range(4)}
    assert len(ids) == 4


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer ", "ask_sandbox", "Basic ask_sandbox"])
def test_request_without_a_bearer_token_is_unauthorized(authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = client_of(create_app(), key=None).put(PATH, json=PROGRESS, headers=headers)
    assert answer.status_code == 401
    assert set(answer.json()) == {"error", "message"}


@pytest.mark.parametrize(
    ("key", "status", "members"),
    [
        ("ask_bad", 401, {"error", "message"}),
        ("ask_bad_one", 401, {"error", "message"}),
        ("ask_nobilling", 402, {"error", "message", "upgrade_url", "trial_period"}),
        ("ask_forbidden", 403, {"error", "message"}),
    ],
)
def test_some_keys_try_out_what_a_key_can_do_wrong(
    client: httpx.Client, key: str, status: int, members: set[str]
) -> None:
    answer = client.put(PATH, json=PROGRESS, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == status
    assert set(answer.json()) == members
    assert client.get("/sandbox/streams").json()["streams"] == []


@pytest.mark.parametrize("key", ["", "a.b", "a%2Fb", "a/b", "etl__2026-11-23T00%3A00", "x" * 256, "%0A", "é"])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_illegal_stream_key_is_refused(client: httpx.Client, method: str, key: str) -> None:
    answer = client.request(method, f"/api/live-activity/stream/{key}", json=PROGRESS)
    assert (answer.status_code, answer.json()["error"]) == (400, "Invalid stream_key")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe\x00", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"content_state": NaN}', "not JSON"),
        (b'{"content_state": 1e999}', "not JSON"),
        (b"[]", "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b"{}", "content_state: is required"),
        (b'{"content_state": {"title": "x"}}', "content_state.type: is required"),
        (b'{"content_state": {"title": "x", "type": "progress", "percent": 4}}', "did you mean percentage"),
        (b'{"content_state": {"title": "x", "type": "timer", "color": null}}', "content_state.color: is null"),
        (b'{"content_state": {"title": "x", "type": "timer"}, "action": null}', "action: is null"),
        (b'{"content_state": {"title": "x", "type": "timer"}, "stream": 1}', "stream: is not a member"),
    ],
)
def test_illegal_body_is_refused_with_what_is_wrong(client: httpx.Client, body: bytes, message: str) -> None:
    answer = client.put(PATH, content=body)
    assert (answer.status_code, answer.json()["error"]) == (400, "Bad Request")
    assert message in answer.json()["message"]


def test_end_refuses_what_only_a_start_may_say(client: httpx.Client) -> None:
    client.put(PATH, json=PROGRESS)
    assert delete(client, PATH, {"channels": ["ops"]}).status_code == 400
    assert delete(client, PATH, {}).status_code == 200


def test_what_the_vendors_sdk_sends_unasked_is_accepted(client: httpx.Client) -> None:
    # SDK 1.14.0: timer members on every state, a method on every button, the older form of channels.
    state = {**PROGRESS["content_state"], "counts_down": True, "is_running": True}
    button = {"title": "Open", "type": "open_url", "url": "https://example.com", "method": "POST"}
    body = {"content_state": state, "action": button, "target": {"channels": ["ops"]}}
    assert client.put(PATH, json=body).status_code == 200


def test_key_that_is_not_there_is_not_found(client: httpx.Client) -> None:
    assert client.delete(PATH).status_code == 404


def test_too_many_requests_a_minute_are_told_when_to_come_back() -> None:
    client = client_of(create_app(requests_per_minute=2, clock=lambda: NOON))
    client.put(PATH, json=PROGRESS)
    client.delete(PATH)
    answer = client.delete(PATH)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "60")
    assert set(answer.json()) == {"error", "message"}


def test_too_many_activities_are_told_the_limit() -> None:
    client = client_of(create_app(max_concurrent=1))
    client.put(PATH, json=PROGRESS)
    answer = client.put(f"{PATH}-2", json=PROGRESS)
    assert answer.status_code == 429
    assert (answer.json()["limit"], answer.json()["active"]) == (1, 1)
    assert "Retry-After" not in answer.headers


def test_limits_change_at_run_time_and_null_lifts_them(client: httpx.Client) -> None:
    changed = client.put("/sandbox/limits", json={"max_concurrent": 1})
    assert changed.json() == {"max_concurrent": 1, "requests_per_minute": 60}
    client.put(f"{PATH}-1", json=PROGRESS)
    assert client.put(f"{PATH}-2", json=PROGRESS).status_code == 429
    client.put("/sandbox/limits", json={"max_concurrent": None, "requests_per_minute": None})
    assert {client.put(f"{PATH}-{number}", json=PROGRESS).status_code for number in range(100)} == {200}


@pytest.mark.parametrize("limits", [{"max_concurent": 1}, {"max_concurrent": 0}, {"max_concurrent": "1"}, [], True])
def test_illegal_limits_are_refused(client: httpx.Client, limits: Any) -> None:
    assert client.put("/sandbox/limits", json=limits).status_code == 400


def test_every_request_is_remembered_without_its_key(client: httpx.Client) -> None:
    client.put(PATH, json=PROGRESS)
    client.put(PATH, content=b"{", headers={"Authorization": "Bearer ask_secret"})
    client.headers.pop("Authorization")
    client.delete(PATH)
    answer = client.get("/sandbox/streams")
    assert "ask_sandbox" not in answer.text
    assert "ask_secret" not in answer.text
    first, second, third = answer.json()["requests"]
    assert first == {
        "time": "2026-11-23T12:00:00.000Z",
        "method": "PUT",
        "stream_key": "etl",
        "authorization": True,
        "body": PROGRESS,
        "status": 200,
        "operation": "started",
        "message": None,
    }
    assert (second["status"], second["body"], second["authorization"]) == (400, None, True)
    assert (third["method"], third["status"], third["authorization"]) == ("DELETE", 401, False)
    (stream,) = answer.json()["streams"]
    assert (stream["stream_key"], stream["live"]) == ("etl", True)


def test_body_is_remembered_as_it_came(client: httpx.Client) -> None:
    body = b'{"content_state": {"title": "half a pair: \\ud83d", "type": "value", "value": 7.0, "is_running": true}}'
    client.put(PATH, content=body)
    assert client.get("/sandbox/streams").json()["requests"][0]["body"] == json.loads(body)


def test_streams_and_requests_can_be_forgotten(client: httpx.Client) -> None:
    client.put(PATH, json=PROGRESS)
    assert client.delete("/sandbox/streams").status_code == 204
    assert client.get("/sandbox/streams").json() == {"streams": [], "requests": []}
    assert client.delete(PATH).status_code == 404


def test_fault_answers_the_next_requests_in_place_of_the_service(client: httpx.Client) -> None:
    client.put(PATH, json=PROGRESS)
    misbehave(client, times=2, status=503, headers={"Retry-After": "7"})
    answers = [client.delete(PATH) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert answers[0].headers["Retry-After"] == "7"
    assert answers[0].json()["error"] == "Service Unavailable"
    assert answers[2].json()["activity_id"] is not None
    remembered = client.get("/sandbox/streams").json()["requests"]
    assert [request["status"] for request in remembered] == [200, 503, 503, 200]


def test_faults_queue_up(client: httpx.Client) -> None:
    misbehave(client, times=1, status=500)
    answer = misbehave(client, times=1, status=599)
    assert answer.json() == {"misbehave": [{"times": 1, "status": 500}, {"times": 1, "status": 599}]}
    assert [client.delete(PATH).status_code for _ in range(3)] == [500, 599, 404]


def test_fault_for_one_key_leaves_the_others_alone(client: httpx.Client) -> None:
    misbehave(client, times=1, status=500, stream_key="other")
    assert client.put(PATH, json=PROGRESS).status_code == 200
    assert client.put("/live-activity/stream/other", json=PROGRESS).status_code == 500


def test_fault_can_be_called_off(client: httpx.Client) -> None:
    misbehave(client, times=9, status=500)
    assert client.delete("/sandbox/misbehave").status_code == 204
    assert client.put(PATH, json=PROGRESS).status_code == 200


@pytest.mark.parametrize(
    ("body", "content", "content_type"),
    [
        ("<html>Bad gateway</html>", b"<html>Bad gateway</html>", "text/plain; charset=utf-8"),
        ({"success": "perhaps"}, b'{"success": "perhaps"}', "application/json"),
        (None, b"null", "application/json"),
        ("", b"", "text/plain; charset=utf-8"),
    ],
)
def test_fault_answers_with_any_body(client: httpx.Client, body: Any, content: bytes, content_type: str) -> None:
    misbehave(client, times=1, body=body)
    answer = client.put(PATH, json=PROGRESS)
    assert (answer.status_code, answer.content, answer.headers["Content-Type"]) == (200, content, content_type)
    assert client.get("/sandbox/streams").json()["streams"] == []


@pytest.mark.parametrize("status", [200, 204, 302, 304])
def test_fault_with_a_status_that_is_no_error_has_an_empty_body(client: httpx.Client, status: int) -> None:
    misbehave(client, times=1, status=status)
    answer = client.put(PATH, json=PROGRESS, follow_redirects=False)
    assert (answer.status_code, answer.content) == (status, b"")


def test_fault_can_overwrite_a_header_of_the_usual_answer(client: httpx.Client) -> None:
    misbehave(client, times=1, headers={"content-type": "text/html", "X-Proxy": "yes"})
    answer = client.put(PATH, json=PROGRESS)
    assert answer.json()["operation"] == "started"
    assert (answer.headers.get_list("Content-Type"), answer.headers["X-Proxy"]) == (["text/html"], "yes")


def test_oversized_answer_is_still_the_answer(client: httpx.Client) -> None:
    misbehave(client, times=1, oversize=3_000_000)
    answer = client.put(PATH, json=PROGRESS)
    assert len(answer.content) == 3_000_000
    assert answer.json()["operation"] == "started"


def test_delayed_answer_is_the_usual_one(client: httpx.Client) -> None:
    misbehave(client, times=1, delay=0.001)
    assert client.put(PATH, json=PROGRESS).json()["operation"] == "started"


def test_a_fault_can_be_meant_for_one_method(client: httpx.Client) -> None:
    misbehave(client, times=1, method="DELETE", status=503)
    assert client.put(PATH, json=PROGRESS).status_code == 200
    assert client.delete(PATH).status_code == 503


def test_dripping_answer_comes_byte_by_byte(client: httpx.Client, app: Starlette) -> None:
    misbehave(client, times=1, body="drip", drip=0.001)
    messages = asyncio.run(answer_to_delete(app))
    assert [message.get("body") for message in messages] == [None, b"d", b"r", b"i", b"p", b""]
    assert (b"content-length", b"4") in messages[0]["headers"]


@pytest.mark.parametrize("fault", [{"delay": 3600}, {"drip": 3600}])
def test_client_that_goes_away_is_not_waited_for(client: httpx.Client, app: Starlette, fault: dict[str, Any]) -> None:
    misbehave(client, times=1, **fault)
    messages = asyncio.run(answer_to_delete(app, goes_away=True))
    assert all("body" not in message for message in messages)


async def answer_to_delete(app: Any, goes_away: bool = False) -> list[dict[str, Any]]:
    """What the app sends, message by message, to a client that waits for ever or hangs up at once."""
    incoming = [{"type": "http.request", "body": b"", "more_body": False}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if incoming:
            return incoming.pop()
        if not goes_away:
            await asyncio.Event().wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "DELETE", "path": PATH, "headers": [], "query_string": b""}
    await app(scope, receive, send)
    return sent


@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        ({}, "times"),
        ({"times": 0, "status": 500}, "times"),
        ({"times": True, "status": 500}, "times"),
        ({"times": 1, "statsu": 500}, "statsu: is not a member"),
        ({"times": 1, "status": 99}, "status"),
        ({"times": 1, "status": 600}, "status"),
        ({"times": 1, "status": "500"}, "status"),
        ({"times": 1, "delay": -1}, "delay"),
        ({"times": 1, "late": 61}, "late"),
        ({"times": 1, "method": "GET"}, "method"),
        ({"times": 1, "headers": {"X": "a\r\nb"}}, "headers.X"),
        ({"times": 1, "headers": {"X Y": "a"}}, "headers.X Y"),
        ({"times": 1, "headers": {"X": 1}}, "headers.X"),
        ({"times": 1, "headers": {"Content-Length": "1"}}, "truncate"),
        ({"times": 1, "status": 204, "body": "x"}, "204 has no body"),
        ({"times": 1, "oversize": 10**12}, "oversize"),
        ([], "must be a JSON object"),
    ],
)
def test_illegal_fault_is_refused_with_what_is_wrong(client: httpx.Client, instruction: Any, message: str) -> None:
    answer = client.post("/sandbox/misbehave", json=instruction)
    assert (answer.status_code, answer.json()["error"]) == (400, "Bad Request")
    assert message in answer.json()["message"]
    assert client.put(PATH, json=PROGRESS).status_code == 200


@pytest.mark.parametrize("fault", ["drop", "truncate"])
def test_broken_connection_is_refused_where_the_server_cannot_break_it(client: httpx.Client, fault: str) -> None:
    assert misbehave(client, times=1, **{fault: True}).status_code == 501


def test_index_names_every_route(client: httpx.Client) -> None:
    index = client.get("/sandbox").text
    for route in ["/live-activity/stream/{stream_key}", "/sandbox/streams", "/sandbox/limits", "/sandbox/misbehave"]:
        assert route in index


def test_unknown_route_is_answered_in_the_services_form(client: httpx.Client) -> None:
    answer = client.post("/api/live-activity/start", json={})
    assert (answer.status_code, answer.json()["error"]) == (404, "Not Found")
    answer = client.post(PATH, json={})
    assert (answer.status_code, answer.json()["error"]) == (405, "Method Not Allowed")
