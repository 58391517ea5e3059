import asyncio
import os
import pickle
import subprocess
import sys
from collections.abc import Callable

import pytest

pytest.importorskip("prefect")

from prefect import flow, task
from prefect.blocks.abstract import NotificationError
from prefect.blocks.core import Block
from prefect.settings import PREFECT_API_URL
from prefect.testing.standard_test_suites.blocks import BlockStandardTestSuite
from pydantic import SecretStr, ValidationError
from support.sandbox import KEY, Sandbox

from activitysmith_integrations.core import ConfigurationError
from activitysmith_integrations.prefect import (
    ActivitySmithCredentials,
    ActivitySmithNotification,
    aend_live_activity_stream,
    astream_live_activity,
    end_live_activity_stream,
    end_live_activity_stream_automation,
    end_live_activity_stream_hook,
    end_live_activity_stream_hooks,
    live_activity_hooks,
    stream_live_activity,
)
from activitysmith_integrations.prefect.blocks import name_or_block, resolve


class TestCredentialsMeetPrefectsStandard(BlockStandardTestSuite):
    @pytest.fixture
    def block(self) -> type[Block]:
        return ActivitySmithCredentials


class TestNotificationMeetsPrefectsStandard(BlockStandardTestSuite):
    @pytest.fixture
    def block(self) -> type[Block]:
        return ActivitySmithNotification


def account(sandbox: Sandbox, **fields: object) -> ActivitySmithCredentials:
    return ActivitySmithCredentials.model_validate({"api_key": KEY, "base_url": sandbox.base_url, **fields})


def test_the_slug_is_the_one_that_saved_blocks_are_found_by() -> None:
    assert ActivitySmithCredentials.get_block_type_slug() == "activitysmith-credentials"
    assert ActivitySmithNotification.get_block_type_slug() == "activitysmith-notification"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"api_key": f"{KEY}\n"}, "api_key"),
        ({"api_key": " "}, "api_key"),
        ({"base_url": "http://activitysmith.example/api"}, "base_url"),
        ({"base_url": "activitysmith.com"}, "base_url"),
        ({"timeout": -1}, "timeout"),
        ({"max_retries": -1}, "max_retries"),
        ({"max_elapsed": 0}, "max_elapsed"),
        ({"max_retry": 0}, "max_retry: is not an option; did you mean max_retries?"),
    ],
)
def test_a_field_that_cannot_be_used_says_so_and_shows_no_key(fields: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ActivitySmithCredentials.model_validate({"api_key": KEY, **fields})
    assert named in str(caught.value)
    assert KEY not in str(caught.value)


def test_an_empty_base_url_from_a_form_is_the_default_one() -> None:
    with ActivitySmithCredentials(api_key=SecretStr(KEY), base_url="").get_client() as client:
        assert client.base_url == "https://activitysmith.com/api"


def test_no_text_of_the_block_shows_the_key() -> None:
    block = ActivitySmithCredentials(api_key=SecretStr(KEY))
    assert KEY not in f"{block!r} {block} {block.model_dump()} {block.model_dump_json()}"


def test_the_block_pickles_and_its_clients_work(sandbox: Sandbox) -> None:
    sandbox.start("nightly", "hourly")
    unpickled: ActivitySmithCredentials = pickle.loads(pickle.dumps(account(sandbox)))

    async def end_hourly() -> None:
        async with unpickled.get_async_client() as client:
            await client.end_stream("hourly")

    with unpickled.get_client() as client:
        client.end_stream("nightly")
    asyncio.run(end_hourly())
    assert [request["stream_key"] for request in sandbox.requests()] == ["nightly", "hourly"]


def test_a_block_says_how_often_its_clients_repeat_a_call(sandbox: Sandbox) -> None:
    sandbox.start("nightly")
    sandbox.inject_fault(times=9, status=500)
    with account(sandbox, max_retries=0).get_client() as client, pytest.raises(Exception, match="500"):
        client.end_stream("nightly")
    assert len(sandbox.requests()) == 1


def test_without_a_block_the_environment_names_the_account(sandbox: Sandbox) -> None:
    assert asyncio.run(resolve(None)).api_key.get_secret_value() == KEY


def test_without_a_block_or_an_environment_the_key_is_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACTIVITYSMITH_API_KEY", raising=False)
    with pytest.raises(ConfigurationError, match="ACTIVITYSMITH_API_KEY"):
        asyncio.run(resolve(None))


def test_a_saved_block_is_found_by_its_name_with_and_without_its_type(sandbox: Sandbox, server: None) -> None:
    account(sandbox, timeout=3).save("by-name", overwrite=True)
    for name in ("by-name", "activitysmith-credentials/by-name"):
        loaded = asyncio.run(resolve(name))
        assert (loaded.api_key.get_secret_value(), loaded.timeout) == (KEY, 3)


def test_a_saved_block_is_found_while_the_process_exits(sandbox: Sandbox, server: None) -> None:
    account(sandbox, timeout=3).save("at-the-exit", overwrite=True)
    program = """
import threading
from activitysmith_integrations.prefect.blocks import resolve_now

def load():
    threading.main_thread().join()
    print(resolve_now("at-the-exit").timeout)

threading.Thread(target=load).start()
"""
    # A name, which asyncio could not look up any more.
    url = str(PREFECT_API_URL.value()).replace("127.0.0.1", "localhost")
    environ = {**os.environ, "PREFECT_API_URL": url}
    process = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, check=False)
    assert process.stdout == "3.0\n", process.stderr


def test_a_saved_block_is_kept_by_its_name_and_others_as_they_are(sandbox: Sandbox, server: None) -> None:
    fresh = account(sandbox)
    assert name_or_block(fresh) is fresh
    fresh.save("kept", overwrite=True)
    assert name_or_block(fresh) == "kept"
    assert name_or_block(asyncio.run(ActivitySmithCredentials.aload("kept"))) == "kept"
    assert name_or_block("kept") == "kept"
    with pytest.raises(ConfigurationError, match="dict"):
        name_or_block({"api_key": KEY})  # type: ignore[arg-type]


def _in_a_task(given: str) -> None:
    @flow
    def nightly() -> None:
        end_live_activity_stream(credentials=given)

    nightly()


def _in_tasks_of_async_flow(given: str) -> None:
    @flow
    async def nightly() -> None:
        await asyncio.gather(aend_live_activity_stream(credentials=given), astream_live_activity(credentials=given))

    asyncio.run(nightly())


def _in_an_automation(given: str) -> None:
    @flow
    def nightly() -> None: ...

    nightly()
    end_live_activity_stream_automation("nightly", "nightly", credentials=given)


@pytest.mark.parametrize("given", [KEY, f"activitysmith-credentials/{KEY}", f" {KEY}\n", ""])
@pytest.mark.parametrize(
    "give",
    [
        lambda given: live_activity_hooks(credentials=given),
        lambda given: end_live_activity_stream_hooks(credentials=given),
        lambda given: end_live_activity_stream_hook(credentials=given),
        lambda given: stream_live_activity.fn("nightly", credentials=given),
        lambda given: asyncio.run(resolve(given)),
        _in_a_task,
        _in_tasks_of_async_flow,
        _in_an_automation,
    ],
)
def test_a_key_given_in_the_place_of_a_blocks_name_is_refused_where_it_is_written_and_shown_nowhere(
    give: Callable[[str], None], given: str, sandbox: Sandbox, server: None, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(ConfigurationError, match="credentials: must be a block's name") as caught:
        give(given)
    assert KEY not in f"{caught.value!r}{caught.value}{caplog.text}"
    assert sandbox.requests() == []


def test_a_block_survives_its_way_through_what_prefect_writes_of_it(sandbox: Sandbox) -> None:
    credentials = account(sandbox)
    for block in (credentials, ActivitySmithNotification(credentials=credentials, stream_key="nightly")):
        written = block.model_dump(context={"include_secrets": True})
        assert "block_type_slug" in written
        assert type(block).model_validate(written).model_dump(context={"include_secrets": True}) == written


def test_any_block_is_found_without_importing_the_package(sandbox: Sandbox, server: None) -> None:
    account(sandbox).save("found", overwrite=True)
    look_up = (
        "from prefect.blocks.core import Block\nprint(type(Block.load('activitysmith-credentials/found')).__module__)"
    )
    from prefect.settings import get_current_settings

    environment = get_current_settings().to_environment_variables(exclude_unset=True)
    command = [sys.executable, "-W", "ignore", "-c", look_up]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == "activitysmith_integrations.prefect.blocks"


def test_a_notification_ends_the_stream_with_its_subject_and_body(sandbox: Sandbox) -> None:
    sandbox.start("nightly")
    block = ActivitySmithNotification(credentials=account(sandbox), stream_key="nightly")
    block.notify("It needs a look", subject="Nightly ETL")
    assert sandbox.ends("nightly") == [
        {
            "content_state": {"title": "Nightly ETL", "type": "alert", "message": "It needs a look"},
            "alert": {"title": "Nightly ETL", "body": "It needs a look"},
        }
    ]


def test_a_notification_without_subject_or_body_is_named_after_the_stream(sandbox: Sandbox) -> None:
    sandbox.start("nightly")
    ActivitySmithNotification(credentials=account(sandbox), stream_key="nightly").notify("")
    (end,) = sandbox.ends("nightly")
    assert end["alert"] == {"title": "nightly", "body": "nightly"}


async def _in_a_loop(block: ActivitySmithNotification) -> None:
    notifying = block.notify("It needs a look")
    assert notifying is not None
    await notifying


def _in_a_flow(block: ActivitySmithNotification) -> None:
    @flow
    def nightly() -> None:
        block.notify("It needs a look")

    async def within_a_loop() -> None:
        nightly()

    nightly()
    asyncio.run(within_a_loop())


def _in_an_async_flow(block: ActivitySmithNotification) -> None:
    @task
    def load() -> None:
        block.notify("It needs a look")

    @flow
    async def nightly() -> None:
        await _in_a_loop(block)
        load()

    asyncio.run(nightly())


@pytest.mark.parametrize(
    ("notify", "times"),
    [(lambda block: asyncio.run(_in_a_loop(block)), 1), (_in_a_flow, 2), (_in_an_async_flow, 2)],
    ids=["event loop", "flow", "async flow"],
)
def test_a_notification_is_awaited_in_async_code_and_called_in_sync_code(
    notify: Callable[[ActivitySmithNotification], None], times: int, sandbox: Sandbox, server: None
) -> None:
    notify(ActivitySmithNotification(credentials=account(sandbox), stream_key="nightly"))
    assert [request["operation"] for request in sandbox.story("nightly")].count("started") == times


def test_every_notification_is_seen_though_the_one_before_ended_the_stream(sandbox: Sandbox) -> None:
    block = ActivitySmithNotification(credentials=account(sandbox), stream_key="nightly")
    for body in ("The first", "The second"):
        block.notify(body)
    starts = [request["body"] for request in sandbox.story("nightly") if request["operation"] == "started"]
    assert [start["alert"]["body"] for start in starts] == ["The first", "The second"]


def test_a_notification_about_a_stream_that_does_not_run_is_seen(sandbox: Sandbox) -> None:
    ActivitySmithNotification(credentials=account(sandbox), stream_key="unknown").notify("It needs a look")
    refused, start, end = sandbox.story("unknown")
    assert [request["status"] for request in (refused, start, end)] == [404, 200, 200]
    assert start["body"]["content_state"] == end["body"]["content_state"]
    assert ("alert" in start["body"], "alert" in end["body"]) == (True, False)


def test_a_notification_that_fails_raises_what_prefect_expects_and_only_where_it_does(sandbox: Sandbox) -> None:
    block = ActivitySmithNotification(credentials=account(sandbox), stream_key="nightly")
    sandbox.inject_fault(times=2, status=403)
    block.notify("lost")
    with block.raise_on_failure(), pytest.raises(NotificationError) as caught:
        block.notify("lost")
    assert "403" in caught.value.log


@pytest.mark.parametrize("key", ["", KEY, "nightly etl", "{{ flow }}", "nightly\n", "x" * 256])
def test_a_notification_takes_no_key_that_the_service_refuses(key: str, sandbox: Sandbox) -> None:
    with pytest.raises(ValidationError, match="stream_key"):
        ActivitySmithNotification(credentials=account(sandbox), stream_key=key)


@pytest.mark.parametrize(
    "fields",
    [
        {"credentials": {"api_key": f"{KEY}\n"}, "stream_key": "nightly"},
        {"credentials": {"api_key": KEY, "timeout": -1}, "stream_key": "nightly"},
        {"credentials": KEY, "stream_key": "nightly"},
        {"credentials": {"api_key": KEY}},
        {"credentials": {"api_key": KEY}, "stream_key": "nightly etl"},
        {"credentials": {"api_key": KEY}, "stream_key": KEY},
        {"credentials": {"api_key": KEY}, "stream_key": "nightly", "key": KEY},
    ],
)
def test_a_notification_that_cannot_be_used_shows_no_key(fields: dict[str, object]) -> None:
    with pytest.raises(ValidationError) as caught:
        ActivitySmithNotification.model_validate(fields)
    assert KEY not in f"{caught.value} {caught.value!r}"
