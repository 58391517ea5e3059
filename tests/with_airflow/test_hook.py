import asyncio
import json
import subprocess
import sys
import traceback
from typing import Any

import pytest
from airflow.sdk import Connection
from pydantic import SecretStr
from support.airflow import connection
from support.sandbox import KEY, Sandbox

from activitysmith_integrations.airflow.hooks import ActivitySmithHook, client_options
from activitysmith_integrations.core import ConfigurationError, InvalidRequestError, NotFoundError, RetryPolicy

DONE = {"title": "Nightly", "type": "progress", "percentage": 100}


def test_a_stream_starts_and_ends_with_the_connections_key(sandbox: Sandbox) -> None:
    hook = ActivitySmithHook()
    assert hook.stream("nightly", content_state=DONE).operation == "started"
    assert hook.end_stream("nightly", content_state=DONE).operation == "ended"
    assert sandbox.ends("nightly") == [{"content_state": DONE}]


@pytest.mark.parametrize("name", ["conn_id", "activitysmith_con_id"])
def test_a_connection_by_another_name_is_recognized(name: str) -> None:
    wrong: Any = {name: "ours"}
    with pytest.raises(InvalidRequestError, match=rf"{name}: is not an option; did you mean activitysmith_conn_id\?"):
        ActivitySmithHook(**wrong)
    assert ActivitySmithHook("ours", logger_name="ours").activitysmith_conn_id == "ours"


def test_the_same_from_an_event_loop(sandbox: Sandbox) -> None:
    async def run() -> None:
        hook = ActivitySmithHook()
        await hook.async_stream("nightly", content_state=DONE)
        await hook.async_end_stream("nightly", content_state=DONE)

    asyncio.run(run())
    assert sandbox.ends("nightly") == [{"content_state": DONE}]


def test_one_client_makes_many_calls(sandbox: Sandbox) -> None:
    sandbox.start("one", "two")
    hook = ActivitySmithHook()
    with hook.get_conn() as client:
        client.end_stream("one")
        client.end_stream("two")
    assert hook.get_conn() is client
    assert [request["stream_key"] for request in sandbox.requests()] == ["one", "two"]


def test_a_policy_of_the_caller_replaces_the_connections(sandbox: Sandbox) -> None:
    sandbox.inject_fault(times=1, status=503)
    with pytest.raises(Exception, match="503"):
        ActivitySmithHook(retry=RetryPolicy(max_retries=0)).end_stream("nightly")
    assert len(sandbox.requests()) == 1


URL = "https://example.com:8443/base"
FIELDS = {"conn_type": "activitysmith", "password": KEY, "host": URL}


@pytest.mark.parametrize(
    "form",
    [
        json.dumps({**FIELDS, "extra": {"timeout": 4, "max_retries": 2}}),
        json.dumps({**FIELDS, "extra": '{"timeout": "4", "max_retries": "2"}'}),
        f"activitysmith://https://:{KEY}@example.com:8443/base?timeout=4&max_retries=2",
        f"activitysmith://:{KEY}@example.com:8443/base?timeout=4.0&max_retries=2",
    ],
)
def test_every_form_of_a_connection_gives_the_same_client(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_FORM", form)
    options = client_options(ActivitySmithHook.get_connection("form"))
    assert options == {"api_key": SecretStr(KEY), "base_url": URL, "timeout": 4.0, "retry": RetryPolicy(max_retries=2)}


@pytest.mark.parametrize(
    ("fields", "base_url"),
    [
        ({}, None),
        ({"host": "activitysmith.com/api"}, "https://activitysmith.com/api"),
        ({"host": "http://localhost:8765/api/"}, "http://localhost:8765/api/"),
        ({"host": "http://localhost", "port": 8765, "schema": "api"}, "http://localhost:8765/api"),
        ({"host": "http://localhost:8765/api", "port": 9, "schema": "other"}, "http://localhost:8765/api"),
        ({"host": "localhost", "port": 8765, "schema": "http"}, "http://localhost:8765"),
        ({"host": "http://[::1]", "port": 8765}, "http://[::1]:8765"),
    ],
)
def test_the_base_url_may_be_whole_or_in_parts(fields: dict[str, Any], base_url: str | None) -> None:
    connection = Connection(conn_id="c", conn_type="activitysmith", password=KEY, **fields)
    assert client_options(connection).get("base_url") == base_url


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"password": None}, "password: is empty; it is where the API key goes"),
        ({"password": f"{KEY}\n"}, "api_key: has a line break"),
        ({"host": "http://example.com"}, "base_url: plain http://"),
        ({"extra": {"timeout": "soon"}}, "timeout: 'soon' is not a number of 0 or more"),
        ({"extra": {"timeout": True}}, "timeout: True is not a number"),
        ({"extra": {"max_retries": "1.5"}}, "max_retries: '1.5' is not a whole number"),
        ({"extra": {"max_retries": -1}}, "max_retries: -1 is not a number of 0 or more"),
        ({"extra": {"timeout": 0}}, "0 seconds leave no time"),
        ({"extra": {"retries": 3}}, "retries: is not an extra; did you mean max_retries?"),
        ({"extra": {"Timeout": 3}}, "Timeout: is not an extra; did you mean timeout?"),
        ({"extra": [1]}, "extra: must be a JSON object"),
        ({"host": "http://localhost:abc", "port": 1}, "base_url: is no URL"),
        ({"host": "http://[::1", "port": 1}, "base_url: is no URL"),
    ],
)
def test_a_wrong_field_is_named_with_its_connection_and_without_the_key(fields: dict[str, Any], said: str) -> None:
    members = {"password": KEY, **fields}
    if "extra" in members:
        members["extra"] = json.dumps(members["extra"])
    with pytest.raises(ConfigurationError) as refused:
        client_options(Connection(conn_id="ours", conn_type="activitysmith", **members))
    assert "connection 'ours'" in str(refused.value)
    assert said in str(refused.value)
    assert KEY not in str(refused.value)


@pytest.mark.parametrize(
    "value",
    [
        f'{{"conn_type": "activitysmith", "api_key": "{KEY}"}}',
        f"{{'conn_type': 'activitysmith', 'password': '{KEY}'}}",
        f"activitysmith://:{KEY}",
        f'{{"conn_type": "activitysmith", "password": "{KEY}", "port": "https"}}',
    ],
)
def test_a_variable_that_airflow_cannot_read_is_named_without_the_key(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_OURS", value)
    with pytest.raises(ConfigurationError, match="AIRFLOW_CONN_OURS: is set, but Airflow cannot read it") as refused:
        ActivitySmithHook("ours").get_conn()
    assert KEY not in "".join(traceback.format_exception(refused.value))


def test_a_connection_test_touches_no_stream_and_accepts_a_good_key(sandbox: Sandbox) -> None:
    sandbox.start("nightly")
    assert ActivitySmithHook().test_connection() == (True, "ActivitySmith accepts the API key.")
    (request,) = sandbox.requests()
    assert request["stream_key"].startswith("connection-test-")
    assert request["status"] == 404


@pytest.mark.parametrize(("key", "said"), [("ask_bad", "401"), ("ask_nobilling", "402"), ("ask_forbidden", "403")])
def test_a_connection_test_says_what_is_wrong_with_a_key(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, key: str, said: str
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ACTIVITYSMITH_DEFAULT", connection(sandbox.base_url, key))
    passed, message = ActivitySmithHook().test_connection()
    assert not passed
    assert said in message
    assert key not in message


def test_a_connection_test_is_not_fooled_by_another_servers_not_found(sandbox: Sandbox) -> None:
    sandbox.inject_fault(times=1, status=404, body="<html>")
    passed, message = ActivitySmithHook().test_connection()
    assert (passed, "base_url" in message) == (False, True)


def test_a_connection_test_tells_a_wrong_path_from_a_good_key(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = sandbox.base_url.replace("/api", "/v1")
    monkeypatch.setenv("AIRFLOW_CONN_ACTIVITYSMITH_DEFAULT", connection(wrong, KEY))
    passed, message = ActivitySmithHook().test_connection()
    assert not passed
    assert f"{wrong} answers, but not as ActivitySmith's API does" in message
    assert "https://activitysmith.com/api" in message


def test_a_connection_test_suggests_http_where_tls_meets_plain_http(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = sandbox.base_url.removeprefix("http://")
    monkeypatch.setenv("AIRFLOW_CONN_ACTIVITYSMITH_DEFAULT", connection(address, KEY))
    passed, message = ActivitySmithHook().test_connection()
    assert not passed
    assert "begin the host with http://" in message


def test_a_connection_test_names_the_connection_by_its_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_X8F3", connection("http://example.com", KEY))
    passed, message = ActivitySmithHook("x8f3").test_connection()
    assert (passed, "x8f3" in message) == (False, False)
    assert message.startswith("ActivitySmith connection.base_url: plain http://")


def test_a_connection_that_only_the_database_has_is_found_where_the_sdk_asks_nobody(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from airflow.models.connection import Connection as Stored

    found = Connection(conn_id="stored", conn_type="activitysmith", password=KEY)
    monkeypatch.setattr(Stored, "get_connection_from_secrets", classmethod(lambda cls, conn_id: found))
    assert ActivitySmithHook("stored").get_conn().base_url == "https://activitysmith.com/api"


def test_a_connection_test_says_that_a_field_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ACTIVITYSMITH_DEFAULT", json.dumps({"conn_type": "activitysmith"}))
    passed, message = ActivitySmithHook().test_connection()
    assert (passed, "password" in message) == (False, True)


def test_a_key_in_the_place_of_a_connections_id_is_quoted_nowhere() -> None:
    passed, message = ActivitySmithHook(KEY).test_connection()
    assert (passed, "is an API key" in message, KEY in message) == (False, True, False)
    with pytest.raises(ConfigurationError, match="is an API key") as raised:
        ActivitySmithHook(KEY).get_conn()
    assert KEY not in repr(raised.value)


def test_an_unknown_stream_is_an_error_of_the_hook(sandbox: Sandbox) -> None:
    with pytest.raises(NotFoundError):
        ActivitySmithHook().end_stream("never-started")


def test_the_form_of_airflow_3_1_hides_what_is_of_no_use() -> None:
    form = ActivitySmithHook.get_ui_field_behaviour()
    assert form["hidden_fields"] == ["schema", "login", "port"]
    assert form["relabeling"] == {"password": "API key", "host": "Base URL"}


def test_importing_the_wing_loads_no_module_that_airflow_does_not_bring() -> None:
    code = """
import sys
from airflow.sdk import DAG
before = set(sys.modules)
import activitysmith_integrations.airflow.operators, activitysmith_integrations.airflow.notifications
print(sorted({name.partition('.')[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "['activitysmith_integrations', 'airflow']"
