"""Request bodies of a bounded size."""

from starlette.requests import Request

from activitysmith_integrations.sandbox.errors import RefusedError

MAX_BODY_BYTES = 128 * 1024
"""Many times what the service can use: metadata has at most 16 KB, and an activity on the phone 4 KB."""


async def read_body(request: Request) -> bytes:
    """A request's body.

    Raises:
        RefusedError: 413, it is larger than :data:`MAX_BODY_BYTES`. No more of it is kept than that.
        starlette.requests.ClientDisconnect: The client disconnected before it was complete.
    """
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise RefusedError(
                413, "Payload Too Large", f"The sandbox takes bodies of at most {MAX_BODY_BYTES // 1024} KiB."
            )
    return bytes(body)
