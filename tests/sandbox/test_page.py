"""The page's files and its events, called in this process."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette

from activitysmith_integrations.sandbox.app import create_app

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
FILES = {
    "/": "text/html",
    "/sandbox/page/page.css": "text/css",
    "/sandbox/page/page.js": "text/javascript",
    "/sandbox/page/cards.css": "text/css",
}


class Time:
    """A clock that moves only when it is set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def later(self, **duration: float) -> None:
        self.now = NOON + timedelta(**duration)


@pytest.fixture
def clock() -> Time:
    return Time()


@pytest.fixture
def app(clock: Time) -> Starlette:
    return create_app(max_concurrent=None, requests_per_minute=None, clock=clock)


def client_of(app: Starlette, host: str = "127.0.0.1:8765") -> httpx.AsyncClient:
    headers = {"Authorization": "Bearer ask_sandbox"}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=f"http://{host}", headers=headers)


class Viewer:
    """One open page.

    Args:
        sent: What the app sends, event by event.
    """

    def __init__(self, sent: "asyncio.Queue[bytes]") -> None:
        self._sent = sent

    async def next_event(self) -> dict[str, Any]:
        """The next event."""
        raw = await self._sent.get()
        name, data, *_ = raw.decode().split("\n")
        assert name.startswith("id: ")
        received: dict[str, Any] = json.loads(data.removeprefix("data: "))
        return received

    async def next_card(self, key: str) -> dict[str, Any]:
        """The next event's only card."""
        (card,) = (await self.next_event())["cards"]
        assert card["key"] == key
        found: dict[str, Any] = card
        return found


@asynccontextmanager
async def open_page(app: Any) -> AsyncIterator[Viewer]:
    """A page of the app that is open for as long as the block goes on."""
    sent: asyncio.Queue[bytes] = asyncio.Queue()
    closed = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await closed.wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            sent.put_nowait(message["body"])

    headers = [(b"host", b"127.0.0.1:8765")]
    scope = {"type": "http", "method": "GET", "path": "/sandbox/events", "headers": headers, "query_string": b""}
    serving = asyncio.create_task(app(scope, receive, send))
    try:
        yield Viewer(sent)
    finally:
        closed.set()
        await serving


async def put(client: httpx.AsyncClient, key: str, percentage: int = 0, **members: Any) -> None:
    state = {"title": f"Load {key}", "type": "progress", "percentage": percentage}
    answer = await client.put(f"/api/live-activity/stream/{key}", json={"content_state": state, **members})
    answer.raise_for_status()


Scene = Callable[[httpx.AsyncClient, Viewer], Awaitable[None]]


def play(app: Starlette, scene: Scene) -> None:
    """Let something happen to an empty account while a page is open."""

    async def run() -> None:
        async with client_of(app) as client, open_page(app) as viewer:
            assert (await viewer.next_event())["fresh"] is True
            await scene(client, viewer)

    asyncio.run(run())


def get(app: Starlette, path: str, host: str = "127.0.0.1:8765") -> httpx.Response:
    async def ask() -> httpx.Response:
        async with client_of(app, host) as client:
            return await client.get(path)

    return asyncio.run(ask())


@pytest.mark.parametrize(("path", "media_type"), FILES.items())
def test_the_page_and_its_files_allow_nothing_from_elsewhere(app: Starlette, path: str, media_type: str) -> None:
    answer = get(app, path)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith(media_type)
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_head_request_for_the_events_ends(app: Starlette) -> None:
    async def ask() -> httpx.Response:
        async with client_of(app) as client:
            return await client.head("/sandbox/events")

    assert asyncio.run(ask()).headers["Content-Type"].startswith("text/event-stream")


def test_start_update_and_end_are_sent_as_they_happen(app: Starlette) -> None:
    async def scene(client: httpx.AsyncClient, viewer: Viewer) -> None:
        await put(client, "etl", 10)
        card = await viewer.next_card("etl")
        assert "10 %" in card["svg"]
        assert (card["started_at"], card["removed_at"]) == (NOON.timestamp(), None)
        await put(client, "etl", 20)
        event = await viewer.next_event()
        assert "20 %" in event["cards"][0]["svg"]
        assert (event["fresh"], event["live"], event["now"]) == (False, 1, NOON.timestamp())
        (line,) = event["lines"]
        assert (line["operation"], line["changed"]) == ("updated", ["10 % → 20 %"])
        await client.delete("/api/live-activity/stream/etl")
        event = await viewer.next_event()
        assert event["cards"][0]["removed_at"] == NOON.timestamp() + 120
        assert (event["live"], event["lines"][0]["operation"]) == (0, "ended")

    play(app, scene)


def test_markup_arrives_as_text(app: Starlette) -> None:
    async def scene(client: httpx.AsyncClient, viewer: Viewer) -> None:
        state = {"title": "<script>alert(1)</script>", "type": "progress"}
        await client.put("/api/live-activity/stream/etl", json={"content_state": state})
        assert "&lt;script&gt;" in (await viewer.next_card("etl"))["svg"]

    play(app, scene)


def test_an_alert_comes_with_the_line_of_its_request_and_with_no_other(app: Starlette) -> None:
    async def scene(client: httpx.AsyncClient, viewer: Viewer) -> None:
        await put(client, "etl", 1, alert={"title": "Look", "body": "here"})
        assert (await viewer.next_event())["lines"][0]["alert"] == {"title": "Look", "body": "here"}
        await put(client, "etl", 1, alert={"title": "Look", "body": "here"})
        (line,) = (await viewer.next_event())["lines"]
        assert (line["operation"], line["alert"]) == ("noop", None)

    play(app, scene)


def test_a_refused_request_is_a_line_with_the_reason(app: Starlette) -> None:
    async def scene(client: httpx.AsyncClient, viewer: Viewer) -> None:
        await client.put("/api/live-activity/stream/etl", json={})
        event = await viewer.next_event()
        assert (event["cards"], event["lines"][0]["status"]) == ([], 400)
        assert "content_state: is required" in event["lines"][0]["message"]

    play(app, scene)


def test_a_page_that_reconnects_is_sent_what_ios_shows_now_and_what_it_has_removed(app: Starlette, clock: Time) -> None:
    async def run() -> None:
        async with client_of(app) as client:
            for key in ("gone", "ended", "live"):
                await put(client, key)
            await client.delete("/api/live-activity/stream/gone")
            clock.later(seconds=60)
            await client.delete("/api/live-activity/stream/ended")
            clock.later(seconds=120)
            async with open_page(app) as viewer:
                event = await viewer.next_event()
        assert event["fresh"]
        assert [(card["key"], card["svg"] is None) for card in event["cards"]] == [
            ("ended", False),
            ("gone", True),
            ("live", False),
        ]
        gone = event["cards"][1]
        assert (gone["label"], gone["color"]) == ("Load gone, 0 %", "blue")
        assert gone["removed_at"] == NOON.timestamp() + 120
        assert [line["number"] for line in event["lines"]] == [1, 2, 3, 4, 5]

    asyncio.run(run())


def test_a_stream_that_is_removed_at_once_is_removed_from_the_page(app: Starlette) -> None:
    async def scene(client: httpx.AsyncClient, viewer: Viewer) -> None:
        await put(client, "etl")
        await viewer.next_event()
        state = {"title": "Load", "auto_dismiss_seconds": 0}
        await client.request("DELETE", "/api/live-activity/stream/etl", json={"content_state": state})
        gone = await viewer.next_card("etl")
        assert (gone["svg"], gone["removed_at"]) == (None, NOON.timestamp())

    play(app, scene)


def test_forgotten_streams_are_removed_from_the_page(app: Starlette) -> None:
    async def scene(client: httpx.AsyncClient, viewer: Viewer) -> None:
        await put(client, "etl")
        await viewer.next_event()
        await client.delete("/sandbox/streams")
        event = await viewer.next_event()
        assert (event["fresh"], event["cards"], event["lines"], event["live"]) == (True, [], [], 0)

    play(app, scene)


def test_a_timer_is_sent_so_that_the_page_can_count(app: Starlette, clock: Time) -> None:
    async def scene(client: httpx.AsyncClient, viewer: Viewer) -> None:
        state = {"title": "Window", "type": "timer", "duration_seconds": 60}
        await client.put("/api/live-activity/stream/etl", json={"content_state": state})
        started = f'data-started="{NOON.timestamp():.0f}"'
        assert started in (await viewer.next_card("etl"))["svg"]
        clock.later(seconds=20)
        del state["duration_seconds"]
        await client.put("/api/live-activity/stream/etl", json={"content_state": {**state, "subtitle": "on"}})
        svg = (await viewer.next_card("etl"))["svg"]
        assert started in svg
        assert ">0:40<" in svg

    play(app, scene)


def test_a_request_can_be_read_in_full_by_its_number(app: Starlette) -> None:
    async def run() -> None:
        async with client_of(app) as client:
            await put(client, "etl", 7, metadata={"run": "r1"})
            request = (await client.get("/sandbox/requests/1")).json()
            assert request["body"]["metadata"] == {"run": "r1"}
            assert (await client.get("/sandbox/streams")).json()["requests"] == [request]
            assert (await client.get("/sandbox/requests/2")).status_code == 404

    asyncio.run(run())
