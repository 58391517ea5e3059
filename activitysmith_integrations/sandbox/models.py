"""What the sandbox knows of one stream."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

_DISMISSED_AFTER_SECONDS = 2 * 60
_DISMISSED_AT_THE_LATEST_SECONDS = 4 * 3600  # iOS removes an ended activity by then, whatever the request asked for


@dataclass(frozen=True, slots=True)
class Timer:
    """How far a timer was at a moment.

    Args:
        at: The moment.
        elapsed: Seconds that had elapsed by then.
        running: Whether it goes on from there.
    """

    at: datetime
    elapsed: float
    running: bool

    def elapsed_at(self, now: datetime) -> float:
        """Seconds that have elapsed at a later moment."""
        return self.elapsed + (max(0.0, (now - self.at).total_seconds()) if self.running else 0.0)


@dataclass(frozen=True, slots=True)
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
        payload: The content of the last PUT, by which a repeated one is recognized.
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
        """When iOS removes it from the screen; None while it is live."""
        if self.ended_at is None:
            return None
        seconds = self.state.get("auto_dismiss_seconds")
        if seconds is None and "auto_dismiss_minutes" in self.state:
            seconds = self.state["auto_dismiss_minutes"] * 60
        if seconds is None:
            seconds = _DISMISSED_AFTER_SECONDS
        return self.ended_at + timedelta(seconds=min(seconds, _DISMISSED_AT_THE_LATEST_SECONDS))

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


def rfc3339(moment: datetime) -> str:
    """A moment as the service writes it: UTC, milliseconds, ``Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
