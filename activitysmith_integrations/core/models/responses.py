"""What the service answers."""

from datetime import datetime
from typing import Annotated, Any, TypeAlias

from pydantic import ConfigDict, Field, PrivateAttr

from activitysmith_integrations.core.models.base import LazyModel

# One wrong entry is enough to hear of: a hostile answer has half a million.
_Texts: TypeAlias = Annotated[list[str], Field(fail_fast=True)]


class _Response(LazyModel):
    # The service may add members at any time; they are kept.
    model_config = ConfigDict(extra="allow")

    success: bool
    """Whether it worked."""
    operation: str
    """What the service did: ``ended``; or ``started``, ``updated``, ``rotated``, ``noop`` or ``paused``."""
    stream_key: str
    """The stream."""
    timestamp: datetime
    """When."""
    activity_id: str | None = None
    """The activity that shows the stream, or showed it; None where the stream was already inactive."""
    devices_queued: int | None = None
    """How many devices will be told."""
    devices_notified: int | None = None
    """How many devices were told."""
    ignored: bool | None = None
    """Whether nothing changed, such as for a stream that had ended before."""
    message: str | None = None
    """A remark."""
    warning: str | None = None
    """A warning, such as one about iOS's update budget."""
    errors: _Texts | None = None
    """What went wrong on single devices."""

    _is_repeated: bool = PrivateAttr(default=False)

    @property
    def remarks(self) -> list[str]:
        """What the service warns about: its warning, and what went wrong on single devices."""
        return [remark for remark in (self.warning, *(self.errors or ())) if remark]

    def to_json(self) -> dict[str, Any]:
        """The members as plain JSON values, as the service gave them."""
        return self.model_dump(mode="json", exclude_unset=True)


class EndStreamResponse(_Response):
    """The service's answer to ending a stream."""

    forced_completion: bool | None = None
    """Whether the service completed the activity by force."""

    @property
    def was_inactive(self) -> bool:
        """Whether the stream had ended before (API contract: null means that; left out means nothing)."""
        return bool(self.ignored) or ("activity_id" in self.model_fields_set and self.activity_id is None)

    @property
    def may_have_ended_it(self) -> bool:
        """Whether the call did so itself: an attempt whose answer was lost may have been carried out."""
        return self._is_repeated


class StreamResponse(_Response):
    """The service's answer to starting or updating a stream."""

    previous_activity_id: str | None = None
    """The activity that was replaced."""
    users_notified: int | None = None
    """How many people were told."""
    effective_channel_slugs: _Texts | None = None
    """The channels it went to."""
    tags: _Texts | None = None
    """The stream's tags."""
    remote_push_sent: bool | None = None
    """Whether a push went out."""
