"""When to try again: pure decisions about delays, ``Retry-After`` and the time budget of one call."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_YEAR = 365 * 24 * 3600.0


@dataclass(frozen=True)
class RetryPolicy:
    """How long one call may go on, and how it repeats itself.

    Repeated are failed connections, timeouts and the statuses 429, 500, 502, 503 and 504. Ending a
    stream twice and sending the same state twice both have no second effect (API contract).

    Args:
        max_retries: How many times to repeat after the first attempt; 0 for never.
        initial_delay: Seconds before the first repetition; it doubles with each one. The real wait is
            a random half to whole of it, so that many callers do not come back together.
        max_delay: Seconds that a wait grows to at most.
        max_elapsed: Seconds for the whole call: connecting, sending, reading, waiting and repeating
            together. A ``Retry-After`` that does not fit raises at once, with the wait in the error.

    Raises:
        ValueError: A number is negative, not finite, or not a number; ``max_elapsed`` is 0.
    """

    max_retries: int = 4
    initial_delay: float = 0.5
    max_delay: float = 8.0
    max_elapsed: float = 30.0

    def __post_init__(self) -> None:
        if isinstance(self.max_retries, bool) or not isinstance(self.max_retries, int) or self.max_retries < 0:
            raise ValueError(f"max_retries: {self.max_retries!r} is not a whole number of 0 or more (0 = never repeat)")
        for name in ("initial_delay", "max_delay", "max_elapsed"):
            check_seconds(name, getattr(self, name))
        if self.max_elapsed == 0:
            raise ValueError("max_elapsed: 0 seconds leave no time for a single attempt")


def check_seconds(name: str, value: object) -> None:
    """Refuse what is not a finite number of seconds of 0 or more.

    Args:
        name: The argument's name, for the message.
        value: What was given for it.

    Raises:
        ValueError: It is not such a number.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{name}: {value!r} is not a number of seconds of 0 or more")


CALLBACK_SECONDS = 10.0
# Airflow kills a DAG's callbacks after 50 s and all that wait behind them; Prefect kills none and waits.
# A second is left for what a callback does beside the call.
CALLBACK_RETRY = RetryPolicy(max_retries=4, initial_delay=0.3, max_delay=2.0, max_elapsed=CALLBACK_SECONDS - 1)


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
        retry_after: Seconds the service asked to wait; it replaces the policy's own delay.
        attempts: Attempts made so far, 1 or more.
        elapsed: Seconds since the call began.
        jitter: A random number of 0 to 1.
    """
    if not retryable or attempts > policy.max_retries:
        return None
    if retry_after is None:
        grown = min(policy.initial_delay * 2.0 ** min(attempts - 1, 60), policy.max_delay)
        delay = grown * (0.5 + jitter / 2)
    else:
        delay = retry_after
    return delay if elapsed + delay < policy.max_elapsed else None
