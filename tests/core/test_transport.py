import socket
import threading
from typing import Any

import httpx
import pytest
from support.peer import Peer
from support.service import KEY

from activitysmith_integrations.core import (
    ActivitySmithClient,
    APIConnectionError,
    APITimeoutError,
    InvalidRequestError,
    RetryPolicy,
    transport,
)

BRIEF = RetryPolicy(max_retries=0, max_elapsed=0.3)


def test_the_tls_context_is_made_once() -> None:
    assert transport.shared_ssl_context() is transport.shared_ssl_context()


def test_a_client_for_this_machine_trusts_no_certificate_and_loads_none() -> None:
    transport.shared_ssl_context.cache_clear()
    transport.sync_client(local=True).close()
    assert transport.shared_ssl_context.cache_info().currsize == 0
    assert transport._ssl_context(local=True).get_ca_certs() == []


def test_a_name_look_up_that_hangs_is_held_to_the_calls_time(monkeypatch: pytest.MonkeyPatch) -> None:
    answered, asked = threading.Event(), threading.Event()

    def hang(*args: Any, **kwargs: Any) -> Any:
        asked.set()
        answered.wait()
        raise OSError("no such host")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    client = ActivitySmithClient(KEY, base_url="https://example.invalid", retry=BRIEF, timeout=3600)
    with client, pytest.raises(APITimeoutError):
        client.end_stream("nightly")
    assert asked.is_set()
    answered.set()
    _wait_for_connect_threads()


def test_a_connection_that_comes_too_late_is_closed(monkeypatch: pytest.MonkeyPatch, peer: Any) -> None:
    closed = threading.Event()

    def wait_for_end(connection: socket.socket) -> None:
        assert connection.recv(1) == b""
        closed.set()

    server: Peer = peer(wait_for_end)
    look_up, late = socket.getaddrinfo, threading.Event()

    def slow(*args: Any, **kwargs: Any) -> Any:
        late.wait()
        return look_up(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    with (
        ActivitySmithClient(KEY, base_url=server.base_url, retry=BRIEF, timeout=3600) as client,
        pytest.raises(APITimeoutError),
    ):
        client.end_stream("nightly")
    late.set()
    assert closed.wait(10)


def _wait_for_connect_threads() -> None:
    for thread in threading.enumerate():
        if thread.name == "activitysmith-connect":
            thread.join()


def test_a_proxy_of_the_environment_is_used_and_held_to_the_calls_time(
    peer: Any, monkeypatch: pytest.MonkeyPatch, over_the_wire: Any
) -> None:
    asked: list[bytes] = []

    def swallow(connection: socket.socket) -> None:
        asked.append(connection.recv(65536))
        connection.recv(1)

    monkeypatch.setenv("HTTPS_PROXY", peer(swallow).base_url)
    monkeypatch.setenv("NO_PROXY", "localhost")
    with pytest.raises(APITimeoutError):
        over_the_wire(
            {"api_key": KEY, "base_url": "https://example.invalid", "retry": BRIEF, "timeout": 3600}, "end_stream", "k"
        )
    assert asked[0].startswith(b"CONNECT example.invalid:443")


def test_plain_http_to_this_machine_does_not_go_through_a_proxy(
    peer: Any, monkeypatch: pytest.MonkeyPatch, over_the_wire: Any
) -> None:
    proxy = peer(lambda connection: None)
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.base_url)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        base_url = f"http://localhost:{taken.getsockname()[1]}"
    with pytest.raises(APIConnectionError):
        over_the_wire({"api_key": KEY, "base_url": base_url, "retry": BRIEF}, "end_stream", "nightly")
    assert proxy.connections == 0


@pytest.mark.parametrize("proxy", ["ftp://127.0.0.1:1", "nonsense://"])
def test_a_proxy_that_cannot_be_used_is_named(proxy: str, monkeypatch: pytest.MonkeyPatch, over_the_wire: Any) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    with pytest.raises(InvalidRequestError, match="HTTPS_PROXY, ALL_PROXY: cannot be used"):
        over_the_wire({"api_key": KEY, "base_url": "https://example.invalid"}, "end_stream", "nightly")


def test_a_machine_without_a_thread_to_give_is_a_connection_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    client = ActivitySmithClient(KEY, base_url="http://127.0.0.1:1", retry=BRIEF)
    with client, pytest.raises(APIConnectionError, match="can't start new thread"):
        client.end_stream("nightly")


def test_without_a_deadline_httpxs_own_timeouts_hold(peer: Any) -> None:
    with transport.sync_client() as client, pytest.raises(httpx.ReadTimeout):
        client.get(peer(lambda connection: connection.recv(1) and connection.recv(1)).base_url, timeout=0.05)


def test_a_connect_without_any_timeout_waits_for_its_outcome(peer: Any) -> None:
    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with transport.sync_client() as client:
        assert client.get(peer(answer).base_url, timeout=None).status_code == 204
