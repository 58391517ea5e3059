"""What a running stream shows, and which updates iOS's budget is spent on. Pure.

The budget's source is the API contract: the service warns once an activity has had more than 12 updates and
averages more than one in 2 minutes, and past that iOS throttles it for about an hour. A bar has at most 10
segments: the start and the 9 updates in between leave two of the 12 for failures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

from activitysmith_integrations.core.errors import BadRequestError, InvalidRequestError
from activitysmith_integrations.core.models import StreamResponse
from activitysmith_integrations.core.outcome import MAX_SUBTITLE
from activitysmith_integrations.core.segments import fold_steps
from activitysmith_integrations.core.text import line

FREE_UPDATES = 12
SECONDS_PER_UPDATE = 120.0

_MARKS_OF_UNKNOWN = 6


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
        failed: The name of a step that failed, while others go on.
        unit: What is counted, such as ``step``.
    """

    title: str
    steps: tuple[str, ...] = ()
    total: int | None = None
    done: int = 0
    step: str | None = None
    note: str | None = None
    failed: str | None = None
    unit: str = "step"

    @classmethod
    def begin(cls, title: str, steps: Sequence[str] | int | None) -> Self:
        """The progress of work that has not begun.

        Args:
            title: First line.
            steps: The names of the steps, their number, or None where neither is known.

        Raises:
            InvalidRequestError: The steps are neither, or there is none, or two have one name.
        """
        if steps is None:
            return cls(title)
        if isinstance(steps, int):
            if isinstance(steps, bool) or steps < 1:
                raise InvalidRequestError(("steps", f"must be names or a number of 1 or more, not {steps!r}"))
            return cls(title, total=steps)
        if isinstance(steps, str) or not isinstance(steps, Sequence) or not steps:
            raise InvalidRequestError(("steps", f"must be a list of names or a number of 1 or more, not {steps!r}"))
        for position, name in enumerate(steps):
            if not isinstance(name, str) or not name.strip():
                raise InvalidRequestError((f"steps.{position}", f"must be a name, not {name!r}"))
            if name in steps[:position]:
                raise InvalidRequestError((f"steps.{position}", f"{name!r} is there twice; each needs its own name"))
        return cls(title, tuple(steps), len(steps)).updated(done=0)

    def advanced(self, step: str | None) -> Self:
        """The progress once *step* has begun, or once the step being worked on is done where there is no name."""
        if step is None:
            return self.updated(done=self.done + 1)
        if step in self.steps:
            return self.updated(done=self.steps.index(step))
        # A name that nobody announced: among counted steps what was worked on before it is done, among named ones
        # it is a part of one.
        done = self.done + (not self.steps and self.step is not None)
        return replace(self.updated(done=done), step=str(step))

    def updated(self, done: int | None = None, note: str | None = None) -> Self:
        """The progress with what is given changed. A new count is the end of what was worked on before."""
        if done is None:
            return replace(self, note=None if note is None else str(note))
        done = max(0, done if self.total is None else min(done, self.total))
        step = self.steps[done] if done < len(self.steps) else None
        return replace(self, done=done, step=step, note=None).updated(note=note)

    @property
    def segments(self) -> tuple[int, int] | None:
        """Complete segments, and all of them; None where the work cannot be counted."""
        return fold_steps(self.done, self.total)

    @property
    def is_complete(self) -> bool:
        """Whether only the end is left to show."""
        return self.total is not None and self.done >= self.total

    @property
    def mark(self) -> tuple[object, ...]:
        """What is worth an update of its own: another whole segment or failure, or a count of 1, 2, 5, 10, 20 ..."""
        return (self.segments or _rung(self.done), self.failed)

    @property
    def marks_to_come(self) -> int:
        """How many marks to keep room for: the segments that the end does not show, or some where nothing is known."""
        if self.segments is None:
            return _MARKS_OF_UNKNOWN
        done, number = self.segments
        return number - 1 - done

    @property
    def state(self) -> dict[str, Any]:
        """The state to show while the work goes on."""
        said = self.note or (f"{self.failed} failed" if self.failed else self.step)
        if self.segments is None:
            counted = f"{self.done} {self.unit}{'' if self.done == 1 else 's'} done" if self.done else None
            return self._state("progress", ", ".join(part for part in (said, counted) if part)) | {"percentage": 0}
        done, number = self.segments
        red = {"step_color": "red"} if self.failed else {}
        return self._state("segmented_progress", said) | {"number_of_steps": number, "current_step": done, **red}

    def _state(self, kind: str, said: str | None) -> dict[str, Any]:
        subtitle = line(said, MAX_SUBTITLE)
        return {"type": kind, "title": self.title, **({"subtitle": subtitle} if subtitle else {})}


def as_update(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state that moves a running activity and starts none: for a start the service needs its type (API contract).

    So an update that a slow service works on after the end is refused there, and starts nothing that nobody ends.

    Args:
        state: As :attr:`Progress.state` gives it.
    """
    return {name: value for name, value in state.items() if name != "type"}


def _rung(count: int) -> int:
    """The largest of 1, 2, 5, 10, 20, 50 ... that is not above a count: 11 of them reach 2,000."""
    rung = 0
    power = 1
    while power <= count:
        rung = max(step * power for step in (1, 2, 5) if step * power <= count)
        power *= 10
    return rung


@dataclass(frozen=True)
class Spent:
    """What an activity has had; times are seconds on one clock.

    Args:
        updates: How many requests went out, the start and failed ones included: those may have arrived.
        since: When the activity began at the latest, None before the first request.
        shown: What the service last said it shows; None where it shows nothing, as far as is known.
        resume_at: When the service is to be left alone until.
    """

    updates: int = 0
    since: float | None = None
    shown: Progress | None = None
    resume_at: float = 0.0

    def tried(self, now: float) -> "Spent":
        """After a request went out."""
        return replace(self, updates=self.updates + 1, since=now if self.since is None else self.since)

    def delivered(self, progress: Progress, answer: StreamResponse, now: float) -> "Spent":
        """After the service took the last request: a new activity has had nothing but that."""
        new = answer.operation in ("started", "rotated")
        since = now if new or self.shown is None else self.since
        return replace(self, updates=1 if new else self.updates, since=since, shown=progress)

    def refused(self, error: Exception, now: float) -> "Spent":
        """After the last request failed. What is refused as an update may have nothing to move: the next one starts."""
        shown = None if isinstance(error, BadRequestError) else self.shown
        return replace(self, shown=shown, resume_at=now + (getattr(error, "retry_after", None) or 0.0))


def may_update(updates: int, seconds: float, *, to_come: int = 0) -> bool:
    """Whether iOS's budget has room for one more update.

    Args:
        updates: How many the activity has had.
        seconds: How long it has been there.
        to_come: How many later ones to keep room for.
    """
    return updates + 1 + to_come <= max(FREE_UPDATES, seconds // SECONDS_PER_UPDATE)


def is_due(progress: Progress, spent: Spent, now: float) -> bool:
    """Whether to send now how far the work is.

    The start always goes out. Then whole segments and failures come first, and other changes have what they
    leave. What is shown already is not sent again, and neither is the last segment: the end shows it.

    Args:
        progress: How far the work is.
        spent: What the activity has had.
        now: The time on the clock of *spent*.
    """
    if spent.since is None:
        return True
    shown = spent.shown
    if progress.is_complete or now < spent.resume_at or (shown is not None and progress.state == shown.state):
        return False
    to_come = 0 if shown is None or shown.mark != progress.mark else progress.marks_to_come
    return may_update(spent.updates, now - spent.since, to_come=to_come)
