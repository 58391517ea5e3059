"""The sandbox's HTTP side, called in this process."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from support.in_process import client_of

from activitysmith_integrations.core.models.responses import EndStreamResponse, StreamResponse
from activitysmith_integrations.sandbox.app import create_app

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
PATH = "/api/live-activity/stream/etl"
JSON = {"Content-Type": "application/json"}
PROGRESS = {"content_state": {"title": "Load", "type": "progress", "percentage": 42}}


@pytest.fixture
def app() -> Starlette:
    return create_app(clock=lambda: NOON)


@pytest.fixture
def client(app: Starlette) -> Iterator[httpx.Client]:
    with client_of(app) as client:
        yield client


def delete(client: httpx.Client, path: str, body: Any) -> Any:
    return client.request("DELETE", path, json=body)


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
    answer = client.put(PATH, content=body, headers=JSON)
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


def test_too_many_requests_a_minute_are_answered_when_to_retry() -> None:
    client = client_of(create_app(requests_per_minute=2, clock=lambda: NOON))
    client.put(PATH, json=PROGRESS)
    client.delete(PATH)
    answer = client.delete(PATH)
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "60")
    assert set(answer.json()) == {"error", "message"}


def test_too_many_activities_are_answered_with_the_limit() -> None:
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
    client.put(PATH, content=b"{", headers={**JSON, "Authorization": "Bearer ask_secret"})
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
    client.put(PATH, content=body, headers=JSON)
    assert client.get("/sandbox/streams").json()["requests"][0]["body"] == json.loads(body)


def test_streams_and_requests_can_be_forgotten(client: httpx.Client) -> None:
    client.put(PATH, json=PROGRESS)
    assert client.delete("/sandbox/streams").status_code == 204
    assert client.get("/sandbox/streams").json() == {"streams": [], "requests": []}
    assert client.delete(PATH).status_code == 404


def test_index_names_every_route(client: httpx.Client) -> None:
    index = client.get("/sandbox").text
    for route in ["/live-activity/stream/{stream_key}", "/sandbox/streams", "/sandbox/limits", "/sandbox/faults"]:
        assert route in index


def test_unknown_route_is_answered_in_the_services_form(client: httpx.Client) -> None:
    answer = client.post("/api/live-activity/start", json={})
    assert (answer.status_code, answer.json()["error"]) == (404, "Not Found")
    answer = client.post(PATH, json={})
    assert (answer.status_code, answer.json()["error"]) == (405, "Method Not Allowed")
