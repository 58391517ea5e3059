"""The streams of one account: started, updated, rotated, repeated, ended.

Pure: the time and the activity ids come from outside, and nothing is sent or read. Every rule here is the service's,
as in its documentation and its API description (July 2026). Where they leave something open, a comment says so.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from activitysmith_integrations.core.errors import InvalidRequestError
from activitysmith_integrations.core.models.requests import EndStreamRequest, StreamRequest
from activitysmith_integrations.core.models.states import ContentState
from activitysmith_integrations.sandbox.errors import RefusedError
from activitysmith_integrations.sandbox.models import Stream, Timer, rfc3339
from activitysmith_integrations.sandbox.stream_store import StreamStore

_MINUTE = timedelta(minutes=1)
_UPDATES_WITHOUT_WARNING = 12
_UPDATE_SPACING = timedelta(minutes=2)
_MAX_ADMITTED = 100_000
MAX_STREAMS = 10_000
"""How many streams an account keeps; ended ones are forgotten first."""
MAX_STREAM_BYTES = 8 * 1024 * 1024
"""How large the streams that it keeps may be together, as JSON."""

# The member that an update keeps where it leaves it out: a timer's window, the number of steps of a progress bar.
_KEPT = {"timer": "duration_seconds", "segmented_progress": "number_of_steps"}


@dataclass(frozen=True)
class Limits:
    """What an account may do. None is unlimited.

    Args:
        max_concurrent: Live Activities that run at the same time.
        requests_per_minute: Requests within any 60 seconds, PUT and DELETE together.
    """

    max_concurrent: int | None = 4
    requests_per_minute: int | None = 60


class Account:
    """The streams of one account and its limits.

    Args:
        new_id: Makes a new activity id at each call.
        limits: What the account may do; may be replaced at any time.
    """

    def __init__(self, new_id: Callable[[], str], limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._new_id = new_id
        self._streams = StreamStore(MAX_STREAMS, MAX_STREAM_BYTES)
        self._admitted: deque[datetime] = deque(maxlen=_MAX_ADMITTED)

    @property
    def streams(self) -> list[Stream]:
        """The streams that are kept, live or ended, longest unchanged first."""
        return list(self._streams)

    @property
    def live_count(self) -> int:
        """How many streams have not ended."""
        return self._streams.live_count

    def find(self, key: str) -> Stream | None:
        """The stream of a key; None where there is none."""
        return self._streams.get(key)

    def clear(self) -> None:
        """Forget every stream and every request."""
        self._streams.clear()
        self._admitted.clear()

    def admit(self, now: datetime) -> None:
        """Count one request against the requests a minute. Refused ones do not count, and no more than 100,000 do.

        Raises:
            RefusedError: 429, with the seconds until the next one is let in.
        """
        while self._admitted and self._admitted[0] <= now - _MINUTE:
            self._admitted.popleft()
        limit = self.limits.requests_per_minute
        if limit is not None and len(self._admitted) >= limit:
            opens = self._admitted[len(self._admitted) - limit] + _MINUTE
            wait = max(1, math.ceil((opens - now).total_seconds()))
            raise RefusedError(
                429,
                "Rate limit exceeded",
                f"{limit} requests a minute are allowed; the next one is let in after {wait} s.",
                retry_after=wait,
            )
        self._admitted.append(now)

    def put(self, key: str, request: StreamRequest, now: datetime) -> dict[str, Any]:
        """Start or update a stream.

        Args:
            key: A legal stream key.
            request: The body.
            now: The time, with its zone.

        Returns:
            The members of the answer. ``operation`` is ``started``, ``updated``, ``rotated`` or ``noop``.

        Raises:
            InvalidRequestError: The state has no type and there is none to infer, or breaks a rule of its type.
            RefusedError: 429, as many activities as allowed are running.
        """
        stream = self._streams.get(key)
        running = stream if stream is not None and stream.live else None
        content = request.to_wire()
        new_window = "duration_seconds" in content["content_state"]
        content["content_state"] = _complete(content["content_state"], running)
        if running is None:
            self._check_concurrent_limit()
            started = self._start(key, content, now)
            self._streams.put(started)
            return _answer("started", key, now, activity_id=started.activity_id, devices_queued=1)
        if content == running.payload:
            return _answer("noop", key, now, activity_id=running.activity_id)
        if content["content_state"]["type"] != running.type:
            rotated = self._start(key, content, now, tags=running.tags, metadata=running.metadata)
            self._streams.put(rotated)
            return _answer(
                "rotated",
                key,
                now,
                activity_id=rotated.activity_id,
                previous_activity_id=running.activity_id,
                devices_queued=1,
            )
        members = _content_members(content, running.tags, running.metadata)
        timer = _timer(members["state"], None if new_window else running.timer, now)
        updated = replace(running, **members, timer=timer, updated_at=now, updates=running.updates + 1)
        self._streams.put(updated)
        answer = _answer("updated", key, now, activity_id=updated.activity_id, devices_queued=1)
        return answer | _warning(updated, now)

    def delete(self, key: str, request: EndStreamRequest | None, now: datetime) -> dict[str, Any]:
        """End a stream.

        Args:
            key: A legal stream key.
            request: The body; None ends the stream with the latest state.
            now: The time, with its zone.

        Returns:
            The members of the answer. ``operation`` is ``ended``; a stream that had ended before stays as it was
            and the answer says ``ignored``.

        Raises:
            InvalidRequestError: The state breaks a rule of its type.
            RefusedError: 404, there is no such stream.
        """
        stream = self._streams.get(key)
        if stream is None:
            message = f"There is no stream {key}. The sandbox keeps the latest {MAX_STREAMS}."
            raise RefusedError(404, "Live Activity stream not found", message)
        if not stream.live:
            return _answer("ended", key, now, activity_id=None, ignored=True)
        content = request.to_wire() if request is not None else {}
        if "content_state" in content:
            content["content_state"] = _complete(content["content_state"], stream)
        else:
            buttons = {"action": stream.action, "secondary_action": stream.secondary_action}
            content = {"content_state": stream.state, **buttons, **content}
        members = _content_members(content, stream.tags, stream.metadata)
        # An ended activity shows its last state, so its timer stops. The service's documentation leaves that open.
        timer = _timer({**members["state"], "is_running": False}, stream.timer, now)
        self._streams.put(replace(stream, **members, timer=timer, ended_at=now))
        return _answer("ended", key, now, activity_id=stream.activity_id, devices_queued=1)

    def _check_concurrent_limit(self) -> None:
        active, limit = self.live_count, self.limits.max_concurrent
        if limit is not None and active >= limit:
            raise RefusedError(
                429,
                "Live Activity limit reached",
                f"{active} Live Activities are running and {limit} are allowed; end one first.",
                {"limit": limit, "active": active},
            )

    def _start(
        self,
        key: str,
        content: dict[str, Any],
        now: datetime,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Stream:
        members = _content_members(content, tags or [], metadata or {})
        timer = _timer(members["state"], None, now)
        return Stream(key=key, activity_id=self._new_id(), started_at=now, updated_at=now, **members, timer=timer)


def _complete(state: dict[str, Any], running: Stream | None) -> dict[str, Any]:
    """The state with its type, and with the member that it keeps of the running activity's state."""
    kind = state.get("type") or (running.type if running else None)
    if kind is None:
        rule = "is required: no activity is running that it could be inferred from"
        raise InvalidRequestError(("content_state.type", rule))
    try:
        # Some rules depend on the type, so a state that came without one is validated now.
        state = ContentState(**{**state, "type": kind}).to_wire()
    except InvalidRequestError as error:
        raise error.within("content_state") from None
    kept = _KEPT.get(kind)
    if running is not None and running.type == kind and kept in running.state:
        return {kept: running.state[kept], **state}
    return state


def _timer(state: Mapping[str, Any], before: Timer | None, now: datetime) -> Timer | None:
    """The state's timer, continued from the one before."""
    if state["type"] != "timer":
        return None
    return Timer(now, before.elapsed_at(now) if before else 0.0, running=state.get("is_running", True))


def _content_members(content: dict[str, Any], tags: list[str], metadata: dict[str, Any]) -> dict[str, Any]:
    """The members of a :class:`Stream` that come from a request.

    Buttons and alert belong to the state that they come with, so a request without them clears them. Tags and metadata
    belong to the stream and stay until they are replaced. The service's documentation leaves both open.
    """
    return {
        "state": content["content_state"],
        "action": content.get("action"),
        "secondary_action": content.get("secondary_action"),
        "alert": content.get("alert"),
        "tags": content.get("tags", tags),
        "metadata": content.get("metadata", metadata),
        "payload": content,
    }


def _warning(stream: Stream, now: datetime) -> dict[str, str]:
    """The service's warning of iOS's budget: more than 12 updates, and on average more than one in 2 minutes."""
    too_often = now - stream.started_at < stream.updates * _UPDATE_SPACING
    if stream.updates > _UPDATES_WITHOUT_WARNING and too_often:
        minutes = (now - stream.started_at) / _MINUTE
        return {
            "warning": f"{stream.updates} updates in {minutes:.0f} minutes: above one in 2 minutes iOS may throttle "
            "further ones for about an hour."
        }
    return {}


def _answer(operation: str, key: str, now: datetime, **members: Any) -> dict[str, Any]:
    return {"success": True, "operation": operation, "stream_key": key, **members, "timestamp": rfc3339(now)}
