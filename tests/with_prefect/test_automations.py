import asyncio
import json
import logging
from datetime import timedelta
from fnmatch import fnmatch
from typing import Any

import pytest

pytest.importorskip("prefect")

from prefect import flow, get_client
from prefect.automations import Automation
from prefect.blocks.webhook import Webhook
from prefect.client.schemas.objects import StateType
from prefect.server.events.schemas.automations import EventTrigger
from prefect.server.events.schemas.events import ReceivedEvent
from prefect.server.utilities.user_templates import render_user_template_sync, validate_user_template
from prefect.settings import PREFECT_UI_URL, temporary_settings
from pydantic import SecretStr
from support.sandbox import KEY

from activitysmith_integrations.core import EndStreamRequest, InvalidRequestError, StreamRequest
from activitysmith_integrations.prefect import (
    ActivitySmithCredentials,
    aend_live_activity_stream_automation,
    alive_activity_automation,
    end_live_activity_stream_automation,
    live_activity_automation,
)

NASTY = 'quick "fox"\n{{ 7 * 7 }} {% raw %} </script> \\ \N{FIRE}'


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> ActivitySmithCredentials:
    monkeypatch.delenv("ACTIVITYSMITH_BASE_URL", raising=False)
    return ActivitySmithCredentials(api_key=SecretStr(KEY))


@flow(name="nightly")
def nightly() -> None: ...


@pytest.fixture(scope="module")
def known(server: None) -> None:
    """The server knows the flow and a deployment of it."""
    with get_client(sync_client=True) as client:
        client.create_deployment(client.create_flow(nightly), "prod")


def saved(name: str) -> Automation:
    return asyncio.run(Automation.aread(name=name))


def saved_webhook(name: str) -> Webhook:
    return asyncio.run(Webhook.aload(name))


def rendered(automation: Automation, state: str, name: str | None = None, message: str = NASTY) -> dict[str, Any]:
    """The body that the server makes of the payload when a run enters a state."""
    payload = automation.actions[0].payload  # type: ignore[union-attr]
    validate_user_template(payload)
    resource = {
        "prefect.resource.id": "prefect.flow-run.5c1a0f4e-9d3c-4a55-9c7e-0d6f0a4b1f11",
        "prefect.resource.name": NASTY,
        "prefect.state-message": message,
        "prefect.state-name": name or state.title(),
        "prefect.state-type": state,
    }
    context = {"event": {"resource": resource}, "flow_run": {"state_type": state}}
    body: dict[str, Any] = json.loads(render_user_template_sync(payload, context))
    (StreamRequest if state == "RUNNING" else EndStreamRequest)(**body)
    return body


def test_one_call_makes_a_block_and_an_automation_that_the_server_needs_no_code_for(
    account: ActivitySmithCredentials, known: None
) -> None:
    (automation,) = end_live_activity_stream_automation("nightly", "Nightly_ETL", credentials=account)
    there = saved(automation.name)
    webhook = saved_webhook("end-live-activity-stream-nightly-etl-17f93da6")
    assert there.id == automation.id
    assert there.actions[0].block_document_id == webhook._block_document_id  # type: ignore[union-attr]
    assert webhook.method == "DELETE"
    assert webhook.url.get_secret_value() == "https://activitysmith.com/api/live-activity/stream/Nightly_ETL"
    assert webhook.headers.get_secret_value() == {
        "Authorization": f"Bearer {KEY}",
        "Content-Type": "application/json",
    }
    assert KEY not in there.model_dump_json()


def test_a_second_call_updates_both(account: ActivitySmithCredentials, known: None) -> None:
    (first,) = end_live_activity_stream_automation("nightly", "twice", credentials=account)
    moved = ActivitySmithCredentials(api_key=SecretStr("ask_other"), base_url="https://other.example/api")
    (second,) = end_live_activity_stream_automation("nightly", "twice", credentials=moved, title="Twice")
    assert first.id == second.id
    there = saved(second.name)
    assert rendered(there, "COMPLETED")["content_state"]["title"] == "Twice"
    assert saved_webhook("end-live-activity-stream-twice").url.get_secret_value().startswith("https://other.example/")


@pytest.mark.parametrize("make", [end_live_activity_stream_automation, live_activity_automation])
def test_a_call_without_lost_after_deletes_what_an_earlier_one_made_for_lost_runs(
    make: Any, account: ActivitySmithCredentials, known: None
) -> None:
    other = make("nightly/prod", "changed", credentials=account, lost_after=timedelta(minutes=10))[-1]
    *_, lost = make("nightly", "changed", credentials=account, lost_after=timedelta(minutes=10))
    assert saved(lost.name).id == lost.id
    *_, end = make("nightly", "changed", credentials=account)
    with pytest.raises(ValueError, match="not found"):
        saved(lost.name)
    assert saved(end.name).id == end.id
    assert saved(other.name).id == other.id


def test_what_somebody_paused_stays_paused(account: ActivitySmithCredentials, known: None) -> None:
    first = live_activity_automation("nightly", "paused", credentials=account, lost_after=timedelta(minutes=10))
    start, end, lost = first
    asyncio.run(end.adisable())
    asyncio.run(lost.adisable())
    again = live_activity_automation(
        "nightly", "paused", credentials=account, title="Again", lost_after=timedelta(minutes=20)
    )
    there = [saved(automation.name) for automation in (start, end, lost)]
    assert [automation.enabled for automation in there] == [True, False, False]
    assert [automation.enabled for automation in again] == [True, False, False]
    assert rendered(there[1], "COMPLETED")["content_state"]["title"] == "Again"


@pytest.mark.parametrize("make", [end_live_activity_stream_automation, live_activity_automation])
def test_a_notebook_whose_event_loop_runs_makes_them_too(
    make: Any, account: ActivitySmithCredentials, known: None
) -> None:
    async def cell() -> list[Automation]:
        automations: list[Automation] = make("nightly", "notebook", credentials=account)
        return automations

    for automation in asyncio.run(cell()):
        assert saved(automation.name).id == automation.id


@pytest.mark.parametrize("make", [aend_live_activity_stream_automation, alive_activity_automation])
def test_the_server_is_asked_once_for_the_flow_and_once_for_the_credentials(
    make: Any, account: ActivitySmithCredentials, known: None, caplog: pytest.LogCaptureFixture
) -> None:
    account.save("asked", overwrite=True)
    with caplog.at_level(logging.INFO, "httpx"):
        asyncio.run(make("nightly", "asked", credentials="asked"))
    asked = [record.getMessage() for record in caplog.records if record.name == "httpx"]
    assert sum("/flows/filter" in line for line in asked) == 1
    assert sum("/activitysmith-credentials/block_documents/name/asked" in line for line in asked) == 1


@pytest.mark.parametrize(
    ("state", "name", "result"),
    [
        ("COMPLETED", None, "succeeded"),
        ("COMPLETED", "Cached", "succeeded"),
        ("FAILED", None, "failed"),
        ("FAILED", "TimedOut", "timed_out"),
        ("CRASHED", None, "crashed"),
        ("CANCELLING", None, "cancelled"),
        ("CANCELLED", None, "cancelled"),
    ],
)
def test_every_end_of_a_run_has_its_picture_whatever_the_names(
    account: ActivitySmithCredentials, known: None, state: str, name: str | None, result: str
) -> None:
    with temporary_settings({PREFECT_UI_URL: "https://prefect.example"}):
        (automation,) = end_live_activity_stream_automation("nightly", "nightly", credentials=account, title=NASTY)
    body = rendered(automation, state, name)
    assert body["metadata"] == {"engine": "prefect", "pipeline": "nightly", "run": NASTY, "result": result}
    assert "{{ 7 * 7 }} {% raw %}" in body["content_state"]["title"]
    assert "quick" not in body["content_state"].get("message", "")
    if result != "succeeded":
        assert body["action"]["url"].endswith("/runs/flow-run/5c1a0f4e-9d3c-4a55-9c7e-0d6f0a4b1f11")


def test_the_error_is_shown_when_asked_for(account: ActivitySmithCredentials, known: None) -> None:
    (automation,) = end_live_activity_stream_automation("nightly", "nightly", credentials=account, include_error=True)
    body = rendered(automation, "FAILED", message=NASTY * 20)
    text = f"Failed: {(NASTY * 20)[:120]}"
    assert (body["content_state"]["message"], body["alert"]["body"]) == (text, text)


@pytest.mark.parametrize(("state", "badge"), [("FAILED", "Failed"), ("CRASHED", "Crashed")])
def test_a_state_without_a_message_shows_nothing_in_its_place(
    account: ActivitySmithCredentials, known: None, state: str, badge: str
) -> None:
    (automation,) = end_live_activity_stream_automation("nightly", "nightly", credentials=account, include_error=True)
    body = rendered(automation, state, message="")
    assert (body["content_state"]["message"], body["alert"]["body"]) == (badge, badge)


def test_a_deployments_runs_are_told_from_the_flows_other_runs(account: ActivitySmithCredentials, known: None) -> None:
    (automation,) = end_live_activity_stream_automation("nightly/prod", "nightly", credentials=account)
    related = [specification.model_dump() for specification in automation.trigger.match_related]  # type: ignore[union-attr]
    assert related == [
        {"prefect.resource.role": "flow", "prefect.resource.name": "nightly"},
        {"prefect.resource.role": "deployment", "prefect.resource.name": "prod"},
    ]
    assert automation.name == "End Live Activity stream nightly of nightly/prod"


def event_of_run(event: str, resource: dict[str, str], deployment: dict[str, str], flow_name: str) -> ReceivedEvent:
    """As Prefect 3.9.1 sends it for a deployment's run."""
    return ReceivedEvent.model_validate(
        {
            "occurred": "2026-11-28T06:20:55.331729Z",
            "event": f"prefect.flow-run.{event}",
            "resource": {
                "prefect.resource.id": "prefect.flow-run.013e8f5d-f201-40b1-beba-6255aa50b807",
                "prefect.resource.name": "positive-tortoise",
                **resource,
            },
            "related": [
                {
                    "prefect.resource.id": "prefect.flow.8b34ad33-7274-41e5-b944-07fdf0940ba8",
                    "prefect.resource.role": "flow",
                    "prefect.resource.name": flow_name,
                },
                {"prefect.resource.role": "deployment", **deployment},
            ],
            "id": "01a220d0-5aa4-7ed2-9390-764eacae690d",
        }
    )


@pytest.mark.parametrize("make", [end_live_activity_stream_automation, live_activity_automation])
@pytest.mark.parametrize("name", ["nightly", "nightly/prod"])
def test_a_lost_run_is_known_by_its_heartbeats_which_have_its_deployments_id_alone(
    make: Any, name: str, account: ActivitySmithCredentials, known: None
) -> None:
    with get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("nightly/prod")
        other = client.create_deployment(client.create_flow(nightly), "other")
    *_, ended, lost = (
        EventTrigger.model_validate(saved(automation.name).trigger.model_dump(mode="json"))
        for automation in make(name, "lost", credentials=account, lost_after=timedelta(minutes=10))
    )

    def events(deployment_id: object, deployment_name: str, flow_name: str) -> list[ReceivedEvent]:
        by_id = {"prefect.resource.id": f"prefect.deployment.{deployment_id}"}
        over = {"prefect.run-count": "1", "prefect.state-name": "Completed", "prefect.state-type": "COMPLETED"}
        return [
            event_of_run("heartbeat", {"prefect.version": "3.9.1"}, by_id, flow_name),
            event_of_run("Completed", over, {**by_id, "prefect.resource.name": deployment_name}, flow_name),
        ]

    heartbeat, completed = events(deployment.id, "prod", "nightly")
    assert lost.covers(heartbeat)
    assert lost.starts_after(heartbeat.event)
    assert lost.covers(completed)
    assert lost.expects(completed.event)
    assert ended.covers(completed)
    assert not any(lost.covers(event) for event in events(deployment.id, "prod", "daily"))
    for event in events(other, "other", "nightly"):
        assert lost.covers(event) == (name == "nightly")


def test_flows_that_share_a_stream_have_an_automation_each(account: ActivitySmithCredentials, known: None) -> None:
    ends = [
        live_activity_automation(flow, "shared", credentials=account, lost_after=timedelta(minutes=10))
        for flow in ("nightly", "nightly/prod")
    ]
    assert len({automation.id for automations in ends for automation in automations}) == 6


def test_a_run_that_gives_no_heartbeat_has_an_automation_of_its_own(
    account: ActivitySmithCredentials, known: None
) -> None:
    _, lost = end_live_activity_stream_automation(
        "nightly", "nightly", credentials=account, results=["crashed"], lost_after=timedelta(minutes=10)
    )
    payload = lost.actions[0].payload  # type: ignore[union-attr]
    assert json.loads(payload)["content_state"]["message"] == "Crashed"


@pytest.mark.parametrize("name", ["", "!nightly", "night*", "nightly/prod*"])
def test_a_name_that_would_match_other_flows_is_refused(account: ActivitySmithCredentials, name: str) -> None:
    with pytest.raises(InvalidRequestError, match="flow"):
        end_live_activity_stream_automation(name, "nightly", credentials=account)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"stream_key": "{{ flow.name }}"}, "stream_key"),
        ({"results": ["done"]}, "results"),
        ({"results": []}, "results"),
        ({"results": [1]}, "results: 1 is not a result"),
        ({"results": [["failed"]]}, "is not a result"),
        ({"results": 5}, "results: must be a list"),
        ({"lost_after": timedelta(seconds=5)}, "lost_after: must be a timedelta of 10 s or more"),
        ({"lost_after": "5m"}, "lost_after: must be a timedelta of 10 s or more, .* not '5m'"),
        ({"titel": "x"}, "title"),
        ({"start_unseen_failures": True}, "start_unseen_failures: is not known to automations"),
    ],
)
def test_what_cannot_be_used_is_refused_before_anything_is_saved(
    account: ActivitySmithCredentials, known: None, arguments: dict[str, Any], named: str
) -> None:
    makers: list[Any] = [end_live_activity_stream_automation]
    if "results" not in arguments:
        makers.append(live_activity_automation)
    for make in makers:
        with pytest.raises(InvalidRequestError, match=named):
            make(**{"flow": "nightly", "stream_key": "refused", **arguments}, credentials=account)
    for name in ("Start Live Activity stream refused", "End Live Activity stream refused"):
        with pytest.raises(ValueError, match="refused"):
            saved(f"{name} of nightly")


@pytest.mark.parametrize("make", [end_live_activity_stream_automation, live_activity_automation])
@pytest.mark.parametrize("seconds", [60, 180])
def test_a_time_within_which_no_heartbeat_is_due_is_refused(
    make: Any, seconds: int, account: ActivitySmithCredentials, known: None, heartbeat_setting: Any
) -> None:
    with (
        temporary_settings({heartbeat_setting: 180}),
        pytest.raises(InvalidRequestError) as refusal,
    ):
        make("nightly", "hasty", credentials=account, lost_after=timedelta(seconds=seconds))
    said = str(refusal.value)
    assert "lost_after: must be longer than the 180 s between two heartbeats (PREFECT_" in said
    assert f"not {seconds} s, " in said
    assert "take timedelta(seconds=540), or a smaller PREFECT_" in said
    with pytest.raises(ValueError, match="not found"):
        saved("End Live Activity stream hasty of nightly")


def test_a_time_longer_than_between_two_heartbeats_is_taken(
    account: ActivitySmithCredentials, known: None, heartbeat_setting: Any
) -> None:
    with temporary_settings({heartbeat_setting: 30}):
        _, lost = end_live_activity_stream_automation(
            "nightly", "patient", credentials=account, lost_after=timedelta(seconds=31)
        )
    assert saved(lost.name).trigger.within == timedelta(seconds=31)  # type: ignore[union-attr]


def test_where_no_heartbeats_are_known_of_any_time_is_taken(
    account: ActivitySmithCredentials, known: None, heartbeat_setting: Any
) -> None:
    with temporary_settings({heartbeat_setting: None}):
        _, lost = end_live_activity_stream_automation(
            "nightly", "unknown-heartbeats", credentials=account, lost_after=timedelta(seconds=10)
        )
    assert saved(lost.name).trigger.within == timedelta(seconds=10)  # type: ignore[union-attr]


def test_a_run_that_never_started_ends_nothing(account: ActivitySmithCredentials, known: None) -> None:
    (automation,) = end_live_activity_stream_automation("nightly", "nightly", credentials=account)
    assert automation.trigger.match.model_dump()["prefect.run-count"] == "!0"  # type: ignore[union-attr]


def test_a_run_that_waits_is_not_taken_for_a_lost_one(account: ActivitySmithCredentials, known: None) -> None:
    _, lost = end_live_activity_stream_automation(
        "nightly", "nightly", credentials=account, lost_after=timedelta(minutes=10)
    )
    trigger: Any = lost.trigger
    for state in ("AwaitingRetry", "Suspended", "Paused", "Scheduled", "OutOfStock", "heartbeat"):
        assert any(fnmatch(f"prefect.flow-run.{state}", expected) for expected in trigger.expect)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("nightli", "did you mean nightly"),
        ("nightly/prd", "did you mean nightly/prod"),
        ("something-else", "run, deploy or serve it first"),
        ("nightly/", "blank"),
        (nightly, "must be the flow's name, 'nightly', not the flow itself"),
        (7, "must be a flow's name"),
    ],
)
@pytest.mark.parametrize("automate", [end_live_activity_stream_automation, live_activity_automation])
def test_a_flow_that_the_server_does_not_know_is_refused_with_what_was_meant(
    name: Any, hint: str, automate: Any, account: ActivitySmithCredentials, known: None
) -> None:
    with pytest.raises(InvalidRequestError, match=hint):
        automate(name, "unknown", credentials=account)
    with pytest.raises(ValueError, match="unknown"):
        saved(f"End Live Activity stream unknown of {name}")


def test_the_server_can_start_the_stream_as_well(account: ActivitySmithCredentials, known: None) -> None:
    start, end = live_activity_automation("nightly", "night", credentials=account, title="Nightly ETL", tags=["etl"])
    assert saved_webhook("start-live-activity-stream-night").method == "PUT"
    assert saved_webhook("end-live-activity-stream-night").method == "DELETE"
    body = rendered(saved(start.name), "RUNNING")
    state = body["content_state"]
    assert (state["type"], state["title"], body["tags"]) == ("progress", "Nightly ETL", ["prefect", "etl"])
    assert state["subtitle"] == NASTY
    assert "result" not in body["metadata"]
    assert rendered(saved(end.name), "COMPLETED")["content_state"]["title"] == "Nightly ETL"


def test_a_run_that_is_over_by_then_is_not_started(account: ActivitySmithCredentials, known: None) -> None:
    start, _ = live_activity_automation("nightly", "night", credentials=account)
    payload: Any = start.actions[0].payload  # type: ignore[union-attr]
    over: dict[str, Any] = {
        "event": {"resource": {"prefect.resource.name": "x"}},
        "flow_run": {"state_type": StateType.COMPLETED},
    }
    assert render_user_template_sync(payload, over) == ""
    over["flow_run"]["state_type"] = StateType.RUNNING
    assert render_user_template_sync(payload, over) != ""
