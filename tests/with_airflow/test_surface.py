import pytest
from support import surface

from activitysmith_integrations.airflow import hooks, notifications, operators


def test_the_airflow_wing_offers_what_is_written_down() -> None:
    surface.check("airflow", hooks, operators, notifications)


def test_its_retry_policy_does_too() -> None:
    pytest.importorskip("airflow.sdk.definitions.retry_policy", reason="retry policies came with Airflow 3.3")
    from activitysmith_integrations.airflow import retries

    surface.check("airflow_retries", retries)
