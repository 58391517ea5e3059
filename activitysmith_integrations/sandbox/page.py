"""The page that shows the lock screen: its files and its events."""

import asyncio
import json
import mimetypes
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.staticfiles import StaticFiles

from activitysmith_integrations.sandbox.cards import card
from activitysmith_integrations.sandbox.errors import RefusedError
from activitysmith_integrations.sandbox.events import Event, Feed
from activitysmith_integrations.sandbox.palette import page_stylesheet
from activitysmith_integrations.sandbox.request_log import RequestLog
from activitysmith_integrations.sandbox.streams import Account

_KEEP_ALIVE_SECONDS = 15  # until a comment is sent where there is no event, so that a broken connection is noticed
_MAX_ENCODED = 8
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# Windows may know the type as text/plain, with which no browser runs a script.
mimetypes.add_type("text/javascript", ".js")


class Page:
    """The lock screen of one account.

    Args:
        account: What is shown.
        log: The requests.
        feed: Publishes what changes.
        clock: Tells the time, with its zone.
    """

    def __init__(self, account: Account, log: RequestLog, feed: Feed, clock: Callable[[], datetime]) -> None:
        self._account, self._log, self._feed, self._clock = account, log, feed, clock
        self._encoded: dict[tuple[Event, float], bytes] = {}
        self._turn = asyncio.Lock()
        self._files = _PageFiles(packages=[("activitysmith_integrations.sandbox", "static")])

    def routes(self) -> list[BaseRoute]:
        """The page's routes."""
        return [
            Route("/", self._file("index.html"), methods=["GET"]),
            Route("/sandbox/page/page.css", self._file("page.css"), methods=["GET"]),
            Route("/sandbox/page/page.js", self._file("page.js"), methods=["GET"]),
            Route("/sandbox/page/cards.css", self._cards_css, methods=["GET"]),
            Route("/sandbox/events", self._events, methods=["GET"]),
            Route("/sandbox/requests/{number}", self._request, methods=["GET"]),
        ]

    def _file(self, name: str) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            return await self._files.get_response(name, request.scope)

        return answer

    async def _cards_css(self, request: Request) -> Response:
        return Response(page_stylesheet(), headers=_HEADERS, media_type="text/css")

    async def _events(self, request: Request) -> Response:
        """GET /sandbox/events. A page that reconnects is sent everything anew, so ``Last-Event-ID`` changes nothing."""
        if request.method == "HEAD":
            return Response(headers=_HEADERS, media_type="text/event-stream")
        return StreamingResponse(self._event_stream(), headers=_HEADERS, media_type="text/event-stream")

    async def _event_stream(self) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        with self._feed.viewer() as viewer:
            while True:
                try:
                    async with asyncio.timeout(_KEEP_ALIVE_SECONDS):
                        sent = self._encode(await self._feed.next_event(viewer))
                except TimeoutError:
                    sent = b": still connected\n\n"
                # Viewers take turns, so that other requests are answered between them.
                async with self._turn:
                    await asyncio.sleep(0)
                # Waits here while the viewer is slow; what changes meanwhile is in the next event.
                yield sent
                interval = self._feed.interval(len(sent))
                await asyncio.sleep(interval - loop.time() % interval)

    def _encode(self, event: Event) -> bytes:
        """An event as it is sent. Viewers that are sent the same one at the same time share it."""
        now = self._clock()
        key = event, round(now.timestamp(), 1)
        if key not in self._encoded:
            if len(self._encoded) >= _MAX_ENCODED:
                self._encoded.clear()
            self._encoded[key] = self._encode_at(event, now)
        return self._encoded[key]

    def _encode_at(self, event: Event, now: datetime) -> bytes:
        cards = [card(key, self._account.find(key), now) for key in event.keys]
        head = {
            "now": now.timestamp(),
            "fresh": event.fresh,
            "live": self._account.live_count,
            "cards": cards,
        }
        # The lines are JSON already.
        data = f'{json.dumps(head)[:-1]}, "lines": [{", ".join(event.lines)}]}}'
        return f"id: {event.number}\ndata: {data}\n\n".encode()

    async def _request(self, request: Request) -> Response:
        """GET /sandbox/requests/{number}."""
        number = request.path_params["number"]
        found = self._log.find(int(number)) if re.fullmatch(r"[0-9]{1,15}", number) else None
        if found is None:
            raise RefusedError(404, "Not Found", "That request is not among the latest.")
        return Response(found, headers=_HEADERS, media_type="application/json")


class _PageFiles(StaticFiles):
    """The page's files, with headers that keep everything from elsewhere out of the page."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(_HEADERS)
        return response
