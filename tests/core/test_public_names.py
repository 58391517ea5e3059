import public_names
import pytest

from activitysmith_integrations import core


def _module_of(name: str) -> str:
    (module,) = (module for module, names in public_names.TABLE.items() if name in names)
    return module


def test_a_name_that_the_core_does_not_have_is_refused_as_by_any_module() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'stream_kye'"):
        core.stream_kye  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("name", dir(core))
def test_every_name_that_the_core_lists_is_there(name: str) -> None:
    assert hasattr(core, name)


@pytest.mark.parametrize("name", dir(core))
def test_a_name_is_loaded_from_the_module_that_defines_it(name: str) -> None:
    value = getattr(core, name)
    # An alias of types, such as Color, is defined nowhere.
    assert getattr(value, "__module__", "typing") in (
        "typing",
        "types",
        "collections.abc",
        f"{core.__name__}.{_module_of(name)}",
    )


def test_each_name_stands_in_the_table_once() -> None:
    names = [name for names in public_names.TABLE.values() for name in names]
    assert sorted(names) == core.__all__ == dir(core) == sorted(set(names))


def test_a_name_is_looked_up_once() -> None:
    assert core.stream_key is core.stream_key
    assert "stream_key" in vars(core)


def test_the_stub_says_what_the_table_says() -> None:
    assert public_names.STUB.read_text() == public_names.stub(), "run tools/public_names.py"
