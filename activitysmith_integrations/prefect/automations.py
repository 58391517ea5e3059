"""An automation that ends a stream from Prefect's server: where nobody is left to run a hook.

It is made of Prefect's own ``Webhook`` block and ``CallWebhook`` action, so the server needs none of our code
and may be Prefect Cloud.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import Unpack
from uuid import UUID

from prefect.automations import Automation
from prefect.blocks.webhook import Webhook
from prefect.events.actions import CallWebhook
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.types import SecretDict
from pydantic import SecretStr

from activitysmith_integrations import core
from activitysmith_integrations.prefect.blocks import ActivitySmithCredentials, resolve
from activitysmith_integrations.prefect.runs import ENGINE, key_or_default, run_url

# A run of `python flow.py` that is cancelled from outside stays in Cancelling: nobody acts on it (Prefect 3.8).
_STATE_TYPES: dict[core.Result, tuple[str, ...]] = {
    "succeeded": ("COMPLETED",),
    "failed": ("FAILED",),
    "timed_out": ("FAILED",),  # a failure of that name
    "crashed": ("CRASHED",),
    "cancelled": ("CANCELLING", "CANCELLED"),
}
_KNOWN = "{% set type = event.resource['prefect.state-type'] %}{% set name = event.resource['prefect.state-name'] %}"
_CONDITIONS: dict[core.Result, str] = {
    "succeeded": "type == 'COMPLETED'",
    "timed_out": "type == 'FAILED' and name == 'TimedOut'",
    "failed": "type == 'FAILED' and name != 'TimedOut'",
    "crashed": "type == 'CRASHED'",
    "cancelled": "type in ('CANCELLING', 'CANCELLED')",
}
_FINAL_EVENTS = ("Completed", "Failed", "TimedOut", "Crashed", "Cancelling", "Cancelled")

# What is known only when the automation fires is written as these marks first, which no name contains.
_RUN_MARK = "activitysmith-mark-run-name"
_ERROR_MARK = "activitysmith-mark-message"
_ID_MARK = UUID("ac717175-0000-4000-8000-000000000000")
_EXPRESSIONS = {
    _RUN_MARK: "event.resource['prefect.resource.name']",
    _ERROR_MARK: "event.resource['prefect.state-message'][:120]",
    str(_ID_MARK): "event.resource['prefect.resource.id'].split('.')[-1]",
}


async def aend_live_activity_stream_automation(
    flow: str,
    stream_key: str | None = None,
    *,
    credentials: ActivitySmithCredentials | str | None = None,
    results: Collection[core.Result] = tuple(_STATE_TYPES),
    lost_after: timedelta | None = None,
    **options: Unpack[core.EndOptions],
) -> list[Automation]:
    """Make the server end a stream when a run of a flow ends, or update how it does.

    It saves a ``Webhook`` block, which holds the API key as a secret of its own (so call this again after
    changing the key), and one automation that calls it, two with *lost_after*. Both are named after the
    stream; what is there of those names is replaced. The server has to reach the service's address.

    Beside hooks, let it care for what hooks cannot see, or both send an end and the first one shows:
    ``results=["crashed", "cancelled"]``.

    Args:
        flow: A flow's name, or a deployment's as ``flow/deployment``.
        stream_key: The stream; made of the flow's name by default, as hooks do.
        credentials: The block, its name, or None for the environment's key.
        results: The ends of runs to act upon; a timeout is one with a failure.
        lost_after: Without a sign of life from a run for this long, show it as crashed. It must be longer than
            the time between two signs of life (``PREFECT_FLOWS_HEARTBEAT_FREQUENCY``: 180 s by default in
            Prefect 3.8, none in 3.6). The run's state stays as it is. A sign of life that reaches the server
            after the run's end, as that of a run of less than a second does (seen on 3.8.8), is taken for a run
            that goes on: its stream is then ended once more. So choose less than the time to the next run. A
            run that dies before its first sign of life reaches the server is not noticed.
        options: How the end looks; see :class:`~activitysmith_integrations.core.EndOptions`.

    Returns:
        The automations as saved.

    Raises:
        InvalidRequestError: A name, the key, a result or an option cannot be used; nothing was saved.
    """
    flow_name, _, deployment = flow.partition("/")
    related = _related(flow_name, deployment)
    key = key_or_default(stream_key, flow_name)
    ended = _ended(related, results)
    payload = _payload(flow_name, options)
    lost_payload = _body(core.RunOutcome(flow_name, "crashed", engine=ENGINE), options, {})
    webhook = _webhook(key, await resolve(credentials))
    webhook_id = await webhook.asave(name=_block_name(key), overwrite=True)
    automations = [
        Automation(
            name=f"End Live Activity stream {key}",
            description=f"Ends the ActivitySmith stream {key} when a run of {flow} ends.",
            trigger=ended,
            actions=[CallWebhook(block_document_id=webhook_id, payload=payload)],
        )
    ]
    if lost_after is not None:
        automations.append(
            Automation(
                name=f"End Live Activity stream {key} of a lost run",
                description=f"Ends the ActivitySmith stream {key} when a run of {flow} gives no sign of life.",
                trigger=_lost(related, lost_after),
                actions=[CallWebhook(block_document_id=webhook_id, payload=lost_payload)],
            )
        )
    return [await _save(automation) for automation in automations]


def end_live_activity_stream_automation(
    flow: str,
    stream_key: str | None = None,
    *,
    credentials: ActivitySmithCredentials | str | None = None,
    results: Collection[core.Result] = tuple(_STATE_TYPES),
    lost_after: timedelta | None = None,
    **options: Unpack[core.EndOptions],
) -> list[Automation]:
    """As :func:`aend_live_activity_stream_automation`, where no event loop runs: scripts, sync code."""
    return asyncio.run(
        aend_live_activity_stream_automation(
            flow, stream_key, credentials=credentials, results=results, lost_after=lost_after, **options
        )
    )


async def _save(automation: Automation) -> Automation:
    try:
        there = await Automation.aread(name=automation.name)
    except ValueError:  # Prefect's way to say that there is none
        return await automation.acreate()
    automation.id = there.id
    await automation.aupdate()
    return automation


def _webhook(key: str, credentials: ActivitySmithCredentials) -> Webhook:
    with credentials.get_client() as client:
        url = f"{client.base_url}/live-activity/stream/{key}"
    headers = {
        "Authorization": f"Bearer {credentials.api_key.get_secret_value()}",
        "Content-Type": "application/json",
    }
    return Webhook(method="DELETE", url=SecretStr(url), headers=SecretDict(headers))


def _block_name(key: str) -> str:
    """A name for the block: Prefect takes lower-case letters, digits and dashes."""
    legal = re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")
    digest = hashlib.sha256(key.encode(), usedforsecurity=False).hexdigest()[:8]
    return f"end-live-activity-stream-{key if legal == key else f'{legal}-{digest}'}"


def _related(flow_name: str, deployment: str) -> list[dict[str, str]]:
    wanted = {"flow": flow_name, **({"deployment": deployment} if deployment else {})}
    for name in wanted.values():
        # In a trigger these are no letters: other flows would match, and end this one's stream (Prefect 3.8).
        if not name.strip() or name.startswith("!") or name.endswith("*"):
            raise core.InvalidRequestError(
                ("flow", f"{name!r} cannot be matched: blank, or with ! before or * after it")
            )
    return [{"prefect.resource.role": role, "prefect.resource.name": name} for role, name in wanted.items()]


def _ended(related: list[dict[str, str]], results: Collection[core.Result]) -> EventTrigger:
    unknown = [result for result in results if result not in _STATE_TYPES]
    if unknown or not results:
        raise core.InvalidRequestError(("results", f"{unknown or results!r}: choose among {', '.join(_STATE_TYPES)}"))
    types = sorted({kind for result in results for kind in _STATE_TYPES[result]})
    # By the type, because a state may have any name, and its name is the event's.
    return EventTrigger(
        expect={"prefect.flow-run.*"},
        match={"prefect.resource.id": "prefect.flow-run.*", "prefect.state-type": types},
        match_related=related,  # type: ignore[arg-type]
        posture=Posture.Reactive,
        threshold=1,
        within=timedelta(0),
    )


def _lost(related: list[dict[str, str]], after: timedelta) -> EventTrigger:
    heartbeat = "prefect.flow-run.heartbeat"
    return EventTrigger(
        after={heartbeat},
        expect={heartbeat, *(f"prefect.flow-run.{name}" for name in _FINAL_EVENTS)},
        match={"prefect.resource.id": "prefect.flow-run.*"},
        match_related=related,  # type: ignore[arg-type]
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=after,
    )


def _payload(flow_name: str, options: core.EndOptions) -> str:
    """The Jinja template of the request's body, which depends on how the run ended."""
    bodies = (
        f"{{% if {condition} %}}{_body(_marked(flow_name, result), options, _EXPRESSIONS)}{{% endif %}}"
        for result, condition in _CONDITIONS.items()
    )
    return _KNOWN + "".join(bodies)


def _marked(flow_name: str, result: core.Result) -> core.RunOutcome:
    """What is known of a run before there is one."""
    return core.RunOutcome(
        pipeline=flow_name,
        result=result,
        run=_RUN_MARK,
        engine=ENGINE,
        url=run_url("flow-run", _ID_MARK),
        error_text=_ERROR_MARK,
    )


def _body(outcome: core.RunOutcome, options: core.EndOptions, expressions: Mapping[str, str]) -> str:
    """The request that ends a stream, as JSON that Jinja leaves as it is but for the marks."""
    text = json.dumps(core.EndStreamRequest(**core.end_request(outcome, options)).to_wire())
    # Only within strings can these two meet, and as an escape the first means the same there.
    for opening in ("{{", "{%", "{#"):
        text = text.replace(opening, "\\u007b" + opening[1:].replace("{", "\\u007b"))
    for mark, expression in expressions.items():
        text = text.replace(mark, f"{{{{ ({expression} | tojson)[1:-1] }}}}")
    return text
