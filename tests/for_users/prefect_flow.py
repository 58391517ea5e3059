"""What mypy tells a person who writes this flow; see ``core_client.py``."""

from datetime import timedelta
from typing import Any, assert_type

from prefect import flow, task
from prefect.automations import Automation
from prefect.client.schemas.objects import FlowRun
from prefect.flows import Flow
from pydantic import SecretStr

from activitysmith_integrations.core import (
    ActivitySmithClient,
    AsyncActivitySmithClient,
    EndStreamResponse,
    LiveActivity,
    StreamResponse,
    stream_key,
)
from activitysmith_integrations.prefect import (
    ActivitySmithCredentials,
    FlowHooks,
    StateHook,
    StreamOptions,
    aend_live_activity_stream,
    aend_live_activity_stream_automation,
    alive_activity_automation,
    astream_live_activity,
    end_live_activity_stream,
    end_live_activity_stream_automation,
    end_live_activity_stream_hook,
    end_live_activity_stream_hooks,
    live_activity_automation,
    live_activity_hooks,
    stream_live_activity,
)


def mine(flow: Flow[Any, Any], flow_run: FlowRun, state: Any) -> None: ...


@task(on_failure=[end_live_activity_stream_hook("load")])
def load() -> int:
    return 7


@flow(**end_live_activity_stream_hooks(title="Nightly", on_success="progress", hooks={"on_failure": [mine]}))
def nightly() -> int:
    assert_type(end_live_activity_stream("nightly", credentials="production"), EndStreamResponse)
    return load()


@flow(on_failure=[end_live_activity_stream_hook(lambda flow, run: stream_key(flow.name, run.parameters["day"]))])
async def nightly_too() -> None:
    assert_type(await aend_live_activity_stream(error=ValueError("x"), tags=["a"]), EndStreamResponse)


@task
def counted() -> int:
    return 7


@flow(
    **live_activity_hooks(
        "nightly", total=200, credentials="production", patience=60, title="Nightly", hooks={"on_running": [mine]}
    )
)
async def live() -> None:
    counted()
    assert_type(stream_live_activity("tables", total=9, done=1, subtitle="orders"), StreamResponse)
    assert_type(await astream_live_activity(content_state={"title": "x", "type": "progress"}), StreamResponse)


FAILED: StateHook = end_live_activity_stream_hook(failure_color="orange")
LOOK: StreamOptions = {"total": 9, "subtitle": "orders"}


def shown(name: str) -> FlowHooks:
    return live_activity_hooks(name, total=3)


@flow(**shown("hourly"))
def hourly() -> None:
    assert_type(stream_live_activity(**LOOK), StreamResponse)


def save_once() -> None:
    ActivitySmithCredentials(api_key="ask_...").save("production", overwrite=True)
    ActivitySmithCredentials(api_key=SecretStr("ask_..."), max_retries=None, timeout=5, base_url="https://example.com")


def right(credentials: ActivitySmithCredentials) -> None:
    assert_type(credentials.get_client(), ActivitySmithClient)
    assert_type(credentials.get_async_client(), AsyncActivitySmithClient)
    with LiveActivity("nightly", steps=2, client=credentials.get_client()) as activity:
        activity.advance()
    lost = timedelta(hours=1)
    assert_type(end_live_activity_stream_automation("nightly", "nightly", lost_after=lost), list[Automation])


async def right_too() -> None:
    assert_type(await alive_activity_automation("nightly", "nightly", title="Nightly"), list[Automation])
    assert_type(await aend_live_activity_stream_automation("nightly", "nightly", results=["crashed"]), list[Automation])


def wrong() -> None:
    end_live_activity_stream_automation("nightly")  # type: ignore[call-arg]
    live_activity_automation(nightly, "nightly")  # type: ignore[arg-type]
    end_live_activity_stream(stream_keys="nightly")  # type: ignore[call-overload]
    end_live_activity_stream("nightly", on_success="alert")  # type: ignore[call-overload]
    end_live_activity_stream_hook("nightly", colour="red")  # type: ignore[call-arg]
    stream_live_activity("nightly", totl=9)  # type: ignore[call-overload]
    ActivitySmithCredentials()  # type: ignore[call-arg]
    ActivitySmithCredentials(api_key=7)  # type: ignore[arg-type]
    ActivitySmithCredentials(api_key="ask_...", base="https://example.com")  # type: ignore[call-arg]
    live_activity_hooks(total="all")  # type: ignore[arg-type]
    end_live_activity_stream_hooks(7)  # type: ignore[arg-type]
    end_live_activity_stream_hooks(on_failure="banner")  # type: ignore[arg-type]
    end_live_activity_stream_automation("nightly", "nightly", results=["over"])  # type: ignore[list-item]
    end_live_activity_stream_automation("nightly", "nightly", lost_after=60)  # type: ignore[arg-type]
