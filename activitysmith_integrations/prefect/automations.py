"""Automations that show runs from Prefect's server: for flows whose code nobody may touch, or nobody is left to run.

They are made of Prefect's own ``Webhook`` block and ``CallWebhook`` action, so the server needs none of our code and
may be Prefect Cloud.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, Unpack, cast
from uuid import UUID

from prefect.automations import Automation
from prefect.blocks.webhook import Webhook
from prefect.events.actions import CallWebhook
from prefect.events.schemas.automations import EventTrigger
from prefect.types import SecretDict
from prefect.utilities.asyncutils import run_coro_as_sync
from pydantic import SecretStr

from activitysmith_integrations import core
from activitysmith_integrations.core.keys import check_stream_key
from activitysmith_integrations.prefect.blocks import ActivitySmithCredentials, resolve
from activitysmith_integrations.prefect.payloads import end_payload, lost_payload, start_payload
from activitysmith_integrations.prefect.triggers import (
    STATE_TYPES,
    check_known,
    check_lost_after,
    related_to,
    when_ended,
    when_lost,
    when_started,
)

if TYPE_CHECKING:
    from activitysmith_integrations.core.runs.outcome import Result

_ALL: tuple[Result, ...] = tuple(STATE_TYPES)
_OTHER_PARAMETERS = ("flow", "stream_key", "credentials", "lost_after")


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
    plan = await _checked(flow, stream_key, credentials, _ALL, lost_after, options, other=_OTHER_PARAMETERS)
    return [await plan.save_start(), *await plan.save_ends()]


def live_activity_automation(
    flow: str,
    stream_key: str,
    *,
    credentials: ActivitySmithCredentials | str | None = None,
    lost_after: timedelta | None = None,
    **options: Unpack[core.EndOptions],
) -> list[Automation]:
    """:func:`alive_activity_automation` for sync code: the same arguments, meanings and errors."""
    return _run(alive_activity_automation(flow, stream_key, credentials=credentials, lost_after=lost_after, **options))


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
    stream and the flow; what is there of those names is replaced, and one that somebody paused stays paused. The
    server has to reach the service's address.

    Beside hooks, let it care for what hooks cannot see (a worker that is killed, a run cancelled while it is suspended,
    a subflow of a killed run), or both send an end and the first one shows: ``results=["crashed", "cancelled"]``. A run
    that never started ends nothing.

    Args:
        flow: A flow's name, or a deployment's as ``flow/deployment``. The server must know it already.
        stream_key: The stream, which all runs of the flow share: the server can make no keys. Where hooks show the
            runs, give them the same one, such as ``live_activity_hooks("nightly-etl")``.
        credentials: The block, its name, or None for the environment's key.
        results: The ends of runs to act upon; a timeout is one with a failure.
        lost_after: Without a heartbeat from a run for this long, show it as crashed; a run that waits is not taken for
            a lost one. A heartbeat tells its deployment by its id, so call this again for one that was deleted and made
            again. It must be 10 s at least, and longer than the time between two heartbeats, as far as the
            settings here tell it: ``PREFECT_FLOWS_HEARTBEAT_FREQUENCY``, 180 s by default. Early 3.6 releases give none
            unless ``PREFECT_RUNNER_HEARTBEAT_FREQUENCY`` is set. The run's state stays as it is. A heartbeat that
            reaches the server after the run's end, as that of a run of less than a second does (seen on 3.8.8), is
            taken for a run that goes on: its stream is then ended once more. So choose less than the time to the next
            run. A run that dies before its first heartbeat is not noticed. Without it, an earlier call's automation for
            lost runs is deleted.
        options: How the end looks; see :class:`~activitysmith_integrations.core.EndOptions`.

    Returns:
        The automations as saved.

    Raises:
        InvalidRequestError: A name, the key, a result, the time or an option cannot be used, or the server knows no
            such flow or deployment; nothing was saved.
        ConfigurationError: The environment names no account that can be used.
    """
    other = (*_OTHER_PARAMETERS, "results")
    plan = await _checked(flow, stream_key, credentials, results, lost_after, options, other=other)
    return await plan.save_ends()


def end_live_activity_stream_automation(
    flow: str,
    stream_key: str,
    *,
    credentials: ActivitySmithCredentials | str | None = None,
    results: Collection[Result] = _ALL,
    lost_after: timedelta | None = None,
    **options: Unpack[core.EndOptions],
) -> list[Automation]:
    """:func:`aend_live_activity_stream_automation` for sync code: the same arguments, meanings and errors."""
    return _run(
        aend_live_activity_stream_automation(
            flow, stream_key, credentials=credentials, results=results, lost_after=lost_after, **options
        )
    )


@dataclass(frozen=True)
class _Plan:
    """What is to be saved; all of it can be used."""

    flow: str
    key: str
    account: ActivitySmithCredentials
    started: EventTrigger
    ended: EventTrigger
    lost: EventTrigger | None
    options: core.EndOptions

    @property
    def _flow_name(self) -> str:
        return self.flow.partition("/")[0]

    async def save_start(self) -> Automation:
        """The automation that starts the stream."""
        return await _save(
            f"Start Live Activity stream {self.key} of {self.flow}",
            f"Starts the ActivitySmith stream {self.key} when a run of {self.flow} starts.",
            self.started,
            await _webhook("PUT", self.key, self.account),
            start_payload(self._flow_name, self.options),
        )

    async def save_ends(self) -> list[Automation]:
        """The automations that end it; one for lost runs is deleted where none is wanted any more."""
        webhook = await _webhook("DELETE", self.key, self.account)
        about = f"Ends the ActivitySmith stream {self.key} when a run of {self.flow}"
        payload = end_payload(self._flow_name, self.options)
        name = f"End Live Activity stream {self.key} of {self.flow}"
        saved = [await _save(name, f"{about} ends.", self.ended, webhook, payload)]
        name = f"End Live Activity stream {self.key} of a lost run of {self.flow}"
        if self.lost is None:
            await _delete(name)
        else:
            payload = lost_payload(self._flow_name, self.options)
            saved.append(await _save(name, f"{about} gives no heartbeat.", self.lost, webhook, payload))
        return saved


async def _checked(
    flow: str,
    stream_key: str,
    credentials: ActivitySmithCredentials | str | None,
    results: Collection[Result],
    lost_after: timedelta | None,
    options: core.EndOptions,
    *,
    other: tuple[str, ...],
) -> _Plan:
    """What is to be saved, or an error before anything is."""
    from activitysmith_integrations.core.runs.picture import check_end_options

    related, key = related_to(flow), check_stream_key(stream_key)
    ended = when_ended(related, results)
    silence = None if lost_after is None else check_lost_after(lost_after)
    check_end_options(options, other=other, synonyms={"api_key": "credentials"})
    if "start_unseen_failures" in options:
        rule = "is not known to automations: a webhook cannot ask whether a stream is shown"
        raise core.InvalidRequestError(("start_unseen_failures", rule))
    deployment_id = await check_known(flow)
    lost = None if silence is None else when_lost(related, deployment_id, silence)
    return _Plan(flow, key, await resolve(credentials), when_started(related), ended, lost, options)


def _run(saving: Coroutine[Any, Any, list[Automation]]) -> list[Automation]:
    """Await it, whether or not an event loop runs in this thread, as in a notebook."""
    return cast(list[Automation], run_coro_as_sync(saving))


async def _save(name: str, description: str, trigger: EventTrigger, webhook: UUID, payload: str) -> Automation:
    automation = Automation(
        name=name,
        description=description,
        trigger=trigger,
        actions=[CallWebhook(block_document_id=webhook, payload=payload)],
    )
    there = await _find(name)
    if there is None:
        return await automation.acreate()
    automation.id = there.id
    automation.enabled = there.enabled  # somebody may have paused it
    await automation.aupdate()
    return automation


async def _delete(name: str) -> None:
    there = await _find(name)
    if there is not None:
        await there.adelete()


async def _find(name: str) -> Automation | None:
    try:
        return await Automation.aread(name=name)
    except ValueError:  # Prefect's way to say that there is none
        return None


async def _webhook(method: Literal["PUT", "DELETE"], key: str, credentials: ActivitySmithCredentials) -> UUID:
    """The id of the saved block that calls the service."""
    with credentials.get_client() as client:
        url = f"{client.base_url}/live-activity/stream/{key}"
    headers = {
        "Authorization": f"Bearer {credentials.api_key.get_secret_value()}",
        "Content-Type": "application/json",
    }
    webhook = Webhook(method=method, url=SecretStr(url), headers=SecretDict(headers))
    # Early 3.6 releases (seen on 3.6.0) have one method for both, which makes a coroutine where a loop runs.
    save = webhook.asave if hasattr(webhook, "asave") else webhook.save
    return cast(UUID, await save(name=_block_name("start" if method == "PUT" else "end", key), overwrite=True))


def _block_name(verb: str, key: str) -> str:
    """A name for the block: Prefect takes lower-case letters, digits and dashes."""
    legal = re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")
    digest = hashlib.sha256(key.encode(), usedforsecurity=False).hexdigest()[:8]
    return f"{verb}-live-activity-stream-{key if legal == key else f'{legal}-{digest}'}"
