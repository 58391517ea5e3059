"""Every error that the core lets out is an ActivitySmithError, with a message that fits on a line."""

import asyncio
import logging
import pickle
import socket
from collections import UserDict
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any

import httpx
import pytest
from support.service import KEY, Service

from activitysmith_integrations import core
from activitysmith_integrations.core import (
    ActivitySmithClient,
    ActivitySmithError,
    APIStatusError,
    APITimeoutError,
    AsyncActivitySmithClient,
    AsyncLiveActivity,
    BillingError,
    ConfigurationError,
    EndOptions,
    EndStreamRequest,
    InvalidRequestError,
    LiveActivity,
    RateLimitError,
    RetryPolicy,
    StreamRequest,
    stream_key,
)
from activitysmith_integrations.core.errors import error_text, quoted, status_error


class Hostile:
    """An object of somebody's own that fails at all that it is asked."""

    def __repr__(self) -> str:
        raise RuntimeError("no repr")

    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparison")

    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")

    def __index__(self) -> int:
        raise RuntimeError("no number")

    def __iter__(self) -> Iterator[Any]:
        raise RuntimeError("no items")


class HostileMapping(UserDict[str, Any]):
    """A mapping that fails when it is read."""

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no members")


def _cycle() -> dict[str, Any]:
    cycle: dict[str, Any] = {"title": "t"}
    cycle.update(icon=cycle, title=cycle, metrics=[cycle], type="webhook", url="https://example.com", body=cycle)
    return cycle


def _deep(container: Callable[[Any], Any], levels: int = 5_000) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = container(value)
    return value


ODD: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "a number": lambda: 7,
    "a huge number": lambda: 10**5000,
    "a huge fraction": lambda: Fraction(10**400, 3),
    "not a number": lambda: float("nan"),
    "a boolean": lambda: True,
    "a text": lambda: "x\n",
    "half a surrogate pair": lambda: "\ud800",
    "bytes": lambda: b"x",
    "a class": lambda: object,
    "a set": lambda: {1},
    "a list of all": lambda: [None, 7, {}, [], "x", Hostile()],
    "a mapping with a number for a name": lambda: {7: 1},
    "a mapping with a hostile name": lambda: {(): Hostile()},
    "a hostile object": Hostile,
    "a hostile mapping": lambda: HostileMapping(a=1),
    "a cycle": _cycle,
    "a deep mapping": lambda: _deep(lambda inner: {"icon": inner}),
    "a deep list": lambda: _deep(lambda inner: [inner]),
}

MODELS = [
    model
    for name in core.__all__
    if isinstance(model := getattr(core, name), type) and hasattr(model, "model_fields") and "Response" not in name
]
MEMBERS = [(model, member) for model in MODELS for member in model.model_fields]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize(("model", "member"), MEMBERS, ids=[f"{model.__name__}.{member}" for model, member in MEMBERS])
def test_a_member_of_a_model_is_taken_or_refused_with_an_error_of_ours(model: Any, member: str, odd: str) -> None:
    required = {"title": "t", "message": "m", "value": 1, "symbol": "bolt", "label": "l", "url": "https://a.example"}
    members = {name: value for name, value in required.items() if name in model.model_fields}
    if model is StreamRequest:
        members["content_state"] = {"title": "t"}
    try:
        made = model(**{**members, member: ODD[odd]()})
        made.encode()
    except InvalidRequestError as error:
        assert len(str(error)) < 3000  # noqa: PT017


def _live_activity_with(option: str) -> Callable[[Any], Any]:
    return lambda odd: LiveActivity("k", **{option: odd})


ARGUMENTS: dict[str, Callable[[Any], Any]] = {
    "api_key": lambda odd: ActivitySmithClient(odd),
    "base_url": lambda odd: ActivitySmithClient(KEY, base_url=odd),
    "timeout": lambda odd: ActivitySmithClient(KEY, timeout=odd),
    "retry": lambda odd: ActivitySmithClient(KEY, retry=odd),
    "http_client": lambda odd: ActivitySmithClient(KEY, http_client=odd),
    "http_client, async": lambda odd: AsyncActivitySmithClient(KEY, http_client=odd),
    "with_retry": lambda odd: ActivitySmithClient(KEY).with_retry(odd),
    "max_retries": lambda odd: RetryPolicy(max_retries=odd),
    "initial_delay": lambda odd: RetryPolicy(initial_delay=odd),
    "max_delay": lambda odd: RetryPolicy(max_delay=odd),
    "max_elapsed": lambda odd: RetryPolicy(max_elapsed=odd),
    "stream_key": lambda odd: stream_key(odd),
    "stream_key, two": lambda odd: stream_key("a", odd),
    "LiveActivity.stream_key": lambda odd: LiveActivity(odd),
    "LiveActivity.steps": lambda odd: LiveActivity("k", steps=odd),
    "AsyncLiveActivity.steps": lambda odd: AsyncLiveActivity("k", steps=odd),
    **{f"LiveActivity.{option}": _live_activity_with(option) for option in (*EndOptions.__annotations__, "optoin")},
}


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("argument", ARGUMENTS)
def test_an_argument_is_taken_or_refused_with_an_error_of_ours(
    argument: str, odd: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACTIVITYSMITH_API_KEY", KEY)
    value = ODD[odd]()
    try:
        ARGUMENTS[argument](value)
    except (ConfigurationError, InvalidRequestError) as error:
        assert len(str(error)) < 3000  # noqa: PT017


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("what", ["stream_key", "request"])
def test_what_is_sent_is_refused_with_an_error_of_ours(flavor: str, odd: str, what: str, service: Service) -> None:
    value = ODD[odd]()
    arguments = (value, EndStreamRequest()) if what == "stream_key" else ("nightly", value)

    async def send_async() -> None:
        own = httpx.AsyncClient(transport=httpx.MockTransport(service))
        await AsyncActivitySmithClient(KEY, http_client=own).send(*arguments)

    def send() -> None:
        own = httpx.Client(transport=httpx.MockTransport(service))
        ActivitySmithClient(KEY, http_client=own).send(*arguments)

    with pytest.raises(InvalidRequestError, match=what):
        send() if flavor == "sync" else asyncio.run(send_async())
    assert service.requests == []


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("method", ["end_stream", "stream"])
def test_the_members_that_a_method_takes_are_those_of_its_request(call: Any, method: str, odd: str) -> None:
    with pytest.raises(InvalidRequestError, match="is not a member"):
        call(method, "nightly", content_state={"title": "t"}, state=[ODD[odd]()])


CONNECTIONS = [
    httpx.ConnectError("refused"),
    httpx.ReadTimeout(""),
    httpx.RemoteProtocolError("cut off"),
    httpx.ProxyError("407"),
    httpx.UnsupportedProtocol("gopher"),
    httpx.InvalidURL("no URL"),
    httpx.TooManyRedirects("a circle"),
    httpx.DecodingError("no gzip"),
    httpx.StreamClosed(),
    socket.gaierror("no such host"),
    ConnectionResetError("reset"),
    TimeoutError("slow"),
    RuntimeError("can't start new thread"),
    MemoryError(),
    UnicodeError("label too long"),
    ExceptionGroup("two addresses failed", [OSError("v4"), OSError("v6")]),
]


@pytest.mark.parametrize("failure", CONNECTIONS, ids=repr)
def test_whatever_happens_while_sending_is_an_error_of_ours(call: Any, service: Service, failure: Exception) -> None:
    service.will_answer(failure, failure, failure)
    with pytest.raises(ActivitySmithError):
        call("end_stream", "nightly")


# The errors themselves


def test_every_error_survives_pickling() -> None:
    for error in (
        APITimeoutError("slow"),
        RateLimitError(429, {"error": "x"}, 7.0),
        InvalidRequestError(("a.b", "rule"), ("", "other")),
        ConfigurationError(("SSL_CERT_FILE", "is missing")),
    ):
        copy = pickle.loads(pickle.dumps(error))
        assert type(copy) is type(error)
        assert str(copy) == str(error)
        assert vars(copy) == vars(error)


def test_what_is_wrong_within_another_thing_says_so() -> None:
    for kind in (ConfigurationError, InvalidRequestError):
        inner = kind(("title", "is required"), ("", "is nested too deeply"))
        outer = inner.within("content_state")
        assert type(outer) is kind
        assert str(outer) == "content_state.title: is required; content_state: is nested too deeply"
        assert isinstance(outer, ValueError)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (InvalidRequestError(("a", "is\nrequired")), "a: is required"),
        (LookupError("two\nlines"), "LookupError: two lines"),
        (LookupError(), "LookupError"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (Exception(Hostile()), "Exception"),
    ],
    ids=["ours", "lines", "nothing", "interrupt", "hostile"],
)
def test_an_error_is_one_line_and_names_its_class_unless_it_is_ours(error: BaseException, text: str) -> None:
    assert error_text(error) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [("x", "'x'"), (Hostile(), "<Hostile>"), (10**5000, "<int>"), ("x" * 200, "'" + "x" * 98 + "…")],
    ids=["short", "hostile", "huge", "long"],
)
def test_a_value_is_quoted_in_few_words_whatever_it_is(value: object, text: str) -> None:
    assert quoted(value) == text


def test_what_a_service_says_is_quoted_on_one_line_and_cut() -> None:
    long = "https://activitysmith.com/upgrade\n" * 1000
    message = str(BillingError(402, {"error": long, "message": long, "upgrade_url": long}))
    assert "\n" not in message
    assert len(message) < 1000


def test_a_wait_is_part_of_the_message() -> None:
    assert str(APIStatusError(503, None, 7.4)) == "ActivitySmith answered 503. The service asks to wait 7 s."


def test_an_error_is_logged_without_the_key(call: Any, service: Service, caplog: pytest.LogCaptureFixture) -> None:
    service.will_answer(httpx.Response(401, json={"message": f"unknown key {KEY}"}))
    with pytest.raises(ActivitySmithError):
        call("end_stream", "nightly")
    with caplog.at_level(logging.DEBUG):
        assert KEY not in caplog.text


def test_an_error_says_how_long_to_wait_and_what_to_do_about_missing_recipients() -> None:
    assert "The service asks to wait 17 s." in str(status_error(503, None, 17.0))
    nobody = status_error(404, {"error": "No recipients"}, None, is_about_end=False)
    assert "Pair an iPhone with the account" in str(nobody)


def test_a_value_that_cannot_be_shown_is_shown_as_its_class() -> None:
    class Odd:
        def __repr__(self) -> str:
            raise LookupError

    assert quoted(Odd()) == "<Odd>"
