"""The sandbox's own routes: its streams and requests, its limits, its faults, and the list of all routes."""

import json
from collections.abc import AsyncIterator
from dataclasses import asdict, replace
from typing import Annotated

from pydantic import Field
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from activitysmith_integrations.sandbox.bodies import read_body
from activitysmith_integrations.sandbox.connection import can_close
from activitysmith_integrations.sandbox.documents import SandboxRequest, parse_sandbox_request
from activitysmith_integrations.sandbox.errors import RefusedError
from activitysmith_integrations.sandbox.events import Feed
from activitysmith_integrations.sandbox.faults import Fault, Faults
from activitysmith_integrations.sandbox.request_log import RequestLog
from activitysmith_integrations.sandbox.responses import AsciiJSONResponse, json_array
from activitysmith_integrations.sandbox.streams import Account

_INDEX = """\
ActivitySmith sandbox: a local stand-in for the ActivitySmith stream API.

The API, here and below /api (any non-empty bearer token; ask_bad... is answered 401, ask_nobilling... 402,
ask_forbidden... 403; bodies are JSON of at most 128 KiB, with Content-Type: application/json):
  PUT    /live-activity/stream/{stream_key}   start or update a stream
  DELETE /live-activity/stream/{stream_key}   end a stream

The sandbox:
  GET    /                  the lock screen, live, in a browser
  GET    /sandbox/streams   the latest streams and requests, 10,000 of each at most
  DELETE /sandbox/streams   forget all of them
  GET    /sandbox/limits    the limits
  PUT    /sandbox/limits    {"max_concurrent": 4, "requests_per_minute": 60}, null for unlimited
  POST   /sandbox/faults    inject a fault into the next API request, or {"times": n} of them; any of
                              "status", "body", "headers"  answer this; the stream is left alone
                              "delay": s       answer s seconds later
                              "late": s        change the stream s seconds later, even if nobody waits any more
                              "drop": true     close the connection instead of answering
                              "truncate": true announce the whole answer, send half, close
                              "oversize": n    pad the answer with spaces to n bytes
                              "drip": s        send it byte by byte, s seconds apart
                              "stream_key": k  only requests for this key
                              "method": m      only these requests, PUT or DELETE
                            Without "status" or "body" the stream changes as usual, and only the answer is
                            spoiled. A fault waits until those injected before it are used up.
  GET    /sandbox/faults    the faults that wait
  DELETE /sandbox/faults    remove the faults that wait
"""

_Limit = Annotated[int, Field(ge=1, le=1_000_000_000)]


class LimitsChange(SandboxRequest):
    """The limits to change; those left out stay as they are, and None is unlimited.

    Args:
        max_concurrent: Live Activities that run at the same time.
        requests_per_minute: Requests within any 60 seconds, PUT and DELETE together.
    """

    max_concurrent: _Limit | None = None
    requests_per_minute: _Limit | None = None


class Control:
    """The sandbox's own routes.

    Args:
        account: The streams.
        faults: What is to go wrong.
        log: The requests.
        feed: Publishes what changes.
    """

    def __init__(self, account: Account, faults: Faults, log: RequestLog, feed: Feed) -> None:
        self._account, self._faults, self._log, self._feed = account, faults, log, feed

    def routes(self) -> list[BaseRoute]:
        """The routes."""
        return [
            Route("/sandbox", self._index, methods=["GET"]),
            Route("/sandbox/streams", self._show_streams, methods=["GET"]),
            Route("/sandbox/streams", self._forget_streams, methods=["DELETE"]),
            Route("/sandbox/limits", self._show_limits, methods=["GET"]),
            Route("/sandbox/limits", self._change_limits, methods=["PUT"]),
            Route("/sandbox/faults", self._show_faults, methods=["GET"]),
            Route("/sandbox/faults", self._inject_fault, methods=["POST"]),
            Route("/sandbox/faults", self._clear_faults, methods=["DELETE"]),
        ]

    async def _index(self, request: Request) -> Response:
        return PlainTextResponse(_INDEX)

    async def _show_streams(self, request: Request) -> Response:
        return StreamingResponse(self._streams_and_requests(), media_type="application/json")

    async def _streams_and_requests(self) -> AsyncIterator[bytes]:
        """Everything that is kept, in pieces: it may be some ten MB."""
        streams, requests = self._account.streams, self._log.requests()
        yield b'{"streams": '
        async for piece in json_array(json.dumps(stream.to_json()).encode() for stream in streams):
            yield piece
        yield b', "requests": '
        async for piece in json_array(requests):
            yield piece
        yield b"}"

    async def _forget_streams(self, request: Request) -> Response:
        self._account.clear()
        self._log.clear()
        self._feed.publish_reset()
        return Response(status_code=204)

    async def _show_limits(self, request: Request) -> Response:
        return AsciiJSONResponse(asdict(self._account.limits))

    async def _show_faults(self, request: Request) -> Response:
        return AsciiJSONResponse({"faults": self._faults.to_json()})

    async def _change_limits(self, request: Request) -> Response:
        change = parse_sandbox_request(LimitsChange, await read_body(request))
        self._account.limits = replace(self._account.limits, **change.model_dump(exclude_unset=True))
        return AsciiJSONResponse(asdict(self._account.limits))

    async def _inject_fault(self, request: Request) -> Response:
        fault = parse_sandbox_request(Fault, await read_body(request))
        if fault.needs_to_close and not can_close(request.scope):
            raise RefusedError(
                501,
                "Not Implemented",
                "This server cannot close a connection on demand; start the sandbox with activitysmith-sandbox.",
            )
        self._faults.add(fault)
        return AsciiJSONResponse({"faults": self._faults.to_json()})

    async def _clear_faults(self, request: Request) -> Response:
        self._faults.clear()
        return Response(status_code=204)
