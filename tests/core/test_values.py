"""Values of all kinds that people have at hand reach the wire as what they are, or are refused by name."""

import contextlib
import dataclasses
import enum
import json
import logging
import threading
import traceback
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any
from uuid import UUID

import httpx
import numpy as np
import pytest
from pydantic import BaseModel, SecretStr
from support.service import KEY, Service

from activitysmith_integrations.core import (
    ActivitySmithClient,
    ActivitySmithError,
    AlertState,
    AsyncActivitySmithClient,
    EndStreamRequest,
    Icon,
    InvalidRequestError,
    LiveActivity,
    Metric,
    MetricsState,
    ProgressState,
    RetryPolicy,
    SegmentedProgressState,
    StreamRequest,
    TimerState,
    stream_key,
)
from activitysmith_integrations.core.runs.outcome import RunOutcome
from activitysmith_integrations.core.runs.picture import end_request
from activitysmith_integrations.core.runs.progress import Progress

# Enums whose members are strings


class Name(str, enum.Enum):  # noqa: UP042 - what people wrote before StrEnum, and what formats as its name
    ETL = "nightly-etl"
    KEY = "ask_prod"
    RED = "red"
    URL = "https://example.com/api"
    BAR = "progress"


class Count(enum.IntEnum):
    DOZEN = 12


class Loud(str):
    """A string that formats as another one."""

    def __str__(self) -> str:
        return self.upper()

    def __format__(self, spec: str) -> str:
        return self.upper()


def test_a_string_of_another_class_is_the_string_that_it_holds(call: Any, service: Service) -> None:
    for url, api_key, key in (
        (Name.URL, Name.KEY, Name.ETL),
        (Loud("https://example.com/api"), Loud("ask_x"), Loud("n")),
    ):
        call("end_stream", key, client={"api_key": api_key, "base_url": url})
        request = service.requests[-1]
        assert str(request.url) == f"https://example.com/api/live-activity/stream/{str.__str__(key)}"
        assert request.headers["Authorization"] == f"Bearer {str.__str__(api_key)}"
    call("end_stream", "nightly", client={"api_key": SecretStr(Name.KEY)})
    assert service.requests[-1].headers["Authorization"] == "Bearer ask_prod"


def test_a_key_of_names_of_another_class_is_that_of_the_strings_that_they_hold() -> None:
    assert stream_key(Name.ETL) == "nightly-etl"
    assert stream_key(Name.ETL, Loud("run 1")) == stream_key("nightly-etl", "run 1")


def test_members_of_another_class_are_sent_as_what_they_hold(call: Any, service: Service) -> None:
    call(
        "end_stream",
        "nightly",
        content_state={"title": Name.ETL, "type": Name.BAR, "color": Name.RED, "percentage": 1},
        action={"title": Loud("open"), "type": "open_url", "url": Name.URL},
        tags=[Name.ETL, Loud("a")],
        metadata={Name.ETL: Name.RED},
    )
    assert service.bodies == [
        {
            "content_state": {"title": "nightly-etl", "type": "progress", "color": "red", "percentage": 1},
            "action": {"title": "open", "type": "open_url", "url": "https://example.com/api"},
            "tags": ["nightly-etl", "a"],
            "metadata": {"nightly-etl": "red"},
        }
    ]


def test_options_of_another_class_are_what_they_hold() -> None:
    outcome = RunOutcome(Name.ETL, "failed", steps_done=1, steps_total=2, engine=Loud("script"))
    options: Any = {"on_failure": Name.BAR, "failure_color": Name.RED, "tags": [Name.KEY]}
    sent = end_request(outcome, options).to_wire()
    assert (sent["content_state"]["type"], sent["content_state"]["title"]) == ("progress", "nightly-etl")
    assert sent["tags"] == ["script", "ask_prod"]
    assert sent["metadata"]["pipeline"] == "nightly-etl"


@pytest.mark.parametrize("kind", [str, Name, Loud])
def test_steps_of_another_class_are_what_they_hold(kind: Any, service: Service) -> None:
    with (
        contextlib.suppress(LookupError),
        httpx.Client(transport=httpx.MockTransport(service)) as own,
        LiveActivity(
            "k", steps=[kind("red"), kind("progress")], client=ActivitySmithClient(KEY, http_client=own)
        ) as at,
    ):
        at.advance(kind("progress"))
        raise LookupError
    assert service.bodies[-1]["content_state"]["message"].startswith("progress failed after 1 of 2 steps")


@pytest.mark.parametrize("kind", [str, Name, Loud])
def test_a_second_line_of_another_class_is_what_it_holds(kind: Any, service: Service) -> None:
    with (
        httpx.Client(transport=httpx.MockTransport(service)) as own,
        LiveActivity("k", client=ActivitySmithClient(KEY, http_client=own)) as at,
    ):
        while len(service.requests) < 1:
            threading.Event().wait(0.01)
        at.update(subtitle=kind("progress"))
        while len(service.requests) < 2:
            threading.Event().wait(0.01)
    assert service.bodies[1]["content_state"]["subtitle"] == "progress"


def test_names_of_any_length_are_quoted_short(service: Service, caplog: pytest.LogCaptureFixture) -> None:
    name = "x" * 100_000
    with pytest.raises(InvalidRequestError, match="is not a member") as caught:
        StreamRequest(content_state={"title": "t", name: 1})
    assert len(str(caught.value)) < 2000
    with (
        httpx.Client(transport=httpx.MockTransport(service)) as own,
        LiveActivity("k", steps=[f"{name}a", "b"], client=ActivitySmithClient(KEY, http_client=own)) as at,
    ):
        at.advance(f"{name}c")
        at.advance("load")
    assert len([message for message in caplog.messages if "moves no bar" in message]) == 2
    assert max(map(len, caplog.messages)) < 2000


# Numbers that are not Python's own


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.int32, np.longlong])
def test_numpys_integers_count_steps(kind: Any) -> None:
    total = Progress.begin("Nightly", kind(4)).total
    assert (total, type(total)) == (4, int)
    assert LiveActivity("nightly", steps=kind(4)).stream_key == "nightly"
    sent = SegmentedProgressState(title="t", number_of_steps=kind(4), current_step=kind(3)).encode()
    assert json.loads(sent) == {"title": "t", "type": "segmented_progress", "number_of_steps": 4, "current_step": 3}


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (np.float64(12.5), "12.5"),
        (np.float32(12.5), "12.5"),
        (np.float16(12.5), "12.5"),
        (np.int64(12), "12"),
        (np.uint64(12), "12"),
        (Fraction(25, 2), "12.5"),
        (True + np.int8(11), "12"),
        (Count.DOZEN, "12"),
        (np.array(12), "12"),
        (Decimal("12.50"), "12.5"),
        (Decimal("12.00"), "12"),
        (Decimal("1.2E+1"), "12"),
    ],
    ids=repr,
)
def test_numbers_of_other_libraries_are_sent_as_numbers(value: Any, sent: str) -> None:
    for content in (
        ProgressState(title="t", percentage=value).encode(),
        StreamRequest(content_state={"title": "t", "percentage": value}).encode(),
        EndStreamRequest(metadata={"percentage": value}).encode(),
    ):
        assert f'"percentage":{sent}' in content.decode()


@pytest.mark.parametrize(
    "value",
    [
        np.float64("nan"),
        np.float32("inf"),
        np.complex128(1),
        np.array([1, 2]),
        np.datetime64("2026-01-01"),
        np.bool_(True),
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("-Infinity"),
        Decimal("1E+1000000"),
        1j,
    ],
    ids=repr,
)
def test_what_is_no_number_is_refused_by_name(value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"^percentage: must be a (finite )?number"):
        ProgressState(title="t", percentage=value)
    if not isinstance(value, np.bool_):
        with pytest.raises(InvalidRequestError, match=r"^metadata\.a: must be"):
            EndStreamRequest(metadata={"a": value})


def test_numpys_booleans_are_booleans() -> None:
    no: Any = np.bool_(False)
    request = StreamRequest(content_state=TimerState(title="t", is_running=no), metadata={"a": no})
    assert json.loads(request.encode())["content_state"]["is_running"] is False
    assert json.loads(request.encode())["metadata"] == {"a": False}


def test_tuples_and_mappings_of_any_kind_are_lists_and_objects() -> None:
    badge, icon = MappingProxyType({"title": "new"}), Icon(symbol="bolt")
    bar = SegmentedProgressState(title="t", step_colors=("green", "red"), badge=badge, icon=icon)
    assert json.loads(bar.encode()) == {
        "title": "t",
        "type": "segmented_progress",
        "step_colors": ["green", "red"],
        "badge": {"title": "new"},
        "icon": {"symbol": "bolt"},
    }
    figures = MetricsState(title="t", metrics=({"label": "CPU", "value": 7}, Metric(label="Rows", value="7 M")))
    assert json.loads(figures.encode())["metrics"] == [{"label": "CPU", "value": 7}, {"label": "Rows", "value": "7 M"}]


@pytest.mark.parametrize("done", [2.5, "2", None.__class__, np.float64("nan"), [1]], ids=repr)
def test_a_count_that_cannot_be_used_is_a_warning_and_no_other_update_is_lost(
    done: Any, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        httpx.Client(transport=httpx.MockTransport(service)) as own,
        LiveActivity("nightly", steps=4, client=ActivitySmithClient(KEY, http_client=own)) as activity,
    ):
        activity.update(done=np.int64(1))
        activity.update(done=done)
        activity.advance()
        raised = LookupError("shows how many were counted")
        activity.__exit__(LookupError, raised, None)
    (record,) = [record for record in caplog.records if "done" in record.getMessage()]
    assert record.levelno == logging.WARNING
    assert "whole number" in record.getMessage()
    assert any("after 2 of 4 steps" in body["content_state"].get("message", "") for body in service.bodies)


# A webhook's body


class Job(BaseModel):
    run: str = "r1"
    attempt: int = 3
    note: str | None = None


@dataclasses.dataclass
class Table:
    name: str
    rows: list[int]


def _body(value: Any) -> Any:
    hook = {"type": "webhook", "title": "Retry", "url": "https://example.com", "body": {"value": value}}
    return json.loads(EndStreamRequest(action=hook).encode())["action"]["body"]["value"]


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (Job(), {"run": "r1", "attempt": 3, "note": None}),
        ([Job(run="r2")], [{"run": "r2", "attempt": 3, "note": None}]),
        (Table("orders", [1, 2]), {"name": "orders", "rows": [1, 2]}),
        (datetime(2026, 11, 23, 3, 0, tzinfo=UTC), "2026-11-23T03:00:00Z"),
        (date(2026, 11, 23), "2026-11-23"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (Path("/data/orders"), "/data/orders"),
        (Name.ETL, "nightly-etl"),
        ((1, 2), [1, 2]),
        ({7: "a"}, {"7": "a"}),
        (None, None),
        (10**30, 10**30),
        (np.int64(7), 7),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        ({"mean": np.float32(0.5), "ok": np.bool_(True)}, {"mean": 0.5, "ok": True}),
    ],
    ids=repr,
)
def test_a_webhooks_body_holds_what_json_has_for_each_value(value: Any, sent: Any) -> None:
    assert _body(value) == sent


def _cycle() -> Any:
    cycle: dict[str, Any] = {}
    cycle["again"] = [cycle]
    return cycle


def _deep() -> Any:
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    return deep


@pytest.mark.parametrize(
    "make",
    [
        lambda: float("nan"),
        lambda: [float("-inf")],
        lambda: object(),
        _cycle,
        _deep,
        lambda: "\ud800",
        lambda: 10**5000,
        lambda: {"files": (name for name in ["orders.csv"])},
        lambda: [map(str, [1, 2])],
    ],
)
def test_a_webhooks_body_that_json_cannot_hold_is_refused_by_name(make: Any) -> None:
    with pytest.raises(InvalidRequestError, match=r"^action\.body: cannot be written as JSON"):
        _body(make())


def test_a_secret_in_a_webhooks_body_is_not_told() -> None:
    assert "hunter2" not in str(_body(SecretStr("hunter2")))


# What holds itself, or is very deep


def _holds_itself() -> dict[str, Any]:
    state: dict[str, Any] = {"title": "t", "type": "alert", "message": "m"}
    state["icon"] = state["badge"] = state["metrics"] = state
    return state


def _holds_itself_in_a_list() -> dict[str, Any]:
    metrics: list[Any] = []
    metrics.append(metrics)
    return {"title": "t", "metrics": metrics, "step_colors": metrics}


@pytest.mark.parametrize(
    "make", [_holds_itself, _holds_itself_in_a_list, lambda: {"title": _deep()}, lambda: {"title": _cycle()}]
)
def test_a_state_without_end_is_refused_everywhere(make: Any, call: Any, service: Service) -> None:
    state = make()
    for refuse in (
        lambda: EndStreamRequest(content_state=state),
        lambda: StreamRequest(content_state=state),
        lambda: ProgressState(**state),
        lambda: LiveActivity("nightly", content_state=state),
        lambda: end_request(RunOutcome("nightly", "failed"), {"content_state": state}),
        lambda: EndStreamRequest(metadata=state, tags=state, alert=state, action=state),
        lambda: call("stream", "nightly", content_state=state),
    ):
        with pytest.raises(InvalidRequestError):
            refuse()
    assert service.requests == []


# Many steps


def test_thirty_thousand_steps_are_walked_with_few_comparisons() -> None:
    class Step(str):
        compared = 0

        def __eq__(self, other: object) -> bool:
            Step.compared += 1
            return str.__eq__(self, other)

        __hash__ = str.__hash__

    names = [f"step {number}" for number in range(30_000)]
    at = Progress.begin("Nightly", [Step(name) for name in names])
    for name in names[::100]:
        at = at.advanced(name)
    assert (at.done, at.step) == (29_900, "step 29900")
    assert Step.compared < 2 * 30_000


# What was never finished


@pytest.mark.parametrize(
    "make",
    [
        lambda: ActivitySmithClient("ask_secret\n"),
        lambda: AsyncActivitySmithClient("ask_secret\n"),
        lambda: ActivitySmithClient("ask_secret", base_url="ftp://example.com"),
        lambda: ActivitySmithClient("ask_secret", timeout=-1),
        lambda: ActivitySmithClient("ask_secret", http_client=7),  # type: ignore[arg-type]
        lambda: RetryPolicy(max_retries=-1),
        lambda: AlertState(title="t"),  # type: ignore[call-arg]
        lambda: EndStreamRequest(content_state={}),
        lambda: LiveActivity("a b"),
        lambda: LiveActivity("nightly", steps=-1),
    ],
)
def test_what_was_never_finished_can_be_shown_in_a_traceback(make: Any) -> None:
    with pytest.raises(ActivitySmithError) as refused:
        make()
    shown = traceback.TracebackException.from_exception(refused.value, capture_locals=True)
    for frame in shown.stack:
        assert "ask_secret" not in str(frame.locals) or "tests" in Path(frame.filename).parts


def test_a_client_without_a_beginning_has_a_repr() -> None:
    for kind in (ActivitySmithClient, AsyncActivitySmithClient):
        assert repr(object.__new__(kind)) == f"{kind.__name__}(...)"
