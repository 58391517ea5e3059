"""A stream as the page shows it: its picture, and when iOS removes it (pure)."""

from datetime import datetime
from typing import Any

from activitysmith_integrations.sandbox.describe import Clock, accent, describe
from activitysmith_integrations.sandbox.drawing import draw
from activitysmith_integrations.sandbox.models import Stream


def card(key: str, stream: Stream | None, now: datetime) -> dict[str, Any]:
    """What the page is sent of a stream, as JSON values.

    Args:
        key: Its key.
        stream: The stream, None where there is none.
        now: The time, with its zone.

    Returns:
        ``key``; ``svg``, None where it is not on the screen; and, where there is such a stream, ``label`` and ``color``
        of what it shows or showed last, and the Unix times ``started_at`` and ``removed_at``.
    """
    if stream is None:
        return {"key": key, "svg": None}
    content, removed_at = stream.to_json(), stream.removed_at
    return {
        "key": key,
        "svg": None if is_removed(stream, now) else draw(content, _clock(stream, now)),
        "label": describe({"content_state": stream.state}),
        "color": accent(stream.state),
        "started_at": stream.started_at.timestamp(),
        "removed_at": removed_at.timestamp() if removed_at else None,
    }


def is_removed(stream: Stream, now: datetime) -> bool:
    """Whether iOS has removed it from the screen."""
    return stream.removed_at is not None and stream.removed_at <= now


def _clock(stream: Stream, now: datetime) -> Clock:
    if stream.timer is None:
        return Clock()
    elapsed = stream.timer.elapsed_at(now)
    return Clock(elapsed, now.timestamp() - elapsed if stream.timer.running else None)
