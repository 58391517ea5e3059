"""Whatever a peer answers is an answer or an error of ours, in little memory, and shows no key."""

import gzip
import json
import math
import pickle
import socket
import tracemalloc
import zlib
from typing import Any

import httpx
import pytest
from hypothesis import given, strategies as st
from support.peer import read_request
from support.service import ENDED, KEY

from activitysmith_integrations.core import (
    ActivitySmithError,
    APIConnectionError,
    APIStatusError,
    BillingError,
    EndStreamRequest,
    EndStreamResponse,
    InvalidResponseError,
    RetryPolicy,
    StreamRequest,
    StreamResponse,
    config,
    wire,
)

ENDPOINT = config.resolve_endpoint(KEY, "https://example.com/api")
MEGABYTE = 1024 * 1024
REQUESTS: dict[Any, EndStreamRequest | StreamRequest] = {
    EndStreamResponse: EndStreamRequest(),
    StreamResponse: StreamRequest(content_state={"title": "t"}),
}
BOMB = gzip.compress(b" " * 40 * MEGABYTE)


def _answering(head: bytes, body: bytes) -> Any:
    def answer(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n%s\r\nContent-Length: %d\r\n\r\n%s" % (head, len(body), body))

    return answer


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        (b"gzip", BOMB),
        (b"gzip, gzip", gzip.compress(BOMB)),
        (b"GZIP", BOMB),
        (b"deflate", zlib.compress(b" " * 40 * MEGABYTE)),
        (b"br", b"\x81\xff\xff"),
        (b"zstd", b"\x28\xb5\x2f\xfd"),
        (b"identity, gzip", BOMB),
        (b"gzip", gzip.compress(json.dumps(ENDED).encode())),
    ],
    ids=["gzip", "twice", "upper case", "deflate", "brotli", "zstandard", "after identity", "small"],
)
def test_an_encoded_answer_is_refused_before_it_takes_memory(
    encoding: bytes, body: bytes, over_the_wire: Any, peer: Any
) -> None:
    base_url = peer(_answering(b"Content-Encoding: " + encoding, body)).base_url
    options = {"api_key": KEY, "base_url": base_url, "retry": RetryPolicy(max_retries=0)}
    tracemalloc.start()
    try:
        with pytest.raises(InvalidResponseError, match=r"is encoded \(.*\), which was not asked for"):
            over_the_wire(options, "end_stream", "nightly")
        assert tracemalloc.get_traced_memory()[1] < 20 * MEGABYTE
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("head", "body"),
    [(b"Content-Encoding: gzip\r\nContent-Length: 20", b"x" * 20), (b"Connection: close", b" " * 2 * MEGABYTE)],
    ids=["encoded", "large"],
)
@pytest.mark.parametrize("is_given", [False, True], ids=["own", "given"])
def test_the_status_of_an_error_counts_whatever_its_body_is(
    head: bytes, body: bytes, is_given: bool, flavor: str, over_the_wire: Any, peer: Any
) -> None:
    def answer(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 402 No\r\n%s\r\n\r\n%s" % (head, body))

    options: dict[str, Any] = {"api_key": KEY, "base_url": peer(answer).base_url}
    given = {"sync": httpx.Client, "async": httpx.AsyncClient}[flavor]() if is_given else None
    with pytest.raises(BillingError) as caught:
        over_the_wire({**options, "http_client": given}, "end_stream", "nightly")
    assert caught.value.body is None or set(caught.value.body) <= {" "}
    if isinstance(given, httpx.Client):
        given.close()


def test_a_peer_that_speaks_no_http_is_quoted_on_one_short_line(over_the_wire: Any, peer: Any) -> None:
    def answer(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n: %s\r\n\r\n" % (b"x" * 50_000))

    options = {"api_key": KEY, "base_url": peer(answer).base_url, "retry": RetryPolicy(max_retries=0)}
    with pytest.raises(APIConnectionError, match="illegal header line") as caught:
        over_the_wire(options, "end_stream", "nightly")
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


def test_an_answer_that_says_it_is_not_encoded_is_read(over_the_wire: Any, peer: Any) -> None:
    base_url = peer(_answering(b"Content-Encoding: Identity", json.dumps(ENDED).encode())).base_url
    assert over_the_wire({"api_key": KEY, "base_url": base_url}, "end_stream", "nightly").success


def _read(status: int, headers: dict[str, str], body: bytes, answer: Any = EndStreamResponse) -> Any:
    """The answer, which can be handed on, or the error of ours, which can be shown."""
    read: EndStreamResponse | StreamResponse | ActivitySmithError
    try:
        reader = wire.BodyReader(status, headers, deadline=math.inf)
        if reader.is_wanted:
            reader.add(body)
        read = wire.read_answer(ENDPOINT, REQUESTS[answer], reader.response())
    except ActivitySmithError as error:
        read = error
    pickle.loads(pickle.dumps(read))
    if isinstance(read, ActivitySmithError):
        shown = str(read)
        assert (len(shown) < 3000, "\n" in shown, KEY in shown + repr(read)) == (True, False, False)
    else:
        json.dumps(read.to_json(), allow_nan=False, ensure_ascii=False).encode()
    return read


def _with(**members: Any) -> bytes:
    return json.dumps({**ENDED, **members}).encode()


@pytest.mark.parametrize(
    "body",
    [
        _with(errors=[1] * 300_000),
        _with(timestamp=10**3000),
        _with(activity_id=["a"]),
        _with(warning={"text": "slow down"}),
        _with(operation=None),
        json.dumps([ENDED]).encode(),
        b"\xef\xbb\xbf" + json.dumps(ENDED).encode(),
        b'{"a":' * 200_000,
    ],
    ids=["many errors", "year", "list", "object", "null", "in a list", "byte order mark", "deep"],
)
def test_an_answer_that_is_not_the_documented_one_is_refused_in_few_words(body: bytes) -> None:
    assert type(_read(200, {}, body)) is InvalidResponseError


@pytest.mark.parametrize(
    "body",
    [
        _with(self=1, model_config={}, __class__="x", model_fields_set=[]),
        _with(news=float("nan"), more=[float("inf")]),
        _with(news="\ud800", **{"\udfff": 1}),
        _with(news=[[[[[[[1]]]]]]] * 1000),
        _with(devices_queued=10**3000),
        json.dumps(ENDED).encode()[:-1] + b', "news": 1e999, "more": -1e999}',
        json.dumps(ENDED).encode()[:-1] + b', "news": ' + b"[" * 500 + b"]" * 500 + b"}",
    ],
    ids=["names of ours", "not a number", "half a pair", "wide", "huge", "infinity", "deep"],
)
def test_members_that_are_new_can_be_handed_on(body: bytes) -> None:
    assert _read(200, {}, body).activity_id == ENDED["activity_id"]


@pytest.mark.parametrize("status", [200, 400, 418])
def test_headers_are_quoted_on_one_line_and_cut(status: int) -> None:
    named = _read(status, {"content-type": f"text/html\x1d\n{KEY}" + "x" * 100_000}, b"<html>")
    assert isinstance(named, ActivitySmithError)
    for encoding in ("0\n0" + "x" * 100_000, "gzip," * 100_000 + "gzip", KEY, f"gzip, {KEY}"):
        refused = _read(status, {"content-encoding": encoding}, b"")
        assert isinstance(refused, InvalidResponseError if status == 200 else APIStatusError)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=10) | st.just(KEY),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from([*StreamResponse.model_fields, "error", "message", "upgrade_url", "limit", "active", KEY]),
            inner,
            max_size=8,
        )
    ),
    max_leaves=20,
)
HEADERS = st.dictionaries(
    st.sampled_from(["retry-after", "content-type", "content-encoding", "content-length", "location"]),
    st.text(st.characters(max_codepoint=255), max_size=40) | st.sampled_from(["9" * 5000, "nan", "-1", "gzip", KEY]),
    max_size=5,
)
BODIES = (
    st.binary(max_size=100) | JSON.map(lambda value: json.dumps(value).encode()) | JSON.map(lambda new: _with(new=new))
)


@given(st.integers(100, 999), HEADERS, BODIES, st.sampled_from([EndStreamResponse, StreamResponse]))
def test_any_answer_is_one_of_ours_or_an_error_of_ours(
    status: int, headers: dict[str, str], body: bytes, answer: Any
) -> None:
    assert isinstance(_read(status, headers, body, answer), (answer, ActivitySmithError))
