"""Every fault of a peer, on a real socket, in both colours: the right error, in time, and nothing left behind."""

import gc
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from support.peer import read_request
from support.service import ENDED, KEY

from activitysmith_integrations.core import (
    ActivitySmithError,
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    InvalidResponseError,
    RetryPolicy,
)

BODY = json.dumps(ENDED).encode()
# Short enough for a black hole to be told in little time; the first call also loads modules and certificates.
POLICY = RetryPolicy(max_retries=1, initial_delay=0.001, max_elapsed=1.5)


@dataclass(frozen=True)
class Fault:
    """What a peer does with a connection, and the error that this is."""

    behave: Callable[[socket.socket, threading.Event], None]
    error: type[ActivitySmithError]


def answer(head: bytes, body: bytes = b"") -> Callable[[socket.socket, threading.Event], None]:
    """Read the request, send these bytes, end the connection."""

    def behave(connection: socket.socket, over: threading.Event) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 " + head + b"\r\n\r\n" + body)
        connection.shutdown(socket.SHUT_WR)

    return behave


def sized(head: bytes, body: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """As :func:`answer`, with the right length."""
    return answer(head + b"\r\nContent-Length: %d" % len(body), body)


def reset(before: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Read the request, send these bytes, reset the connection."""

    def behave(connection: socket.socket, over: threading.Event) -> None:
        read_request(connection)
        connection.sendall(before)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        connection.close()

    return behave


def drip(before: bytes) -> Callable[[socket.socket, threading.Event], None]:
    """Read the request, send these bytes, then one byte at a time."""

    def behave(connection: socket.socket, over: threading.Event) -> None:
        read_request(connection)
        connection.sendall(before)
        while not over.wait(0.02):
            connection.sendall(b" ")

    return behave


def hold(connection: socket.socket, over: threading.Event) -> None:
    """Read the request and say nothing."""
    read_request(connection)
    over.wait()


def hang_up(connection: socket.socket, over: threading.Event) -> None:
    """End the connection at once."""
    connection.shutdown(socket.SHUT_RDWR)


OK = b"200 OK"
FAULTS = {
    "hangs up at once": Fault(hang_up, APIConnectionError),
    "never answers": Fault(hold, APITimeoutError),
    "resets before the answer": Fault(reset(b""), APIConnectionError),
    "resets in the headers": Fault(reset(b"HTTP/1.1 200 OK\r\nContent-"), APIConnectionError),
    "resets in the body": Fault(reset(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"), APIConnectionError),
    "drips the headers": Fault(drip(b"HTTP/1.1 200 OK\r\nX: "), APITimeoutError),
    "drips the body": Fault(drip(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"), APITimeoutError),
    "announces more than it sends": Fault(answer(OK + b"\r\nContent-Length: 999", BODY), APIConnectionError),
    "announces less than it sends": Fault(answer(OK + b"\r\nContent-Length: 9", BODY), InvalidResponseError),
    "announces nonsense": Fault(answer(OK + b"\r\nContent-Length: many", BODY), APIConnectionError),
    "cuts a chunked body": Fault(answer(OK + b"\r\nTransfer-Encoding: chunked", b"ff\r\n{"), APIConnectionError),
    "compresses what is not compressed": Fault(sized(OK + b"\r\nContent-Encoding: gzip", BODY), APIConnectionError),
    "is no HTTP": Fault(answer(b"", b"SSH-2.0"), APIConnectionError),
    "answers with a page": Fault(sized(OK + b"\r\nContent-Type: text/html", b"<html></html>"), InvalidResponseError),
    "answers with nothing": Fault(sized(OK, b""), InvalidResponseError),
    "answers with invalid UTF-8": Fault(sized(OK, b'{"a": "\xff"'), InvalidResponseError),
    "answers with deep JSON": Fault(sized(OK, b"[" * 500_000), InvalidResponseError),
    "answers with a list": Fault(sized(OK, b"[]"), InvalidResponseError),
    "answers with too much": Fault(sized(OK, b" " * (1024 * 1024 + 1)), InvalidResponseError),
    "redirects elsewhere": Fault(sized(b"302 Found\r\nLocation: http://127.0.0.1:9/", b""), APIStatusError),
    "redirects to itself": Fault(sized(b"308 Permanent Redirect\r\nLocation: /", b""), APIStatusError),
    "asks to wait an hour": Fault(sized(b"429 Too Many Requests\r\nRetry-After: 3600", b"{}"), APIStatusError),
    "echoes the key": Fault(sized(b"401 Unauthorized", b'{"message": "%s"}' % KEY.encode()), APIStatusError),
}


@pytest.fixture
def over() -> Iterator[threading.Event]:
    """Set when the test is over, so that peers let go."""
    event = threading.Event()
    yield event
    event.set()


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_the_right_error_in_time_and_leaves_nothing_behind(
    name: str, over_the_wire: Any, peer: Any, over: threading.Event, caplog: pytest.LogCaptureFixture
) -> None:
    fault = FAULTS[name]
    server = peer(lambda connection: fault.behave(connection, over))
    # With an hour for each step, only the call's own budget can end one that hangs.
    options = {"api_key": KEY, "base_url": server.base_url, "retry": POLICY, "timeout": 3600}
    caplog.set_level(logging.DEBUG)
    with pytest.raises(fault.error) as raised:
        over_the_wire(options, "end_stream", "nightly")
    assert KEY not in str(raised.value) + repr(raised.value) + caplog.text
    assert [thread.name for thread in threading.enumerate() if thread.name == "activitysmith-connect"] == []
    # A connection that nobody closed is a ResourceWarning when it is collected, and warnings are errors here.
    gc.collect()


@pytest.mark.parametrize("status", range(200, 600))
def test_every_status_is_an_answer_or_the_error_of_its_kind(status: int, over_the_wire: Any) -> None:
    calls = []

    def handler(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        return httpx.Response(status, json=ENDED if status == 200 else {"error": "x"})

    retry = RetryPolicy(max_retries=1, initial_delay=0.0001)
    options: dict[str, Any] = {"api_key": KEY, "retry": retry}
    colour_client = httpx.AsyncClient if over_the_wire.__name__ == "async_call" else httpx.Client
    options["http_client"] = colour_client(transport=httpx.MockTransport(handler))
    if status == 200:
        assert over_the_wire(options, "end_stream", "nightly").success
        return
    with pytest.raises(ActivitySmithError) as raised:
        over_the_wire(options, "end_stream", "nightly")
    if status < 300:
        assert type(raised.value) is InvalidResponseError
    else:
        assert isinstance(raised.value, APIStatusError)
        assert raised.value.status_code == status
    assert len(calls) == (2 if status in (429, 500, 502, 503, 504) else 1)
