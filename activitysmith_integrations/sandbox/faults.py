"""Fault injection: which of the next API requests fail, and how their answers are spoiled on the way."""

import json
from collections.abc import Iterator
from http import HTTPStatus
from typing import Annotated, Any, Literal

from pydantic import Field, StringConstraints, model_validator
from starlette.datastructures import MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from activitysmith_integrations.sandbox.connection import close, still_connected_after
from activitysmith_integrations.sandbox.documents import SandboxRequest
from activitysmith_integrations.sandbox.errors import RefusedError
from activitysmith_integrations.sandbox.responses import AsciiJSONResponse

_STATUSES_WITHOUT_BODY = (204, 304)
_MAX_WAITING, _MAX_WAITING_BYTES = 200, 1024 * 1024
_PIECE_BYTES = 65536

_Seconds = Annotated[float, Field(ge=0, le=3600)]
_HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
_HeaderValue = Annotated[str, StringConstraints(pattern=r"^([!-~]([ -~]*[!-~])?)?$")]


class Fault(SandboxRequest):
    """What happens to the next API requests.

    Args:
        times: To how many of them, 1 by default.
        stream_key: Only to requests for this key.
        method: Only to these requests.
        status: The status that is answered in place of the service.
        headers: Headers that the answer gets, in place of its own of the same name.
        body: The body that is answered in place of the service: a string as it is, anything else as JSON.
        delay: Seconds that the answer waits after the request was carried out.
        late: Seconds that the request waits before it is carried out, whether or not its client still waits.
        drop: Whether the connection is closed instead of an answer.
        truncate: Whether the connection is closed after half of the answer's body.
        oversize: The length in bytes that the answer's body is padded to with spaces.
        drip: Seconds between the bytes of the answer's body.
    """

    times: Annotated[int, Field(ge=1, le=1_000_000_000)] = 1
    stream_key: str | None = None
    method: Literal["PUT", "DELETE"] | None = None
    status: Annotated[int, Field(ge=200, le=599)] | None = None
    headers: Annotated[dict[_HeaderName, _HeaderValue], Field(default_factory=dict)]
    body: Any = None
    delay: _Seconds | None = None
    late: Annotated[float, Field(ge=0, le=60)] = 0
    drop: bool = False
    truncate: bool = False
    oversize: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    drip: _Seconds | None = None

    @model_validator(mode="after")
    def _can_be_sent(self) -> "Fault":
        if not self._does_something:
            raise ValueError("says nothing of what goes wrong; GET /sandbox lists what can")
        if self.status in _STATUSES_WITHOUT_BODY and (self.has_body or self.truncate or self.oversize):
            raise ValueError(f"an answer {self.status} has no body")
        for name in self.headers:
            if name.lower() in ("content-length", "transfer-encoding"):
                raise ValueError(f"{name} is set by the sandbox; use truncate for a wrong length")
        return self

    @property
    def _does_something(self) -> bool:
        effects = (self.status, self.headers, self.delay, self.late, self.drop, self.truncate, self.oversize)
        return self.has_body or self.drip is not None or any(effects)

    @property
    def has_body(self) -> bool:
        """Whether it answers with a body of its own."""
        return "body" in self.model_fields_set

    @property
    def needs_to_close(self) -> bool:
        """Whether it needs a server that can close a connection."""
        return self.drop or self.truncate

    def response(self) -> Response | None:
        """What it answers in place of the service; None where the service answers."""
        status = self.status or 200
        if isinstance(self.body, str):
            return PlainTextResponse(self.body.encode(errors="surrogatepass"), status)
        if self.has_body:
            return AsciiJSONResponse(self.body, status)
        if self.status is None:
            return None
        if status < 400:
            return Response(status_code=status)
        body = {"error": _phrase(status), "message": "This answer is an injected fault."}
        return AsciiJSONResponse(body, status)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"


class Faults:
    """The faults that wait for their requests, in the order in which they were injected."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Let the next requests that it fits fail, after the faults that wait already.

        Raises:
            RefusedError: 429, too many wait already.
        """
        waiting = [*self._waiting, fault]
        if len(waiting) > _MAX_WAITING or len(json.dumps(_to_json(waiting))) > _MAX_WAITING_BYTES:
            message = (
                f"With this fault more than {_MAX_WAITING} or more than {_MAX_WAITING_BYTES // 1024} KiB of them would "
                "wait; DELETE /sandbox/faults removes them."
            )
            raise RefusedError(429, "Too many faults", message)
        self._waiting = waiting

    def take(self, method: str, stream_key: str) -> Fault | None:
        """The fault for a request, which is then used up once; None where none fits."""
        for index, fault in enumerate(self._waiting):
            if fault.stream_key in (None, stream_key) and fault.method in (None, method):
                if fault.times > 1:
                    self._waiting[index] = fault.model_copy(update={"times": fault.times - 1})
                else:
                    del self._waiting[index]
                return fault
        return None

    def clear(self) -> None:
        """Let no further request fail."""
        self._waiting.clear()

    def to_json(self) -> list[dict[str, Any]]:
        """Those that wait, as JSON values."""
        return _to_json(self._waiting)


def _to_json(faults: list[Fault]) -> list[dict[str, Any]]:
    return [{"times": fault.times, **fault.model_dump(exclude_unset=True)} for fault in faults]


class FaultyResponse(Response):
    """An answer that a fault spoils on its way.

    Args:
        answer: The answer as it would be without the fault.
        fault: What happens to it.
    """

    def __init__(self, answer: Response, fault: Fault) -> None:
        super().__init__(status_code=answer.status_code)
        self.raw_headers = list(answer.raw_headers)
        self._body = bytes(answer.body)
        self._length = max(len(self._body), fault.oversize or 0)
        self._fault = fault

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what the fault leaves of it."""
        fault = self._fault
        if fault.delay and not await still_connected_after(fault.delay, receive):
            return
        if fault.drop:
            await close(scope, receive)
            return
        await send({"type": "http.response.start", "status": self.status_code, "headers": self._final_headers()})
        for piece in self._pieces():
            if fault.drip is not None and not await still_connected_after(fault.drip, receive):
                return
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if fault.truncate:
            await close(scope, receive)
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _final_headers(self) -> list[tuple[bytes, bytes]]:
        headers = MutableHeaders(raw=self.raw_headers)
        headers.update(self._fault.headers)
        if self.status_code not in _STATUSES_WITHOUT_BODY:
            # A client can tell that an empty answer is truncated only where it announces a byte.
            headers["content-length"] = str(max(self._length, 1) if self._fault.truncate else self._length)
        return headers.raw

    def _pieces(self) -> Iterator[bytes]:
        """What is sent of the body, padded on the way rather than in memory."""
        end = self._length // 2 if self._fault.truncate else self._length
        size = 1 if self._fault.drip is not None else _PIECE_BYTES
        for start in range(0, end, size):
            length = min(size, end - start)
            yield self._body[start : start + length].ljust(length)
