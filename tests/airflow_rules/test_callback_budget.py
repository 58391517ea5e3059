"""The time that the callbacks of one process share."""

import pytest

from activitysmith_integrations.airflow.callback_budget import CallbackBudget


def test_the_callbacks_of_a_process_share_its_time_and_never_use_all_of_it() -> None:
    budget, now, shares = CallbackBudget(), 1000.0, list[float]()
    for _ in range(200):
        shares.append(budget.share(now))
        budget.spend(now, now + shares[-1])
        now += shares[-1]
    assert shares[:3] == [9, 7.75, 5.8125]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(40)
    assert budget.share(now + 11) == 9  # others, later


def test_quick_callbacks_leave_their_time_to_those_that_follow() -> None:
    budget = CallbackBudget()
    for number in range(50):
        budget.spend(1000 + number / 50, 1000 + (number + 1) / 50)
    assert budget.share(1001) == 9


def test_who_has_more_patience_gets_all_that_is_left() -> None:
    budget = CallbackBudget()
    assert budget.share(1000, patience=40) == 39
    budget.spend(1000, 1030)
    assert budget.share(1030, patience=40) == 9
    budget.spend(1030, 1045)
    assert budget.share(1045, patience=40) == 0
