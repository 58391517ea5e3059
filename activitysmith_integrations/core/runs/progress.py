"""How far a piece of work is, and the state that shows it. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self, SupportsIndex

from activitysmith_integrations.core.counts import whole_number
from activitysmith_integrations.core.errors import InvalidRequestError, error_text, quoted
from activitysmith_integrations.core.keys import plain_string
from activitysmith_integrations.core.runs.picture import with_label
from activitysmith_integrations.core.runs.segments import fold_steps

# Where nothing is known of what is to come.
_RESERVED_UPDATES = 6
# More than anybody counts to, and short enough to be shown.
_MAX_COUNT = 10**12


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
        label: What tells the run from others of its pipeline on the screen, such as its date or name.
        positions: Where each of the steps is among them; made of *steps*.
    """

    title: str
    steps: tuple[str, ...] = ()
    total: int | None = None
    done: int = 0
    step: str | None = None
    note: str | None = None
    failed: str | None = None
    unit: str = "step"
    label: str | None = None
    positions: Mapping[str, int] = field(default_factory=dict, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Note where the steps are: walking through 30,000 of them for each one takes seconds."""
        if len(self.positions) != len(self.steps):
            object.__setattr__(self, "positions", {name: at for at, name in enumerate(self.steps)})

    @classmethod
    def begin(cls, title: str, steps: Sequence[str] | SupportsIndex | None) -> Self:
        """The progress of work that has not begun.

        Args:
            title: First line.
            steps: The names of the steps, their number, or None where neither is known. Without any, nothing is
                known either; names of which two are the same are only counted.

        Raises:
            InvalidRequestError: The steps are neither.
        """
        try:
            return cls._begin(title, steps)
        except InvalidRequestError:
            raise
        except Exception as error:  # whatever an object of the user's own does when it is looked at
            raise InvalidRequestError(("steps", f"cannot be read: {error_text(error)}")) from error

    @classmethod
    def _begin(cls, title: str, steps: Sequence[str] | SupportsIndex | None) -> Self:
        if steps is None:
            return cls(title)
        if isinstance(steps, str) or not isinstance(steps, Sequence):
            return cls(title, total=_check_count(steps))
        names = list[str]()
        for position, step in enumerate(steps):
            if not isinstance(step, str) or not step.strip():
                raise InvalidRequestError((f"steps.{position}", f"must be a name, not {quoted(step)}"))
            names.append(plain_string(step))
        if len({*names}) < len(names):
            return cls(title, total=len(names))
        return cls(title, tuple(names), len(names) or None).updated(done=0)

    def advanced(self, step: str | None) -> Self:
        """The progress once *step* has begun, or once the step being worked on is done where there is no name."""
        if step is None:
            return self.updated(done=self.done + 1)
        if step in self.positions:
            return self.updated(done=self.positions[step])
        # A name that nobody announced: among counted steps what was worked on before it is done, among named ones
        # it is a part of one.
        done = self.done + (not self.steps and self.step is not None)
        return replace(self.updated(done=done), step=step)

    def updated(self, done: int | None = None, note: str | None = None) -> Self:
        """The progress with what is given changed. A new count is the end of what was worked on before."""
        if done is None:
            return replace(self, note=note)
        done = max(0, min(done, _MAX_COUNT if self.total is None else self.total))
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
    def milestone(self) -> tuple[object, ...]:
        """What is worth an update of its own: another whole segment or failure, or a count of 1, 2, 5, 10, 20 ..."""
        return (self.segments or _round_number(self.done), self.failed)

    @property
    def reserved_updates(self) -> int:
        """How many milestones to keep room for: the segments that the end does not show, or some."""
        if self.segments is None:
            return _RESERVED_UPDATES
        done, number = self.segments
        return max(0, number - 1 - done)

    @property
    def state(self) -> dict[str, Any]:
        """The state to show while the work goes on."""
        text = self.note or (f"{self.failed} failed" if self.failed else self.step)
        if self.segments is None:
            counted = f"{self.done} {self.unit}{'' if self.done == 1 else 's'} done" if self.done else None
            return self._state("progress", ", ".join(part for part in (text, counted) if part)) | {"percentage": 0}
        done, number = self.segments
        red = {"step_color": "red"} if self.failed else {}
        return self._state("segmented_progress", text) | {"number_of_steps": number, "current_step": done, **red}

    def _state(self, kind: str, text: str | None) -> dict[str, Any]:
        subtitle = with_label(self.label, text)
        return {"type": kind, "title": self.title, **({"subtitle": subtitle} if subtitle else {})}


def _check_count(steps: object) -> int | None:
    """A number of steps, in any form that Python counts with, such as numpy's integers; None for no steps."""
    count = whole_number(steps)
    if count is None or count < 0:
        raise InvalidRequestError(("steps", f"must be a list of names or a whole number, not {quoted(steps)}"))
    return min(count, _MAX_COUNT) or None


def without_type(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state that moves a running activity and starts none: for a start the service needs its type (API contract).

    An update that a slow service works on after the end is refused there, and starts nothing that nobody ends.

    Args:
        state: A state with its type, such as :attr:`Progress.state`.
    """
    return {name: value for name, value in state.items() if name != "type"}


def _round_number(count: int) -> int:
    """The largest of 1, 2, 5, 10, 20, 50 ... that is not above a count: 11 of them reach 2,000."""
    found = 0
    power = 1
    while power <= count:
        found = max(step * power for step in (1, 2, 5) if step * power <= count)
        power *= 10
    return found
