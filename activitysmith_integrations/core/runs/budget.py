"""Which updates iOS's budget is spent on. Pure.

The budget's source is the API contract: the service warns once an activity has had more than 12 updates and
averages more than one in 2 minutes, and past that iOS throttles it for about an hour. A bar has at most 10
segments: the start and the 9 updates in between leave two of the 12 for failures.
"""

from dataclasses import dataclass, replace

from activitysmith_integrations.core.errors import BadRequestError, may_have_arrived
from activitysmith_integrations.core.models.responses import StreamResponse
from activitysmith_integrations.core.runs.progress import Progress

FREE_UPDATES = 12
SECONDS_PER_UPDATE = 120.0
SECONDS_BETWEEN_STARTS = 60.0


@dataclass(frozen=True)
class UpdateHistory:
    """What an activity has had; times are seconds on one clock.

    Args:
        updates: How many requests went out, the start and failed ones included: those may have arrived.
        since: When the activity began at the latest, None before the first request.
        tried_milestone: The milestone that went out last.
        shown: What the service last answered that it shows; None where it shows nothing, as far as is known.
        may_run: Whether an activity may be there: a request was delivered, or one was lost that may have arrived.
        resume_at: The moment until which the service is left alone.
    """

    updates: int = 0
    since: float | None = None
    tried_milestone: tuple[object, ...] | None = None
    shown: Progress | None = None
    may_run: bool = False
    resume_at: float = 0.0

    def tried(self, progress: Progress, now: float) -> "UpdateHistory":
        """The history after a request went out."""
        since = now if self.since is None else self.since
        return replace(self, updates=self.updates + 1, since=since, tried_milestone=progress.milestone)

    def delivered(self, progress: Progress, answer: StreamResponse, now: float) -> "UpdateHistory":
        """The history after the service took the last request: a new activity has had nothing but that."""
        new = answer.operation in ("started", "rotated")
        since = now if new or self.shown is None else self.since
        return replace(self, updates=1 if new else self.updates, since=since, shown=progress, may_run=True)

    def failed(self, error: Exception, now: float) -> "UpdateHistory":
        """The history after the last request failed.

        A 400 to an update may mean that nothing runs any more, so the next one starts. A start that failed is tried
        again a minute later at the earliest, since the account's requests are for the runs that are shown.
        """
        wait = getattr(error, "retry_after", None) or 0.0
        if self.shown is None:
            may_run = self.may_run or may_have_arrived(error)
            return replace(self, may_run=may_run, resume_at=now + max(wait, SECONDS_BETWEEN_STARTS))
        shown = None if isinstance(error, BadRequestError) else self.shown
        return replace(self, shown=shown, resume_at=now + wait)

    def given_up(self) -> "UpdateHistory":
        """The history after nobody waited for the answer to the last request: it may have arrived."""
        return replace(self, may_run=True)

    @property
    def needs_start(self) -> bool:
        """Whether a start was tried and nothing is shown yet."""
        return self.since is not None and self.shown is None

    @property
    def was_never_shown(self) -> bool:
        """Whether it is certain that no activity is there."""
        return not self.may_run


def may_update(updates: int, seconds: float, *, reserved: int = 0) -> bool:
    """Whether iOS's budget has room for one more update.

    Args:
        updates: How many the activity has had.
        seconds: How long it has been there.
        reserved: How many later ones to keep room for.
    """
    return updates + 1 + reserved <= max(FREE_UPDATES, seconds // SECONDS_PER_UPDATE)


def is_due(progress: Progress, history: UpdateHistory, now: float) -> bool:
    """Whether to send now how far the work is.

    The start always goes out. Then milestones come first, and other changes have what they leave. What is shown
    already is not sent again, and neither is the last segment without a second line of its own: the end shows it.

    Args:
        progress: How far the work is.
        history: What the activity has had.
        now: The time on the clock of *history*.
    """
    if history.since is None:
        return True
    if (progress.is_complete and progress.note is None) or now < history.resume_at:
        return False
    shown = history.shown
    if shown is None:
        # A start that did not arrive has taken nothing of iOS's budget.
        return not history.may_run or may_update(history.updates, now - history.since)
    if progress.state == shown.state:
        return False
    # One that was lost is repeated with what those to come leave.
    is_new = progress.milestone not in (shown.milestone, history.tried_milestone)
    reserved = 0 if is_new else progress.reserved_updates
    return may_update(history.updates, now - history.since, reserved=reserved)
