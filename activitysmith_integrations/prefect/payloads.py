"""What an automation of Prefect's server sends: requests as Jinja templates. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from activitysmith_integrations import core
from activitysmith_integrations.prefect.runs import ENGINE, run_url

if TYPE_CHECKING:
    from activitysmith_integrations.core.runs.outcome import Result, RunOutcome

_KNOWN = "{% set type = event.resource['prefect.state-type'] %}{% set name = event.resource['prefect.state-name'] %}"
_CONDITIONS: dict[Result, str] = {
    "succeeded": "type == 'COMPLETED'",
    "timed_out": "type == 'FAILED' and name == 'TimedOut'",
    "failed": "type == 'FAILED' and name != 'TimedOut'",
    "crashed": "type == 'CRASHED'",
    "cancelled": "type in ('CANCELLING', 'CANCELLED')",
}

# What is known only when the automation fires is written as these marks first, which no name contains.
_RUN_MARK = "activitysmith-run-name"
_ERROR_MARK = "activitysmith-mark-message"
_ID_MARK = UUID("ac717175-0000-4000-8000-000000000000")
_MESSAGE = "event.resource['prefect.state-message']"
_EXPRESSIONS = {
    _RUN_MARK: "event.resource['prefect.resource.name']",
    # With what stands before it: a state may have no message.
    f": {_ERROR_MARK}": f"(': ' ~ {_MESSAGE}[:120] if {_MESSAGE} else '')",
    str(_ID_MARK): "event.resource['prefect.resource.id'].split('.')[-1]",
}


def start_payload(flow_name: str, options: core.EndOptions) -> str:
    """The template of the request that starts the stream.

    It is empty, which the service refuses, where the run is over by the time that the server gets to it: an end
    that went out before would be undone.

    Args:
        flow_name: The flow.
        options: How it looks.
    """
    from activitysmith_integrations.core.models.requests import StreamRequest
    from activitysmith_integrations.core.runs.picture import running_labels, shown_title
    from activitysmith_integrations.core.runs.progress import Progress

    run = _marked(flow_name, "succeeded")
    state = Progress(shown_title(run, options), label=run.label).state
    body = _template(StreamRequest(content_state=state, **running_labels(run, options)).to_wire(), _EXPRESSIONS)
    return f"{{% if flow_run.state_type == 'RUNNING' %}}{body}{{% endif %}}"


def end_payload(flow_name: str, options: core.EndOptions) -> str:
    """The template of the request that ends the stream, by how the run ended.

    Args:
        flow_name: The flow.
        options: How the end looks.
    """
    bodies = (
        f"{{% if {condition} %}}{_end(_marked(flow_name, result), options, _EXPRESSIONS)}{{% endif %}}"
        for result, condition in _CONDITIONS.items()
    )
    return _KNOWN + "".join(bodies)


def lost_payload(flow_name: str, options: core.EndOptions) -> str:
    """The request that ends the stream of a run that gives no heartbeat.

    Args:
        flow_name: The flow.
        options: How the end looks.
    """
    from activitysmith_integrations.core.runs.outcome import RunOutcome

    return _end(RunOutcome(flow_name, "crashed", engine=ENGINE), options, {})


def _marked(flow_name: str, result: Result) -> RunOutcome:
    """What is known of a run before there is one."""
    from activitysmith_integrations.core.runs.outcome import RunOutcome

    return RunOutcome(
        pipeline=flow_name,
        result=result,
        run=_RUN_MARK,
        label=_RUN_MARK,
        engine=ENGINE,
        url=run_url("flow-run", _ID_MARK),
        error_text=_ERROR_MARK,
    )


def _end(outcome: RunOutcome, options: core.EndOptions, expressions: Mapping[str, str]) -> str:
    from activitysmith_integrations.core.runs.picture import end_request

    return _template(end_request(outcome, options).to_wire(), expressions)


def _template(body: Mapping[str, Any], expressions: Mapping[str, str]) -> str:
    """JSON that Jinja leaves as it is but for the marks."""
    text = json.dumps(body)
    # Only within strings can these two meet, and as an escape the first means the same there.
    for opening in ("{{", "{%", "{#"):
        text = text.replace(opening, "\\u007b" + opening[1:].replace("{", "\\u007b"))
    for mark, expression in expressions.items():
        text = text.replace(mark, f"{{{{ ({expression} | tojson)[1:-1] }}}}")
    return text
