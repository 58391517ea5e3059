"""The README's table of what the phone shows, made from the code."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

from activitysmith_integrations.core import Result, RunOutcome, end_request

_BEGAN = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
_RUN = RunOutcome(
    "nightly_etl", "succeeded", "r1", started_at=_BEGAN, ended_at=_BEGAN + timedelta(minutes=3, seconds=10)
)
# What each engine's wrappers can know: Airflow counts a run's tasks, Prefect has no total; Airflow ends a run as
# succeeded, failed or timed out only.
_KNOWN: dict[str, dict[Result, dict[str, Any]]] = {
    "Airflow": {
        "succeeded": {"steps_done": 5, "steps_total": 5},
        "failed": {"steps_done": 2, "steps_total": 5, "failed_step": "load"},
        "timed_out": {"steps_done": 2, "steps_total": 5},
    },
    "Prefect": {
        "succeeded": {},
        "failed": {"failed_step": "load"},
        "crashed": {},
        "timed_out": {},
        "cancelled": {},
    },
}


def table() -> str:
    """The table, as Markdown."""
    lines = ["| result | Airflow | Prefect |", "|---|---|---|"]
    for result in get_args(Result):
        cells = [_picture(engine, result) for engine in _KNOWN]
        lines.append(f"| {result.replace('_', ' ')} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _picture(engine: str, result: Result) -> str:
    if result not in _KNOWN[engine]:
        return "(Airflow has no such end)"
    facts = _KNOWN[engine][result]
    state = end_request(replace(_RUN, result=result, engine=engine.lower(), **facts))["content_state"]
    if state["type"] == "alert":
        return f"{state['color']} alert: {state['message']}"
    amount = (
        f"{state['percentage']} %"
        if "percentage" in state
        else f"{state['current_step']} of {state['number_of_steps']}"
    )
    return f"{state['color']} {state['type']} {amount}: {state['subtitle']}"
