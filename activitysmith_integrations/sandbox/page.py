"""The page that shows the lock screen: its files, its events, and who may see them."""

import asyncio
import contextlib
import ipaddress
import json
import re
from collections.abc import Callable
from datetime import datetime
from functools import cache
from importlib import resources
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from activitysmith_integrations.sandbox.connection import gone
from activitysmith_integrations.sandbox.drawing import draw
from activitysmith_integrations.sandbox.events import Feed, News, RequestLog, Viewer
from activitysmith_integrations.sandbox.palette import page_stylesheet
from activitysmith_integrations.sandbox.readings import Clock
from activitysmith_integrations.sandbox.streams import Account, RefusedError, Stream

# Seconds: between two events, so that what happens at the same time is told at once; without any, so that a
# connection that is gone shows.
_PACE, _SILENCE = 0.1, 15
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


class Page:
    """The lock screen of one account.

    Args:
        account: What is shown.
        log: What was asked for.
        feed: Tells of what changes.
        clock: Tells the time, with its zone.
        any_host: Whether it may be asked for under any name. Otherwise only as this machine: a web page elsewhere
            can give its own name this machine's address, and would see all.
    """

    def __init__(
        self, account: Account, log: RequestLog, feed: Feed, clock: Callable[[], datetime], *, any_host: bool
    ) -> None:
        self._account, self._log, self._feed, self._clock = account, log, feed, clock
        self._any_host = any_host

    def routes(self) -> list[Route]:
        """Where it is."""
        return [
            Route("/", self._file("index.html", "text/html"), methods=["GET"]),
            Route("/sandbox/page/page.css", self._file("page.css", "text/css"), methods=["GET"]),
            Route("/sandbox/page/page.js", self._file("page.js", "text/javascript"), methods=["GET"]),
            Route("/sandbox/page/cards.css", self._cards_css, methods=["GET"]),
            Route("/sandbox/events", self._events, methods=["GET"]),
            Route("/sandbox/requests/{number:int}", self._request, methods=["GET"]),
        ]

    def _file(self, name: str, media_type: str) -> Callable[[Request], Any]:
        async def answer(request: Request) -> Response:
            self._check_host(request)
            return Response(_file(name), headers=_HEADERS, media_type=media_type)

        return answer

    async def _cards_css(self, request: Request) -> Response:
        self._check_host(request)
        return Response(page_stylesheet(), headers=_HEADERS, media_type="text/css")

    async def _events(self, request: Request) -> Response:
        """GET /sandbox/events. Whoever comes back is told everything anew, so ``Last-Event-ID`` changes nothing."""
        self._check_host(request)
        if request.method == "HEAD":
            return Response(headers=_HEADERS, media_type="text/event-stream")
        now = self._clock()
        keys = [stream.key for stream in reversed(self._account.streams) if not _is_removed(stream, now)]
        return _EventStream(self._feed, self._feed.open(keys, self._log.lines()), self._event)

    async def _request(self, request: Request) -> Response:
        """GET /sandbox/requests/{number}."""
        self._check_host(request)
        found = self._log.find(request.path_params["number"])
        if found is None:
            raise RefusedError(404, "Not Found", "That request is not among the latest.")
        return Response(json.dumps(found), headers=_HEADERS, media_type="application/json")

    def _check_host(self, request: Request) -> None:
        if not self._any_host and not is_loopback(_host_of(request)):
            message = (
                "The page is for this machine; open it as http://127.0.0.1 with its port, or start it with --host."
            )
            raise RefusedError(403, "Forbidden", message)

    def _event(self, news: News) -> bytes:
        now = self._clock()
        streams = self._account.streams
        told = {
            "now": now.timestamp(),
            "fresh": news.fresh,
            "live": sum(stream.live for stream in streams),
            "cards": [_card(key, self._account.find(key), now) for key in news.keys],
            "lines": news.lines,
        }
        return f"id: {news.number}\ndata: {json.dumps(told)}\n\n".encode()


class _EventStream(Response):
    """Tells one viewer, until it goes away."""

    media_type = "text/event-stream"

    def __init__(self, feed: Feed, viewer: Viewer, event: Callable[[News], bytes]) -> None:
        super().__init__(headers=_HEADERS)
        del self.headers["content-length"]
        self._feed, self._viewer, self._event = feed, viewer, event

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        telling, leaving = asyncio.create_task(self._tell(send)), asyncio.create_task(gone(receive))
        try:
            await asyncio.wait({telling, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._feed.close(self._viewer)
            for task in (telling, leaving):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _tell(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        while True:
            try:
                async with asyncio.timeout(_SILENCE):
                    told = self._event(await self._feed.news(self._viewer))
            except TimeoutError:
                told = b": still here\n\n"
            # Waits while the viewer is slow; what happens meanwhile is told at once afterwards.
            await send({"type": "http.response.body", "body": told, "more_body": True})
            await asyncio.sleep(_PACE)


def _host_of(request: Request) -> str:
    """The name that was asked for. Starlette's own ``url`` has the server's address where it dislikes the name."""
    return re.sub(r":\d*$", "", request.headers.get("host", ""))


def is_loopback(host: str) -> bool:
    """Whether a host's name or address is this machine's own."""
    try:
        return host == "localhost" or ipaddress.ip_address(re.sub(r"^\[(.*)\]$", r"\1", host)).is_loopback
    except ValueError:
        return False


@cache
def _file(name: str) -> bytes:
    return resources.files("activitysmith_integrations.sandbox").joinpath("static", name).read_bytes()


def _card(key: str, stream: Stream | None, now: datetime) -> dict[str, Any]:
    """A stream as the page shows it. One that iOS has removed has no picture."""
    if stream is None or _is_removed(stream, now):
        return {"key": key, "svg": None}
    removed_at = stream.removed_at
    return {
        "key": key,
        "svg": draw(stream.to_json(), _clock_of(stream, now)),
        "started_at": stream.started_at.timestamp(),
        "removed_at": removed_at.timestamp() if removed_at else None,
    }


def _is_removed(stream: Stream, now: datetime) -> bool:
    return stream.removed_at is not None and stream.removed_at <= now


def _clock_of(stream: Stream, now: datetime) -> Clock:
    if stream.timer is None:
        return Clock()
    elapsed = stream.timer.elapsed_at(now)
    return Clock(elapsed, now.timestamp() - elapsed if stream.timer.running else None)
