"""PUT and DELETE of a stream: the part of the sandbox that stands in for the service.

The rules of a stream's life are in :mod:`activitysmith_integrations.sandbox.streams`. Here requests are authorized,
parsed, answered, logged and published.
"""

import asyncio
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from activitysmith_integrations.core.errors import InvalidRequestError
from activitysmith_integrations.core.keys import MAX_KEY_LENGTH, is_legal
from activitysmith_integrations.core.models.requests import EndStreamRequest, StreamRequest
from activitysmith_integrations.core.text import cut
from activitysmith_integrations.sandbox.bodies import read_body
from activitysmith_integrations.sandbox.changes import changes
from activitysmith_integrations.sandbox.documents import json_or_none, parse_stream_request
from activitysmith_integrations.sandbox.errors import RefusedError
from activitysmith_integrations.sandbox.events import Feed
from activitysmith_integrations.sandbox.faults import Faults, FaultyResponse
from activitysmith_integrations.sandbox.models import Stream, rfc3339
from activitysmith_integrations.sandbox.request_log import RequestLog
from activitysmith_integrations.sandbox.responses import AsciiJSONResponse, error_response, refusal
from activitysmith_integrations.sandbox.streams import Account

_MAX_ALERT_TEXT = 500


class StreamEndpoint:
    """Answers PUT and DELETE of a stream.

    Args:
        account: The streams.
        faults: What is to go wrong.
        log: Keeps the requests.
        feed: Publishes what changes.
        clock: Tells the time, with its zone.
    """

    def __init__(
        self, account: Account, faults: Faults, log: RequestLog, feed: Feed, clock: Callable[[], datetime]
    ) -> None:
        self._account, self._faults, self._log, self._feed, self._clock = account, faults, log, feed, clock

    async def handle(self, request: Request) -> Response:
        """Answer a request."""
        method, key = request.method, request.path_params["stream_key"]
        raw, refused = b"", None
        try:
            # Without a key that is allowed to, a body is neither read nor kept.
            _authorize(request.headers.get("authorization"), self._clock())
            raw = await read_body(request)
        except RefusedError as error:
            refused = error
        fault = self._faults.take(method, key)
        if fault is not None:
            await asyncio.sleep(fault.late)
        now = self._clock()
        before = self._account.find(key)
        response = fault.response() if fault is not None else None
        answer: dict[str, Any] = {}
        if response is None:
            response, answer = self._answer(method, key, raw, refused, now)
        received = {
            "time": rfc3339(now),
            "method": method,
            "stream_key": key[:MAX_KEY_LENGTH],
            "authorization": "authorization" in request.headers,
            "body": json_or_none(raw),
        }
        result = {
            "status": None if fault is not None and fault.drop else response.status_code,
            "operation": answer.get("operation"),
            "message": answer.get("message"),
        }
        self._publish({**received, **result}, before, self._account.find(key))
        return response if fault is None else FaultyResponse(response, fault)

    def _answer(
        self, method: str, key: str, raw: bytes, refused: RefusedError | None, now: datetime
    ) -> tuple[Response, dict[str, Any]]:
        """The service's answer, and its body's members."""
        try:
            if refused is not None:
                raise refused
            self._account.admit(now)
            if not is_legal(key):
                rule = "A stream key is 1 to 255 letters, digits, underscores and hyphens."
                raise RefusedError(400, "Invalid stream_key", rule)
            if method == "PUT":
                answer = self._account.put(key, parse_stream_request(StreamRequest, raw), now)
            else:
                request = parse_stream_request(EndStreamRequest, raw) if raw else None
                answer = self._account.delete(key, request, now)
        except InvalidRequestError as error:
            refused = refusal(error)
        except RefusedError as error:
            refused = error
        else:
            return AsciiJSONResponse(answer), answer
        return error_response(refused), refused.body

    def _publish(self, request: dict[str, Any], before: Stream | None, after: Stream | None) -> None:
        """Log a request, and publish it to the page's viewers."""
        changed = after is not None and after is not before
        alert = after.alert if after is not None and changed and after.alert else {}
        line = {
            "number": self._log.add(request),
            **{name: request[name] for name in ("time", "method", "stream_key", "status", "operation", "message")},
            "changed": changes(before, after),
            "alert": {name: cut(text, _MAX_ALERT_TEXT) for name, text in alert.items()} or None,
        }
        self._feed.publish(json.dumps(line), request["stream_key"] if changed else None)


def _authorize(authorization: str | None, now: datetime) -> None:
    """Refuse a missing API key, and those that stand for one that the service refuses.

    Raises:
        RefusedError: 401, 402 or 403.
    """
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
