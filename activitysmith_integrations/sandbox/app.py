"""The sandbox as an ASGI app: what it is made of, and which part answers which route."""

import secrets
from collections.abc import Callable
from datetime import UTC, datetime

from activitysmith_integrations.core.errors import InvalidRequestError
from activitysmith_integrations.sandbox import needs_sandbox

with needs_sandbox():
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.requests import ClientDisconnect
    from starlette.routing import Route

from activitysmith_integrations.sandbox.access import AccessMiddleware
from activitysmith_integrations.sandbox.api import StreamEndpoint
from activitysmith_integrations.sandbox.control import Control
from activitysmith_integrations.sandbox.errors import RefusedError
from activitysmith_integrations.sandbox.events import Feed
from activitysmith_integrations.sandbox.faults import Faults
from activitysmith_integrations.sandbox.page import Page
from activitysmith_integrations.sandbox.request_log import RequestLog
from activitysmith_integrations.sandbox.responses import on_disconnect, on_http_exception, on_invalid, on_refused
from activitysmith_integrations.sandbox.streams import Account, Limits

_MAX_REQUESTS = 10_000
_MAX_REQUEST_BYTES = 16 * 1024 * 1024
_STREAM = "/live-activity/stream/{stream_key:path}"  # a path, so that a key with a slash is answered 400


def create_app(
    *,
    max_concurrent: int | None = 4,
    requests_per_minute: int | None = 60,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    host: str = "127.0.0.1",
) -> Starlette:
    """A local ActivitySmith, as an ASGI app with its own, empty account.

    Args:
        max_concurrent: Live Activities that may run at the same time; the service allows 4. None is unlimited.
        requests_per_minute: PUTs and DELETEs together within any 60 seconds; the service allows 60. None is
            unlimited.
        clock: Tells the time, with its zone.
        host: The host name or address that it is served on. On a loopback address it answers under this machine's
            loopback names alone, otherwise also under any IP address, any name without a dot, and this one.
    """
    account = Account(lambda: secrets.token_urlsafe(24), Limits(max_concurrent, requests_per_minute))
    faults, log, feed = Faults(), RequestLog(_MAX_REQUESTS, _MAX_REQUEST_BYTES), Feed()
    streams = StreamEndpoint(account, faults, log, feed, clock)
    return Starlette(
        routes=[
            Route(_STREAM, streams.handle, methods=["PUT", "DELETE"]),
            Route(f"/api{_STREAM}", streams.handle, methods=["PUT", "DELETE"]),
            *Control(account, faults, log, feed).routes(),
            *Page(account, log, feed, clock).routes(),
        ],
        middleware=[Middleware(AccessMiddleware, host=host)],
        exception_handlers={
            HTTPException: on_http_exception,
            RefusedError: on_refused,
            InvalidRequestError: on_invalid,
            ClientDisconnect: on_disconnect,
        },
    )
