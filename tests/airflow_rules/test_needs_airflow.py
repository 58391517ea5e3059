"""What is said where Airflow is missing."""

import pytest

from activitysmith_integrations.airflow import needs_airflow


@pytest.mark.parametrize("missing", ["airflow", "airflow.sdk"])
def test_where_airflow_is_missing_the_extra_to_install_is_named(missing: str) -> None:
    with (
        pytest.raises(ModuleNotFoundError, match=r"pip install 'activitysmith-integrations\[airflow\]'") as found,
        needs_airflow(),
    ):
        raise ModuleNotFoundError(f"No module named '{missing}'", name=missing)
    assert found.value.name == missing


@pytest.mark.parametrize("missing", ["pendulum", None])
def test_another_module_that_is_missing_is_told_as_it_is(missing: str | None) -> None:
    error = ModuleNotFoundError("No module named 'pendulum'", name=missing)
    with pytest.raises(ModuleNotFoundError) as found, needs_airflow():
        raise error
    assert found.value is error
