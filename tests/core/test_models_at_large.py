"""The models against generated input: what is legal arrives unchanged, what is not is refused by name."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given, strategies as st
from support.service import KEY

from activitysmith_integrations.core import (
    AlertState,
    ContentState,
    EndStreamRequest,
    InvalidRequestError,
    MetricsState,
    ProgressState,
    SegmentedProgressState,
    StatsState,
    StreamRequest,
    TimerState,
    ValueState,
    config,
    wire,
)

ENDPOINT = config.resolve_endpoint(KEY, "http://127.0.0.1/api")

# The contract's table, as strategies.
TEXT = st.text(st.characters(codec="utf-8"), max_size=20)
WORDS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
COLOR = st.sampled_from(["lime", "green", "cyan", "blue", "purple", "magenta", "red", "orange", "yellow", "gray"])
WHOLE = st.integers(0, 10**20)
NUMBER = st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
POSITIVE = st.integers(1, 10**20) | st.floats(0, exclude_min=True, allow_infinity=False)
NOT_NEGATIVE = st.integers(0, 10**20) | st.floats(0, allow_infinity=False)


def member(required: Mapping[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(dict(required), optional=optional)


ICON = member({"symbol": WORDS}, color=COLOR)
BADGE = member({"title": WORDS}, color=COLOR)
METRIC = member({"label": WORDS, "value": NOT_NEGATIVE | WORDS}, unit=TEXT, color=COLOR)
METRICS = st.lists(METRIC, min_size=1, max_size=8)
COMMON = {
    "subtitle": TEXT,
    "color": COLOR,
    "icon": ICON,
    "auto_dismiss_minutes": WHOLE,
    "auto_dismiss_seconds": WHOLE,
}


def state(kind: str, required: Mapping[str, Any] | None = None, **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return member({"title": TEXT, "type": st.just(kind), **(required or {})}, **COMMON, **optional)


def _no_more_than_there_are(state: dict[str, Any]) -> dict[str, Any]:
    done, total = state.get("current_step"), state.get("number_of_steps")
    return {**state, "current_step": min(done, total)} if done is not None and total is not None else state


STATES = {
    SegmentedProgressState: state(
        "segmented_progress",
        number_of_steps=st.integers(1, 10**9),
        current_step=WHOLE,
        step_color=COLOR,
        step_colors=st.lists(COLOR, max_size=5),
        badge=BADGE,
    ).map(_no_more_than_there_are),
    ProgressState: state("progress", percentage=st.integers(0, 100) | st.floats(0, 100), badge=BADGE)
    | state("progress", {"value": NUMBER, "upper_limit": POSITIVE}),
    MetricsState: state("metrics", metrics=METRICS),
    StatsState: state("stats", metrics=METRICS),
    AlertState: state("alert", {"message": WORDS}, badge=BADGE),
    TimerState: state("timer", duration_seconds=POSITIVE, counts_down=st.booleans(), is_running=st.booleans()),
    ValueState: state("value", {"value": TEXT | NUMBER}, badge=BADGE),
}
STATE = st.one_of(*STATES.values())
URL = st.sampled_from(["https://example.com/run?id=%20#top", "https://[::1]:8080/"])
OPEN = member({"title": TEXT, "type": st.just("open_url"), "url": URL | st.just("shortcuts://run-shortcut?name=x")})
JSON = st.recursive(
    st.none() | st.booleans() | NUMBER | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
WEBHOOK = member(
    {"title": TEXT, "type": st.just("webhook"), "url": URL},
    method=st.sampled_from(["GET", "POST"]),
    body=st.dictionaries(TEXT, JSON, max_size=3),
)
ENDING: dict[str, Any] = {
    "content_state": STATE,
    "action": OPEN | WEBHOOK,
    "secondary_action": OPEN | WEBHOOK,
    "alert": member({}, title=TEXT, body=TEXT),
    "tags": st.lists(WORDS, max_size=4),
    "metadata": st.dictionaries(TEXT, TEXT | NUMBER | st.booleans(), max_size=5),
}
END_BODY = member({}, **ENDING)
STREAM_BODY = st.builds(
    lambda state, rest: {**rest, "content_state": state},
    STATE,
    member({}, **ENDING, channels=st.lists(WORDS, min_size=1, max_size=3)),
)


def _content(request: EndStreamRequest | StreamRequest) -> bytes:
    """The body that is sent for a request."""
    return wire.build_request(ENDPOINT, "nightly", request).content


def _same(one: Any, other: Any) -> bool:
    """Equal down to the kinds: 7 is not 7.0, and 1 is not true."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


@given(END_BODY)
def test_any_legal_end_reaches_the_wire_unchanged(body: Any) -> None:
    content = _content(EndStreamRequest(**body))
    assert _same(json.loads(content) if content else {}, body)


@given(STREAM_BODY)
def test_any_legal_update_reaches_the_wire_unchanged(body: dict[str, Any]) -> None:
    assert _same(json.loads(_content(StreamRequest(**body))), body)


@pytest.mark.parametrize("model", STATES, ids=lambda model: model.__name__)
@given(data=st.data())
def test_a_states_class_says_what_its_mapping_says_and_comes_back_from_the_wire(model: Any, data: Any) -> None:
    given_state = data.draw(STATES[model])
    made = model(**given_state)
    assert _same(made.to_wire(), given_state)
    assert model(**made.to_wire()) == made
    assert _same(ContentState(**given_state).to_wire(), given_state)


@given(STATE)
def test_a_state_without_its_type_is_as_good(state: dict[str, Any]) -> None:
    # The service infers the type, and with it the rules that only one type has.
    inferred = {name: value for name, value in state.items() if name != "type"}
    content = _content(EndStreamRequest(content_state=inferred))
    assert _same(json.loads(content), {"content_state": inferred})


# Each breaks one thing, whatever the state.
BREAKS: dict[str, tuple[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "no title": ("title", lambda state: {name: value for name, value in state.items() if name != "title"}),
    "null": ("subtitle", lambda state: {**state, "subtitle": None}),
    "a number for a text": ("title", lambda state: {**state, "title": 7}),
    "half a surrogate pair": ("title", lambda state: {**state, "title": "\ud83d"}),
    "no color": ("color", lambda state: {**state, "color": "pink"}),
    "no such type": ("type", lambda state: {**state, "type": "bar"}),
    "less than none": ("auto_dismiss_minutes", lambda state: {**state, "auto_dismiss_minutes": -1}),
    "a boolean for a number": ("auto_dismiss_seconds", lambda state: {**state, "auto_dismiss_seconds": True}),
    "half of a whole": ("auto_dismiss_seconds", lambda state: {**state, "auto_dismiss_seconds": 0.5}),
    "a text for an object": ("icon", lambda state: {**state, "icon": "bolt"}),
    "an icon without its symbol": ("icon.symbol", lambda state: {**state, "icon": {}}),
    "an icon with more": ("icon.size", lambda state: {**state, "icon": {"symbol": "bolt", "size": 1}}),
    "a misspelt member": ("titel", lambda state: {**state, "titel": "t"}),
}


@pytest.mark.parametrize("broken", BREAKS)
@given(state=STATE)
def test_one_broken_thing_is_refused_by_name_and_nothing_else_is(broken: str, state: dict[str, Any]) -> None:
    name, spoil = BREAKS[broken]
    with pytest.raises(InvalidRequestError) as refused:
        StreamRequest(content_state=spoil(state))
    assert [path for path, _ in refused.value.problems] == [f"content_state.{name}"]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)
NAMES = sorted({*ContentState.model_fields, *StreamRequest.model_fields, "symbol", "label", "unit", "url"})
ODD = st.recursive(
    ANYTHING | TEXT | COLOR | st.sampled_from(["open_url", "webhook", "alert", "value"]),
    lambda inner: st.dictionaries(st.sampled_from(NAMES), inner, max_size=4) | st.lists(inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(NAMES), ODD, max_size=4), st.booleans())
def test_whatever_it_is_it_is_sent_or_refused_before_sending(body: dict[str, Any], starting: bool) -> None:
    make: Any = StreamRequest if starting else EndStreamRequest
    try:
        content = _content(make(**body))
    except InvalidRequestError:
        return
    sent = json.loads(content) if content else {}
    assert sent == {name: value for name, value in body.items() if value is not None}
