import pytest

from activitysmith_integrations import core


def test_a_name_that_the_core_does_not_have_is_refused_as_by_any_module() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'stream_kye'"):
        core.stream_kye  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("name", dir(core))
def test_every_name_that_the_core_lists_is_there(name: str) -> None:
    assert hasattr(core, name)
