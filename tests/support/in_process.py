"""The sandbox's app, called in this process."""

import asyncio

import httpx
from starlette.applications import Starlette


class InProcess(httpx.BaseTransport):
    """Calls an ASGI app from synchronous code.

    Args:
        app: The app.
    """

    def __init__(self, app: Starlette) -> None:
        self._transport = httpx.ASGITransport(app)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        request.read()
        return asyncio.run(self._handle(request))

    async def _handle(self, request: httpx.Request) -> httpx.Response:
        answer = await self._transport.handle_async_request(request)
        return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())


def client_of(app: Starlette, key: str | None = "ask_sandbox") -> httpx.Client:
    """A client of an app, with an API key or without."""
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return httpx.Client(transport=InProcess(app), base_url="http://127.0.0.1:8765", headers=headers)
