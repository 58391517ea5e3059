"""Fault injection, called in this process."""

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from support.in_process import client_of

from activitysmith_integrations.sandbox.app import create_app

PATH = "/api/live-activity/stream/etl"
PROGRESS = {"content_state": {"title": "Load", "type": "progress", "percentage": 42}}


@pytest.fixture
def app() -> Starlette:
    return create_app()


@pytest.fixture
def client(app: Starlette) -> Iterator[httpx.Client]:
    with client_of(app) as client:
        yield client


def inject(client: httpx.Client, **fault: Any) -> Any:
    return client.post("/sandbox/faults", json=fault)


def test_fault_answers_the_next_requests_in_place_of_the_service(client: httpx.Client) -> None:
    client.put(PATH, json=PROGRESS)
    inject(client, times=2, status=503, headers={"Retry-After": "7"})
    answers = [client.delete(PATH) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert answers[0].headers["Retry-After"] == "7"
    assert answers[0].json()["error"] == "Service Unavailable"
    assert answers[2].json()["activity_id"] is not None
    remembered = client.get("/sandbox/streams").json()["requests"]
    assert [request["status"] for request in remembered] == [200, 503, 503, 200]


def test_faults_queue_up(client: httpx.Client) -> None:
    inject(client, times=1, status=500)
    answer = inject(client, times=1, status=599)
    assert answer.json() == {"faults": [{"times": 1, "status": 500}, {"times": 1, "status": 599}]}
    assert [client.delete(PATH).status_code for _ in range(3)] == [500, 599, 404]


def test_fault_for_one_key_leaves_the_others_alone(client: httpx.Client) -> None:
    inject(client, times=1, status=500, stream_key="other")
    assert client.put(PATH, json=PROGRESS).status_code == 200
    assert client.put("/live-activity/stream/other", json=PROGRESS).status_code == 500


def test_fault_can_be_called_off(client: httpx.Client) -> None:
    inject(client, times=9, status=500)
    assert client.delete("/sandbox/faults").status_code == 204
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
    inject(client, times=1, body=body)
    answer = client.put(PATH, json=PROGRESS)
    assert (answer.status_code, answer.content, answer.headers["Content-Type"]) == (200, content, content_type)
    assert client.get("/sandbox/streams").json()["streams"] == []


@pytest.mark.parametrize("status", [200, 204, 302, 304])
def test_fault_with_a_status_that_is_no_error_has_an_empty_body(client: httpx.Client, status: int) -> None:
    inject(client, times=1, status=status)
    answer = client.put(PATH, json=PROGRESS, follow_redirects=False)
    assert (answer.status_code, answer.content) == (status, b"")


def test_fault_can_overwrite_a_header_of_the_usual_answer(client: httpx.Client) -> None:
    inject(client, times=1, headers={"content-type": "text/html", "X-Proxy": "yes"})
    answer = client.put(PATH, json=PROGRESS)
    assert answer.json()["operation"] == "started"
    assert (answer.headers.get_list("Content-Type"), answer.headers["X-Proxy"]) == (["text/html"], "yes")


def test_oversized_answer_is_still_the_answer(client: httpx.Client) -> None:
    inject(client, times=1, oversize=3_000_000)
    answer = client.put(PATH, json=PROGRESS)
    assert len(answer.content) == 3_000_000
    assert answer.json()["operation"] == "started"


def test_delayed_answer_is_the_usual_one(client: httpx.Client) -> None:
    inject(client, times=1, delay=0.001)
    assert client.put(PATH, json=PROGRESS).json()["operation"] == "started"


def test_a_fault_can_be_meant_for_one_method(client: httpx.Client) -> None:
    inject(client, times=1, method="DELETE", status=503)
    assert client.put(PATH, json=PROGRESS).status_code == 200
    assert client.delete(PATH).status_code == 503


def test_dripping_answer_comes_byte_by_byte(client: httpx.Client, app: Starlette) -> None:
    inject(client, times=1, body="drip", drip=0.001)
    messages = asyncio.run(answer_to_delete(app))
    assert [message.get("body") for message in messages] == [None, b"d", b"r", b"i", b"p", b""]
    assert (b"content-length", b"4") in messages[0]["headers"]


@pytest.mark.parametrize("fault", [{"delay": 3600}, {"drip": 3600}])
def test_client_that_goes_away_is_not_waited_for(client: httpx.Client, app: Starlette, fault: dict[str, Any]) -> None:
    inject(client, times=1, **fault)
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

    scope = {
        "type": "http",
        "method": "DELETE",
        "path": PATH,
        "headers": [(b"host", b"127.0.0.1")],
        "query_string": b"",
    }
    await app(scope, receive, send)
    return sent


@pytest.mark.parametrize(
    ("instruction", "message"),
    [
        ({}, "says nothing of what goes wrong"),
        ({"times": 2, "method": "PUT"}, "says nothing of what goes wrong"),
        ({"drop": False, "truncate": False}, "says nothing of what goes wrong"),
        ({"status": None, "oversize": None, "drip": None}, "says nothing of what goes wrong"),
        ({"delay": 0, "late": 0, "headers": {}}, "says nothing of what goes wrong"),
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
    answer = client.post("/sandbox/faults", json=instruction)
    assert (answer.status_code, answer.json()["error"]) == (400, "Bad Request")
    assert message in answer.json()["message"]
    assert client.put(PATH, json=PROGRESS).status_code == 200


@pytest.mark.parametrize("fault", ["drop", "truncate"])
def test_broken_connection_is_refused_where_the_server_cannot_break_it(client: httpx.Client, fault: str) -> None:
    assert inject(client, times=1, **{fault: True}).status_code == 501
