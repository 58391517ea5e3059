"""The JSON that the sandbox answers, errors in the service's form."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from itertools import islice
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from activitysmith_integrations.core.errors import InvalidRequestError
from activitysmith_integrations.core.text import cut
from activitysmith_integrations.sandbox.errors import RefusedError

_MAX_MESSAGE = 1000
_AT_ONCE = 100


class AsciiJSONResponse(JSONResponse):
    """JSON in ASCII, since a request may hold half a surrogate pair, which UTF-8 cannot."""

    def render(self, content: Any) -> bytes:
        """The content as it is sent."""
        return json.dumps(content, allow_nan=False).encode()


async def json_array(items: Iterable[bytes]) -> AsyncIterator[bytes]:
    """A JSON array of items that are JSON, in pieces between which other requests are answered."""
    iterator, opening = iter(items), b"["
    while piece := list(islice(iterator, _AT_ONCE)):
        yield opening + b", ".join(piece)
        opening = b", "
        await asyncio.sleep(0)
    yield b"[]" if opening == b"[" else b"]"


def error_response(error: RefusedError) -> Response:
    """The answer to a request that was refused."""
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return AsciiJSONResponse(error.body, error.status, headers)


def refusal(error: InvalidRequestError) -> RefusedError:
    """The service's answer to a request that breaks a rule of the API."""
    return RefusedError(400, "Bad Request", cut(str(error), _MAX_MESSAGE))


async def on_refused(request: Request, error: Any) -> Response:
    """An exception handler for :class:`RefusedError`."""
    return error_response(error)


async def on_invalid(request: Request, error: Any) -> Response:
    """An exception handler for :class:`InvalidRequestError`."""
    return error_response(refusal(error))


async def on_http_exception(request: Request, error: Any) -> Response:
    """An exception handler for an unknown route, or one that does not take the method."""
    message = f"The sandbox has no {request.method} {cut(request.scope['path'], 200)}; GET /sandbox lists what it has."
    return AsciiJSONResponse({"error": error.detail, "message": message}, error.status_code, error.headers)


async def on_disconnect(request: Request, error: Exception) -> Response:
    """An exception handler for a client that went away while it was sending: nobody is left to read an answer."""
    return Response()
