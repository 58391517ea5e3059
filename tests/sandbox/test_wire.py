"""The sandbox as its own process: the command line, and what only a real connection shows."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from activitysmith_integrations.core import ActivitySmithClient
from activitysmith_integrations.sandbox.__main__ import banner, main

MODULE = "activitysmith_integrations.sandbox"
PATH = "/api/live-activity/stream/etl"
PROGRESS = {"content_state": {"title": "Load", "type": "progress", "percentage": 42}}
NEEDS_PROC = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")


class Sandbox:
    """A running sandbox.

    Args:
        process: Its process.
        url: Its base URL, as its first line says.
    """

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process = process
        self.url = url
        self.client = httpx.Client(
            base_url=url.removesuffix("/api"), headers={"Authorization": "Bearer ask_sandbox"}, trust_env=False
        )

    def inject_fault(self, **fault: Any) -> None:
        self.client.post("/sandbox/faults", json=fault).raise_for_status()

    def bytes_for(self, method: str) -> bytes:
        """All that comes back on one connection until the sandbox closes it."""
        port = self.client.base_url.port
        assert port is not None
        with socket.create_connection(("127.0.0.1", port)) as connection:
            head = f"{method} {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ask_sandbox\r\n"
            connection.sendall(f"{head}Content-Length: 0\r\n\r\n".encode())
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def stop(self) -> tuple[int, str]:
        """Ctrl-C; the exit status and what was written to standard error."""
        self.process.send_signal(signal.SIGINT)
        errors = self.process.communicate()[1]
        return self.process.returncode, errors


@contextmanager
def running(*arguments: str) -> Iterator[Sandbox]:
    command = [sys.executable, "-P", "-m", MODULE, "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            first = re.fullmatch(r"ActivitySmith sandbox: (http://127\.0\.0\.1:\d+/api)\n", process.stdout.readline())
            assert first is not None
            sandbox = Sandbox(process, first[1])
            with sandbox.client:
                yield sandbox
        finally:
            process.kill()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with running() as sandbox:
        yield sandbox


def test_command_serves_the_api_until_ctrl_c() -> None:
    with running("--max-concurrent", "1", "--requests-per-minute", "3") as sandbox:
        url = f"{sandbox.url}/live-activity/stream"
        answers = [
            sandbox.client.put(f"{url}/etl", json=PROGRESS),
            sandbox.client.put(f"{url}/etl-2", json=PROGRESS),
            sandbox.client.delete(f"{url}/etl"),
            sandbox.client.delete(f"{url}/etl"),
        ]
        assert [answer.status_code for answer in answers] == [200, 429, 200, 429]
        assert sandbox.stop() == (0, "")


def test_dropped_connection_closes_without_a_byte(sandbox: Sandbox) -> None:
    sandbox.client.put(PATH, json=PROGRESS)
    sandbox.inject_fault(times=2, drop=True)
    assert sandbox.bytes_for("DELETE") == b""
    with pytest.raises(httpx.RemoteProtocolError):
        sandbox.client.delete(PATH)
    again = sandbox.client.delete(PATH)
    assert again.json()["ignored"] is True
    remembered = sandbox.client.get("/sandbox/streams").json()["requests"]
    assert [request["status"] for request in remembered] == [200, None, None, 200]
    assert sandbox.stop() == (0, "")


def test_dropped_connection_with_a_status_never_reached_the_service(sandbox: Sandbox) -> None:
    sandbox.client.put(PATH, json=PROGRESS)
    sandbox.inject_fault(times=1, drop=True, status=502)
    assert sandbox.bytes_for("DELETE") == b""
    assert sandbox.client.delete(PATH).json()["activity_id"] is not None


@pytest.mark.parametrize("drip", [{}, {"drip": 0.001}])
def test_truncated_answer_ends_before_its_announced_length(sandbox: Sandbox, drip: dict[str, float]) -> None:
    sandbox.inject_fault(times=2, body="0123456789", truncate=True, **drip)
    head, _, body = sandbox.bytes_for("DELETE").partition(b"\r\n\r\n")
    assert b"content-length: 10" in head.lower()
    assert body == b"01234"
    with pytest.raises(httpx.RemoteProtocolError):
        sandbox.client.delete(PATH)
    assert sandbox.stop() == (0, "")


def test_truncated_empty_answer_announces_a_byte(sandbox: Sandbox) -> None:
    sandbox.inject_fault(times=1, body="", truncate=True)
    head, _, body = sandbox.bytes_for("DELETE").partition(b"\r\n\r\n")
    assert (b"content-length: 1" in head.lower(), body) == (True, b"")


def test_dripping_and_oversized_answers_arrive_whole(sandbox: Sandbox) -> None:
    sandbox.inject_fault(times=1, body="slow", drip=0.001)
    assert sandbox.client.delete(PATH).text == "slow"
    sandbox.inject_fault(times=1, status=200, oversize=2_000_000)
    assert len(sandbox.client.delete(PATH).content) == 2_000_000
    sandbox.inject_fault(times=1, status=204)
    assert sandbox.client.delete(PATH).status_code == 204
    assert sandbox.client.delete(PATH).status_code == 404
    assert sandbox.stop() == (0, "")


def test_ctrl_c_does_not_wait_for_a_delayed_answer(sandbox: Sandbox) -> None:
    sandbox.inject_fault(times=1, delay=3600)
    port = sandbox.client.base_url.port
    assert port is not None
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"DELETE {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        while not sandbox.client.get("/sandbox/streams").json()["requests"]:
            pass
        assert sandbox.stop() == (0, "")


def test_a_late_change_is_made_though_its_caller_has_gone(sandbox: Sandbox) -> None:
    sandbox.inject_fault(times=1, method="PUT", late=0.05)
    with pytest.raises(httpx.ReadTimeout):
        sandbox.client.put(PATH, json={"content_state": {"title": "Nightly", "type": "progress"}}, timeout=0.01)
    while not (streams := sandbox.client.get("/sandbox/streams").json()["streams"]):
        pass
    assert streams[0]["live"]
    assert sandbox.stop() == (0, "")


def test_ctrl_c_does_not_wait_for_viewers(sandbox: Sandbox) -> None:
    with sandbox.client.stream("GET", "/sandbox/events") as answer:
        events = answer.iter_lines()
        assert next(events) == "id: 0"
        assert sandbox.stop() == (0, "")
        with pytest.raises(httpx.RemoteProtocolError):
            list(events)


def test_viewers_that_disconnect_leave_no_trace(sandbox: Sandbox) -> None:
    for _ in range(3):
        with sandbox.client.stream("GET", "/sandbox/events") as answer:
            assert next(answer.iter_lines()) == "id: 0"
    sandbox.client.put(PATH, json=PROGRESS)
    assert sandbox.stop() == (0, "")


def test_open_opens_the_page_in_a_browser(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = tmp_path / "opened"
    os.mkfifo(opened)
    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    browser.chmod(0o755)
    monkeypatch.setenv("BROWSER", str(browser))
    with running("--open") as sandbox:
        assert opened.read_text() == f"{sandbox.url.removesuffix('api')}\n"
        assert sandbox.stop() == (0, "")


def test_client_that_hangs_up_amid_its_body_leaves_no_trace(sandbox: Sandbox) -> None:
    port = sandbox.client.base_url.port
    assert port is not None
    head = f"PUT {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ask_sandbox\r\n"
    head += "Content-Type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(f"{head}Content-Length: 9\r\n\r\n{{".encode())
    assert sandbox.client.get("/sandbox/streams").json()["requests"] == []
    assert sandbox.stop() == (0, "")


@NEEDS_PROC
@pytest.mark.parametrize(("key", "status"), [("", 401), ("ask_sandbox", 413)])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused_and_its_connection_goes_on(
    sandbox: Sandbox, key: str, status: int, chunked: bool
) -> None:
    parts = [b" " * 1_000_000] * 20
    headers = {"Authorization": f"Bearer {key}".strip(), "Content-Type": "application/json"}
    answer = sandbox.client.put(PATH, content=iter(parts) if chunked else b"".join(parts), headers=headers)
    assert answer.status_code == status
    assert sandbox.client.put(PATH, json=PROGRESS).status_code == 200
    assert memory_mb(sandbox.process.pid) < 100
    assert sandbox.stop() == (0, "")


def memory_mb(process_id: int) -> int:
    """The most memory that a process has had."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{process_id}/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


@NEEDS_PROC
def test_viewers_that_do_not_read_hold_nobody_up(sandbox: Sandbox) -> None:
    port = sandbox.client.base_url.port
    assert port is not None
    sandbox.client.put("/sandbox/limits", json={"max_concurrent": None, "requests_per_minute": None})
    with contextlib.ExitStack() as stack:
        for _ in range(50):
            viewer = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            viewer.sendall(b"GET /sandbox/events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        for number in range(500):
            assert sandbox.client.put(f"{PATH}-{number}", json=PROGRESS).status_code == 200
        assert memory_mb(sandbox.process.pid) < 150
        assert sandbox.stop() == (0, "")


@NEEDS_PROC
def test_an_oversized_answer_is_not_held_in_memory(sandbox: Sandbox) -> None:
    sandbox.inject_fault(times=1, oversize=100_000_000)
    with sandbox.client.stream("DELETE", PATH) as answer:
        assert sum(map(len, answer.iter_bytes())) == 100_000_000
    assert memory_mb(sandbox.process.pid) < 100
    assert sandbox.stop() == (0, "")


def test_a_port_in_use_is_reported_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SystemExit) as stopped:
            main(["--port", str(port)])
    assert str(stopped.value.code).startswith(f"Port {port} on 127.0.0.1 is in use")


def test_a_host_that_is_not_this_machines_is_reported_in_one_line() -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--host", "192.0.2.1", "--port", "0"])
    assert str(stopped.value.code).startswith("Cannot listen on 192.0.2.1 port 0: ")


@pytest.mark.parametrize(
    "arguments", [["--port", "65536"], ["--port", "-1"], ["--port", "http"], ["--max-concurrent", "0"]]
)
def test_illegal_argument_is_refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert arguments[0] in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_missing_extra_is_named(missing: str) -> None:
    code = f"import runpy, sys; sys.modules['{missing}'] = None; runpy.run_module('{MODULE}', run_name='__main__')"
    stopped = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert stopped.returncode == 1
    assert missing in stopped.stderr
    assert stopped.stderr.endswith("; the sandbox needs it: pip install 'activitysmith-integrations[sandbox]'\n")


def test_banner_has_what_to_configure() -> None:
    lines = banner("127.0.0.1", 8765).splitlines()
    assert lines[0] == "ActivitySmith sandbox: http://127.0.0.1:8765/api"
    assert "The lock screen, live: http://127.0.0.1:8765/" in lines
    assert "  export ACTIVITYSMITH_BASE_URL=http://127.0.0.1:8765/api" in lines
    (airflow,) = [line for line in lines if "AIRFLOW_CONN" in line]
    assert json.loads(airflow.partition("=")[2].strip("'")) == {
        "conn_type": "activitysmith",
        "password": "ask_sandbox",
        "host": "http://127.0.0.1:8765/api",
    }


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "0.0.0.0", "::", ""])
def test_banner_has_an_address_that_our_client_takes(host: str) -> None:
    lines = banner(host, 8765).splitlines()
    (url,) = [line.partition("=")[2] for line in lines if "ACTIVITYSMITH_BASE_URL" in line]
    assert lines[0] == f"ActivitySmith sandbox: {url}"
    with ActivitySmithClient("ask_sandbox", base_url=url):
        pass


@pytest.mark.parametrize("host", ["192.168.1.7", "fe80::1", "build-host"])
def test_banner_has_no_settings_where_our_client_takes_no_address_of_it(host: str) -> None:
    text = banner(host, 8765)
    assert "ACTIVITYSMITH_BASE_URL" not in text
    assert "With --host 0.0.0.0" in text


def test_a_sandbox_for_other_machines_is_reached_from_this_one_by_what_it_prints() -> None:
    with running("--host", "0.0.0.0") as sandbox:
        with ActivitySmithClient("ask_sandbox", base_url=sandbox.url) as client:
            assert client.stream("etl", content_state=PROGRESS["content_state"]).operation == "started"
        page = sandbox.url.removesuffix("api")
        assert sandbox.client.get(page, headers={"Host": "192.168.1.7:8765"}).status_code == 200
        assert sandbox.client.get(page, headers={"Host": "evil.example"}).status_code == 403
        assert sandbox.stop() == (0, "")


@pytest.mark.parametrize(
    ("host", "reachable"),
    [("127.0.0.1", False), ("localhost", False), ("::1", False), ("0.0.0.0", True), ("::", True), ("build-host", True)],
)
def test_banner_warns_when_other_machines_can_reach_it(host: str, reachable: bool) -> None:
    assert ("Other machines" in banner(host, 8765)) is reachable


def test_banner_brackets_an_ipv6_address() -> None:
    assert banner("::1", 1).startswith("ActivitySmith sandbox: http://[::1]:1/api\n")
