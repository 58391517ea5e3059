import json
from typing import Any

import pytest
from pydantic import BaseModel

from activitysmith_integrations.core import (
    AlertPayload,
    AlertState,
    Badge,
    ContentState,
    EndStreamRequest,
    Icon,
    InvalidRequestError,
    Metric,
    MetricsState,
    OpenURLAction,
    ProgressState,
    SegmentedProgressState,
    StatsState,
    StreamRequest,
    TimerState,
    ValueState,
    WebhookAction,
)
from activitysmith_integrations.core.models import requests, responses, states
from activitysmith_integrations.core.models.base import LazyModel, Model, member_docs

METRICS = [{"label": "CPU", "value": 7, "unit": "%", "color": "red"}, {"label": "p99", "value": "1.20 s"}]
EVERY_STATE: list[dict[str, Any]] = [
    {"title": ""},
    {"title": "t", "subtitle": "s", "color": "lime", "icon": {"symbol": "bolt", "color": "gray"}},
    {"title": "t", "type": "segmented_progress"},
    {
        "title": "t",
        "type": "segmented_progress",
        "number_of_steps": 3,
        "current_step": 3,
        "step_color": "blue",
        "step_colors": ["green", "green", "red"],
        "badge": {"title": "b", "color": "red"},
    },
    {"title": "t", "type": "segmented_progress", "current_step": 9},
    {"title": "t", "type": "progress", "percentage": 0},
    {"title": "t", "type": "progress", "percentage": 99.5},
    {"title": "t", "type": "progress", "value": -3, "upper_limit": 0.5},
    {"title": "t", "type": "metrics", "metrics": METRICS},
    {"title": "t", "type": "stats", "metrics": [{"label": "l", "value": "x" * 64}] * 8},
    {"title": "t", "type": "alert", "message": "m"},
    {"title": "t", "type": "timer"},
    {"title": "t", "type": "timer", "duration_seconds": 0.1, "counts_down": False, "is_running": True},
    {"title": "t", "type": "value", "value": "$1,234.50"},
    {"title": "t", "type": "value", "value": -1.5},
    {"title": "t", "value": "12"},
    {"title": "t", "value": 12},
    {"title": "t", "type": "alert", "message": "m", "auto_dismiss_minutes": 0, "auto_dismiss_seconds": 1},
    {"title": "t", "type": "metrics", "percentage": 3, "message": "members of other types are the service's matter"},
]


@pytest.mark.parametrize("state", EVERY_STATE)
def test_what_the_contract_accepts_is_sent_unchanged(state: dict[str, Any]) -> None:
    sent = StreamRequest(content_state=state).to_wire()["content_state"]
    assert json.dumps(sent, sort_keys=True) == json.dumps(state, sort_keys=True)


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({}, "title: is required"),
        ({"title": None}, "title: is null; leave it out instead"),
        ({"title": 7}, "title: must be a string"),
        ({"title": "\ud800"}, "title: holds half a surrogate pair"),
        ({"title": "t", "value": "\ud800"}, "value: holds half a surrogate pair"),
        ({"title": "t", "percentage": 10**400}, "percentage: must be less than or equal to 100"),
        ({"title": "t", "self": 1}, "self: is not a member"),
        ({"title": "t", "type": "bar"}, "type: must be 'segmented_progress'"),
        ({"title": "t", "color": "pink"}, "color: must be 'lime'"),
        ({"title": "t", "subtitle": None}, "subtitle: is null"),
        ({"title": "t", "colour": "red"}, "colour: is not a member; did you mean color?"),
        ({"title": "t", "zzz": 1}, "zzz: is not a member; known are title,"),
        ({"title": "t", 7: 1}, "member names must be strings, not int"),
        ({"title": "t", "number_of_steps": 0}, "number_of_steps: must be greater than or equal to 1"),
        ({"title": "t", "number_of_steps": 1.5}, "number_of_steps: must be a whole number"),
        ({"title": "t", "number_of_steps": True}, "number_of_steps: must be a number, not a boolean"),
        ({"title": "t", "current_step": -1}, "current_step: must be greater than or equal to 0"),
        ({"title": "t", "current_step": 9, "number_of_steps": 3}, "current_step: 9 is more than number_of_steps (3)"),
        ({"title": "t", "step_colors": ["red", "pink"]}, "step_colors.1: must be 'lime'"),
        ({"title": "t", "step_colors": "red"}, "step_colors: must be a list"),
        ({"title": "t", "step_colors": (color for color in ["red"])}, "step_colors: must be a list"),
        ({"title": "t", "metrics": (one for one in [{"label": "a", "value": 1}])}, "metrics: must be a list"),
        ({"title": "t", "percentage": "50"}, "percentage: must be a number, not a string"),
        ({"title": "t", "percentage": True}, "percentage: must be a number, not a boolean"),
        ({"title": "t", "percentage": float("nan")}, "percentage: must be a finite number"),
        ({"title": "t", "percentage": float("inf")}, "percentage: must be a finite number"),
        ({"title": "t", "percentage": 100.1}, "percentage: must be less than or equal to 100"),
        ({"title": "t", "type": "progress", "value": 3}, "value: needs upper_limit beside it"),
        ({"title": "t", "type": "progress", "upper_limit": 3}, "upper_limit: needs value beside it"),
        ({"title": "t", "upper_limit": 3}, "upper_limit: needs value beside it"),
        (
            {"title": "t", "type": "progress", "value": "3", "upper_limit": 5},
            "value: must be a number for type progress",
        ),
        ({"title": "t", "value": 3, "upper_limit": 0}, "upper_limit: must be greater than 0"),
        ({"title": "t", "value": [3]}, "value: must be a number, not list"),
        ({"title": "t", "type": "value"}, "value: is required for type value"),
        ({"title": "t", "type": "alert"}, "message: is required for type alert"),
        ({"title": "t", "type": "alert", "message": ""}, "message: must not be empty"),
        ({"title": "t", "metrics": []}, "metrics: must not be empty"),
        ({"title": "t", "metrics": METRICS * 5}, "metrics: must have at most 8 items"),
        ({"title": "t", "metrics": [{"label": "", "value": 1}]}, "metrics.0.label: must not be empty"),
        ({"title": "t", "metrics": [{"label": "l"}]}, "metrics.0.value: is required"),
        ({"title": "t", "metrics": [{"label": "l", "value": -1}]}, "metrics.0.value: must be 0 or more"),
        (
            {"title": "t", "metrics": [{"label": "l", "value": "x" * 65}]},
            "metrics.0.value: must be a string of 1 to 64",
        ),
        ({"title": "t", "metrics": [{"label": "l", "value": 1, "unit": None}]}, "metrics.0.unit: is null"),
        ({"title": "t", "metrics": ["x"]}, "metrics.0: must be an object"),
        ({"title": "t", "duration_seconds": 0}, "duration_seconds: must be greater than 0"),
        ({"title": "t", "counts_down": 1}, "counts_down: must be true or false"),
        ({"title": "t", "icon": {"symbol": ""}}, "icon.symbol: must not be empty"),
        ({"title": "t", "icon": "bolt"}, "icon: must be an object"),
        ({"title": "t", "badge": {}}, "badge.title: is required"),
        ({"title": "t", "auto_dismiss_minutes": -1}, "auto_dismiss_minutes: must be greater than or equal to 0"),
        ({"title": "t", "auto_dismiss_seconds": 0.5}, "auto_dismiss_seconds: must be a whole number"),
        ("text", "must be a mapping or ContentState, not a string"),
    ],
)
def test_what_the_contract_refuses_is_refused_with_member_and_rule(state: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        EndStreamRequest(content_state=state)
    assert str(refused.value).startswith("content_state")
    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("model", "wire"),
    [
        (
            SegmentedProgressState(
                title="t", number_of_steps=3, current_step=1, step_colors=("red",), badge=Badge(title="b")
            ),
            {"number_of_steps": 3, "current_step": 1, "step_colors": ["red"], "badge": {"title": "b"}},
        ),
        (ProgressState(title="t", value=1, upper_limit=2), {"value": 1, "upper_limit": 2}),
        (MetricsState(title="t", metrics=[Metric(label="l", value=7)]), {"metrics": [{"label": "l", "value": 7}]}),
        (StatsState(title="t", icon=Icon(symbol="bolt")), {"icon": {"symbol": "bolt"}}),
        (AlertState(title="t", message="m"), {"message": "m"}),
        (TimerState(title="t", duration_seconds=60), {"duration_seconds": 60}),
        (ValueState(title="t", value="$5"), {"value": "$5"}),
    ],
)
def test_each_type_has_a_class_that_says_its_type(model: Any, wire: dict[str, Any]) -> None:
    kind = model.type
    assert EndStreamRequest(content_state=model).to_wire()["content_state"] == {"title": "t", "type": kind, **wire}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AlertState(title="t", mesage="m"), "mesage: is not a member; did you mean message?"),
        (lambda: AlertState(title="t", message="m", number_of_steps=1), "number_of_steps: is not a member"),
        (lambda: ProgressState(title="t", value=1), "value: needs upper_limit"),
        (lambda: SegmentedProgressState(title="t", current_step=2, number_of_steps=1), "current_step: 2 is more"),
        (lambda: ValueState(title="t"), "value: is required"),
        (lambda: MetricsState(title="t", metrics=[{"label": ""}]), "metrics.0.label: must not be empty"),
        (lambda: ContentState(title="t", type="alert"), "message: is required for type alert"),
    ],
)
def test_a_class_refuses_when_it_is_made(make: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        make()
    assert message in str(refused.value)


def test_a_whole_number_may_be_written_with_a_point() -> None:
    state = SegmentedProgressState(title="é", number_of_steps=3.0)  # type: ignore[arg-type]
    assert json.dumps(state.to_wire()["number_of_steps"]) == "3"


def test_a_model_does_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        AlertState(title="t", message="m").title = "x"  # type: ignore[misc]


OPEN = {"title": "Open", "type": "open_url"}
HOOK = {"title": "Run", "type": "webhook"}


@pytest.mark.parametrize(
    "action",
    [
        {**OPEN, "url": "https://example.com/a?b=%20c#d"},
        {**OPEN, "url": "http://airflow.internal:8080/dags/x"},
        {**OPEN, "url": "shortcuts://run-shortcut?name=Deploy"},
        {**OPEN, "url": "https://example.com", "method": "POST"},
        {**HOOK, "url": "https://example.com", "method": "GET"},
        {**HOOK, "url": "https://example.com", "method": "POST", "body": {"a": [None, 1.5, {"b": True}]}},
    ],
)
def test_a_button_the_contract_accepts_is_sent_unchanged(action: dict[str, Any]) -> None:
    assert EndStreamRequest(action=action, secondary_action=action).to_wire() == {
        "action": action,
        "secondary_action": action,
    }


@pytest.mark.parametrize(
    ("action", "message"),
    [
        ({**OPEN, "url": "ftp://example.com"}, "url: must start with https:// or http:// or shortcuts://"),
        ({**OPEN, "url": "https://"}, "url: is no URL"),
        ({**OPEN, "url": "https://a b"}, "url: is no URL"),
        ({**OPEN, "url": "https://example.com/ü"}, "url: is no URL"),
        ({**OPEN, "url": "https://example.com/{{ run_id }}"}, "url: is no URL"),
        ({**OPEN, "url": "https://example.com/%zz"}, "url: is no URL"),
        ({**OPEN}, "url: is required"),
        ({**HOOK, "url": "https://example.com", "body": None}, "body: is null"),
        ({**OPEN, "url": "https://example.com", "methd": "GET"}, "methd: is not a member; did you mean method?"),
        ({**HOOK, "url": "http://example.com"}, "url: must start with https://"),
        ({**HOOK, "url": "https://example.com", "method": "PUT"}, "method: must be 'GET' or 'POST'"),
        ({**HOOK, "url": "https://example.com", "body": [1]}, "body: must be an object"),
        ({"title": "x", "url": "https://example.com"}, "type: is required and must be open_url or webhook"),
        ({"title": "x", "type": ["webhook"], "url": "https://example.com"}, "type: is required and must be"),
        ("https://example.com", "must be a mapping or an action, not a string"),
    ],
)
def test_a_button_the_contract_refuses_is_refused(action: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        EndStreamRequest(action=action)
    assert str(refused.value).startswith("action")
    assert message in str(refused.value)


def test_buttons_are_models_too() -> None:
    wire = EndStreamRequest(
        action=OpenURLAction(title="Open", url="https://example.com"),
        secondary_action=WebhookAction(title="Run", url="https://example.com"),
        alert=AlertPayload(body="b"),
    ).to_wire()
    assert wire == {
        "action": {"title": "Open", "type": "open_url", "url": "https://example.com"},
        "secondary_action": {"title": "Run", "type": "webhook", "url": "https://example.com"},
        "alert": {"body": "b"},
    }


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"tags": [""]}, "tags.0: must not be empty"),
        ({"tags": ["x" * 65]}, "tags.0: must have at most 64 characters"),
        ({"tags": "abc"}, "tags: must be a list"),
        ({"metadata": {"a": None}}, "metadata.a: must be a string, a finite number or a boolean"),
        ({"metadata": {"a": [1]}}, "metadata.a: must be a string, a finite number or a boolean"),
        ({"metadata": {"a": float("inf")}}, "metadata.a: must be a string, a finite number"),
        ({"metadata": {"a": "x" * 4001}}, "metadata.a: must be at most 4000 characters"),
        ({"metadata": {str(n): n for n in range(51)}}, "metadata: has more than 50 entries"),
        ({"metadata": {str(n): "é" * 1700 for n in range(5)}}, "metadata: is larger than 16 KB"),
        ({"\ud800": 1}, "has a member whose name holds half a surrogate pair"),
        ({"metadata": {"a": "\ud800"}}, "metadata.a: holds half a surrogate pair"),
        ({"metadata": {"a": 10**5000}}, "metadata: cannot be written as JSON"),
        ({"metadata": {7: "a"}}, "metadata.7.[key]: must be a string"),
        ({"metadata": []}, "metadata: must be an object"),
        ({"alert": {"titel": "t"}}, "alert.titel: is not a member; did you mean title?"),
        ({"alert": {"title": None}}, "alert.title: is null"),
        ({"alert": {"body": None}}, "alert.body: is null"),
        ({"content_stat": {}}, "content_stat: is not a member; did you mean content_state?"),
    ],
)
def test_other_members_keep_to_the_contract(members: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        EndStreamRequest(**members)
    assert message in str(refused.value)


def test_metadata_keeps_its_kinds() -> None:
    metadata = {"s": "x" * 4000, "i": 1, "f": 1.0, "b": True}
    assert json.dumps(EndStreamRequest(metadata=metadata).to_wire()["metadata"]) == json.dumps(metadata)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"channels": []}, "channels: must not be empty"),
        ({"channels": ["a"], "target": {"channels": ["b"]}}, "target: differs from channels"),
        ({"target": {}}, "target.channels: is required"),
    ],
)
def test_channels_are_at_least_one_and_said_once(members: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        StreamRequest(content_state={"title": "t"}, **members)
    assert message in str(refused.value)


def test_the_older_target_means_the_same_as_channels() -> None:
    wire = StreamRequest(content_state={"title": "t"}, channels=["a"], target={"channels": ["a"]}).to_wire()
    assert (wire["channels"], wire["target"]) == (["a"], {"channels": ["a"]})


def test_starting_needs_a_state() -> None:
    with pytest.raises(InvalidRequestError, match="content_state: is required"):
        StreamRequest()  # type: ignore[call-arg]


# What a member means is written where it is declared, and shown in errors

EVERY_MODEL = [
    model
    for module in (states, requests, responses)
    for model in vars(module).values()
    if isinstance(model, type) and issubclass(model, LazyModel) and model.__module__ == module.__name__
]


@pytest.mark.parametrize("model", EVERY_MODEL, ids=lambda model: model.__name__)
def test_every_member_says_what_it_means(model: type[BaseModel]) -> None:
    # A class for one type fixes it, and its own text says what it shows.
    fixed = {"type"} if model is not ContentState else set()
    docs = member_docs(model)
    assert set(model.model_fields) - set(docs) <= fixed
    assert not [doc for doc in docs.values() if "``" in doc or "\n" in doc or doc.removesuffix("...").endswith(".")]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: Icon(symbol=""),
            "symbol: must not be empty (The name of an SF Symbol, such as checkmark.circle.fill)",
        ),
        (lambda: ContentState(title=7), "title: must be a string (First line)"),
        (
            lambda: SegmentedProgressState(title="t", number_of_steps=0),
            "(How many steps there are, 1 or more)",
        ),
        (
            lambda: ContentState(title="t", value=[1]),
            "(For type progress how far it is, out of upper_limit; for type value a finite number or a string)",
        ),
        (lambda: ProgressState(title="t", value="1", upper_limit=2), "(How far it is, out of upper_limit; each"),
        (lambda: EndStreamRequest(tags=7), "left out keeps the stream's, [] clears)"),
    ],
)
def test_a_refusal_says_what_the_member_means(make: Any, message: str) -> None:
    with pytest.raises(InvalidRequestError) as refused:
        make()
    assert message in str(refused.value)


def test_a_model_whose_source_is_not_there_is_refused_without_a_meaning() -> None:
    names = {"Model": Model, "__name__": f"{Model.__module__.rpartition('.')[0]}.made"}
    exec("class Made(Model):\n    size: int\n    'How large it is.'", names)
    made: Any = names["Made"]
    with pytest.raises(InvalidRequestError, match=r"^size: is required$"):
        made()


def test_a_request_that_was_changed_past_its_rules_is_refused_when_it_is_written() -> None:
    changed = EndStreamRequest(tags=["a"]).model_copy(update={"metadata": {"a": object()}})
    with pytest.raises(InvalidRequestError, match="cannot be written as JSON"):
        changed.encode()


def test_a_request_has_a_json_schema_whose_parts_are_objects() -> None:
    members = EndStreamRequest.model_json_schema()["properties"]
    assert members["content_state"]["anyOf"][0] == members["action"]["anyOf"][0] == {"type": "object"}
