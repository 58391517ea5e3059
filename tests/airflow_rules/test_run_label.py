"""What tells the runs of a DAG apart on the screen."""

from zoneinfo import ZoneInfo

import pytest

from activitysmith_integrations.airflow.run_label import run_label

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("run_id", "label"),
    [
        ("scheduled__2026-11-27T00:00:00+00:00", "27 Nov 01:00"),
        ("backfill__2026-01-03T05:30:00+00:00", "3 Jan 06:30"),
        ("manual__2026-11-27T16:29:04.123456+00:00", "27 Nov 17:29:04.123"),
        ("manual__2026-11-27T16:29:04.123456+00:00_aB3dE5xy", "27 Nov 17:29:04.123"),
        ("asset_triggered__2026-11-27T16:29:04Z", "27 Nov 17:29:04.000"),
        ("scheduled__2026-11-27T03:00:00", "27 Nov 03:00"),
        ("scheduled__2026-13-41T00:00:00+00:00", "scheduled__2026-13-41T00:00:00+00:00"),
        ("asset_materialization__2026-11-27T16:29:04+00:00_aB3dE5xy", "27 Nov 17:29:04.000"),
        ("operator_triggered__2026-11-27T16:29:04+00:00_aB3dE5xy", "27 Nov 17:29:04.000"),
        ("scheduled__2026-11-27T03:00:00+00:00__aB3dE5xy", "27 Nov 04:00"),
        ("manual__2026-11-27T00:00:00+00:00__eu__aB3dE5xy", "27 Nov 01:00:00.000 eu"),
        ("scheduled__2026-11-27T00:00:00+00:00__us-east__aB3dE5xy", "27 Nov 01:00 us-east"),
        ("scheduled__2026-11-27T00:00:00+00:00__2026-11-27|eu__aB3dE5xy", "27 Nov 01:00 2026-11-27|eu"),
        ("scheduled__2026-11-27T00:00:00+00:00__2026-11-27T00:00:00__aB3dE5xy", "27 Nov 01:00"),
        ("orders-2026-11-27", "orders-2026-11-27"),
        ("", None),
        (None, None),
    ],
)
def test_a_run_is_called_by_its_date_in_the_dags_time_zone_or_by_the_id_that_somebody_gave_it(
    run_id: str | None, label: str | None
) -> None:
    assert run_label(run_id, BERLIN) == label


def test_without_a_time_zone_it_is_the_runs_own_and_says_so() -> None:
    assert run_label("scheduled__2026-11-27T03:00:00+00:00", None) == "27 Nov 03:00 UTC"


@pytest.mark.parametrize(
    "run_id",
    [
        "orders__2026-11-27T00:00:00+00:00",
        "manual__2026-11-27T00:00:00+00:00_customers",
        "scheduled__2026-11-27T00:00:00+00:00-2",
    ],
)
def test_a_run_id_of_the_users_own_is_shown_whole_although_it_holds_a_date(run_id: str) -> None:
    assert run_label(run_id, BERLIN) == run_id
