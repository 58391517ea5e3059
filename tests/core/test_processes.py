"""Forks and the end of the interpreter: what belongs to a process stays with it, and nothing hangs."""

import json
import multiprocessing
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trustme
from support.peer import Peer
from support.service import ENDED, KEY, STARTED

from activitysmith_integrations.core import ActivitySmithClient, LiveActivity, StreamRequest, forks
from activitysmith_integrations.core.threads import BackgroundThread

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")

PATIENCE = 60


class Recorder:
    """A service on a real socket, which other processes can reach: keeps the methods of what arrives."""

    def __init__(self) -> None:
        self.methods: list[str] = []
        self.arrived = threading.Semaphore(0)
        self.tls: ssl.SSLContext | None = None
        self.peer = Peer(self._answer)

    def _answer(self, connection: socket.socket) -> None:
        if self.tls is None:
            self._answer_all(connection)
        else:
            with self.tls.wrap_socket(connection, server_side=True) as wrapped:
                self._answer_all(wrapped)

    def _answer_all(self, connection: socket.socket) -> None:
        data = b""
        while True:
            head, data = _receive(connection, data)
            method = head.partition(b" ")[0].decode()
            self.methods.append(method)
            body = json.dumps(ENDED if method == "DELETE" else STARTED).encode()
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            self.arrived.release()


def _receive(connection: socket.socket, data: bytes) -> tuple[bytes, bytes]:
    """A request's head, and what came after its body."""
    while b"\r\n\r\n" not in data:
        data += _more(connection)
    head, _, rest = data.partition(b"\r\n\r\n")
    lines = head.lower().split(b"\r\n")
    length = next((int(line[15:]) for line in lines if line.startswith(b"content-length:")), 0)
    while len(rest) < length:
        rest += _more(connection)
    return head, rest[length:]


def _more(connection: socket.socket) -> bytes:
    received = connection.recv(65536)
    if not received:
        raise ConnectionResetError
    return received


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    recorder = Recorder()
    yield recorder
    recorder.peer.close()


def _in_a_forked_child(work: Callable[[], object]) -> int:
    """The exit code of a child that does this; one that hangs is ended by an alarm."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(PATIENCE)
        work()
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


# Forks


def test_a_child_that_uses_and_leaves_the_block_shows_nothing_and_says_so(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        ActivitySmithClient(KEY, base_url=recorder.peer.base_url) as client,
        LiveActivity("nightly", steps=9, client=client) as activity,
    ):
        assert recorder.arrived.acquire(timeout=PATIENCE)

        def leave() -> None:
            activity.advance()
            activity.update(done=3, subtitle="in the child")
            assert caplog.text.count("advance() and update() show nothing in this process") == 1
            activity.__exit__(None, None, None)
            activity.__exit__(ValueError, ValueError("in the child"), None)

        assert _in_a_forked_child(leave) == 0
        assert recorder.methods == ["PUT"]
        activity.advance()
        assert recorder.arrived.acquire(timeout=PATIENCE)
    assert recorder.methods == ["PUT", "PUT", "DELETE"]


def test_a_child_inherits_no_lock_that_threads_of_its_parent_hold(recorder: Recorder) -> None:
    stop = threading.Event()
    with (
        ActivitySmithClient(KEY, base_url=recorder.peer.base_url) as client,
        LiveActivity("nightly", steps=10**6, client=client) as activity,
    ):

        def hammer() -> None:
            while not stop.is_set():
                activity.advance()
                client.end_stream("other")

        threads = [threading.Thread(target=hammer) for _ in range(4)]
        for thread in threads:
            thread.start()

        def use() -> None:
            activity.advance()
            assert client.end_stream("child").success
            client.close()

        codes = [_in_a_forked_child(use) for _ in range(10)]
        stop.set()
        for thread in threads:
            thread.join()
    assert codes == [0] * 10


def test_a_model_is_built_in_a_child_whose_parent_was_building_it() -> None:
    # A child may be forked while another thread holds the lock under which models are built.
    from activitysmith_integrations.core.models import base

    thread_holds, done = threading.Event(), threading.Event()
    thread = threading.Thread(target=_hold_the_build_lock, args=(thread_holds, done))
    thread.start()
    assert thread_holds.wait(PATIENCE)

    def build() -> None:
        class Late(base.Model):
            size: int

        StreamRequest(content_state={"title": "t"})
        Late(size=1)

    code = _in_a_forked_child(build)
    done.set()
    thread.join()
    assert code == 0


def _hold_the_build_lock(holds: threading.Event, done: threading.Event) -> None:
    from activitysmith_integrations.core.models import base

    with base._building.lock:
        holds.set()
        done.wait()


_WHAT_THREADS_IMPORT = """
import sys
from activitysmith_integrations.core import ActivitySmithClient, LiveActivity
from activitysmith_integrations.core import RetryPolicy
client = ActivitySmithClient("ask_x", base_url=sys.argv[1])
activity = LiveActivity("nightly", steps=2, client=client)
before = set(sys.modules)
with activity:
    activity.advance()
client.close()
print(*sorted(set(sys.modules) - before))
"""


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_what_threads_need_is_imported_before_they_start(
    scheme: str, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A child that is forked while a thread imports a module inherits that import's lock.
    authority = trustme.CA()
    if scheme == "https":
        recorder.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("localhost").configure_cert(recorder.tls)
    base_url = recorder.peer.base_url.replace("http://127.0.0.1", f"{scheme}://localhost")
    with authority.cert_pem.tempfile() as certificates:
        monkeypatch.setenv("SSL_CERT_FILE", certificates)
        command = [sys.executable, "-c", _WHAT_THREADS_IMPORT, base_url]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
    assert recorder.methods == ["PUT", "DELETE"]


def _use_inherited(client: ActivitySmithClient, codes: Any) -> None:
    codes.put(client.end_stream("child").operation)


def test_a_pool_of_processes_uses_the_client_of_its_parent(recorder: Recorder) -> None:
    fork = multiprocessing.get_context("fork")
    with ActivitySmithClient(KEY, base_url=recorder.peer.base_url) as client:
        client.end_stream("parent")
        answers = fork.Queue()
        children = [fork.Process(target=_use_inherited, args=(client, answers)) for _ in range(3)]
        for child in children:
            child.start()
        assert [answers.get(timeout=PATIENCE) for _ in children] == ["ended"] * 3
        for child in children:
            child.join()
        client.end_stream("parent")
    assert recorder.peer.connections == 4


# The end of the interpreter


_AT_EXIT = """
import asyncio, atexit, logging, sys
from activitysmith_integrations.core import *

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stdout)
logging.getLogger("httpx").disabled = True
base_url, retry = sys.argv[1], RetryPolicy(max_retries=0)

def sync():
    with ActivitySmithClient("ask_x", base_url=base_url, retry=retry) as client:
        print(client.end_stream("nightly").operation)

def live():
    with LiveActivity("nightly", client=ActivitySmithClient("ask_x", base_url=base_url)) as activity:
        activity.advance()
    print("left")

def failing():
    try:
        with LiveActivity("nightly", client=ActivitySmithClient("ask_x", base_url=base_url)):
            raise LookupError
    except LookupError:
        print("left by LookupError")

async def end():
    async with AsyncActivitySmithClient("ask_x", base_url=base_url, retry=retry) as client:
        return (await client.end_stream("nightly")).operation

def asynchronous():
    try:
        print(asyncio.run(end()))
    except APIConnectionError as error:
        print("no connection:", error)

atexit.register(globals()[sys.argv[2]])
"""


def _at_exit(what: str, base_url: str) -> str:
    command = [sys.executable, "-c", _AT_EXIT, base_url, what]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_first_call_may_come_at_the_end_of_the_interpreter(host: str, recorder: Recorder) -> None:
    # Python 3.12 starts no thread then.
    base_url = recorder.peer.base_url.replace("127.0.0.1", host)
    assert _at_exit("sync", base_url) == "ended\n"
    assert recorder.methods == ["DELETE"]


def test_a_block_at_the_end_of_the_interpreter_is_shown_or_says_why_not_and_its_failure_is_seen(
    recorder: Recorder,
) -> None:
    shown = _at_exit("live", recorder.peer.base_url)
    if "WARNING" in shown:
        why = (
            "'nightly' was not started; the work goes on: RuntimeError: can't create new thread at interpreter shutdown"
        )
        assert why in shown
        assert "'nightly' was never shown, so there is nothing to end" in shown
        assert recorder.methods == []
    else:
        assert recorder.methods == ["PUT", "DELETE"]
    recorder.methods.clear()
    assert _at_exit("failing", recorder.peer.base_url).endswith("left by LookupError\n")
    assert recorder.methods[-1] == "DELETE"


def test_an_async_first_call_at_the_end_of_the_interpreter_is_answered_or_an_error_of_ours(recorder: Recorder) -> None:
    assert _at_exit("asynchronous", recorder.peer.base_url) == "ended\n"
    # asyncio looks up names in threads, which it cannot start any more.
    named = recorder.peer.base_url.replace("127.0.0.1", "localhost")
    assert _at_exit("asynchronous", named).startswith(("ended", "no connection: No answer from http://localhost"))


_LEFT_OVER = """
import logging, sys
from activitysmith_integrations.core import ActivitySmithClient, LiveActivity

logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
logging.getLogger("httpx").disabled = True
client = ActivitySmithClient("ask_x", base_url=sys.argv[1])

def rows():
    with LiveActivity("generated", steps=3, client=client) as activity:
        for row in range(3):
            yield row
            activity.advance()

generator = rows()
next(generator)
LiveActivity("entered", client=client).__enter__()
exec(sys.argv[2])
"""


@pytest.mark.parametrize(
    ("last", "code", "result", "error"),
    [
        ("pass", 0, "cancelled", ""),
        ("raise LookupError('no such table')", 1, "failed", "LookupError: no such table"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", 143, "cancelled", ""),
    ],
)
def test_a_block_that_is_never_left_ends_with_the_process(
    last: str, code: int, result: str, error: str, recorder: Recorder
) -> None:
    # Python 3.13 closes the generator while its threads stand still: a wait for one of them would never end.
    command = [sys.executable, "-c", _LEFT_OVER, recorder.peer.base_url, last]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == code
    assert done.stderr.strip().endswith(error)
    assert "Exception ignored" not in done.stderr
    ended = [f"Ended Live Activity stream '{key}' as {result}." for key in ("entered", "generated")]
    assert [line for line in done.stdout.splitlines() if line.startswith("Ended")] == ended
    assert recorder.methods.count("DELETE") == 2


# Where there are no forks and no signal masks, as on Windows


_WITHOUT = """
import os, signal, sys
del os.register_at_fork, os.fork, signal.pthread_sigmask
from activitysmith_integrations.core import ActivitySmithClient, LiveActivity

with LiveActivity("nightly", client=ActivitySmithClient("ask_x", base_url=sys.argv[1])) as activity:
    activity.advance()
print("left")
"""


def test_a_block_is_shown_where_there_are_no_forks_and_no_signal_masks(recorder: Recorder) -> None:
    command = [sys.executable, "-c", _WITHOUT, recorder.peer.base_url]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("left\n", "")
    assert (recorder.methods[0], recorder.methods[-1]) == ("PUT", "DELETE")


def test_neither_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "register_at_fork")
    monkeypatch.delattr(signal, "pthread_sigmask")
    forks.in_child(lambda: None)
    ran = threading.Event()
    thread = BackgroundThread(ran.set, "background")
    thread.start()
    thread.join()
    assert ran.is_set()
