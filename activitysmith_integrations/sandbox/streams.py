"""The life of the streams of one account: started, updated, rotated, repeated, ended.

Pure: the time and the activity ids come from outside, and nothing is sent or read. Every rule here is one
of the service's, as its documentation and its API description (July 2026) tell them; where they are silent
a comment says what was chosen.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from activitysmith_integrations.core.errors import InvalidRequestError
from activitysmith_integrations.core.models import ContentState, EndStreamRequest, StreamRequest

_MINUTE = timedelta(minutes=1)
_UPDATES_WITHOUT_WARNING = 12
_UPDATE_SPACING = timedelta(minutes=2)
_STAYS_SECONDS = 2 * 60
_STAYS_AT_MOST = 4 * 3600  # iOS takes an ended activity away by then, whatever it was told

# What an update that leaves it out keeps: a timer its window, a bar of steps their number.
_KEPT = {"timer": "duration_seconds", "segmented_progress": "number_of_steps"}


class RefusedError(Exception):
    """The service answers with an error status.

    Args:
        status: The HTTP status.
        error: The kind of error, the answer's member ``error``.
        message: What to tell a human, the answer's member ``message``.
        members: Further members of the answer.
        retry_after: Whole seconds after which the same request would be let in; None where waiting does not help.
    """

    def __init__(
        self,
        status: int,
        error: str,
        message: str,
        members: Mapping[str, Any] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(status, error, message)
        self.status = status
        self.body = {"error": error, "message": message, **(members or {})}
        self.retry_after = retry_after


@dataclass(frozen=True)
class Limits:
    """What an account may do. None is unlimited.

    Args:
        max_concurrent: Live Activities that run at the same time.
        requests_per_minute: Requests within any 60 seconds, PUT and DELETE together.
    """

    max_concurrent: int | None = 4
    requests_per_minute: int | None = 60


@dataclass(frozen=True)
class Timer:
    """How far a timer was at a moment.

    Args:
        at: The moment.
        elapsed: Seconds that had gone by.
        running: Whether it goes on from there.
    """

    at: datetime
    elapsed: float
    running: bool

    def elapsed_at(self, now: datetime) -> float:
        """Seconds that have gone by at a later moment."""
        return self.elapsed + (max(0.0, (now - self.at).total_seconds()) if self.running else 0.0)


@dataclass(frozen=True)
class Stream:
    """One stream as the service knows it.

    Args:
        key: The stream key.
        activity_id: The activity that shows it, or showed it last.
        state: The latest content state, its ``type`` filled in.
        started_at: When the activity started.
        updated_at: When a PUT last changed it.
        ended_at: When it ended; None while it is live.
        updates: How many PUTs changed the activity after the one that started it.
        action: The button that came with the state.
        secondary_action: The second button that came with the state.
        alert: The notification that came with the latest change.
        tags: Its tags.
        metadata: Its metadata.
        payload: What the last PUT asked for, to tell when it is asked for again.
        timer: How far its timer is; None for a state of another type.
    """

    key: str
    activity_id: str
    state: dict[str, Any]
    started_at: datetime
    updated_at: datetime
    ended_at: datetime | None = None
    updates: int = 0
    action: dict[str, Any] | None = None
    secondary_action: dict[str, Any] | None = None
    alert: dict[str, Any] | None = None
    tags: list[str] = field(default_factory=list)
    metadata: dict[str, Any] = field(default_factory=dict)
    payload: dict[str, Any] = field(default_factory=dict, repr=False)
    timer: Timer | None = None

    @property
    def live(self) -> bool:
        """Whether it has not ended."""
        return self.ended_at is None

    @property
    def type(self) -> str:
        """The type of its state, such as ``progress``."""
        return str(self.state["type"])

    @property
    def removed_at(self) -> datetime | None:
        """When iOS takes it off the screen; None while it is live."""
        if self.ended_at is None:
            return None
        seconds = self.state.get("auto_dismiss_seconds")
        if seconds is None:
            seconds = (
                self.state["auto_dismiss_minutes"] * 60 if "auto_dismiss_minutes" in self.state else _STAYS_SECONDS
            )
        return self.ended_at + timedelta(seconds=min(seconds, _STAYS_AT_MOST))

    def to_json(self) -> dict[str, Any]:
        """All that is known of it, as JSON values."""
        return {
            "stream_key": self.key,
            "live": self.live,
            "activity_id": self.activity_id,
            "type": self.type,
            "content_state": self.state,
            "action": self.action,
            "secondary_action": self.secondary_action,
            "alert": self.alert,
            "tags": self.tags,
            "metadata": self.metadata,
            "updates": self.updates,
            "started_at": rfc3339(self.started_at),
            "updated_at": rfc3339(self.updated_at),
            "ended_at": rfc3339(self.ended_at) if self.ended_at else None,
        }


class Account:
    """The streams of one account and its limits.

    Args:
        new_id: Gives a fresh activity id at each call.
        limits: What the account may do; may be replaced at any time.
    """

    def __init__(self, new_id: Callable[[], str], limits: Limits | None = None) -> None:
        self.limits = limits or Limits()
        self._new_id = new_id
        self._streams: dict[str, Stream] = {}
        self._admitted: deque[datetime] = deque()

    @property
    def streams(self) -> list[Stream]:
        """Every stream, live or ended, in the order in which the keys were first used."""
        return list(self._streams.values())

    def find(self, key: str) -> Stream | None:
        """The stream of a key, None where the key was never used."""
        return self._streams.get(key)

    def clear(self) -> None:
        """Forget every stream and every request."""
        self._streams.clear()
        self._admitted.clear()

    def admit(self, now: datetime) -> None:
        """Count one request against the requests a minute. RefusedError requests do not count.

        Raises:
            RefusedError: 429, with the seconds until there is room again.
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
                f"{limit} requests a minute are allowed; there is room for the next one in {wait} s.",
                retry_after=wait,
            )
        self._admitted.append(now)

    def put(self, key: str, request: StreamRequest, now: datetime) -> dict[str, Any]:
        """Start a stream, or bring it up to date.

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
        asked = request.to_wire()
        new_window = "duration_seconds" in asked["content_state"]
        asked["content_state"] = _complete(asked["content_state"], running)
        if running is None:
            self._check_room()
            self._streams[key] = self._start(key, asked, now)
            return _answer("started", key, now, activity_id=self._streams[key].activity_id, devices_queued=1)
        if asked == running.payload:
            return _answer("noop", key, now, activity_id=running.activity_id)
        if asked["content_state"]["type"] != running.type:
            fresh = self._start(key, asked, now, tags=running.tags, metadata=running.metadata)
            self._streams[key] = fresh
            return _answer(
                "rotated",
                key,
                now,
                activity_id=fresh.activity_id,
                previous_activity_id=running.activity_id,
                devices_queued=1,
            )
        shown = _shown(asked, running.tags, running.metadata)
        timer = _timer(shown["state"], None if new_window else running.timer, now)
        updated = replace(running, **shown, timer=timer, updated_at=now, updates=running.updates + 1)
        self._streams[key] = updated
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
            RefusedError: 404, the key was never used.
        """
        stream = self._streams.get(key)
        if stream is None:
            raise RefusedError(404, "Live Activity stream not found", f"There has never been a stream {key}.")
        if not stream.live:
            return _answer("ended", key, now, activity_id=None, ignored=True)
        asked = request.to_wire() if request is not None else {}
        if "content_state" in asked:
            asked["content_state"] = _complete(asked["content_state"], stream)
        else:
            buttons = {"action": stream.action, "secondary_action": stream.secondary_action}
            asked = {"content_state": stream.state, **buttons, **asked}
        shown = _shown(asked, stream.tags, stream.metadata)
        # What has ended shows its last state, so its timer stands still. The service's documentation leaves it open.
        timer = _timer({**shown["state"], "is_running": False}, stream.timer, now)
        self._streams[key] = replace(stream, **shown, timer=timer, ended_at=now)
        return _answer("ended", key, now, activity_id=stream.activity_id, devices_queued=1)

    def _check_room(self) -> None:
        active = sum(stream.live for stream in self._streams.values())
        limit = self.limits.max_concurrent
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
        asked: dict[str, Any],
        now: datetime,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
    ) -> Stream:
        shown = _shown(asked, tags or [], metadata or {})
        timer = _timer(shown["state"], None, now)
        return Stream(key=key, activity_id=self._new_id(), started_at=now, updated_at=now, **shown, timer=timer)


def rfc3339(moment: datetime) -> str:
    """A moment as the service writes it: UTC, milliseconds, ``Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _complete(given: dict[str, Any], running: Stream | None) -> dict[str, Any]:
    """The state with its type, and with what the running activity keeps for it."""
    kind = given.get("type") or (running.type if running else None)
    if kind is None:
        rule = "is required: no activity is running that it could be inferred from"
        raise InvalidRequestError(("content_state.type", rule))
    try:
        # Some rules depend on the type, so a state that came without one is judged now.
        state = ContentState(**{**given, "type": kind}).to_wire()
    except InvalidRequestError as error:
        raise error.within("content_state") from None
    kept = _KEPT.get(kind)
    if running is not None and running.type == kind and kept in running.state:
        return {kept: running.state[kept], **state}
    return state


def _timer(state: Mapping[str, Any], before: Timer | None, now: datetime) -> Timer | None:
    """The state's timer, going on from where one was before."""
    if state["type"] != "timer":
        return None
    return Timer(now, before.elapsed_at(now) if before else 0.0, running=state.get("is_running", True))


def _shown(asked: dict[str, Any], tags: list[str], metadata: dict[str, Any]) -> dict[str, Any]:
    """The members of a :class:`Stream` that a request decides.

    Buttons and alert belong to the state they come with, so a request without them has none; tags and metadata
    belong to the stream and stay until they are replaced. The service's documentation leaves both open.
    """
    return {
        "state": asked["content_state"],
        "action": asked.get("action"),
        "secondary_action": asked.get("secondary_action"),
        "alert": asked.get("alert"),
        "tags": asked.get("tags", tags),
        "metadata": asked.get("metadata", metadata),
        "payload": asked,
    }


def _warning(stream: Stream, now: datetime) -> dict[str, str]:
    """The service's remark on iOS's update budget: more than 12 updates, more often than one in 2 minutes."""
    often = now - stream.started_at < stream.updates * _UPDATE_SPACING
    if stream.updates > _UPDATES_WITHOUT_WARNING and often:
        minutes = (now - stream.started_at) / _MINUTE
        return {
            "warning": f"{stream.updates} updates in {minutes:.0f} minutes are more than iOS likes: above one in "
            "2 minutes it may hold further ones back for about an hour."
        }
    return {}


def _answer(operation: str, key: str, now: datetime, **members: Any) -> dict[str, Any]:
    return {"success": True, "operation": operation, "stream_key": key, **members, "timestamp": rfc3339(now)}
