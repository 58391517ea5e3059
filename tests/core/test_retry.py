from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest

from activitysmith_integrations.core import ConfigurationError, RetryPolicy
from activitysmith_integrations.core.retry import check_patience, next_delay, parse_retry_after

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
YEAR = 365 * 24 * 3600


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("", None),
        ("  ", None),
        ("0", 0),
        ("120", 120),
        (" 120 ", 120),
        ("1.5", 1.5),
        ("-5", None),
        ("5 seconds", None),
        ("nan", None),
        ("inf", None),
        ("1e400", YEAR),
        ("9" * 400, YEAR),
        ("soon", None),
        ("٣", None),
        ("Mon, 23 Nov 2026 12:00:30 GMT", 30),
        ("Monday, 23-Nov-26 12:00:30 GMT", 30),
        ("Mon Nov 23 12:00:30 2026", 30),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0),
        ("Mon, 23 Nov 2026 14:00:30 +0200", 30),
        ("Mon, 23 Nov 9999 12:00:30 GMT", YEAR),
        ("Mon, 23 Nov 100000 12:00:30 GMT", None),
        ("Mon, 99 Nov 2026 12:00:30 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_or_nothing(header: str | None, seconds: float | None) -> None:
    assert parse_retry_after(header, now=NOW) == seconds


def test_a_date_is_relative_to_the_clock() -> None:
    assert parse_retry_after("Mon, 23 Nov 2020 12:00:30 GMT") == 0


POLICY = RetryPolicy(max_retries=3, initial_delay=1, max_delay=3, max_elapsed=10)


def _delay(policy: RetryPolicy = POLICY, **changes: Any) -> float | None:
    facts: dict[str, Any] = {"retryable": True, "retry_after": None, "attempts": 1, "elapsed": 0, "jitter": 1}
    return next_delay(policy, **{**facts, **changes})


def test_delays_double_up_to_the_longest() -> None:
    assert [_delay(attempts=n) for n in (1, 2, 3)] == [1, 2, 3]


def test_a_delay_is_a_random_half_to_whole_of_it() -> None:
    assert (_delay(jitter=0), _delay(jitter=0.5), _delay(jitter=1)) == (0.5, 0.75, 1)


def test_it_gives_up_after_the_last_retry() -> None:
    assert _delay(attempts=4) is None


def test_a_fault_that_cannot_pass_is_not_tried_again() -> None:
    assert _delay(retryable=False) is None


def test_retry_after_replaces_the_delay_while_it_fits_the_budget() -> None:
    assert _delay(retry_after=9.9) == 9.9
    assert _delay(retry_after=10) is None
    assert _delay(retry_after=5, elapsed=5) is None


def test_a_service_that_asks_to_wait_for_nothing_is_not_hammered() -> None:
    assert _delay(retry_after=0) == _delay()


def test_an_ordinary_delay_must_fit_the_budget_too() -> None:
    assert _delay(elapsed=9.5) is None


def test_many_attempts_do_not_overflow() -> None:
    policy = RetryPolicy(max_retries=10_000, max_elapsed=1e9)
    assert _delay(policy, attempts=9_999) == policy.max_delay


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_retries": -1}, "max_retries: -1 is not a whole number of 0 or more"),
        ({"max_retries": "4"}, r"\(0 = never repeat\)"),
        ({"max_retries": True}, "max_retries: True"),
        ({"initial_delay": -1}, "initial_delay: -1 is not a number of seconds"),
        ({"max_delay": float("inf")}, "max_delay: inf"),
        ({"max_elapsed": "30"}, "max_elapsed: '30'"),
        ({"max_elapsed": 0}, "max_elapsed: 0 seconds leave no time"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RetryPolicy(**options)


class _Count:
    def __index__(self) -> int:
        return 5


@pytest.mark.parametrize("patience", [5, 5.0, Decimal(5), Fraction(5), _Count()])
def test_a_patience_may_be_any_real_number(patience: object) -> None:
    assert repr(check_patience(patience, at_most=30)) == "5.0"


class _Odd:
    def __float__(self) -> float:
        raise LookupError("no number")


@pytest.mark.parametrize("patience", [True, "10", b"10", None, _Odd(), Decimal("nan"), Decimal("1e400"), 5j])
def test_a_patience_that_is_no_number_is_refused(patience: object) -> None:
    with pytest.raises(ConfigurationError, match=r"patience: .* is not a number of seconds of 2 or more"):
        check_patience(patience)


@pytest.mark.parametrize(
    ("patience", "fault"),
    [
        (1.9, "1.9 is not a number of seconds of 2 or more"),
        (31, "are more than the 30 s that there are"),
        ("10", "'10' is not a number of seconds of 2 or more"),
    ],
)
def test_a_patience_that_makes_no_sense_is_refused(patience: object, fault: str) -> None:
    with pytest.raises(ConfigurationError, match=f"patience: .*{fault}"):
        check_patience(patience, at_most=30)
