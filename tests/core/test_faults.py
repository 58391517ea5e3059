"""Every fault of a peer, on a real socket, in both clients: the right error, in time, and nothing left behind."""

import asyncio
import functools
import gc
import gzip
import json
import logging
import os
import pickle
import socket
import ssl
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any, NoReturn, TypeAlias

import httpx
import pytest
import trustme
from support.peer import Peer, read_request
from support.service import ENDED, KEY

from activitysmith_integrations.core import (
    ActivitySmithClient,
    ActivitySmithError,
    APIConnectionError,
    APIStatusError,
    APITimeoutError,
    AsyncActivitySmithClient,
    InvalidResponseError,
    RateLimitError,
    RetryPolicy,
    config,
)

BODY = json.dumps(ENDED).encode()
# Short enough for a black hole to be told in little time; the first call also loads modules and certificates.
POLICY = RetryPolicy(max_retries=1, initial_delay=0.001, max_elapsed=1.5)
# With an hour for each step, only the call's own budget can end one that hangs.
OPTIONS: dict[str, Any] = {"api_key": KEY, "retry": POLICY, "timeout": 3600}


@dataclass
class Place:
    """Where a call goes, what came there, and when its peers are to let go."""

    base_url: str = ""
    requests: list[bytes] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)


Behaviour: TypeAlias = Callable[[socket.socket, Place], None]
OpenPlace: TypeAlias = Callable[[], AbstractContextManager[Place]]


@dataclass(frozen=True)
class Fault:
    """A place, the error that a call to it is, and how many requests reach it."""

    place: OpenPlace
    error: type[ActivitySmithError]
    requests: int = 1


# Places


def peer(behave: Behaviour, scheme: str = "http") -> OpenPlace:
    """A peer that does this to each connection."""

    @contextmanager
    def open_place() -> Iterator[Place]:
        place = Place()
        server = Peer(lambda connection: behave(connection, place))
        place.base_url = server.base_url.replace("http", scheme, 1)
        try:
            yield place
        finally:
            place.over.set()
            server.close()

    return open_place


@contextmanager
def nobody() -> Iterator[Place]:
    """An address that refuses connections."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    yield Place(f"http://127.0.0.1:{port}")


@contextmanager
def black_hole() -> Iterator[Place]:
    """An address that swallows attempts to connect: its queue is full, and nobody takes from it."""
    with ExitStack() as open_sockets, socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        for _ in range(4):
            waiting = open_sockets.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield Place(f"http://127.0.0.1:{listener.getsockname()[1]}")


@contextmanager
def unknown_name() -> Iterator[Place]:
    """A host that no name server knows."""

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", fail)
        yield Place("https://unknown.example")


@functools.cache
def authority() -> trustme.CA:
    """An authority that nobody trusts by himself."""
    return trustme.CA()


def secure(behave: Behaviour, host: str = "127.0.0.1", trusted: bool = True, **certificate: Any) -> OpenPlace:
    """A peer behind TLS, with a certificate for this host."""

    def behind_tls(connection: socket.socket, place: Place) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority().issue_cert(host, **certificate).configure_cert(context)
        with context.wrap_socket(connection, server_side=True) as wrapped:
            behave(wrapped, place)

    @contextmanager
    def open_place() -> Iterator[Place]:
        with (
            pytest.MonkeyPatch.context() as patch,
            authority().cert_pem.tempfile() as file,
            peer(behind_tls, "https")() as place,
        ):
            if trusted:
                patch.setenv("SSL_CERT_FILE", file)
            config.ssl_context.cache_clear()
            yield place
        config.ssl_context.cache_clear()

    return open_place


# What peers do


def send(*parts: bytes, then: Behaviour | None = None) -> Behaviour:
    """Read the request, send these bytes, end the connection or go on."""

    def behave(connection: socket.socket, place: Place) -> None:
        place.requests.append(read_request(connection))
        connection.sendall(b"".join(parts))
        if then:
            then(connection, place)
        else:
            connection.shutdown(socket.SHUT_WR)

    return behave


def answer(head: bytes, body: bytes = b"") -> OpenPlace:
    """A peer that sends this head and this body."""
    return peer(send(b"HTTP/1.1 ", head, b"\r\n\r\n", body))


def sized(head: bytes, body: bytes) -> OpenPlace:
    """As :func:`answer`, with the right length."""
    # It closes the connection after each answer, and says so: a repetition has to take a new one.
    return answer(head + b"\r\nConnection: close\r\nContent-Length: %d" % len(body), body)


def reset(connection: socket.socket, place: Place) -> None:
    """Reset the connection."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
    connection.close()


def drip(connection: socket.socket, place: Place) -> None:
    """Send one byte at a time."""
    while not place.over.wait(0.02):
        connection.sendall(b" ")


def flood(data: bytes) -> Behaviour:
    """Send this without a pause."""

    def behave(connection: socket.socket, place: Place) -> None:
        while True:
            connection.sendall(data * 1000)

    return behave


def hold(connection: socket.socket, place: Place) -> None:
    """Say nothing."""
    place.over.wait()


def in_the_handshake(sent: bytes, then: Behaviour) -> OpenPlace:
    """A peer that breaks off TLS: it reads the client's first message, sends these bytes, and goes on."""

    def behave(connection: socket.socket, place: Place) -> None:
        connection.recv(65536)
        connection.sendall(sent)
        then(connection, place)

    return peer(behave, "https")


def hang_up(connection: socket.socket, place: Place) -> None:
    """End the connection."""
    connection.shutdown(socket.SHUT_RDWR)


OK = b"200 OK"
HEAD = b"HTTP/1.1 200 OK\r\n"
PAGE = b"<html><body>Sign in</body></html>"
YESTERDAY = datetime.now(UTC) - timedelta(days=1)
FAULTS = {
    # No connection
    "refuses connections": Fault(nobody, APIConnectionError, 0),
    "swallows connections": Fault(black_hole, APITimeoutError, 0),
    "has a name that nobody knows": Fault(unknown_name, APIConnectionError, 0),
    "hangs up at once": Fault(peer(hang_up), APIConnectionError, 0),
    # No TLS
    "speaks no TLS": Fault(in_the_handshake(b"HTTP/1.1 400 Bad Request\r\n\r\n", hang_up), APIConnectionError, 0),
    "refuses the handshake": Fault(in_the_handshake(b"\x15\x03\x03\x00\x02\x02\x28", hang_up), APIConnectionError, 0),
    "resets in the handshake": Fault(in_the_handshake(b"\x16\x03", reset), APIConnectionError, 0),
    "never finishes the handshake": Fault(in_the_handshake(b"\x16\x03\x03\x40\x00", drip), APITimeoutError, 0),
    "shows a certificate of an unknown authority": Fault(
        secure(send(HEAD), trusted=False), APIConnectionError, requests=0
    ),
    "shows a certificate of another host": Fault(secure(send(HEAD), "other.example"), APIConnectionError, 0),
    "shows a certificate that is over": Fault(secure(send(HEAD), not_after=YESTERDAY), APIConnectionError, 0),
    # No answer, or half of one
    "never answers": Fault(peer(send(then=hold)), APITimeoutError),
    "resets before the answer": Fault(peer(send(then=reset)), APIConnectionError, 2),
    "resets in the headers": Fault(peer(send(HEAD, b"Content-", then=reset)), APIConnectionError, 2),
    "resets in the body": Fault(peer(send(HEAD, b"Content-Length: 99\r\n\r\n{", then=reset)), APIConnectionError, 2),
    "drips the headers": Fault(peer(send(HEAD, b"X: ", then=drip)), APITimeoutError),
    "drips the body": Fault(peer(send(HEAD, b"Content-Length: 9999\r\n\r\n", then=drip)), APITimeoutError),
    "drips behind TLS": Fault(secure(send(HEAD, b"X: ", then=drip)), APITimeoutError),
    "floods with interim responses": Fault(peer(send(then=flood(b"HTTP/1.1 100 Continue\r\n\r\n"))), APITimeoutError),
    "floods with headers": Fault(peer(send(HEAD, then=flood(b"X: y\r\n"))), APIConnectionError, 2),
    "floods with trailers": Fault(
        peer(send(HEAD, b"Transfer-Encoding: chunked\r\n\r\n0\r\n", then=flood(b"X: y\r\n"))), APIConnectionError, 2
    ),
    # Wrong length
    "announces more than it sends": Fault(answer(OK + b"\r\nContent-Length: 999", BODY), APIConnectionError, 2),
    "announces less than it sends": Fault(answer(OK + b"\r\nContent-Length: 9", BODY), InvalidResponseError),
    "announces two lengths": Fault(
        answer(OK + b"\r\nContent-Length: 9\r\nContent-Length: 10", BODY), APIConnectionError, 2
    ),
    "announces nonsense": Fault(answer(OK + b"\r\nContent-Length: many", BODY), APIConnectionError, 2),
    "announces a length of 5000 digits": Fault(
        answer(OK + b"\r\nContent-Length: " + b"9" * 5000, BODY), APIConnectionError, 2
    ),
    "cuts a chunked body": Fault(answer(OK + b"\r\nTransfer-Encoding: chunked", b"ff\r\n{"), APIConnectionError, 2),
    # Too much
    "answers with too much": Fault(sized(OK, b" " * (1024 * 1024 + 1)), InvalidResponseError),
    "answers with too much and no length": Fault(peer(send(HEAD, b"\r\n", then=flood(b" "))), InvalidResponseError),
    "answers with too much when unpacked": Fault(
        sized(OK + b"\r\nContent-Encoding: gzip", gzip.compress(b" " * 20_000_000)), InvalidResponseError
    ),
    # No HTTP, or another one
    "is no HTTP": Fault(peer(send(b"SSH-2.0-OpenSSH_9.6\r\n\r\n")), APIConnectionError, 2),
    "switches to another protocol": Fault(answer(b"101 Switching\r\nUpgrade: x"), APIConnectionError, 2),
    "compresses what is not compressed": Fault(sized(OK + b"\r\nContent-Encoding: gzip", BODY), InvalidResponseError),
    # A body that makes no sense
    "answers with a page": Fault(sized(OK + b"\r\nContent-Type: text/html", PAGE), InvalidResponseError),
    "answers with a page that says it is JSON": Fault(
        sized(OK + b"\r\nContent-Type: application/json", PAGE), InvalidResponseError
    ),
    "answers with nothing": Fault(sized(OK, b""), InvalidResponseError),
    "answers with invalid UTF-8": Fault(sized(OK, b"\xff\xfe\xfd"), InvalidResponseError),
    "answers with UTF-16": Fault(sized(OK, json.dumps(ENDED).encode("utf-16")), InvalidResponseError),
    "answers with half of the JSON": Fault(sized(OK, BODY[:-9]), InvalidResponseError),
    "answers with deep JSON": Fault(sized(OK, b"[" * 500_000), InvalidResponseError),
    "answers with a number of 5000 digits": Fault(sized(OK, b'{"n": ' + b"9" * 5000 + b"}"), InvalidResponseError),
    "answers with NaN": Fault(sized(OK, BODY[:-1] + b', "devices_notified": NaN}'), InvalidResponseError),
    "answers with a list": Fault(sized(OK, b"[]"), InvalidResponseError),
    "answers with something else": Fault(sized(OK, b'{"status": "up"}'), InvalidResponseError),
    # Errors of a server
    "answers before it is asked": Fault(
        peer(lambda connection, place: connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")),
        APIStatusError,
        requests=0,
    ),
    "is a proxy without a way on": Fault(sized(b"502 Bad Gateway\r\nContent-Type: text/html", PAGE), APIStatusError, 2),
    "is a proxy that asks who is there": Fault(sized(b"407 Proxy Authentication Required", PAGE), APIStatusError),
    "refuses with the key": Fault(
        sized(b"400 Bad Request", json.dumps({"message": f"{KEY} is unknown"}).encode()), APIStatusError
    ),
    "answers with the key": Fault(sized(OK, f"<html>{KEY}</html>".encode()), InvalidResponseError),
    "refuses with deep JSON": Fault(sized(b"400 Bad Request", b"[" * 700 + b"]" * 700), APIStatusError),
    "refuses with half a surrogate pair": Fault(sized(b"400 Bad Request", b'{"message": "\\ud800"}'), APIStatusError),
    "answers with a status of no class": Fault(sized(b"999 What", b"{}"), APIStatusError),
    "redirects to itself": Fault(sized(b"308 Permanent Redirect\r\nLocation: /", b""), APIStatusError),
    "asks to wait an hour": Fault(sized(b"429 Too Many Requests\r\nRetry-After: 3600", b"{}"), APIStatusError),
}


def open_files() -> list[str]:
    """What this process has open, the looking itself left out."""
    links = []
    for number in os.listdir("/dev/fd"):
        path = Path("/dev/fd", number)
        links += [f"{number}: {path.readlink()}"] if path.is_symlink() else []
    return sorted(links)


def everything_said(error: BaseException) -> str:
    """What an error shows to people, to logs, to another process, and to what collects local variables."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True, compact=True)
    # The test's own frames hold the key that they gave.
    shown.stack[:] = [frame for frame in shown.stack if "tests" not in Path(frame.filename).parts]
    return "".join([str(error), repr(error), repr(pickle.dumps(error)), *shown.format()])


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_the_right_error_in_time_and_leaves_nothing_behind(
    name: str, over_the_wire: Any, caplog: pytest.LogCaptureFixture
) -> None:
    fault = FAULTS[name]
    caplog.set_level(logging.DEBUG)
    before = open_files()
    with fault.place() as place, pytest.raises(fault.error) as raised:
        over_the_wire({**OPTIONS, "base_url": place.base_url}, "end_stream", "nightly")
    for thread in threading.enumerate():
        if thread.name == "activitysmith-connect":  # ends when its own connect does
            thread.join()
    # A connection that nobody closed is a ResourceWarning when it is collected, and warnings are errors here.
    gc.collect()
    assert open_files() == before
    # A repeated request is the same request, which the service takes for the one it had.
    assert len(place.requests) == fault.requests
    assert len(set(place.requests)) <= 1
    assert KEY not in everything_said(raised.value)
    assert KEY not in "".join(repr(vars(record)) for record in caplog.records)


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and all that led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def test_what_a_failed_connection_comes_from_is_told_without_what_was_written(over_the_wire: Any) -> None:
    def write(request: httpx.Request) -> NoReturn:
        # As those frames of httpcore have it that write a request.
        buffer = f"Authorization: {request.headers['authorization']}"
        try:
            raise BrokenPipeError(f"{len(buffer)} bytes were not written")
        except OSError as error:
            raise httpx.WriteError(str(error)) from error

    def call() -> NoReturn:
        try:
            raise LookupError("a failure of the user's own")
        except LookupError:
            calling(write, over_the_wire)
            raise

    with pytest.raises(APIConnectionError) as raised:
        call()
    assert KEY not in everything_said(raised.value)
    errors = list(chain(raised.value))
    kinds = [APIConnectionError, httpx.WriteError, BrokenPipeError, LookupError]
    assert [type(error) for error in errors] == kinds
    assert errors[-1].__traceback__ is not None


REPEATING = {
    "in a body": sized(b"401 Unauthorized", b'{"message": "%s"}' % KEY.encode()),
    "as a member's name": sized(b"401 Unauthorized", b'{"%s": "is unknown"}' % KEY.encode()),
    "in a page": sized(b"403 Forbidden", PAGE + KEY.encode()),
    "in the content type": sized(OK + b"\r\nContent-Type: " + KEY.encode(), b""),
    "instead of a status": peer(send(KEY.encode(), b"\r\n\r\n")),
}


@pytest.mark.parametrize("where", REPEATING)
def test_a_peer_that_repeats_the_key_is_quoted_without_it(where: str, over_the_wire: Any) -> None:
    with REPEATING[where]() as place, pytest.raises(ActivitySmithError) as raised:
        over_the_wire({**OPTIONS, "base_url": place.base_url}, "end_stream", "nightly")
    assert KEY not in "".join(traceback.format_exception(raised.value)) + repr(pickle.dumps(raised.value))
    assert "***" in repr(raised.value)


ODD = {
    "as text": sized(OK + b"\r\nContent-Type: text/plain", BODY),
    "without a length": answer(OK, BODY),
    "as HTTP/1.0": peer(send(b"HTTP/1.0 200 OK\r\n\r\n", BODY)),
    "after interim responses": peer(send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 3, HEAD, b"\r\n", BODY)),
    "with another status of success": sized(b"202 Accepted", BODY),
    "with invalid UTF-8 in a remark": sized(OK, BODY[:-1] + b', "message": "\xff"}'),
    "with half a surrogate pair in a remark": sized(OK, BODY[:-1] + b', "message": "\\ud800"}'),
    "with a deep new member": sized(OK, BODY[:-1] + b', "new": ' + b"[" * 500 + b"]" * 500 + b"}"),
    "behind TLS": secure(send(HEAD, b"\r\n", BODY)),
}


@pytest.mark.parametrize("how", ODD)
def test_an_odd_answer_is_an_answer_that_can_be_handed_on(how: str, over_the_wire: Any) -> None:
    with ODD[how]() as place:
        answered = over_the_wire({**OPTIONS, "base_url": place.base_url}, "end_stream", "nightly")
    assert answered.activity_id == ENDED["activity_id"]
    assert json.dumps(answered.to_json(), ensure_ascii=False).encode()


def test_a_peer_that_resets_after_each_answer_is_called_anew(flavor: str) -> None:
    length = b"Content-Length: %d\r\n\r\n" % len(BODY)
    ends = 3

    async def end_all(base_url: str) -> None:
        async with AsyncActivitySmithClient(**OPTIONS, base_url=base_url) as client:
            for _ in range(ends):
                assert (await client.end_stream("nightly")).success

    with peer(send(HEAD, length, BODY, then=reset))() as place:
        if flavor == "async":
            asyncio.run(end_all(place.base_url))
        else:
            with ActivitySmithClient(**OPTIONS, base_url=place.base_url) as client:
                for _ in range(ends):
                    assert client.end_stream("nightly").success
        assert ends <= len(place.requests) <= 2 * ends


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_brings_it_nothing(status: int, over_the_wire: Any) -> None:
    with answer(OK, BODY)() as elsewhere:
        head = b"%d Elsewhere\r\nLocation: %s/live-activity/stream/nightly" % (status, elsewhere.base_url.encode())
        with sized(head, b"")() as place, pytest.raises(APIStatusError, match=f"answered {status}"):
            over_the_wire({**OPTIONS, "base_url": place.base_url}, "end_stream", "nightly")
    assert len(place.requests) == 1
    assert elsewhere.requests == []


def calling(handler: Callable[[httpx.Request], httpx.Response], over_the_wire: Any) -> Any:
    """End a stream through an httpx client that asks the handler."""
    client = httpx.AsyncClient if over_the_wire.__name__ == "async_call" else httpx.Client
    options = {**OPTIONS, "http_client": client(transport=httpx.MockTransport(handler))}
    return over_the_wire(options, "end_stream", "nightly")


SOON = datetime.now(UTC) + timedelta(days=1)
LONG = {
    "seconds": ["86400"],
    "seconds without end": ["9" * 400],
    "a date": [format_datetime(SOON, usegmt=True)],
    "a date of RFC 850": [SOON.strftime("%A, %d-%b-%y %H:%M:%S GMT")],
    "a date of asctime": [SOON.strftime("%a %b %e %H:%M:%S %Y")],
    "a date in another zone": [format_datetime(SOON.astimezone())],
}
SHORT = {
    "none": [],
    "nothing": [""],
    "no seconds": ["0"],
    "half a second's tenth": ["0.05"],
    "less than none": ["-5"],
    "a date that was": ["Fri, 31 Dec 1999 23:59:59 GMT"],
    "a date that cannot be": ["Mon, 99 Nov 2026 12:00:00 GMT"],
    "words": ["in a while"],
    "not a number": ["nan"],
    "two that differ": ["0", "86400"],
    "two in one": ["86400, 86400"],
    "digits of another script": ["٣"],
}


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("form", LONG)
def test_a_wait_longer_than_the_call_may_take_is_left_to_the_caller(form: str, status: int, over_the_wire: Any) -> None:
    calls = []

    def handler(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        return httpx.Response(status, headers=[("Retry-After", value) for value in LONG[form]])

    with pytest.raises(APIStatusError) as raised:
        calling(handler, over_the_wire)
    assert raised.value.retry_after is not None
    assert raised.value.retry_after > 80_000
    assert len(calls) == 1


@pytest.mark.parametrize("form", SHORT)
def test_a_short_wait_or_one_that_makes_no_sense_is_followed_by_another_attempt(form: str, over_the_wire: Any) -> None:
    calls = []

    def handler(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        return httpx.Response(429, headers=[(b"Retry-After", value.encode()) for value in SHORT[form]])

    with pytest.raises(RateLimitError):
        calling(handler, over_the_wire)
    assert len(calls) == 2


@pytest.mark.parametrize("status", range(200, 600))
def test_every_status_is_an_answer_or_the_error_of_its_kind(status: int, over_the_wire: Any) -> None:
    calls = []

    def handler(request: httpx.Request) -> httpx.Response:
        calls.append(request)
        return httpx.Response(status, json=ENDED if status == 200 else {"error": "x"})

    if status == 200:
        assert calling(handler, over_the_wire).success
        return
    with pytest.raises(ActivitySmithError) as raised:
        calling(handler, over_the_wire)
    if status < 300:
        assert type(raised.value) is InvalidResponseError
    else:
        assert isinstance(raised.value, APIStatusError)
        assert raised.value.status_code == status
    assert len(calls) == (2 if status in (429, 500, 502, 503, 504) else 1)
