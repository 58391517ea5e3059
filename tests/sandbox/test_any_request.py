"""Any requests in any order: the sandbox answers them, none with an error of its own, and can be read afterwards."""

import asyncio
import json
from dataclasses import dataclass
from typing import Any, get_args

from hypothesis import given, settings, strategies as st
from starlette.applications import Starlette

from activitysmith_integrations.core.models.fields import Color, StateType
from activitysmith_integrations.sandbox.app import create_app

NUMBERS = [
    "0",
    "-0",
    "1",
    "-1",
    "1.5",
    "100",
    "1e3",
    "1e308",
    "1e309",
    "5e-324",
    "9" * 20,
    "9" * 309,
    "9" * 5000,
    "NaN",
]
TEXTS = ['""', '" "', '"x"', '"\\ud83d"', '"\\u0000"', '"<script>"', '"%"', '"2026-11-23"', json.dumps("é漢👩‍👩‍👧")]
URLS = ['"https://example.com"', '"http://"', '"shortcuts://run-shortcut?name=a"', '"//["']
KINDS = [json.dumps(kind) for kind in get_args(StateType)]
COLORS = [json.dumps(color) for color in get_args(Color)]
STATE_MEMBERS = [
    "title",
    "subtitle",
    "type",
    "number_of_steps",
    "current_step",
    "step_color",
    "step_colors",
    "percentage",
    "value",
    "upper_limit",
    "metrics",
    "message",
    "duration_seconds",
    "counts_down",
    "is_running",
    "color",
    "icon",
    "badge",
    "auto_dismiss_seconds",
    "auto_dismiss_minutes",
]
REQUEST_MEMBERS = ["content_state", "action", "secondary_action", "alert", "tags", "metadata", "channels", "target"]
PART_MEMBERS = ["title", "type", "url", "method", "body", "symbol", "color", "label", "value", "unit", "channels"]
# Not "late", which waits whether or not its client does.
CONTROL_MEMBERS = [
    "times",
    "stream_key",
    "method",
    "status",
    "headers",
    "body",
    "delay",
    "drop",
    "truncate",
    "oversize",
    "drip",
    "max_concurrent",
    "requests_per_minute",
]
KEYS = ["etl", "etl", "etl-2", "k" * 255, "k" * 256, "a.b", "a/b", "", "é"]
STREAMS = [f"{prefix}/live-activity/stream/{key}" for prefix in ("/api", "") for key in KEYS]
PATHS = [
    *["/", "/sandbox", "/sandbox/", "/sandbox/streams", "/sandbox/limits", "/sandbox/faults", "/sandbox/events"],
    *["/sandbox/requests/1", f"/sandbox/requests/{'1' * 5000}", "/sandbox/requests/-1", "/sandbox/requests/²"],
    *[
        "/sandbox/page/page.js",
        "/sandbox/page/",
        "/sandbox/page/../app.py",
        "/sandbox/page/\x00",
        "//evil.example/",
        "*",
    ],
    *["//evil.example/", "*", "/sandbox/streams/", f"/sandbox/page/{'x' * 5000}"],
]
HEADERS = {
    "host": ["127.0.0.1", "127.0.0.1", "LOCALHOST:8765", "[::1]:80", "evil.example", "[::1", "a b", "", "127.0.0.1:x"],
    "authorization": [
        "Bearer ask_sandbox",
        "Bearer ask_sandbox",
        "Bearer",
        "bearer  x ",
        "Basic x",
        "\xff",
        "x" * 60_000,
    ],
    "content-type": ["application/json", "application/json", "text/plain", "APPLICATION/JSON;", ";", "\xff"],
    "content-length": ["1", "0", "-1", "9" * 5000, "x"],
    "transfer-encoding": ["chunked", "gzip"],
    "origin": ["http://127.0.0.1", "null", "http://[", "\xff"],
    "sec-fetch-site": ["none", "same-origin", "cross-site", ""],
    "range": ["bytes=0-1", "bytes=9-1", "bytes=a", f"bytes={'9' * 5000}-"],
    "if-none-match": ["*", "x"],
    "if-modified-since": ["x", "Mon, 23 Nov 2026 12:00:00 GMT"],
    "last-event-id": ["1", "x"],
}


@dataclass(frozen=True)
class Asked:
    """A request as the server hands it to the app."""

    method: str
    path: str
    headers: list[tuple[bytes, bytes]]
    body: bytes
    piece: int

    async def send_to(self, app: Any, *, disconnects: bool = True) -> tuple[int, bytes]:
        """The status and body of the answer; by default to a client that disconnects after its request."""
        pieces = [self.body[start : start + self.piece] for start in range(0, len(self.body), self.piece)] or [b""]
        incoming = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
        incoming[-1]["more_body"] = False
        sent: list[Any] = []

        async def receive() -> Any:
            if not incoming and not disconnects:
                await asyncio.Event().wait()
            return incoming.pop(0) if incoming else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            # An oversized answer is not worth the memory.
            sent.append({**message, "body": b""} if disconnects else message)

        scope = {"type": "http", "method": self.method, "path": self.path, "headers": self.headers}
        await app({**scope, "query_string": b"", "state": {"close_connection": lambda: None}}, receive, send)
        # A fault may leave a request without an answer.
        status = sent[0]["status"] if sent else 0
        return status, b"".join(message.get("body", b"") for message in sent)


def objects(names: list[str], values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """JSON objects with members of these names, some of them twice."""
    member = st.tuples(st.sampled_from(names).map(json.dumps) | st.sampled_from(TEXTS), values)
    return st.lists(member, max_size=6).map(lambda members: "{" + ", ".join(f"{n}: {v}" for n, v in members) + "}")


def arrays(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(values, max_size=9).map(lambda members: f"[{', '.join(members)}]")


SCALARS = (
    st.sampled_from([*NUMBERS, *TEXTS, *URLS, *KINDS, *COLORS, "true", "false", "null"])
    | st.integers().map(str)
    | st.floats(allow_nan=False, allow_infinity=False).map(str)
    | st.text(max_size=30).map(json.dumps)
)
DEEP = st.tuples(st.sampled_from(["[]", "{}", "[[[", '{"a":']), st.sampled_from([3, 70, 2000])).map(
    lambda deep: deep[0][: len(deep[0]) // 2 + 1] * deep[1] + "1" + deep[0][len(deep[0]) // 2 :] * deep[1]
)
VALUES = st.recursive(SCALARS, lambda inner: arrays(inner) | objects(PART_MEMBERS, inner), max_leaves=8) | DEEP
# States that are often right, so that something is there to be updated, shown and ended.
STATES = st.builds(
    lambda title, kind, more: f'{{"title": {title}, "type": {kind}, "message": "m", "value": 7{more}}}',
    st.sampled_from(['"Load"', '"\\ud83d<"', '"' + "x" * 5000 + '"']),
    st.sampled_from(KINDS),
    objects(STATE_MEMBERS, VALUES).map(lambda text: ", " + text[1:-1] if len(text) > 2 else "") | st.just(""),
)
REQUESTS = st.builds(
    lambda state, more: f'{{"content_state": {state}{more}}}',
    STATES | objects(STATE_MEMBERS, VALUES),
    objects(REQUEST_MEMBERS, VALUES).map(lambda text: ", " + text[1:-1] if len(text) > 2 else "") | st.just(""),
)
FAULTS = objects(CONTROL_MEMBERS, VALUES).map(
    lambda text: f'{{"times": 1{", " + text[1:-1] if len(text) > 2 else ""}}}'
)
BODIES = st.one_of(
    REQUESTS.map(str.encode),
    REQUESTS.map(str.encode),
    (FAULTS | objects(CONTROL_MEMBERS, VALUES) | VALUES).map(lambda text: text.encode(errors="surrogatepass")),
    st.binary(max_size=50),
    st.sampled_from([b"", b"\xef\xbb\xbf{}", '{"a": 1}'.encode("utf-16"), b" " * 200_000, b"[" * 100_000]),
)
HEADER_PAIRS = [(name, value) for name, values in HEADERS.items() for value in values]
HEADER_LISTS = st.lists(st.sampled_from(HEADER_PAIRS), max_size=9).map(
    lambda pairs: [(name.encode(), value.encode("latin-1")) for name, value in [("host", "127.0.0.1"), *pairs]]
)
USUAL_HEADERS = st.just(
    [(b"host", b"127.0.0.1"), (b"authorization", b"Bearer ask_sandbox"), (b"content-type", b"application/json")]
)
ASKED = st.builds(
    Asked,
    st.sampled_from(["PUT", "PUT", "DELETE", "GET", "POST", "HEAD", "OPTIONS", "PATCH", "BREW"]),
    st.sampled_from([*STREAMS, *PATHS]) | st.text(max_size=20).map(lambda text: f"/sandbox/{text}"),
    USUAL_HEADERS | HEADER_LISTS,
    BODIES,
    st.sampled_from([1_000_000, 1_000, 7]),
)
FAULT = st.builds(
    Asked, st.just("POST"), st.just("/sandbox/faults"), USUAL_HEADERS, FAULTS.map(str.encode), st.just(99)
)
PUT = st.builds(
    Asked, st.just("PUT"), st.sampled_from(STREAMS[:3]), USUAL_HEADERS, REQUESTS.map(str.encode), st.just(10_000)
)
END = st.builds(
    Asked, st.just("DELETE"), st.sampled_from(STREAMS[:3]), USUAL_HEADERS, REQUESTS.map(str.encode), st.just(10_000)
)
SEQUENCES = st.lists(ASKED | PUT | END | FAULT, min_size=1, max_size=8)


def check_sequence(app: Starlette, sequence: list[Asked]) -> None:
    """Send requests to an app, then read what it keeps."""

    async def run() -> None:
        for asked in sequence:
            # An injected fault answers what it is asked to.
            faulty = asked.path.removeprefix("/api").startswith("/live-activity/")
            status, _ = await asked.send_to(app)
            assert status < 500 or faulty, (status, asked)
        kept = Asked("GET", "/sandbox/streams", [(b"host", b"127.0.0.1")], b"", 1)
        status, body = await kept.send_to(app, disconnects=False)
        assert (status, set(json.loads(body))) == (200, {"streams", "requests"})

    asyncio.run(run())


def check_cards(app: Starlette) -> None:
    """Draw every stream, as for a page that connects."""

    async def run() -> None:
        disconnected, events = asyncio.Event(), asyncio.Queue[bytes]()

        async def receive() -> Any:
            await disconnected.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.body":
                events.put_nowait(message["body"])

        headers = [(b"host", b"127.0.0.1")]
        scope = {"type": "http", "method": "GET", "path": "/sandbox/events", "headers": headers, "query_string": b""}
        serving = asyncio.create_task(app(scope, receive, send))
        event = await events.get()
        disconnected.set()
        await serving
        assert json.loads(event.partition(b"\ndata: ")[2])["fresh"] is True

    asyncio.run(run())


@settings(max_examples=60, deadline=None)
@given(SEQUENCES)
def test_any_requests_are_answered_without_an_error_of_the_sandbox(sequence: list[Asked]) -> None:
    app = create_app(requests_per_minute=None)
    check_sequence(app, sequence)
    check_cards(app)
