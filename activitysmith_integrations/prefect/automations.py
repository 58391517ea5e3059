"""Automations that show runs from Prefect's server: for flows whose code nobody may touch, or nobody is left to run.

They are made of Prefect's own ``Webhook`` block and ``CallWebhook`` action, so the server needs none of our code and
may be Prefect Cloud.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Collection
from datetime import timedelta
from typing import TYPE_CHECKING, Literal, Unpack
from uuid import UUID

from prefect.automations import Automation
from prefect.blocks.webhook import Webhook
from prefect.events.actions import CallWebhook
from prefect.events.schemas.automations import EventTrigger
from prefect.types import SecretDict
from pydantic import SecretStr

from activitysmith_integrations import core
from activitysmith_integrations.core.keys import check_stream_key
from activitysmith_integrations.prefect.blocks import ActivitySmithCredentials, resolve
from activitysmith_integrations.prefect.payloads import end_payload, lost_payload, start_payload
from activitysmith_integrations.prefect.triggers import (
    STATE_TYPES,
    check_known,
    related_to,
    when_ended,
    when_lost,
    when_started,
)

if TYPE_CHECKING:
    from activitysmith_integrations.core.runs.outcome import Result

_ALL: tuple[Result, ...] = tuple(STATE_TYPES)


async def alive_activity_automation(
    flow: str,
    stream_key: str,
    *,
    credentials: ActivitySmithCredentials | str | None = None,
    lost_after: timedelta | None = None,
    **options: Unpack[core.EndOptions],
) -> list[Automation]:
    """Make the server show a flow's runs, from their start to their end, or update how it does.

    Nothing of ours runs in the flow's process: this is for flows whose code nobody may touch. The stream shows no
    progress in between. All runs share it, so the run that reports last is shown; where runs overlap, take
    :func:`live_activity_hooks`. What is saved is described at :func:`aend_live_activity_stream_automation`.

    Args:
        flow: See :func:`aend_live_activity_stream_automation`.
        stream_key: The stream, which all runs of the flow share: the server can make no keys.
        credentials: The block, its name, or None for the environment's key.
        lost_after: See :func:`aend_live_activity_stream_automation`.
        options: How it looks, and its end; see :class:`~activitysmith_integrations.core.EndOptions`.

    Returns:
        The automations as saved: for the start, the end, and with *lost_after* for lost runs.

    Raises:
        InvalidRequestError: A name, the key, the time or an option cannot be used, or the server knows no such flow or
            deployment; nothing was saved.
        ConfigurationError: The environment names no account that can be used.
    """
    from activitysmith_integrations.core.runs.picture import check_end_options

    related, key = related_to(flow), check_stream_key(stream_key)
    if lost_after is not None:
        when_lost(related, lost_after)  # refused before the start is saved
    check_end_options(options, other=("flow", "stream_key", "credentials", "lost_after"))
    name = flow.partition("/")[0]
    await check_known(flow)
    start = await _save(
        f"Start Live Activity stream {key} of {flow}",
        f"Starts the ActivitySmith stream {key} when a run of {flow} starts.",
        when_started(related),
        await _webhook("PUT", key, await resolve(credentials)),
        start_payload(name, options),
    )
    ends = await aend_live_activity_stream_automation(
        flow, stream_key, credentials=credentials, lost_after=lost_after, **options
    )
    return [start, *ends]


def live_activity_automation(
    flow: str,
    stream_key: str,
    *,
    credentials: ActivitySmithCredentials | str | None = None,
    lost_after: timedelta | None = None,
    **options: Unpack[core.EndOptions],
) -> list[Automation]:
    """:func:`alive_activity_automation` where no event loop runs: scripts, sync code."""
    return asyncio.run(
        alive_activity_automation(flow, stream_key, credentials=credentials, lost_after=lost_after, **options)
    )


async def aend_live_activity_stream_automation(
    flow: str,
    stream_key: str,
    *,
    credentials: ActivitySmithCredentials | str | None = None,
    results: Collection[Result] = _ALL,
    lost_after: timedelta | None = None,
    **options: Unpack[core.EndOptions],
) -> list[Automation]:
    """Make the server end a stream when a run of a flow ends, or update how it does.

    It saves a ``Webhook`` block, which holds the API key as a secret of its own (so call this again after
    changing the key), and one automation that calls it, two with *lost_after*. They are named after the
    stream and the flow; what is there of those names is replaced. The server has to reach the service's address.

    Beside hooks, let it care for what hooks cannot see (a worker that is killed, a run cancelled while it is suspended,
    a subflow of a killed run), or both send an end and the first one shows: ``results=["crashed", "cancelled"]``. A run
    that never started ends nothing.

    Args:
        flow: A flow's name, or a deployment's as ``flow/deployment``. The server must know it already.
        stream_key: The stream, which all runs of the flow share: the server can make no keys. Where hooks show the
            runs, give them the same one, such as ``live_activity_hooks("nightly-etl")``.
        credentials: The block, its name, or None for the environment's key.
        results: The ends of runs to act upon; a timeout is one with a failure.
        lost_after: Without a sign of life from a run for this long, show it as crashed; a run that waits is not taken
            for a lost one. It must be 10 s at least, and longer than the time between two signs of life
            (``PREFECT_FLOWS_HEARTBEAT_FREQUENCY``: 180 s by default in Prefect 3.8, none in 3.6). The run's state
            stays as it is. A sign of life that reaches the server after the run's end, as that of a run of less than a
            second does (seen on 3.8.8), is taken for a run that goes on: its stream is then ended once more. So choose
            less than the time to the next run. A run that dies before its first sign of life is not noticed.
        options: How the end looks; see :class:`~activitysmith_integrations.core.EndOptions`.

    Returns:
        The automations as saved.

    Raises:
        InvalidRequestError: A name, the key, a result, the time or an option cannot be used, or the server knows no
            such flow or deployment; nothing was saved.
        ConfigurationError: The environment names no account that can be used.
    """
    from activitysmith_integrations.core.runs.picture import check_end_options

    related, key = related_to(flow), check_stream_key(stream_key)
    ended = when_ended(related, results)
    lost = None if lost_after is None else when_lost(related, lost_after)
    check_end_options(options, other=("flow", "stream_key", "credentials", "results", "lost_after"))
    name = flow.partition("/")[0]
    await check_known(flow)
    webhook = await _webhook("DELETE", key, await resolve(credentials))
    about = f"Ends the ActivitySmith stream {key} when a run of {flow}"
    saved = [
        await _save(
            f"End Live Activity stream {key} of {flow}", f"{about} ends.", ended, webhook, end_payload(name, options)
        )
    ]
    if lost is not None:
        title = f"End Live Activity stream {key} of a lost run of {flow}"
        saved.append(await _save(title, f"{about} gives no sign of life.", lost, webhook, lost_payload(name, options)))
    return saved


def end_live_activity_stream_automation(
    flow: str,
    stream_key: str,
    *,
    credentials: ActivitySmithCredentials | str | None = None,
    results: Collection[Result] = _ALL,
    lost_after: timedelta | None = None,
    **options: Unpack[core.EndOptions],
) -> list[Automation]:
    """:func:`aend_live_activity_stream_automation` where no event loop runs: scripts, sync code."""
    return asyncio.run(
        aend_live_activity_stream_automation(
            flow, stream_key, credentials=credentials, results=results, lost_after=lost_after, **options
        )
    )


async def _save(name: str, description: str, trigger: EventTrigger, webhook: UUID, payload: str) -> Automation:
    automation = Automation(
        name=name,
        description=description,
        trigger=trigger,
        actions=[CallWebhook(block_document_id=webhook, payload=payload)],
    )
    try:
        there = await Automation.aread(name=name)
    except ValueError:  # Prefect's way to say that there is none
        return await automation.acreate()
    automation.id = there.id
    await automation.aupdate()
    return automation


async def _webhook(method: Literal["PUT", "DELETE"], key: str, credentials: ActivitySmithCredentials) -> UUID:
    """The id of the saved block that calls the service."""
    with credentials.get_client() as client:
        url = f"{client.base_url}/live-activity/stream/{key}"
    headers = {
        "Authorization": f"Bearer {credentials.api_key.get_secret_value()}",
        "Content-Type": "application/json",
    }
    webhook = Webhook(method=method, url=SecretStr(url), headers=SecretDict(headers))
    return await webhook.asave(name=_block_name("start" if method == "PUT" else "end", key), overwrite=True)


def _block_name(verb: str, key: str) -> str:
    """A name for the block: Prefect takes lower-case letters, digits and dashes."""
    legal = re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")
    digest = hashlib.sha256(key.encode(), usedforsecurity=False).hexdigest()[:8]
    return f"{verb}-live-activity-stream-{key if legal == key else f'{legal}-{digest}'}"
