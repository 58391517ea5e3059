import pytest

from activitysmith_integrations.core import InvalidRequestError, LiveActivity, StreamRequest
from activitysmith_integrations.core.suggest import check_names, closest, unknown_name, value_at, with_value


@pytest.mark.parametrize(
    ("name", "meant"), [("mesage", "message"), ("titel", "title"), ("colour", "color"), ("zzz", None), ("", None)]
)
def test_a_misspelt_name_means_the_one_that_is_most_like_it(name: str, meant: str | None) -> None:
    assert closest(name, ["title", "message", "color"]) == meant


@pytest.mark.parametrize("name", ["state", "icon", "total"])
def test_a_name_that_shares_a_few_letters_with_an_option_does_not_mean_it(name: str) -> None:
    assert closest(name, ["title", "subtitle", "action"]) is None


def test_how_much_alike_they_must_be_can_be_chosen() -> None:
    assert closest("nightly", ["nightly-etl"]) == "nightly-etl"
    assert closest("nightly", ["nightly-etl"], similarity=0.9) is None


def test_a_letter_of_another_alphabet_that_looks_the_same_is_pointed_out() -> None:
    with pytest.raises(InvalidRequestError, match=r"did you mean title\? What stands there is 't\\u0456tle'"):
        StreamRequest(content_state={"title": "Nightly", "t\u0456tle": "Nightly"})


def test_a_name_that_is_like_none_is_shown_what_there_is() -> None:
    assert unknown_name("zzz", ["title", "color"]) == "known are title, color"


def test_long_names_and_many_are_compared_in_part() -> None:
    many = [f"step {number}" for number in range(30_000)]
    assert closest("step 29999", many) in many[:500]
    assert closest("x" * 1_000_000, many) is None


def test_an_option_may_mean_a_parameter_of_its_function_or_what_others_call_it() -> None:
    for name, meant in (("totl", "total"), ("subtitel", "subtitle"), ("flow", "pipeline")):
        with pytest.raises(InvalidRequestError, match=f"{name}: is not an option; did you mean {meant}?"):
            check_names({name: 1}, ["title", "subtitle"], other=["total", "pipeline"], synonyms={"flow": "pipeline"})
    check_names({"title": 1}, ["title"], synonyms={"title": "other"})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("total", "steps"),
        ("stpes", "steps"),
        ("totl", "steps"),
        ("nmae", "title"),
        ("base_ulr", "client"),
        ("titel", "title"),
        ("name", "title"),
        ("clinet", "client"),
        ("uri", "url"),
        ("timeout", "patience"),
        ("key", "stream_key"),
        ("state", "content_state"),
        ("color", "success_color or failure_color"),
        ("colour", "success_color or failure_color"),
        ("auto_dismiss_minutes", "success_auto_dismiss_minutes or failure_auto_dismiss_minutes"),
        ("icon", "icon in content_state"),
        ("percent", "percentage in content_state"),
        ("current_step", "current_step in content_state"),
    ],
)
def test_an_option_of_a_live_activity_may_mean_one_of_its_parameters(name: str, meant: str) -> None:
    with pytest.raises(InvalidRequestError, match=rf"{name}: is not an option; did you mean {meant}\?"):
        LiveActivity("nightly", **{name: 5})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("action.type", "x"),
        ("tags.1", "b"),
        ("tags.2", None),
        ("tags.b", None),
        ("action.type.x", None),
        ("title", None),
    ],
)
def test_a_member_is_found_by_its_path(path: str, value: object) -> None:
    assert value_at({"action": {"type": "x"}, "tags": ("a", "b")}, path) == value


class _Unshowable:
    def __repr__(self) -> str:
        raise LookupError


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("x", "must be a number; it is 'x'"),
        (None, "must be a number"),
        ({"a": 1}, "must be a number"),
        (_Unshowable(), "must be a number; it is <_Unshowable>"),
    ],
    ids=["text", "none", "mapping", "unshowable"],
)
def test_a_rule_is_told_with_the_value_that_breaks_it(value: object, told: str) -> None:
    assert with_value("must be a number", value) == told
    assert with_value("must be more than 7", 7) == "must be more than 7"
