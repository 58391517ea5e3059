"""The ActivitySmith stream API: clients, models, errors. Knows no engine.

A name is loaded when it is first used, so that parsing a DAG file does not pay for what only sending needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from activitysmith_integrations.core.client import (
        ActionInput,
        ActivitySmithClient,
        AlertInput,
        AsyncActivitySmithClient,
        EndStreamMembers,
        MetadataInput,
        StateInput,
        StreamMembers,
    )
    from activitysmith_integrations.core.ending import nothing_left, plan, report
    from activitysmith_integrations.core.errors import (
        ActivitySmithError,
        APIConnectionError,
        APIStatusError,
        APITimeoutError,
        AuthenticationError,
        BadRequestError,
        BillingError,
        InvalidRequestError,
        InvalidResponseError,
        NotFoundError,
        PermissionDeniedError,
        RateLimitError,
        ServerError,
    )
    from activitysmith_integrations.core.keys import stream_key
    from activitysmith_integrations.core.live import AsyncLiveActivity, LiveActivity
    from activitysmith_integrations.core.models import (
        AlertPayload,
        AlertState,
        Badge,
        Color,
        ContentState,
        EndStreamRequest,
        EndStreamResponse,
        Icon,
        Metric,
        MetricsState,
        OpenURLAction,
        ProgressState,
        SegmentedProgressState,
        StatsState,
        StreamRequest,
        StreamResponse,
        TimerState,
        ValueState,
        WebhookAction,
    )
    from activitysmith_integrations.core.outcome import (
        EndOptions,
        FailureForm,
        Result,
        RunOutcome,
        SuccessForm,
        check_options,
        end_request,
        live_members,
        shown_title,
    )
    from activitysmith_integrations.core.progress import Progress, as_update
    from activitysmith_integrations.core.retry import CALLBACK_RETRY, RetryPolicy
    from activitysmith_integrations.core.segments import MAX_SEGMENTS, fold_steps
    from activitysmith_integrations.core.updates import Updates

__all__ = [
    "CALLBACK_RETRY",
    "MAX_SEGMENTS",
    "APIConnectionError",
    "APIStatusError",
    "APITimeoutError",
    "ActionInput",
    "ActivitySmithClient",
    "ActivitySmithError",
    "AlertInput",
    "AlertPayload",
    "AlertState",
    "AsyncActivitySmithClient",
    "AsyncLiveActivity",
    "AuthenticationError",
    "BadRequestError",
    "Badge",
    "BillingError",
    "Color",
    "ContentState",
    "EndOptions",
    "EndStreamMembers",
    "EndStreamRequest",
    "EndStreamResponse",
    "FailureForm",
    "Icon",
    "InvalidRequestError",
    "InvalidResponseError",
    "LiveActivity",
    "MetadataInput",
    "Metric",
    "MetricsState",
    "NotFoundError",
    "OpenURLAction",
    "PermissionDeniedError",
    "Progress",
    "ProgressState",
    "RateLimitError",
    "Result",
    "RetryPolicy",
    "RunOutcome",
    "SegmentedProgressState",
    "ServerError",
    "StateInput",
    "StatsState",
    "StreamMembers",
    "StreamRequest",
    "StreamResponse",
    "SuccessForm",
    "TimerState",
    "Updates",
    "ValueState",
    "WebhookAction",
    "as_update",
    "check_options",
    "end_request",
    "fold_steps",
    "live_members",
    "nothing_left",
    "plan",
    "report",
    "shown_title",
    "stream_key",
]

# Where each name lives; the same as the imports above, which only type checkers follow.
_ROOMS = {
    "client": (
        "ActionInput",
        "ActivitySmithClient",
        "AlertInput",
        "AsyncActivitySmithClient",
        "EndStreamMembers",
        "MetadataInput",
        "StateInput",
        "StreamMembers",
    ),
    "ending": ("nothing_left", "plan", "report"),
    "errors": (
        "ActivitySmithError",
        "APIConnectionError",
        "APIStatusError",
        "APITimeoutError",
        "AuthenticationError",
        "BadRequestError",
        "BillingError",
        "InvalidRequestError",
        "InvalidResponseError",
        "NotFoundError",
        "PermissionDeniedError",
        "RateLimitError",
        "ServerError",
    ),
    "keys": ("stream_key",),
    "live": ("AsyncLiveActivity", "LiveActivity"),
    "models": (
        "AlertPayload",
        "AlertState",
        "Badge",
        "Color",
        "ContentState",
        "EndStreamRequest",
        "EndStreamResponse",
        "Icon",
        "Metric",
        "MetricsState",
        "OpenURLAction",
        "ProgressState",
        "SegmentedProgressState",
        "StatsState",
        "StreamRequest",
        "StreamResponse",
        "TimerState",
        "ValueState",
        "WebhookAction",
    ),
    "outcome": (
        "EndOptions",
        "FailureForm",
        "Result",
        "RunOutcome",
        "SuccessForm",
        "check_options",
        "end_request",
        "live_members",
        "shown_title",
    ),
    "progress": ("Progress", "as_update"),
    "retry": ("CALLBACK_RETRY", "RetryPolicy"),
    "segments": ("MAX_SEGMENTS", "fold_steps"),
    "updates": ("Updates",),
}
_HOMES = {name: room for room, names in _ROOMS.items() for name in names}

if not TYPE_CHECKING:  # a type checker would take any name for one that there is

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return __all__
