import re
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, strategies as st
from support.sandbox import KEY

from activitysmith_integrations.core import ActivitySmithClient, InvalidRequestError, LiveActivity, stream_key

NAMES = st.text(min_size=1).filter(str.strip)


def test_a_single_legal_name_stays_as_it_is() -> None:
    assert stream_key("nightly_ETL-2") == "nightly_ETL-2"
    assert stream_key("x" * 255) == "x" * 255


def test_other_names_are_cleaned_and_get_a_digest() -> None:
    key = stream_key("etl", "scheduled__2026-11-23T00:00:00+00:00")
    assert re.fullmatch(r"etl-scheduled__2026-11-23T00-00-00-00-00-[0-9a-f]{12}", key)


def test_a_name_without_a_single_legal_character_is_its_digest() -> None:
    assert re.fullmatch(r"[0-9a-f]{12}", stream_key("ночь"))


def test_a_long_name_keeps_its_beginning() -> None:
    key = stream_key("a" * 300)
    assert len(key) == 255
    assert key.startswith("a" * 240)


@given(st.lists(NAMES, min_size=1))
def test_any_names_give_a_legal_key(names: list[str]) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,255}", stream_key(*names))


@given(st.lists(NAMES, min_size=1), st.lists(NAMES, min_size=1))
def test_different_names_give_different_keys(one: list[str], other: list[str]) -> None:
    assert (stream_key(*one) == stream_key(*other)) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a.b",), ("a-b",)),
        (("a", "b"), ("a-b",)),
        (("a b",), ("a", "b")),
        (("x" * 256,), ("x" * 257,)),
        (("é",), ("è",)),
    ],
)
def test_names_that_clean_up_alike_do_not_collide(one: tuple[str, ...], other: tuple[str, ...]) -> None:
    assert stream_key(*one) != stream_key(*other)


def test_the_same_names_give_the_same_key_in_every_process() -> None:
    code = "from activitysmith_integrations.core import stream_key; print(stream_key('a b', '\\ud800é'))"
    keys = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert keys == {stream_key("a b", "\ud800é")}


@pytest.mark.parametrize("names", [(), ("",), (" ",), ("a", ""), (7,), (None,)])
def test_a_blank_or_missing_name_is_refused(names: Any) -> None:
    with pytest.raises(ValueError, match="stream_key: "):
        stream_key(*names)


@pytest.mark.parametrize(
    "end", [lambda key: LiveActivity(stream_key(key)), lambda key: ActivitySmithClient(KEY).end_stream(key)]
)
def test_an_api_key_is_no_stream_key_and_is_not_quoted(end: Callable[[str], object]) -> None:
    with pytest.raises(InvalidRequestError, match="looks like an API key") as caught:
        end(KEY)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("names", [("ask_the_model", "manual__2026-11-23"), ("ask_the_model",)])
def test_the_key_of_a_pipeline_whose_name_begins_like_an_api_key_is_taken(names: tuple[str, ...]) -> None:
    key = stream_key(*names)
    assert key.startswith("ask_the_model-")
    LiveActivity(key)
