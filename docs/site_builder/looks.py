"""Every option that changes the picture, as a line of code beside what it draws."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from activitysmith_integrations import core
from activitysmith_integrations.core.runs.outcome import EndOptions, Result, RunOutcome
from activitysmith_integrations.core.runs.picture import end_request
from activitysmith_integrations.core.runs.progress import Progress
from site_builder.cards import card_of
from site_builder.members import attribute_docs

_BEGAN = datetime(2026, 11, 23, 3, 0, tzinfo=UTC)
RUN = RunOutcome(
    "nightly_etl",
    "succeeded",
    label="23 Nov 03:00",
    steps_done=5,
    steps_total=5,
    started_at=_BEGAN,
    ended_at=_BEGAN + timedelta(minutes=3, seconds=10),
    url="https://example.com/runs/1",
)
FAILED = replace(
    RUN, result="failed", steps_done=2, failed_step="load", error_type="KeyError", error_text="'customer_id'"
)


@dataclass(frozen=True)
class Look:
    """An option and what it is shown by.

    Args:
        option: Its name.
        code: How it is given, as keyword arguments.
        result: How the run ended.
    """

    option: str
    code: str
    result: Result

    def options(self) -> EndOptions:
        """The options that the code gives."""
        given: EndOptions = eval(f"dict({self.code})", dict(vars(core)))  # noqa: S307 - written below
        return given


LOOKS = (
    Look("on_success", 'on_success="segmented_progress"', "succeeded"),
    Look("on_success", 'on_success="progress"', "succeeded"),
    Look("on_failure", 'on_failure="alert"', "failed"),
    Look("on_failure", 'on_failure="segmented_progress"', "failed"),
    Look("on_failure", 'on_failure="progress"', "failed"),
    Look("title", 'title="Nightly ETL"', "succeeded"),
    Look("subtitle", 'subtitle="1,200 orders loaded"', "succeeded"),
    Look("success_color", 'success_color="blue"', "succeeded"),
    Look("failure_color", 'failure_color="orange"', "failed"),
    Look("include_error", "include_error=True", "failed"),
    Look(
        "action",
        'action={"type": "open_url", "title": "Open runbook", "url": "https://example.com/runbook"}',
        "failed",
    ),
    Look(
        "secondary_action",
        'secondary_action={"type": "webhook", "title": "Run again", "url": "https://example.com/again"}',
        "failed",
    ),
    Look(
        "content_state",
        'content_state={\n    "type": "metrics",\n    "title": "Orders",\n'
        '    "metrics": [\n        {"label": "Loaded", "value": 1200},\n'
        '        {"label": "Refused", "value": 37, "color": "red"},\n    ],\n}',
        "succeeded",
    ),
)
_UNSEEN = {
    "success_auto_dismiss_minutes": "success_auto_dismiss_minutes=10",
    "failure_auto_dismiss_minutes": "failure_auto_dismiss_minutes=60",
    "start_unseen_failures": "start_unseen_failures=False",
    "alert": 'alert={"title": "Nightly ETL", "body": "Please have a look."}',
    "tags": 'tags=["warehouse"]',
    "metadata": 'metadata={"team": "data"}',
}


def looks() -> str:
    """All options, in the order in which they are declared."""
    parts = []
    for option, meaning in attribute_docs(EndOptions).items():
        parts.append(f"### `{option}`\n\n{meaning}")
        shown = [look for look in LOOKS if look.option == option]
        parts += [_beside(look.code, _picture(look)) for look in shown]
        if not shown:
            parts.append(f"```python {{.option}}\n{_UNSEEN[option]}\n```")
    return "\n\n".join(parts)


def _picture(look: Look) -> str:
    run = RUN if look.result == "succeeded" else replace(FAILED, result=look.result)
    wire = end_request(run, look.options()).to_wire()
    return card_of({name: wire[name] for name in ("content_state", "action", "secondary_action") if name in wire})


def _beside(code: str, shown: str) -> str:
    return f'<div class="look" markdown>\n\n```python {{.option}}\n{code}\n```\n\n{shown}\n\n</div>'


_MOMENTS: tuple[tuple[str, Progress], ...] = (
    ("It begins.", Progress("nightly_etl", total=5, label=RUN.label)),
    ("Two of five tasks are done.", Progress("nightly_etl", total=5, done=2, step="load", label=RUN.label)),
    (
        "A task failed, and others go on.",
        Progress("nightly_etl", total=5, done=3, failed="load", label=RUN.label),
    ),
    (
        "Nobody knows how many tasks there are.",
        Progress("nightly_etl", done=12, unit="task", label=RUN.label),
    ),
)
_ENDS: tuple[tuple[str, RunOutcome], ...] = (
    ("It succeeded.", RUN),
    ("It succeeded, although a task failed.", replace(RUN, tasks_failed=1)),
    ("It failed.", FAILED),
    ("It took too long.", replace(FAILED, result="timed_out", failed_step=None)),
    ("Its process died. (Prefect)", replace(FAILED, result="crashed", failed_step=None)),
    ("Somebody cancelled it. (Prefect, any Python)", replace(FAILED, result="cancelled", failed_step=None)),
)


def moments() -> str:
    """What a run shows while it goes on, and how it ends."""
    shown = [(text, {"content_state": progress.state}) for text, progress in _MOMENTS]
    for text, run in _ENDS:
        wire = end_request(run).to_wire()
        shown.append((text, {name: wire[name] for name in ("content_state", "action") if name in wire}))
    return "\n\n".join(
        f'<div class="look" markdown>\n\n{text}\n\n{card_of(request)}\n\n</div>' for text, request in shown
    )
