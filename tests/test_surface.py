from support import surface

from activitysmith_integrations import core


def test_the_core_offers_what_is_written_down() -> None:
    surface.check("core", core)
