"""The sandbox's HTTP side: the stream API, faults on demand, and a look inside.

What a stream does is decided in :mod:`activitysmith_integrations.sandbox.streams`; here requests are read,
answered and remembered. The page is :mod:`activitysmith_integrations.sandbox.page`.
"""

import asyncio
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from activitysmith_integrations.core.errors import InvalidRequestError
from activitysmith_integrations.core.keys import is_legal
from activitysmith_integrations.core.models import EndStreamRequest, StreamRequest
from activitysmith_integrations.sandbox.changes import what_changed
from activitysmith_integrations.sandbox.connection import close, closer, stays
from activitysmith_integrations.sandbox.documents import json_object, json_or_none, read_request
from activitysmith_integrations.sandbox.events import Feed, RequestLog
from activitysmith_integrations.sandbox.page import Page
from activitysmith_integrations.sandbox.streams import Account, Limits, RefusedError, Stream, rfc3339

_REMEMBERED_REQUESTS = 10_000
_BODILESS = (204, 304)

_INDEX = """\
ActivitySmith sandbox: a local stand-in for the ActivitySmith stream API.

The API, here and below /api (any non-empty bearer token; ask_bad... is answered 401, ask_nobilling... 402,
ask_forbidden... 403):
  PUT    /live-activity/stream/{stream_key}   start or update a stream
  DELETE /live-activity/stream/{stream_key}   end a stream

The sandbox:
  GET    /                    the lock screen, live, in a browser
  GET    /sandbox/streams     every stream, and the latest requests
  DELETE /sandbox/streams     forget all of them
  PUT    /sandbox/limits      {"max_concurrent": 4, "requests_per_minute": 60}, null for unlimited
  POST   /sandbox/misbehave   let the next API requests fail. {"times": n} and any of
                                "status", "body", "headers"  answer this; the stream is left alone
                                "delay": s       answer s seconds later
                                "late": s        change the stream s seconds later, even if nobody waits any more
                                "drop": true     close the connection instead of answering
                                "truncate": true announce the whole answer, send half, close
                                "oversize": n    pad the answer with spaces to n bytes
                                "drip": s        send it byte by byte, s seconds apart
                                "stream_key": k  only requests for this key
                                "method": m      only these requests, PUT or DELETE
                              Without "status" or "body" the stream changes as usual, only the answer suffers.
                              What is posted queues up behind what was posted before.
  DELETE /sandbox/misbehave   behave again
"""


def create_app(
    *,
    max_concurrent: int | None = 4,
    requests_per_minute: int | None = 60,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    any_host: bool = False,
) -> Starlette:
    """A local ActivitySmith, as an ASGI app with its own, empty account.

    Args:
        max_concurrent: Live Activities that may run at the same time; the service allows 4. None is unlimited.
        requests_per_minute: PUTs and DELETEs together within any 60 seconds; the service allows 60. None is
            unlimited.
        clock: Tells the time, with its zone.
        any_host: Whether the page may be asked for under any host's name, not only as this machine.
    """
    sandbox = _Sandbox(Limits(max_concurrent, requests_per_minute), clock)
    api = "/live-activity/stream/{stream_key:path}"  # a path, so that a key with a slash gets its 400
    return Starlette(
        routes=[
            Route(api, sandbox.stream, methods=["PUT", "DELETE"]),
            Route("/api" + api, sandbox.stream, methods=["PUT", "DELETE"]),
            Route("/sandbox/streams", sandbox.show_streams, methods=["GET"]),
            Route("/sandbox/streams", sandbox.forget_streams, methods=["DELETE"]),
            Route("/sandbox/limits", sandbox.change_limits, methods=["PUT"]),
            Route("/sandbox/misbehave", sandbox.misbehave, methods=["POST"]),
            Route("/sandbox/misbehave", sandbox.behave, methods=["DELETE"]),
            Route("/sandbox", _index, methods=["GET"]),
            *Page(sandbox.account, sandbox.log, sandbox.feed, clock, any_host=any_host).routes(),
        ],
        exception_handlers={
            HTTPException: _http_error,
            RefusedError: _refused,
            InvalidRequestError: _invalid,
            ClientDisconnect: _gone_away,
        },
    )


class _Instruction(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


Seconds = Annotated[float, Field(ge=0, le=3600)]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$")]
HeaderValue = Annotated[str, StringConstraints(pattern=r"^([!-~]([ -~]*[!-~])?)?$")]


class _LimitsChange(_Instruction):
    max_concurrent: Annotated[int, Field(ge=1)] | None = None
    requests_per_minute: Annotated[int, Field(ge=1)] | None = None


class _Misbehaviour(_Instruction):
    """What to do to the next API requests; the members are explained on the index page."""

    times: Annotated[int, Field(ge=1)]
    stream_key: str | None = None
    method: Literal["PUT", "DELETE"] | None = None
    status: Annotated[int, Field(ge=200, le=599)] | None = None
    headers: dict[HeaderName, HeaderValue] = {}
    body: Any = None
    delay: Seconds | None = None
    late: Annotated[float, Field(ge=0, le=60)] = 0
    drop: bool = False
    truncate: bool = False
    oversize: Annotated[int, Field(ge=1, le=100_000_000)] | None = None
    drip: Seconds | None = None

    @model_validator(mode="after")
    def _can_be_sent(self) -> "_Misbehaviour":
        if self.status in _BODILESS and (self.has_body or self.truncate or self.oversize):
            raise ValueError(f"an answer {self.status} has no body")
        for name in self.headers:
            if name.lower() in ("content-length", "transfer-encoding"):
                raise ValueError(f"{name} is set by the sandbox; use truncate for a wrong length")
        return self

    @property
    def has_body(self) -> bool:
        return "body" in self.model_fields_set

    @property
    def stands_in(self) -> bool:
        """Whether something in front of the service answers, so that no stream hears of the request."""
        return self.status is not None or self.has_body


_InstructionT = TypeVar("_InstructionT", bound=_Instruction)


class _Sandbox:
    """One account, what was asked of it, and the faults that are still to come."""

    def __init__(self, limits: Limits, clock: Callable[[], datetime]) -> None:
        self.account = Account(lambda: secrets.token_urlsafe(24), limits)
        self.log = RequestLog(_REMEMBERED_REQUESTS)
        self.feed = Feed()
        self._clock = clock
        self._faults: list[_Misbehaviour] = []

    async def stream(self, request: Request) -> Response:
        """PUT and DELETE of a stream."""
        raw = await request.body()
        key = request.path_params["stream_key"]
        fault = self._next_fault(request.method, key)
        if fault is not None:
            await asyncio.sleep(fault.late)
        now = self._clock()
        seen = {
            "time": rfc3339(now),
            "method": request.method,
            "stream_key": key,
            "authorization": "authorization" in request.headers,
            "body": json_or_none(raw),
        }
        before = self.account.find(key)
        answer: dict[str, Any] = {}
        if fault is not None and fault.stands_in:
            response = _stand_in(fault)
        else:
            response, answer = self._answer(request.method, key, request.headers.get("authorization"), raw, now)
        dropped = fault is not None and fault.drop
        came_of_it = {
            "status": None if dropped else response.status_code,
            "operation": answer.get("operation"),
            "message": answer.get("message"),
        }
        self._tell({**seen, **came_of_it}, before, self.account.find(key))
        return response if fault is None else _Spoilt(response, fault)

    def _tell(self, request: dict[str, Any], before: Stream | None, after: Stream | None) -> None:
        """Remember a request, and tell whoever looks at the page."""
        changed = after is not None and after is not before
        line = {name: request[name] for name in ("time", "method", "stream_key", "status", "operation", "message")}
        line |= {
            "changed": what_changed(before, after),
            "alert": after.alert if after is not None and changed else None,
        }
        self.feed.happened(self.log.add(request, line), line["stream_key"] if changed else None)

    def _answer(
        self, method: str, key: str, authorization: str | None, raw: bytes, now: datetime
    ) -> tuple[Response, dict[str, Any]]:
        """What the service would answer, and the same once more to be remembered."""
        try:
            _authorize(authorization, now)
            self.account.admit(now)
            _check_key(key)
            if method == "PUT":
                answer = self.account.put(key, read_request(StreamRequest, raw), now)
            else:
                answer = self.account.delete(key, read_request(EndStreamRequest, raw) if raw else None, now)
        except InvalidRequestError as error:
            refused = RefusedError(400, "Bad Request", str(error))
        except RefusedError as error:
            refused = error
        else:
            return _Json(answer), answer
        return _error(refused), refused.body

    def _next_fault(self, method: str, key: str) -> _Misbehaviour | None:
        for index, fault in enumerate(self._faults):
            if fault.stream_key in (None, key) and fault.method in (None, method):
                if fault.times > 1:
                    self._faults[index] = fault.model_copy(update={"times": fault.times - 1})
                else:
                    del self._faults[index]
                return fault
        return None

    async def show_streams(self, request: Request) -> Response:
        """GET /sandbox/streams."""
        streams = [stream.to_json() for stream in self.account.streams]
        return _Json({"streams": streams, "requests": self.log.requests()})

    async def forget_streams(self, request: Request) -> Response:
        """DELETE /sandbox/streams."""
        self.account.clear()
        self.log.clear()
        self.feed.forgot()
        return Response(status_code=204)

    async def change_limits(self, request: Request) -> Response:
        """PUT /sandbox/limits."""
        change = _instruction(_LimitsChange, await request.body())
        self.account.limits = replace(self.account.limits, **change.model_dump(exclude_unset=True))
        return _Json(asdict(self.account.limits))

    async def misbehave(self, request: Request) -> Response:
        """POST /sandbox/misbehave."""
        fault = _instruction(_Misbehaviour, await request.body())
        if (fault.drop or fault.truncate) and closer(request.scope) is None:
            raise RefusedError(
                501,
                "Not Implemented",
                "This server cannot break a connection off; start the sandbox with "
                "python -m activitysmith_integrations.sandbox.",
            )
        self._faults.append(fault)
        return _Json({"misbehave": [fault.model_dump(exclude_unset=True) for fault in self._faults]})

    async def behave(self, request: Request) -> Response:
        """DELETE /sandbox/misbehave."""
        self._faults.clear()
        return Response(status_code=204)


class _Json(JSONResponse):
    """JSON in ASCII, since a request may hold half a surrogate pair, which UTF-8 cannot."""

    def render(self, content: Any) -> bytes:
        return json.dumps(content, allow_nan=False).encode()


class _Spoilt(Response):
    """An answer on a bad line.

    Args:
        answer: The answer as it was meant.
        fault: What happens to it.
    """

    def __init__(self, answer: Response, fault: _Misbehaviour) -> None:
        super().__init__(status_code=answer.status_code)
        self.raw_headers = list(answer.raw_headers)
        self._whole = bytes(answer.body).ljust(fault.oversize or 0)
        self._fault = fault

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self._fault
        if fault.delay and not await stays(receive, fault.delay):
            return
        if fault.drop:
            await close(scope, receive)
            return
        sent = self._whole[: len(self._whole) // 2] if fault.truncate else self._whole
        await send({"type": "http.response.start", "status": self.status_code, "headers": self._final_headers()})
        for piece in _pieces(sent, 1 if fault.drip is not None else len(sent)):
            if fault.drip and not await stays(receive, fault.drip):
                return
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if fault.truncate:
            await close(scope, receive)
            return
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _final_headers(self) -> list[tuple[bytes, bytes]]:
        headers = MutableHeaders(raw=self.raw_headers)
        headers.update(self._fault.headers)
        if self.status_code not in _BODILESS:
            headers["content-length"] = str(max(len(self._whole), 1) if self._fault.truncate else len(self._whole))
        return headers.raw


def _pieces(whole: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(whole), max(size, 1)):
        yield whole[start : start + size]


def _authorize(authorization: str | None, now: datetime) -> None:
    scheme, _, key = (authorization or "").partition(" ")
    key = key.strip()
    if scheme.lower() != "bearer" or not key:
        raise RefusedError(401, "Unauthorized", "Send the header Authorization: Bearer ask_... with every request.")
    if key.startswith("ask_bad"):
        raise RefusedError(401, "Unauthorized", "The API key is invalid.")
    if key.startswith("ask_nobilling"):
        trial = {"started_at": rfc3339(now - timedelta(days=8)), "ends_at": rfc3339(now - timedelta(days=1))}
        members = {"upgrade_url": "https://example.com/upgrade", "trial_period": trial}
        raise RefusedError(402, "trial_expired", "The trial is over.", members)
    if key.startswith("ask_forbidden"):
        raise RefusedError(403, "Forbidden", "The API key's scope does not allow this.")


def _check_key(key: str) -> None:
    if not is_legal(key):
        rule = "A stream key is 1 to 255 letters, digits, underscores and hyphens."
        raise RefusedError(400, "Invalid stream_key", rule)


def _instruction(model: type[_InstructionT], raw: bytes) -> _InstructionT:
    try:
        return model(**json_object(raw))
    except ValidationError as error:
        raise InvalidRequestError(*(_problem(model, detail) for detail in error.errors())) from None


def _problem(model: type[BaseModel], detail: Mapping[str, Any]) -> tuple[str, str]:
    member = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return member, f"is not a member; known are {', '.join(model.model_fields)}"
    return member, str(detail["msg"]).removeprefix("Value error, ")


def _stand_in(fault: _Misbehaviour) -> Response:
    """The answer that a fault spells out."""
    status = fault.status or 200
    if isinstance(fault.body, str):
        return PlainTextResponse(fault.body.encode(errors="surrogatepass"), status)
    if fault.has_body:
        return _Json(fault.body, status)
    if status < 400:
        return Response(status_code=status)
    return _Json({"error": _phrase(status), "message": "The sandbox was told to answer this."}, status)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"


def _error(refused: RefusedError) -> Response:
    headers = {} if refused.retry_after is None else {"Retry-After": str(refused.retry_after)}
    return _Json(refused.body, refused.status, headers)


async def _index(request: Request) -> Response:
    return PlainTextResponse(_INDEX)


async def _http_error(request: Request, error: Any) -> Response:
    """No such route, or not with this method: in the service's form."""
    message = f"The sandbox has no {request.method} {request.url.path}; GET /sandbox lists what it has."
    return _Json({"error": error.detail, "message": message}, error.status_code, error.headers)


async def _refused(request: Request, error: Any) -> Response:
    return _error(error)


async def _gone_away(request: Request, error: Exception) -> Response:
    return Response()  # nobody is left to read it


async def _invalid(request: Request, error: Exception) -> Response:
    return _error(RefusedError(400, "Bad Request", str(error)))
