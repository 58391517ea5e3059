"""What a running stream shows, and which updates iOS's budget is spent on. Pure.

The budget's source is the API contract: the service warns once an activity has had more than 12 updates and
averages more than one in 2 minutes, and past that iOS throttles it for about an hour. A bar has at most 12
segments; the start and the 11 updates in between stay within the 12, so whole segments are never too many.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from activitysmith_integrations.core.errors import InvalidRequestError
from activitysmith_integrations.core.models import StreamResponse
from activitysmith_integrations.core.outcome import MAX_SUBTITLE, fold_steps
from activitysmith_integrations.core.text import line

FREE_UPDATES = 12
SECONDS_PER_UPDATE = 120.0


@dataclass(frozen=True)
class Progress:
    """How far the work is.

    Args:
        title: First line.
        steps: The names of the steps, empty where they are not known before.
        total: How many steps there are, None where that is not known.
        done: How many are complete.
        step: The name of the step being worked on, if known.
        note: Second line instead of that name.
    """

    title: str
    steps: tuple[str, ...] = ()
    total: int | None = None
    done: int = 0
    step: str | None = None
    note: str | None = None

    def advanced(self, step: str | None) -> "Progress":
        """The progress once *step* has begun, or once the step being worked on is done where there is no name."""
        if step is None:
            return self.updated(done=self.done + 1)
        if step in self.steps:
            return self.updated(done=self.steps.index(step))
        # A name that nobody announced: among counted steps what was worked on before it is done, among named ones
        # it is a part of one.
        done = self.done + (not self.steps and self.step is not None)
        return replace(self.updated(done=done), step=str(step))

    def updated(self, done: int | None = None, note: str | None = None) -> "Progress":
        """The progress with what is given changed. A new count is the end of what was worked on before."""
        if done is None:
            return replace(self, note=None if note is None else str(note))
        done = max(0, done if self.total is None else min(done, self.total))
        step = self.steps[done] if done < len(self.steps) else None
        return replace(self, done=done, step=step, note=None).updated(note=note)

    @property
    def segments(self) -> tuple[int, int]:
        """Complete segments, and all of them. Work that cannot be counted is one segment, complete at its end."""
        return fold_steps(self.done, self.total) or (0, 1)

    @property
    def state(self) -> dict[str, Any]:
        """The state to show while the work goes on."""
        done, number = self.segments
        subtitle = line(self.note or self.step, MAX_SUBTITLE)
        return {
            "type": "segmented_progress",
            "title": self.title,
            **({"subtitle": subtitle} if subtitle else {}),
            "number_of_steps": number,
            "current_step": done,
        }


def begin(title: str, steps: Sequence[str] | int | None) -> Progress:
    """The progress of work that has not begun.

    Args:
        title: First line.
        steps: The names of the steps, their number, or None where neither is known.

    Raises:
        InvalidRequestError: The steps are neither, or there is none, or two have one name.
    """
    if steps is None:
        return Progress(title)
    if isinstance(steps, int):
        if isinstance(steps, bool) or steps < 1:
            raise InvalidRequestError(("steps", f"must be names or a number of 1 or more, not {steps!r}"))
        return Progress(title, total=steps)
    if isinstance(steps, str) or not isinstance(steps, Sequence) or not steps:
        raise InvalidRequestError(("steps", f"must be a list of names or a number of 1 or more, not {steps!r}"))
    for position, name in enumerate(steps):
        if not isinstance(name, str) or not name.strip():
            raise InvalidRequestError((f"steps.{position}", f"must be a name, not {name!r}"))
        if name in steps[:position]:
            raise InvalidRequestError((f"steps.{position}", f"{name!r} is there twice; give each step its own name"))
    return Progress(title, tuple(steps), len(steps)).updated(done=0)


@dataclass(frozen=True)
class Spent:
    """What an activity has had; times are seconds on one clock.

    Args:
        updates: How many requests went out, the start and failed ones included: those may have arrived.
        since: When the activity began at the latest, None before the first request.
        shown: The state that the service last said it has.
        resume_at: When the service is to be left alone until.
    """

    updates: int = 0
    since: float | None = None
    shown: dict[str, Any] | None = None
    resume_at: float = 0.0

    def tried(self, now: float) -> "Spent":
        """After a request went out."""
        return replace(self, updates=self.updates + 1, since=now if self.since is None else self.since)

    def delivered(self, state: dict[str, Any], answer: StreamResponse, now: float) -> "Spent":
        """After the service took the last request: a new activity has had nothing but that."""
        new = answer.operation in ("started", "rotated")
        since = now if new or self.shown is None else self.since
        return replace(self, updates=1 if new else self.updates, since=since, shown=state)

    def refused(self, retry_after: float | None, now: float) -> "Spent":
        """After the last request failed."""
        return replace(self, resume_at=now + (retry_after or 0.0))


def may_update(updates: int, seconds: float, *, to_come: int = 0) -> bool:
    """Whether iOS's budget has room for one more update.

    Args:
        updates: How many the activity has had.
        seconds: How long it has been there.
        to_come: How many later ones to keep room for.
    """
    return updates + 1 + to_come <= max(FREE_UPDATES, seconds // SECONDS_PER_UPDATE)


def due(progress: Progress, spent: Spent, now: float) -> dict[str, Any] | None:
    """The state to send now, None where there is nothing worth an update.

    The start always goes out. Then whole segments come first, and other changes have what they leave. What is
    shown already is not sent again, and neither is the last segment: the end shows it.

    Args:
        progress: How far the work is.
        spent: What the activity has had.
        now: The time on the clock of *spent*.
    """
    state = progress.state
    if spent.since is None:
        return state
    done, number = progress.segments
    if done == number or state == spent.shown or now < spent.resume_at:
        return None
    whole = spent.shown is None or spent.shown["current_step"] != done
    to_come = 0 if whole else number - 1 - done
    return state if may_update(spent.updates, now - spent.since, to_come=to_come) else None
