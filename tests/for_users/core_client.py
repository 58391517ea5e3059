"""What mypy tells a person who writes this: right calls pass with these types, wrong ones are pointed out.

Each ``type: ignore`` is a wrong call; mypy speaks up if it finds nothing wrong there.
"""

from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import assert_type

import httpx

from activitysmith_integrations.core import (
    ActivitySmithClient,
    ActivitySmithError,
    AlertState,
    APIStatusError,
    AsyncActivitySmithClient,
    AsyncLiveActivity,
    ConfigurationError,
    EndOptions,
    EndStreamRequest,
    EndStreamResponse,
    LiveActivity,
    Metric,
    MetricsState,
    OpenURLAction,
    ProgressState,
    RateLimitError,
    RetryPolicy,
    SegmentedProgressState,
    StreamRequest,
    StreamResponse,
    ValueState,
    WebhookAction,
    stream_key,
)
from activitysmith_integrations.core.models.requests import EndStreamMembers
from activitysmith_integrations.core.runs.ending import build_end
from activitysmith_integrations.core.runs.outcome import RunOutcome
from activitysmith_integrations.core.runs.picture import end_request


def right(client: ActivitySmithClient) -> None:
    done = ProgressState(title="Nightly", percentage=100)
    assert_type(client.stream("nightly", content_state=done, channels=["ops"]), StreamResponse)
    assert_type(client.end_stream("nightly"), EndStreamResponse)
    assert_type(client.end_stream("nightly", content_state=done).activity_id, str | None)
    client.end_stream("nightly", content_state={"title": "Nightly", "type": "progress", "percentage": 100})
    client.end_stream("nightly", content_state=MetricsState(title="t", metrics=[Metric(label="CPU", value=7)]))
    client.end_stream("nightly", action=OpenURLAction(title="Open", url="https://example.com"), tags=("a",))
    client.end_stream("nightly", metadata={"rows": 7, "ok": True, "share": Decimal("0.5")})
    client.stream("nightly", content_state=ProgressState(title="t", percentage=Decimal("1.5")))
    client.stream("nightly", content_state=ProgressState(title="t", value=Decimal(1), upper_limit=Decimal(7)))
    client.stream("nightly", content_state=ValueState(title="t", value=Decimal(7)))
    client.stream("nightly", content_state=MetricsState(title="t", metrics=[Metric(label="Rows", value=Decimal(7))]))
    figures = ({"label": "CPU", "value": 7}, Metric(label="Rows", value="7 M"))
    client.end_stream("nightly", content_state=MetricsState(title="t", metrics=figures, icon={"symbol": "bolt"}))
    bar = SegmentedProgressState(title="t", step_colors=("green", "red"), badge=MappingProxyType({"title": "new"}))
    client.stream(
        "nightly", content_state=bar, action={"title": "Open", "type": "open_url", "url": "https://x.example"}
    )
    body: Mapping[str, object] = {"run": 7}
    client.stream("nightly", content_state=bar, action=WebhookAction(title="Retry", url="https://x.example", body=body))
    members: EndStreamMembers = {"tags": ["a"], "content_state": SegmentedProgressState(title="t", number_of_steps=3)}
    client.end_stream("nightly", **members)
    assert_type(client.base_url, str)
    assert_type(stream_key("etl", "run 1"), str)
    with ActivitySmithClient("ask_...", retry=RetryPolicy(max_elapsed=5), http_client=httpx.Client()) as own:
        assert_type(own, ActivitySmithClient)
    end = EndStreamRequest(content_state=done, tags=["a"])
    assert_type(client.send("nightly", end), EndStreamResponse)
    assert_type(client.send("nightly", StreamRequest(content_state=done)), StreamResponse)
    options: EndOptions = {"on_failure": "progress"}
    outcome = RunOutcome("nightly", "failed", steps_done=2, steps_total=5)
    assert_type(end_request(outcome, options), EndStreamRequest)
    assert_type(client.send("nightly", build_end(outcome, options).request), EndStreamResponse)

    with LiveActivity("nightly", title="Nightly", steps=["extract", "load"], client=client) as activity:
        assert_type(activity, LiveActivity)
        activity.advance("load")
    assert_type(client.with_retry(RetryPolicy()), ActivitySmithClient)


async def right_too() -> None:
    async with AsyncActivitySmithClient() as client:
        assert_type(client, AsyncActivitySmithClient)
        assert_type(await client.end_stream("nightly"), EndStreamResponse)
        assert_type(await client.stream("nightly", content_state={"title": "Nightly"}), StreamResponse)
        assert_type(await client.send("nightly", EndStreamRequest()), EndStreamResponse)
        assert_type(await client.send("nightly", StreamRequest(content_state={"title": "t"})), StreamResponse)
        async with AsyncLiveActivity("nightly", steps=3, client=client) as activity:
            activity.update(done=2, subtitle="nearly")
            await activity.advance()


def errors(client: ActivitySmithClient) -> None:
    try:
        client.end_stream("nightly")
    except ConfigurationError as error:
        assert_type(error.problems, tuple[tuple[str, str], ...])
    except RateLimitError as error:
        assert_type(error.retry_after, float | None)
    except APIStatusError as error:
        assert_type(error.status_code, int)
    except ActivitySmithError as error:
        assert_type(error.retryable, bool)


def wrong(client: ActivitySmithClient, asynchronous: AsyncActivitySmithClient) -> None:
    client.end_stream()  # type: ignore[call-arg]
    client.end_stream(7)  # type: ignore[arg-type]
    client.end_stream("nightly", ProgressState(title="t"))  # type: ignore[call-arg, arg-type]
    client.end_stream("nightly", state={"title": "t"})  # type: ignore[call-arg]
    client.end_stream("nightly", content_state="done")  # type: ignore[arg-type]
    client.end_stream("nightly", content_state=Metric(label="CPU", value=7))  # type: ignore[arg-type]
    client.end_stream("nightly", metadata={"rows": [7]})  # type: ignore[dict-item]
    client.stream("nightly")  # type: ignore[call-arg]
    client.send("nightly", {"content_state": {"title": "t"}})  # type: ignore[call-overload]
    EndStreamRequest(channels=["ops"])  # type: ignore[call-arg]
    StreamRequest()  # type: ignore[call-arg]
    print(asynchronous.end_stream("nightly").operation)  # type: ignore[attr-defined]
    LiveActivity("nightly", client=asynchronous)  # type: ignore[arg-type]
    LiveActivity("nightly", titel="x")  # type: ignore[call-arg]
    with asynchronous:  # type: ignore[attr-defined]
        pass
    AlertState(title="t")  # type: ignore[call-arg]
    AlertState(title="t", message="m", color="pink")  # type: ignore[arg-type]
    ProgressState(title="t", percentage="50")  # type: ignore[arg-type]
    MetricsState(title="t", metrics="CPU")  # type: ignore[arg-type]
    MetricsState(title="t", metrics=[7])  # type: ignore[list-item]
    ProgressState(title="t", icon="bolt")  # type: ignore[arg-type]
    ValueState(title="t", valeu=1)  # type: ignore[call-arg]
    RunOutcome("nightly", "over")  # type: ignore[arg-type]
    RetryPolicy(max_retries="4")  # type: ignore[arg-type]
    ActivitySmithClient("ask_...", "https://example.com")  # type: ignore[call-arg]
    ActivitySmithClient(http_client=httpx.AsyncClient())  # type: ignore[arg-type]
