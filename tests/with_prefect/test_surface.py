import pytest

pytest.importorskip("prefect")

from support import surface

from activitysmith_integrations import prefect


def test_the_prefect_package_offers_what_is_written_down() -> None:
    surface.check("prefect", prefect)
