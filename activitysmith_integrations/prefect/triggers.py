"""When an automation of Prefect's server acts."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import Flow, get_client
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName, FlowFilter, FlowFilterName
from prefect.events.schemas.automations import EventTrigger, Posture
from prefect.settings import get_current_settings

from activitysmith_integrations.core.errors import InvalidRequestError
from activitysmith_integrations.core.suggest import closest, unknown_name

if TYPE_CHECKING:
    from activitysmith_integrations.core.runs.outcome import Result

# A run of `python flow.py` that is cancelled from outside stays in Cancelling: nobody acts on it (Prefect 3.8).
STATE_TYPES: dict[Result, tuple[str, ...]] = {
    "succeeded": ("COMPLETED",),
    "failed": ("FAILED",),
    "timed_out": ("FAILED",),  # a failure of that name
    "crashed": ("CRASHED",),
    "cancelled": ("CANCELLING", "CANCELLED"),
}
_RUNS = "prefect.flow-run.*"
_HEARTBEAT = "prefect.flow-run.heartbeat"
_LEAST_LOST_AFTER = timedelta(seconds=10)

Related = list[dict[str, str]]


def related_to(flow: str) -> Related:
    """The flow and deployment whose runs are meant.

    Args:
        flow: A flow's name, or a deployment's as ``flow/deployment``.

    Raises:
        InvalidRequestError: It is no name, or one that a trigger would take for more than one.
    """
    given: object = flow
    if isinstance(given, Flow):
        raise InvalidRequestError(("flow", f"must be the flow's name, {given.name!r}, not the flow itself"))
    if not isinstance(given, str):
        raise InvalidRequestError(("flow", f"must be a flow's name, not {given!r}"))
    flow_name, slash, deployment = flow.partition("/")
    wanted = {"flow": flow_name, **({"deployment": deployment} if slash else {})}
    for name in wanted.values():
        # A trigger takes ! for "not" and * for "any": other flows would match, and end this one's stream (3.8).
        if not name.strip() or name.startswith("!") or name.endswith("*"):
            raise InvalidRequestError(("flow", f"{name!r} cannot be matched: blank, or with ! before or * after it"))
    return [{"prefect.resource.role": role, "prefect.resource.name": name} for role, name in wanted.items()]


async def check_known(flow: str) -> UUID | None:
    """Refuse a flow or deployment that the server does not know: an automation for it would never act.

    Args:
        flow: A flow's name, or a deployment's as ``flow/deployment``.

    Returns:
        The deployment's id, None for a flow.

    Raises:
        InvalidRequestError: There is none of that name.
    """
    flow_name, slash, deployment = flow.partition("/")
    wanted = FlowFilter(name=FlowFilterName(any_=[flow_name]))
    async with get_client() as client:
        if slash:
            known = DeploymentFilter(name=DeploymentFilterName(any_=[deployment]))
            for found in await client.read_deployments(flow_filter=wanted, deployment_filter=known):
                return found.id
            flows = {one.id: one.name for one in await client.read_flows()}
            deployments = await client.read_deployments()
            names = [f"{flows[one.flow_id]}/{one.name}" for one in deployments if one.flow_id in flows]
        else:
            if await client.read_flows(flow_filter=wanted):
                return None
            names = [one.name for one in await client.read_flows()]
    kind, advice = ("deployment", "deploy or serve it first") if slash else ("flow", "run, deploy or serve it first")
    meant = closest(flow, names)
    hint = f"did you mean {meant}?" if meant else advice
    raise InvalidRequestError(("flow", f"the Prefect server knows no {kind} {flow!r}; {hint}"))


def when_started(related: Related) -> EventTrigger:
    """When a run starts, or goes on after a retry or a pause.

    Args:
        related: The flow and deployment.
    """
    return _trigger(related, {"prefect.state-type": ["RUNNING"]})


def when_ended(related: Related, results: Collection[Result]) -> EventTrigger:
    """When a run that had started ends.

    One that never did, such as a late run that is cancelled, touches nothing: the stream shows the run that goes on.

    Args:
        related: The flow and deployment.
        results: The ends that count.

    Raises:
        InvalidRequestError: One of them is no end of a run, or there is none.
    """
    given: object = results
    if isinstance(given, str) or not isinstance(given, Collection) or not given:
        rule = f"must be a list of results, such as {[*STATE_TYPES][:2]!r}, not {results!r}"
        raise InvalidRequestError(("results", rule))
    for result in results:
        if result not in tuple(STATE_TYPES):  # a tuple, because what is given may have no hash
            hint = unknown_name(str(result), STATE_TYPES)
            raise InvalidRequestError(("results", f"{result!r} is not a result; {hint}"))
    types = sorted({kind for result in results for kind in STATE_TYPES[result]})
    # By the type, because a state may have any name, and its name is the event's.
    return _trigger(related, {"prefect.state-type": types, "prefect.run-count": "!0"})


def _trigger(related: Related, match: dict[str, Any]) -> EventTrigger:
    return EventTrigger(
        expect={_RUNS},
        match={"prefect.resource.id": _RUNS, **match},
        match_related=related,  # type: ignore[arg-type]
        posture=Posture.Reactive,
        threshold=1,
        within=timedelta(0),
    )


def check_lost_after(after: timedelta) -> timedelta:
    """How long a run that goes on may give no heartbeat.

    Args:
        after: What the user gave: 10 s at least (Prefect's rule, 3.8), and longer than the time between two heartbeats.

    Raises:
        InvalidRequestError: It is no such time.
    """
    given: object = after
    if not isinstance(given, timedelta) or given < _LEAST_LOST_AFTER:
        example = "a timedelta of 10 s or more, such as timedelta(minutes=10)"
        raise InvalidRequestError(("lost_after", f"must be {example}, not {given!r}"))
    between, setting = _heartbeats()
    if between is not None and after.total_seconds() <= between:
        rule = (
            f"must be longer than the {between} s between two heartbeats ({setting}), not {after.total_seconds():g} s, "
            f"or runs that go on are shown as crashed; take timedelta(seconds={3 * between}), or a smaller {setting} "
            "where the flows run and here"
        )
        raise InvalidRequestError(("lost_after", rule))
    return after


def when_lost(related: Related, deployment_id: UUID | None, after: timedelta) -> EventTrigger:
    """When a run that goes on gives no heartbeat for so long.

    Any change of its state counts as one: a run that waits (paused, suspended, for its next attempt) gives none.

    Args:
        related: The flow and deployment.
        deployment_id: The deployment's id, None for a flow: a heartbeat has no name of it (3.9).
        after: How long.
    """
    if deployment_id is not None:
        related = [one for one in related if one["prefect.resource.role"] != "deployment"]
        related.append({"prefect.resource.id": f"prefect.deployment.{deployment_id}"})
    return EventTrigger(
        after={_HEARTBEAT},
        expect={_RUNS},
        match={"prefect.resource.id": _RUNS},
        match_related=related,  # type: ignore[arg-type]
        for_each={"prefect.resource.id"},
        posture=Posture.Proactive,
        threshold=1,
        within=after,
    )


def _heartbeats() -> tuple[int | None, str]:
    """The seconds between two heartbeats of a run, None where it gives none; and the setting that tells."""
    settings = get_current_settings()
    if hasattr(settings.flows, "heartbeat_frequency"):
        return settings.flows.heartbeat_frequency, "PREFECT_FLOWS_HEARTBEAT_FREQUENCY"
    # Early 3.6 releases (seen on 3.6.0) have it among the runner's settings.
    return settings.runner.heartbeat_frequency, "PREFECT_RUNNER_HEARTBEAT_FREQUENCY"
