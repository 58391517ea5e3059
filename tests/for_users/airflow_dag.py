"""What mypy tells a person who writes this DAG; see ``core_client.py``."""

from typing import assert_type

from airflow.sdk import DAG, Context, task

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

templated = end_activitysmith_stream(
    "{{ dag.dag_id }}",
    on_success="{{ params.form }}",
    on_failure="{{ params.form }}",
    failure_color="{{ params.color }}",
    failure_auto_dismiss_minutes="{{ params.minutes }}",
    include_error="{{ params.is_internal }}",
    start_unseen_failures="{{ params.is_watched }}",
)

rows = ActivitySmithStreamNotifier(content_state={"title": "Nightly"}, channels=["data"], patience=20)

with DAG(
    "nightly",
    default_args={"on_execute_callback": rows, "on_success_callback": [rows]},
    on_success_callback=notifier,
    on_failure_callback=[notifier, templated],
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

    @task
    def key() -> str:
        return "nightly"

    ActivitySmithStreamOperator(task_id="update_stream", stream_key=key(), content_state={"title": "Nightly"})
    ActivitySmithEndStreamOperator(task_id="end_it", stream_key=key(), success_color="{{ params.color }}")
    ActivitySmithFollowRunOperator(task_id="follow_it", stream_key=key(), on_failure="{{ params.form }}")


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
    ActivitySmithEndStreamOperator(task_id="end_stream", on_success=True)  # type: ignore[arg-type]
    ActivitySmithEndStreamOperator(task_id="end_stream", stream_key=5)  # type: ignore[arg-type]
    ActivitySmithEndStreamOperator("end_stream")  # type: ignore[call-arg]
    ActivitySmithEndStreamNotifier(subtitel="Over")  # type: ignore[call-arg]
    ActivitySmithEndStreamNotifier(on_failure=1)  # type: ignore[arg-type]
    ActivitySmithEndStreamNotifier("nightly", "activitysmith_default")  # type: ignore[call-arg]
    ActivitySmithStreamNotifier(content_state={"title": "Nightly"}, titel="Nightly")  # type: ignore[call-arg]
    ActivitySmithStreamNotifier("nightly")  # type: ignore[call-arg]
    ActivitySmithFollowRunOperator(task_id="follow_run", success_color=3)  # type: ignore[arg-type]
    hook.end_stream("nightly", title="Over")  # type: ignore[call-arg]
    hook.stream("nightly")  # type: ignore[call-arg]
    print(hook.async_end_stream("nightly").operation)  # type: ignore[attr-defined]
