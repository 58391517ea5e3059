"""Connections over real sockets: what they go through, and that each of their steps keeps to the call's time."""

import asyncio
import base64
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import httpcore
import httpx
import pytest
import trustme
from support.peer import Peer, read_request
from support.service import ENDED, KEY

from activitysmith_integrations.core import (
    ActivitySmithClient,
    APIConnectionError,
    APITimeoutError,
    AsyncActivitySmithClient,
    ConfigurationError,
    RetryPolicy,
    config,
)

BRIEF = RetryPolicy(max_retries=0, max_elapsed=0.3)


def answer(connection: socket.socket) -> None:
    """Answer each request that comes over the connection."""
    body = httpx.Response(200, json=ENDED).content
    while True:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


def test_the_tls_context_is_made_once() -> None:
    assert config.ssl_context() is config.ssl_context()


def test_a_certificate_that_nobody_known_has_signed_is_said_to_be_a_matter_of_a_file(
    peer: Any, over_the_wire: Any
) -> None:
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    server = peer(lambda connection: tls.wrap_socket(connection, server_side=True))
    options = {"api_key": KEY, "base_url": server.base_url.replace("http:", "https:"), "retry": BRIEF}
    with pytest.raises(APIConnectionError, match=r"CERTIFICATE_VERIFY_FAILED.* in SSL_CERT_FILE"):
        over_the_wire(options, "end_stream", "nightly")


def test_a_client_for_this_machine_loads_no_certificates(peer: Any, over_the_wire: Any) -> None:
    config.ssl_context.cache_clear()
    over_the_wire({"api_key": KEY, "base_url": peer(answer).base_url}, "end_stream", "nightly")
    assert config.ssl_context.cache_info().currsize == 0


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


def test_a_connection_that_comes_after_ctrl_c_is_closed(monkeypatch: pytest.MonkeyPatch, peer: Any) -> None:
    closed, late = threading.Event(), threading.Event()

    def wait_for_end(connection: socket.socket) -> None:
        assert connection.recv(1) == b""
        closed.set()

    server: Peer = peer(wait_for_end)
    look_up, caller = socket.getaddrinfo, threading.get_ident()

    def interrupt(*args: Any, **kwargs: Any) -> Any:
        signal.pthread_kill(caller, signal.SIGINT)
        late.wait()
        return look_up(*args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", interrupt)
    with ActivitySmithClient(KEY, base_url=server.base_url) as client, pytest.raises(KeyboardInterrupt):
        client.end_stream("nightly")
    late.set()
    assert closed.wait(10)
    _wait_for_connect_threads()


def test_a_step_is_held_to_the_clients_timeout(peer: Any, over_the_wire: Any) -> None:
    silent = peer(lambda connection: connection.recv(65536) and connection.recv(1))
    options = {"api_key": KEY, "base_url": silent.base_url, "retry": RetryPolicy(max_retries=0, max_elapsed=3600)}
    with pytest.raises(APITimeoutError):
        over_the_wire({**options, "timeout": 0.05}, "end_stream", "nightly")


def test_a_step_may_take_longer_than_sockets_can_wait(peer: Any, over_the_wire: Any) -> None:
    months = 365 * 24 * 3600.0
    options = {"api_key": KEY, "base_url": peer(answer).base_url, "retry": RetryPolicy(max_elapsed=months)}
    assert over_the_wire({**options, "timeout": months}, "end_stream", "nightly").success


def test_a_proxy_of_the_environment_is_used_and_held_to_the_calls_time(
    peer: Any, monkeypatch: pytest.MonkeyPatch, over_the_wire: Any
) -> None:
    asked: list[bytes] = []

    def swallow(connection: socket.socket) -> None:
        asked.append(connection.recv(65536))
        connection.recv(1)

    proxy = peer(swallow).base_url
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    monkeypatch.setenv("NO_PROXY", "localhost")
    with pytest.raises(APITimeoutError, match=rf"through the proxy of HTTPS_PROXY \({proxy}/\)"):
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


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_is_told_user_and_password_as_they_are_meant(
    scheme: str, peer: Any, monkeypatch: pytest.MonkeyPatch, over_the_wire: Any
) -> None:
    asked: list[bytes] = []
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)

    def refuse(connection: socket.socket) -> None:
        wrapped = context.wrap_socket(connection, server_side=True) if scheme == "https" else connection
        asked.append(read_request(wrapped))
        wrapped.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
        wrapped.close()

    port = peer(refuse).base_url.rpartition(":")[2]
    monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://m%C3%BCller:p%2540%20ss@127.0.0.1:{port}/")
    retry = RetryPolicy(max_retries=0)
    with authority.cert_pem.tempfile() as certificates:
        monkeypatch.setenv("SSL_CERT_FILE", certificates)
        config.ssl_context.cache_clear()
        with pytest.raises(APIConnectionError, match="407 Proxy Authentication Required") as refused:
            over_the_wire({"api_key": KEY, "base_url": "https://example.invalid", "retry": retry}, "end_stream", "k")
    config.ssl_context.cache_clear()
    token = base64.b64encode("müller:p%40 ss".encode())
    assert b"Proxy-Authorization: Basic " + token + b"\r\n" in asked[0]
    assert KEY.encode() not in asked[0]
    assert "p%40" not in str(refused.value)


def test_a_socks_proxy_is_used(peer: Any, monkeypatch: pytest.MonkeyPatch, over_the_wire: Any) -> None:
    asked: list[bytes] = []
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("example.invalid").configure_cert(context)

    def connect(connection: socket.socket) -> None:
        assert connection.recv(16) == b"\x05\x01\x02"  # version 5, one method: user and password
        connection.sendall(b"\x05\x02")
        assert connection.recv(64) == b"\x01\x01u\x02p%"
        connection.sendall(b"\x01\x00")
        asked.append(connection.recv(64))
        connection.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        with context.wrap_socket(connection, server_side=True) as wrapped:
            answer(wrapped)

    monkeypatch.setenv("ALL_PROXY", peer(connect).base_url.replace("http://", "socks5://u:p%25@"))
    with authority.cert_pem.tempfile() as certificates:
        monkeypatch.setenv("SSL_CERT_FILE", certificates)
        config.ssl_context.cache_clear()
        options = {"api_key": KEY, "base_url": "https://example.invalid"}
        assert over_the_wire(options, "end_stream", "nightly").success
    config.ssl_context.cache_clear()
    assert b"example.invalid" in asked[0]


_WITHOUT_SOCKS = """
import sys
sys.modules["socksio"] = None
from activitysmith_integrations.core import ActivitySmithClient
ActivitySmithClient("ask_x").end_stream("nightly")
"""


def test_a_socks_proxy_without_the_package_that_it_takes_is_a_configuration_error() -> None:
    environment = {"all_proxy": "socks5h://u:secret@127.0.0.1:1", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", _WITHOUT_SOCKS], env=environment, capture_output=True, text=True)
    last = done.stderr.strip().splitlines()[-1]
    assert "ConfigurationError: all_proxy: socks5h://127.0.0.1:1" in last
    assert "socksio" in last
    assert "secret" not in done.stderr


def test_what_httpcore_says_of_a_package_that_is_missing_is_handed_on(
    monkeypatch: pytest.MonkeyPatch, over_the_wire: Any
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("install socksio")

    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1")
    for proxy in ("SOCKSProxy", "AsyncSOCKSProxy"):
        monkeypatch.setattr(httpcore, proxy, refuse)
    with pytest.raises(
        ConfigurationError, match=r"ALL_PROXY: socks5://127\.0\.0\.1:1/ cannot be used: install socksio"
    ):
        over_the_wire({"api_key": KEY, "base_url": "https://example.invalid"}, "end_stream", "nightly")


def test_an_event_loop_without_a_thread_to_give_is_a_connection_error() -> None:
    async def end() -> None:
        await asyncio.get_running_loop().shutdown_default_executor()
        async with AsyncActivitySmithClient(KEY, base_url="http://localhost:1", retry=BRIEF) as client:
            await client.end_stream("nightly")

    with pytest.raises(APIConnectionError, match="Executor shutdown"):
        asyncio.run(end())


def test_a_machine_without_a_thread_to_give_connects_in_the_callers_own(
    monkeypatch: pytest.MonkeyPatch, peer: Any
) -> None:
    start: Callable[[threading.Thread], None] = threading.Thread.start

    def refuse(thread: threading.Thread) -> None:
        if thread.name == "activitysmith-connect":
            raise RuntimeError("can't start new thread")
        start(thread)

    server = peer(answer)
    monkeypatch.setattr(threading.Thread, "start", refuse)
    with ActivitySmithClient(KEY, base_url=server.base_url) as client:
        assert client.end_stream("nightly").success
    with (
        ActivitySmithClient(KEY, base_url="http://127.0.0.1:1", retry=BRIEF) as client,
        pytest.raises(APIConnectionError, match="refused"),
    ):
        client.end_stream("nightly")
