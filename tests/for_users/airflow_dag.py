"""What mypy tells a person who writes this DAG; see ``core_client.py``."""

from typing import assert_type

from airflow.sdk import DAG, Context

from activitysmith_integrations.airflow.hooks import ActivitySmithHook
from activitysmith_integrations.airflow.notifications import (
    ActivitySmithEndStreamNotifier,
    ActivitySmithStreamNotifier,
    end_activitysmith_stream,
)
from activitysmith_integrations.airflow.operators import (
    ActivitySmithEndStreamOperator,
    ActivitySmithFollowRunOperator,
    ActivitySmithStreamOperator,
)
from activitysmith_integrations.airflow.retries import ActivitySmithRetryPolicy
from activitysmith_integrations.core import ActivitySmithClient, AlertState, EndStreamResponse, StreamResponse

notifier = ActivitySmithEndStreamNotifier("{{ dag.dag_id }}", on_success="progress", tags=["nightly"])
assert_type(end_activitysmith_stream(), ActivitySmithEndStreamNotifier)

rows = ActivitySmithStreamNotifier(content_state={"title": "Nightly"}, channels=["data"], patience=20)

with DAG(
    "nightly",
    default_args={"on_execute_callback": rows, "on_success_callback": [rows]},
    on_success_callback=notifier,
    on_failure_callback=[notifier],
):
    ActivitySmithFollowRunOperator(task_id="follow_run", failure_color="purple", poll_interval=2)
    ActivitySmithStreamOperator(task_id="start_stream", content_state={"title": "Nightly"}, tags=["nightly"])
    ActivitySmithEndStreamOperator(
        task_id="end_stream",
        stream_key="nightly-{{ ds }}",
        content_state=AlertState(title="Nightly", message="Over"),
        success_auto_dismiss_minutes="{{ params.minutes }}",
        retries=3,
        retry_policy=ActivitySmithRetryPolicy(),
    ).as_teardown()


def right(hook: ActivitySmithHook, context: Context) -> None:
    assert_type(hook.get_conn(), ActivitySmithClient)
    assert_type(hook.end_stream("nightly", tags=["a"]), EndStreamResponse)
    assert_type(hook.stream("nightly", content_state={"title": "Nightly"}), StreamResponse)
    assert_type(hook.test_connection(), tuple[bool, str])
    notifier.notify(context)


async def right_too(hook: ActivitySmithHook) -> None:
    assert_type(await hook.async_end_stream("nightly"), EndStreamResponse)
    assert_type(await hook.async_stream("nightly", content_state={"title": "Nightly"}), StreamResponse)


def wrong(hook: ActivitySmithHook) -> None:
    ActivitySmithEndStreamOperator(task_id="end_stream", on_success="alert")  # type: ignore[arg-type]
    ActivitySmithEndStreamOperator(task_id="end_stream", success_color="pink")  # type: ignore[arg-type]
    ActivitySmithEndStreamOperator("end_stream")  # type: ignore[call-arg]
    ActivitySmithEndStreamNotifier(subtitel="Over")  # type: ignore[call-arg]
    ActivitySmithEndStreamNotifier(on_failure="banner")  # type: ignore[arg-type]
    ActivitySmithEndStreamNotifier("nightly", "activitysmith_default")  # type: ignore[call-arg]
    ActivitySmithStreamNotifier(content_state={"title": "Nightly"}, titel="Nightly")  # type: ignore[call-arg]
    ActivitySmithStreamNotifier("nightly")  # type: ignore[call-arg]
    ActivitySmithFollowRunOperator(task_id="follow_run", on_success="alert")  # type: ignore[arg-type]
    hook.end_stream("nightly", title="Over")  # type: ignore[call-arg]
    hook.stream("nightly")  # type: ignore[call-arg]
    print(hook.async_end_stream("nightly").operation)  # type: ignore[attr-defined]
