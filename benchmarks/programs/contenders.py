"""The same end of the same stream, as each contender's own documentation has it. What one needs is imported by it."""

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

KEY = "ask_benchmark"
STREAM = "nightly-etl"
STATE: dict[str, Any] = {
    "title": "Nightly ETL",
    "subtitle": "Done in 3 m 10 s",
    "type": "progress",
    "percentage": 100,
    "color": "green",
    "icon": {"symbol": "checkmark.circle.fill", "color": "green"},
}
TAGS = ["airflow"]
METADATA = {"engine": "airflow", "pipeline": "nightly-etl", "run": "r1", "result": "succeeded"}
BODY = {"content_state": STATE, "tags": TAGS, "metadata": METADATA}
PATH = f"/live-activity/stream/{STREAM}"
HEADERS = {"Authorization": f"Bearer {KEY}", "Accept": "application/json", "Accept-Encoding": "identity"}


def ours(base_url: str) -> Callable[[], Any]:
    from activitysmith_integrations.core import ActivitySmithClient

    client = ActivitySmithClient(KEY, base_url=base_url)
    return lambda: client.end_stream(STREAM, content_state=STATE, tags=TAGS, metadata=METADATA)


def ours_per_call(base_url: str) -> Callable[[], Any]:
    from activitysmith_integrations.core import ActivitySmithClient

    def call() -> Any:
        with ActivitySmithClient(KEY, base_url=base_url) as client:
            return client.end_stream(STREAM, content_state=STATE, tags=TAGS, metadata=METADATA)

    return call


def sdk(base_url: str) -> Callable[[], Any]:
    from activitysmith import ActivitySmith, content_state

    client = ActivitySmith(api_key=KEY)
    # It has no option for this.
    client.live_activities._api.api_client.configuration.host = base_url
    return lambda: client.live_activities.end_stream(
        STREAM, content_state=content_state(**STATE), tags=TAGS, metadata=METADATA
    )


def httpx(base_url: str) -> Callable[[], Any]:
    from httpx import Client

    client = Client(headers=HEADERS)
    return lambda: client.request("DELETE", base_url + PATH, json=BODY).raise_for_status().json()


def httpx_per_call(base_url: str) -> Callable[[], Any]:
    from httpx import Client

    def call() -> Any:
        with Client(headers=HEADERS) as client:
            return client.request("DELETE", base_url + PATH, json=BODY).raise_for_status().json()

    return call


def http_client(base_url: str) -> Callable[[], Any]:
    from http.client import HTTPConnection

    where = urlsplit(base_url)
    connection = HTTPConnection(where.hostname or "", where.port)

    def call() -> Any:
        headers = {**HEADERS, "Content-Type": "application/json"}
        connection.request("DELETE", where.path + PATH, json.dumps(BODY), headers)
        return json.loads(connection.getresponse().read())

    return call


CONTENDERS = {made.__name__: made for made in (ours, ours_per_call, sdk, httpx, httpx_per_call, http_client)}
