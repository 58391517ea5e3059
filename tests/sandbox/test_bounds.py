"""Bodies, numbers and numbers of things that are too large: refused or forgotten, and never an error of the sandbox."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from support.in_process import client_of

from activitysmith_integrations.sandbox.app import create_app
from activitysmith_integrations.sandbox.bodies import MAX_BODY_BYTES

STREAM = "/api/live-activity/stream/etl"
JSON = {"Content-Type": "application/json"}
PROGRESS = {"content_state": {"title": "Load", "type": "progress", "percentage": 42}}
WEBHOOK = {"title": "Retry", "type": "webhook", "url": "https://example.com"}
BODY_ROUTES = [("PUT", STREAM), ("DELETE", STREAM), ("PUT", "/sandbox/limits"), ("POST", "/sandbox/faults")]


@pytest.fixture
def app() -> Starlette:
    return create_app(max_concurrent=None, requests_per_minute=None)


@pytest.fixture
def client(app: Starlette) -> Iterator[httpx.Client]:
    with client_of(app) as client:
        yield client


class Upload:
    """An endless body, of which it counts what the app takes.

    Args:
        method: The request's method.
        path: Its path.
        headers: Its further headers.
    """

    def __init__(self, method: str, path: str, **headers: str) -> None:
        self.taken = 0
        named = {"host": "127.0.0.1", "transfer-encoding": "chunked", "content-type": "application/json", **headers}
        self._scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in named.items()],
        }
        self._messages: list[Any] = []

    def send_to(self, app: Any) -> int:
        """The status that it is answered."""
        asyncio.run(app(self._scope, self._receive, self._send))
        return int(self._messages[0]["status"])

    async def _receive(self) -> dict[str, Any]:
        assert self.taken < 10**9, "the app reads without end"
        self.taken += 50_000
        return {"type": "http.request", "body": b" " * 50_000, "more_body": True}

    async def _send(self, message: Any) -> None:
        self._messages.append(message)


@pytest.mark.parametrize(("method", "path"), BODY_ROUTES)
def test_an_endless_body_is_refused_once_it_is_too_large(app: Starlette, method: str, path: str) -> None:
    upload = Upload(method, path, authorization="Bearer ask_sandbox")
    assert upload.send_to(app) == 413
    assert upload.taken <= MAX_BODY_BYTES + 50_000


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ({}, 401),
        ({"authorization": "Bearer "}, 401),
        ({"authorization": "Bearer ask_bad"}, 401),
        ({"authorization": "Bearer ask_nobilling"}, 402),
        ({"authorization": "Bearer ask_forbidden"}, 403),
    ],
)
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_body_without_an_allowed_key_is_not_read(
    app: Starlette, method: str, authorization: dict[str, str], status: int
) -> None:
    upload = Upload(method, STREAM, **authorization)
    assert (upload.send_to(app), upload.taken) == (status, 0)


def test_a_body_without_an_allowed_key_is_not_kept(client: httpx.Client) -> None:
    del client.headers["Authorization"]
    client.put(STREAM, json=PROGRESS)
    (request,) = client.get("/sandbox/streams").json()["requests"]
    assert (request["status"], request["body"], request["authorization"]) == (401, None, False)


@pytest.mark.parametrize(("method", "path"), BODY_ROUTES)
def test_a_body_that_is_too_large_is_refused_with_the_limit(client: httpx.Client, method: str, path: str) -> None:
    body = json.dumps({"content_state": {"title": "x" * MAX_BODY_BYTES}})
    answer = client.request(method, path, content=body, headers=JSON)
    assert (answer.status_code, answer.json()["error"]) == (413, "Payload Too Large")
    assert "128 KiB" in answer.json()["message"]


def test_a_large_request_that_the_service_takes_is_taken(client: httpx.Client) -> None:
    metadata = {f"key{number}": "é" * 150 for number in range(50)}
    action = {**WEBHOOK, "body": {"rows": ["x" * 100] * 700}}
    body = {**PROGRESS, "metadata": metadata, "action": action}
    assert client.put(STREAM, json=body).json()["operation"] == "started"
    assert client.get("/sandbox/requests/1").json()["body"] == body


def with_value(path: str, value: str) -> str:
    """A body that the route takes where *value*, which is JSON, is any usual one."""
    if path == "/sandbox/limits":
        return f'{{"max_concurrent": {value}}}'
    if path == "/sandbox/faults":
        return f'{{"times": 1, "body": {value}}}'
    action = json.dumps({**WEBHOOK, "body": {"a": 1}}).replace("1", value)
    return f'{{"content_state": {json.dumps(PROGRESS["content_state"])}, "action": {action}}}'


@pytest.mark.parametrize("levels", [65, 200, 500, 900, 990, 5_000, 20_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]"), ("[", "")])
@pytest.mark.parametrize(("method", "path"), BODY_ROUTES)
def test_a_body_that_is_nested_too_deeply_is_refused(
    client: httpx.Client, method: str, path: str, levels: int, opening: str, closing: str
) -> None:
    client.put(STREAM, json=PROGRESS)
    body = with_value(path, opening * levels + "7" + closing * levels)
    answer = client.request(method, path, content=body[: MAX_BODY_BYTES - 1], headers=JSON)
    assert (answer.status_code, answer.json()["error"]) == (400, "Bad Request")


def test_a_body_that_is_nested_as_deep_as_anybody_needs_is_taken(client: httpx.Client) -> None:
    value: Any = 1
    for _ in range(50):
        value = [value]
    body = {**PROGRESS, "action": {**WEBHOOK, "body": {"a": value}}}
    assert client.put(STREAM, json=body).status_code == 200
    assert client.put(STREAM, json={**body, "action": {**WEBHOOK, "body": {"a": [value]}}}).status_code == 200
    assert client.get("/sandbox/streams").json()["streams"][0]["action"]["body"] == {"a": [value]}


ABSURD = ["1e999", "-1e999", "1" + "0" * 400, "-" + "9" * 5_000, "1" * 100_000, "1e" + "9" * 5_000, "NaN", "-Infinity"]


@pytest.mark.parametrize("number", ABSURD)
@pytest.mark.parametrize(
    "body",
    [
        '{"content_state": {"title": "x", "type": "value", "value": NUMBER}}',
        '{"content_state": {"title": "x", "type": "progress", "percentage": NUMBER}}',
        '{"content_state": {"title": "x", "type": "progress", "value": 1, "upper_limit": NUMBER}}',
        '{"content_state": {"title": "x", "type": "segmented_progress", "number_of_steps": NUMBER}}',
        '{"content_state": {"title": "x", "type": "timer", "duration_seconds": NUMBER}}',
        '{"content_state": {"title": "x", "type": "timer", "auto_dismiss_seconds": NUMBER}}',
        '{"content_state": {"title": "x", "type": "timer"}, "metadata": {"a": NUMBER}}',
    ],
)
def test_a_number_that_a_double_cannot_hold_is_refused(client: httpx.Client, body: str, number: str) -> None:
    client.put(STREAM, json=PROGRESS)
    for method in ("PUT", "DELETE"):
        answer = client.request(method, STREAM, content=body.replace("NUMBER", number), headers=JSON)
        assert (answer.status_code, answer.json()["error"]) == (400, "Bad Request")
        assert len(answer.content) < 500


LARGE = ["1e308", "-1e308", "5e-324", "1" + "0" * 308, "0." + "1" * 1000, "-0", "-0.0", "1e-400"]


@pytest.mark.parametrize("number", LARGE)
@pytest.mark.parametrize(
    "body",
    [
        '{"title": "x", "type": "value", "value": NUMBER}',
        '{"title": "x", "type": "progress", "value": NUMBER, "upper_limit": 1e308}',
        '{"title": "x", "type": "progress", "value": 1, "upper_limit": NUMBER}',
        '{"title": "x", "type": "segmented_progress", "number_of_steps": NUMBER, "current_step": 1}',
        '{"title": "x", "type": "timer", "duration_seconds": NUMBER}',
        '{"title": "x", "type": "timer", "auto_dismiss_minutes": NUMBER}',
        '{"title": "x", "type": "stats", "metrics": [{"label": "a", "value": NUMBER}, {"label": "b", "value": 1}]}',
        '{"title": "x", "type": "metrics", "metrics": [{"label": "a", "value": NUMBER}, {"label": "b", "value": 1}]}',
    ],
)
def test_any_number_that_a_double_can_hold_is_taken_or_refused_and_can_be_shown(
    app: Starlette, client: httpx.Client, body: str, number: str
) -> None:
    content = f'{{"content_state": {body.replace("NUMBER", number)}}}'
    answers = [client.request(method, STREAM, content=content, headers=JSON) for method in ("PUT", "PUT", "DELETE")]
    assert {answer.status_code for answer in answers} <= {200, 400, 404}
    assert client.get("/sandbox/streams").status_code == 200
    assert first_event(app)["fresh"] is True


def first_event(app: Any) -> dict[str, Any]:
    """What a page is sent when it connects."""

    async def view() -> dict[str, Any]:
        sent: asyncio.Queue[bytes] = asyncio.Queue()
        disconnected = asyncio.Event()

        async def receive() -> dict[str, Any]:
            await disconnected.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                sent.put_nowait(message["body"])

        headers = [(b"host", b"127.0.0.1")]
        scope = {"type": "http", "method": "GET", "path": "/sandbox/events", "headers": headers, "query_string": b""}
        serving = asyncio.create_task(app(scope, receive, send))
        event = (await sent.get()).decode()
        disconnected.set()
        await serving
        data: dict[str, Any] = json.loads(event.partition("\ndata: ")[2])
        return data

    return asyncio.run(view())


@pytest.mark.parametrize("text", ["\\ud83d", "\\ude00\\ud83d", "\\u0000", "\\ufffe\\uffff", "x" * 50_000, "é" * 20_000])
def test_any_text_is_taken_and_can_be_shown(app: Starlette, client: httpx.Client, text: str) -> None:
    state = f'{{"title": "{text}", "type": "alert", "message": "{text}", "icon": {{"symbol": "{text}"}}}}'
    alert = f'{{"title": "{text}", "body": "{text}"}}'
    for body in (f'{{"content_state": {state}}}', f'{{"content_state": {state}, "alert": {alert}}}'):
        answer = client.put(STREAM, content=body.encode()[:MAX_BODY_BYTES], headers=JSON)
        assert answer.status_code in (200, 400)
    assert client.get("/sandbox/streams").status_code == 200
    event = first_event(app)
    assert len(json.dumps(event)) < 50_000


def test_a_member_that_is_given_twice_counts_as_the_last(client: httpx.Client) -> None:
    content = '{"content_state": 1, "content_state": {"title": "a", "title": "b", "type": "timer"}}'
    assert client.put(STREAM, content=content, headers=JSON).status_code == 200
    assert client.get("/sandbox/streams").json()["streams"][0]["content_state"]["title"] == "b"


@pytest.mark.parametrize("key", ["k" * 255, "-", "_" * 255, "0"])
def test_a_key_of_any_legal_length_is_taken(client: httpx.Client, key: str) -> None:
    assert client.put(f"/live-activity/stream/{key}", json=PROGRESS).json()["stream_key"] == key
    assert client.delete(f"/live-activity/stream/{key}").status_code == 200


def test_a_key_that_is_too_long_is_logged_in_part(client: httpx.Client) -> None:
    assert client.put(f"/live-activity/stream/{'k' * 60_000}", json=PROGRESS).status_code == 400
    (request,) = client.get("/sandbox/streams").json()["requests"]
    assert request["stream_key"] == "k" * 255


def test_a_message_about_many_or_long_members_is_short(client: httpx.Client) -> None:
    for members in ({f"member{number}": 1 for number in range(1000)}, {"x" * 100_000: 1}):
        answer = client.put(STREAM, json={**PROGRESS, **members})
        assert answer.status_code == 400
        assert len(answer.json()["message"]) <= 1000


@pytest.mark.parametrize(
    "limits",
    [
        '{"max_concurrent": 1000000001}',
        '{"requests_per_minute": ' + "9" * 300 + "}",
        '{"max_concurrent": ' + "9" * 5000 + "}",
        '{"max_concurrent": 1e3}',
        '{"max_concurrent": -1}',
        '{"max_concurrent": [[1]]}',
    ],
)
def test_an_absurd_limit_is_refused(client: httpx.Client, limits: str) -> None:
    assert client.put("/sandbox/limits", content=limits, headers=JSON).status_code == 400


@pytest.mark.parametrize(
    "fault",
    [
        '{"times": 1000000001}',
        '{"times": ' + "9" * 5000 + "}",
        '{"times": 1, "delay": 1e308}',
        '{"times": 1, "drip": ' + "9" * 300 + "}",
        '{"times": 1, "oversize": 1e8}',
        '{"times": 1, "body": ' + "[" * 100 + "]" * 100 + "}",
        '{"times": 1, "status": 2e2}',
    ],
)
def test_an_absurd_fault_is_refused(client: httpx.Client, fault: str) -> None:
    assert client.post("/sandbox/faults", content=fault, headers=JSON).status_code == 400


def test_faults_that_wait_are_bounded_until_they_are_removed(client: httpx.Client) -> None:
    statuses = [client.post("/sandbox/faults", json={"times": 1, "delay": 1}).status_code for _ in range(201)]
    assert statuses == [200] * 200 + [429]
    client.delete("/sandbox/faults")
    large = {"times": 1, "body": "x" * 120_000}
    assert {client.post("/sandbox/faults", json=large).status_code for _ in range(8)} == {200}
    answer = client.post("/sandbox/faults", json=large)
    assert (answer.status_code, answer.json()["error"]) == (429, "Too many faults")
    client.delete("/sandbox/faults")
    assert client.post("/sandbox/faults", json={"times": 1, "status": 503}).status_code == 200


@pytest.mark.parametrize(
    "number", ["0", "-1", "9" * 15, "9" * 30, "1" * 5000, "1.0", "²", "\N{FULLWIDTH DIGIT ONE}", "x", "1%0A"]
)
def test_a_request_number_that_never_was_is_not_found(client: httpx.Client, number: str) -> None:
    client.put(STREAM, json=PROGRESS)
    assert client.get(f"/sandbox/requests/{number}").status_code == 404


def test_everything_that_is_kept_is_answered_in_pieces_between_which_others_are_answered(app: Starlette) -> None:
    async def run() -> tuple[int, int]:
        transport = httpx.ASGITransport(app)
        headers = {"Authorization": "Bearer ask_sandbox"}
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
            for number in range(1000):
                await client.put(f"/live-activity/stream/k{number}", json=PROGRESS)
            whole = asyncio.create_task(client.get("/sandbox/streams"))
            others = 0
            while not whole.done():
                assert (await client.get("/sandbox")).status_code == 200
                await asyncio.sleep(0)
                others += 1
            return others, len(whole.result().json()["streams"])

    others, streams = asyncio.run(run())
    assert others >= 3
    assert streams == 1000
