"""What a website can do to the sandbox through somebody's browser: nothing."""

import json
from collections.abc import Iterator

import httpx
import pytest
from starlette.applications import Starlette
from support.in_process import client_of

from activitysmith_integrations.sandbox.app import create_app

STREAM = "/api/live-activity/stream/etl"
PROGRESS = {"content_state": {"title": "Load", "type": "progress", "percentage": 42}}
FAULT = {"times": 1_000_000_000, "status": 500}
ROUTES = [
    ("GET", "/"),
    ("GET", "/sandbox"),
    ("GET", "/sandbox/streams"),
    ("DELETE", "/sandbox/streams"),
    ("PUT", "/sandbox/limits"),
    ("POST", "/sandbox/faults"),
    ("DELETE", "/sandbox/faults"),
    ("GET", "/sandbox/events"),
    ("GET", "/sandbox/requests/1"),
    ("GET", "/sandbox/page/page.js"),
    ("GET", "/sandbox/page/page.css"),
    ("GET", "/sandbox/page/cards.css"),
    ("PUT", STREAM),
    ("DELETE", STREAM),
    ("PUT", STREAM.removeprefix("/api")),
    ("OPTIONS", STREAM),
    ("HEAD", "/"),
    ("GET", "/elsewhere"),
]


@pytest.fixture
def app() -> Starlette:
    return create_app()


@pytest.fixture
def client(app: Starlette) -> Iterator[httpx.Client]:
    with client_of(app) as client:
        yield client


def status_for(host: str, served_on: str) -> int:
    with client_of(create_app(host=served_on)) as client:
        return client.get("/sandbox/streams", headers={"Host": host}).status_code


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_no_route_is_answered_under_the_name_of_a_website(client: httpx.Client, method: str, path: str) -> None:
    answer = client.request(method, path, headers={"Host": "evil.example"})
    assert answer.status_code == 403
    if method != "HEAD":
        assert "evil.example" in answer.json()["message"]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("origin", ["http://evil.example", "https://127.0.0.1", "http://127.0.0.1:9999", "null", ""])
def test_no_route_is_answered_to_a_page_of_another_origin(
    client: httpx.Client, method: str, path: str, origin: str
) -> None:
    assert client.request(method, path, headers={"Origin": origin}).status_code == 403


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("site", ["cross-site", "same-site", "anything"])
def test_no_route_is_answered_to_a_page_of_another_site(
    client: httpx.Client, method: str, path: str, site: str
) -> None:
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "script"}
    assert client.request(method, path, headers=headers).status_code == 403


def test_a_refused_request_changes_nothing(client: httpx.Client) -> None:
    client.put(STREAM, json=PROGRESS)
    headers = {"Content-Type": "text/plain", "Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site"}
    assert client.post("/sandbox/faults", content=b'{"times": 9, "status": 500}', headers=headers).status_code == 403
    assert client.delete("/sandbox/streams", headers={"Host": "evil.example"}).status_code == 403
    assert client.put(STREAM, json=PROGRESS).json()["operation"] == "noop"


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.0.0.1:8765",
        "127.0.0.2:80",
        "localhost:8765",
        "LOCALHOST",
        "localhost.",
        "[::1]",
        "[::1]:8765",
        "[0:0:0:0:0:0:0:1]:8765",
    ],
)
def test_this_machines_names_are_answered(host: str) -> None:
    assert status_for(host, "127.0.0.1") == 200


@pytest.mark.parametrize(
    "host",
    [
        "",
        ":8765",
        "evil.example",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil.example:8765",
        "192.168.1.7:8765",
        "0.0.0.0:8765",
        "[::]:8765",
        "build-host:8765",
        "evil_one.example",
        "127.0.0.1:port",
        "127.0.0.1:8765:1",
        "127.0.0.1/",
        "user@127.0.0.1",
        "127.0.0.1, evil.example",
        "evil.example#127.0.0.1",
        "[::1",
        "::1",
        "[::1%25evil.example]",
        "127.0.0.1..",
        "2130706433",
        "0x7f000001",
    ],
)
def test_other_hosts_are_refused_where_only_this_machine_is_served(host: str) -> None:
    assert status_for(host, "127.0.0.1") == 403


@pytest.mark.parametrize("served_on", ["localhost", "::1", "127.0.0.2"])
def test_every_loopback_address_is_this_machine(served_on: str) -> None:
    assert [status_for(host, served_on) for host in ("localhost", "[::1]", "10.0.0.1")] == [200, 200, 403]


@pytest.mark.parametrize("served_on", ["0.0.0.0", "::", "Build.corp.example"])
@pytest.mark.parametrize("host", ["10.0.0.7:8765", "127.0.0.1:8765", "[fe80::1]:8765", "localhost", "build-host:8765"])
def test_where_other_machines_are_served_addresses_and_local_names_are_answered(host: str, served_on: str) -> None:
    assert status_for(host, served_on) == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8765", "10.0.0.7.evil.example", "", "a b"])
def test_where_other_machines_are_served_a_websites_name_is_refused_all_the_same(host: str) -> None:
    assert status_for(host, "0.0.0.0") == 403


def test_the_name_that_it_is_served_on_is_answered() -> None:
    assert status_for("build.corp.example:8765", "Build.corp.example") == 200
    assert status_for("other.corp.example:8765", "Build.corp.example") == 403


def test_two_host_headers_are_refused(app: Starlette) -> None:
    with client_of(app) as client:
        request = client.build_request("GET", "/sandbox/streams")
        request.headers = httpx.Headers([("Host", "127.0.0.1"), ("Host", "evil.example")])
        assert client.send(request).status_code == 403


@pytest.mark.parametrize("origin", ["http://127.0.0.1:8765", "HTTP://127.0.0.1:8765", "https://127.0.0.1:8765"])
def test_the_sandboxs_own_page_is_answered(client: httpx.Client, origin: str) -> None:
    headers = {"Origin": origin, "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}
    assert client.post("/sandbox/faults", json=FAULT, headers=headers).status_code == 200


def test_the_page_opens_from_a_link_on_another_site_but_not_within_it(client: httpx.Client) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/", headers=link).status_code == 200
    assert client.get("/", headers={**link, "Sec-Fetch-Dest": "iframe"}).status_code == 403
    assert client.post("/sandbox/faults", json=FAULT, headers=link).status_code == 403


@pytest.mark.parametrize(("method", "path"), [("PUT", STREAM), ("DELETE", STREAM), ("POST", "/sandbox/faults")])
@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "text/plain; charset=utf-8",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=json",
        "application/jsonp",
        "text/plain; application/json",
        "application/json, text/plain",
        "",
    ],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_not_sent_as_json_is_refused(
    client: httpx.Client, method: str, path: str, content_type: str, chunked: bool
) -> None:
    content = iter([b'{"times": 1}']) if chunked else b'{"times": 1}'
    answer = client.request(method, path, content=content, headers={"Content-Type": content_type})
    assert (answer.status_code, answer.json()["error"]) == (415, "Unsupported Media Type")
    assert "send Content-Type: application/json" in answer.json()["message"]


@pytest.mark.parametrize(
    "content_type", ["application/json", "Application/JSON; charset=UTF-8", "application/json;a=b"]
)
def test_json_is_taken_whatever_its_parameters(client: httpx.Client, content_type: str) -> None:
    body = b'{"content_state": {"title": "Load", "type": "progress"}}'
    assert client.put(STREAM, content=body, headers={"Content-Type": content_type}).status_code == 200


def test_json_is_taken_without_a_content_type(client: httpx.Client) -> None:
    # A script that leaves it out sends its Origin, and a form cannot.
    assert client.put(STREAM, content=json.dumps(PROGRESS)).status_code == 200


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded"])
def test_without_a_body_the_content_type_does_not_matter(client: httpx.Client, content_type: str) -> None:
    client.put(STREAM, json=PROGRESS)
    assert client.delete(STREAM, headers={"Content-Type": content_type}).status_code == 200
