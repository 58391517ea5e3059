"""When to try again: pure decisions about delays, ``Retry-After`` and the time budget of one call."""

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import SupportsFloat, SupportsIndex

from activitysmith_integrations.core.errors import ConfigurationError, quoted

_YEAR = 365 * 24 * 3600.0
_LONGEST = 100 * _YEAR  # what the system's clocks and waits can count


@dataclass(frozen=True)
class RetryPolicy:
    """How long one call may go on, and how it repeats itself.

    Repeated are failed connections, timeouts and the statuses 429, 500, 502, 503 and 504; a start that finds no place
    only with ``waits_for_place``. Ending a stream twice and sending the same state twice both have no second effect
    (API contract).

    Args:
        max_retries: How many times to repeat after the first attempt; 0 for never, None for as often as
            ``max_elapsed`` allows.
        initial_delay: Seconds before the first repetition; it doubles with each one. The real wait is
            a random half to whole of it, so that many callers do not come back together.
        max_delay: Seconds that a wait grows to at most.
        max_elapsed: Seconds for the whole call: connecting, sending, reading, waiting and repeating
            together. A ``Retry-After`` that does not fit raises at once, with the wait in the error.
        waits_for_place: Whether a start is repeated that was refused because the account shows as many Live Activities
            as it may, every 3 seconds. Each attempt costs one of the account's requests.

    Raises:
        ConfigurationError: A number is negative, not finite, or not a number; ``max_elapsed`` is 0.
    """

    max_retries: int | None = 4
    initial_delay: float = 0.5
    max_delay: float = 8.0
    max_elapsed: float = 30.0
    waits_for_place: bool = False

    def __post_init__(self) -> None:
        retries = self.max_retries
        if retries is not None and (isinstance(retries, bool) or not isinstance(retries, int) or retries < 0):
            rule = f"{quoted(retries)} is not a whole number of 0 or more (0 = never repeat)"
            raise ConfigurationError(("max_retries", rule))
        for name in ("initial_delay", "max_delay", "max_elapsed"):
            check_seconds(name, getattr(self, name))
        if self.max_elapsed == 0:
            raise ConfigurationError(("max_elapsed", "0 seconds leave no time for a single attempt"))


def check_seconds(name: str, value: object, *, least: int = 0) -> None:
    """Refuse what is not a number of seconds up to a hundred years.

    Args:
        name: The argument's name, for the message.
        value: What was given for it.
        least: The fewest seconds that make sense.

    Raises:
        ConfigurationError: It is not such a number.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value <= _LONGEST:
        raise ConfigurationError((name, f"{quoted(value)} is not a number of seconds of {least} or more"))


DEFAULT_PATIENCE = 10.0
"""Seconds that a callback or hook takes at most, unless the user says more."""

# What a callback does beside its calls: making the picture, a connection's look-up, the log line.
_BESIDE_CALLS = 1.0


def check_patience(patience: object, *, at_most: float | None = None) -> float:
    """The seconds that a callback or hook may take.

    Args:
        patience: What the user gave.
        at_most: The most that makes sense, None for no bound.

    Raises:
        ConfigurationError: It is no number of seconds of 2 or more, or more than that.
    """
    if isinstance(patience, (SupportsFloat, SupportsIndex)) and not isinstance(patience, (int, float)):
        with suppress(Exception):  # whatever an object of the user's own does; it is refused then
            patience = float(patience)
    check_seconds("patience", patience, least=2)
    assert isinstance(patience, (int, float))  # noqa: S101 - checked just now
    if at_most is not None and patience > at_most:
        raise ConfigurationError(("patience", f"{patience!r} s are more than the {at_most:g} s that there are"))
    return float(patience)


def seconds_for_calls(patience: float) -> float:
    """The seconds of a callback's patience that its calls may take together."""
    return max(patience - _BESIDE_CALLS, 1.0)


def patient_retry(seconds: float) -> RetryPolicy:
    """A policy that repeats a call until its time is over, in case the service comes back by then.

    Args:
        seconds: For the whole call.
    """
    return RetryPolicy(max_retries=None, initial_delay=0.3, max_delay=2.0, max_elapsed=seconds)


def parse_retry_after(value: str | None, *, now: datetime | None = None) -> float | None:
    """Seconds that a ``Retry-After`` header asks to wait (RFC 9110: seconds or a date).

    Args:
        value: The header, None where there was none.
        now: The time a date is relative to; the clock's by default.

    Returns:
        0 or more, at most a year; None where the header is missing or makes no sense.
    """
    text = (value or "").strip()
    if not text:
        return None
    if text.isascii() and text[0] in "0123456789":
        try:
            seconds = float(text)
        except ValueError:
            return None
    else:
        try:
            then = parsedate_to_datetime(text)
            if then.tzinfo is None:
                then = then.replace(tzinfo=UTC)
            seconds = (then - (now or datetime.now(UTC))).total_seconds()
        except (ValueError, OverflowError, IndexError, TypeError):
            return None
    return min(max(seconds, 0.0), _YEAR)


def next_delay(
    policy: RetryPolicy,
    *,
    retryable: bool,
    retry_after: float | None,
    attempts: int,
    elapsed: float,
    jitter: float,
) -> float | None:
    """Seconds to wait before the next attempt, or None to give up.

    Args:
        policy: The limits.
        retryable: Whether the failure can pass at all.
        retry_after: Seconds the service asked to wait; the policy's own delay is the least.
        attempts: Attempts made so far, 1 or more.
        elapsed: Seconds since the call began.
        jitter: A random number of 0 to 1.
    """
    if not retryable or (policy.max_retries is not None and attempts > policy.max_retries):
        return None
    grown = min(policy.initial_delay * 2.0 ** min(attempts - 1, 60), policy.max_delay)
    # A service that asks to wait for nothing, or until a moment that has passed, is not hammered.
    delay = max(retry_after or 0.0, grown * (0.5 + jitter / 2))
    return delay if elapsed + delay < policy.max_elapsed else None
