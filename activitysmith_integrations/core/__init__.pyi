# Written by tools/public_names.py from the table in __init__.py.

from activitysmith_integrations.core.client import (
    ActivitySmithClient as ActivitySmithClient,
    AsyncActivitySmithClient as AsyncActivitySmithClient,
)
from activitysmith_integrations.core.errors import (
    ActivitySmithError as ActivitySmithError,
    APIConnectionError as APIConnectionError,
    APIStatusError as APIStatusError,
    APITimeoutError as APITimeoutError,
    AuthenticationError as AuthenticationError,
    BadRequestError as BadRequestError,
    BillingError as BillingError,
    ConfigurationError as ConfigurationError,
    InvalidRequestError as InvalidRequestError,
    InvalidResponseError as InvalidResponseError,
    NoRecipientsError as NoRecipientsError,
    NotFoundError as NotFoundError,
    PermissionDeniedError as PermissionDeniedError,
    RateLimitError as RateLimitError,
    ServerError as ServerError,
)
from activitysmith_integrations.core.keys import (
    stream_key as stream_key,
)
from activitysmith_integrations.core.live import (
    AsyncLiveActivity as AsyncLiveActivity,
    LiveActivity as LiveActivity,
)
from activitysmith_integrations.core.models.fields import (
    Color as Color,
)
from activitysmith_integrations.core.models.requests import (
    ActionInput as ActionInput,
    AlertInput as AlertInput,
    AlertPayload as AlertPayload,
    EndStreamMembers as EndStreamMembers,
    EndStreamRequest as EndStreamRequest,
    MetadataInput as MetadataInput,
    OpenURLAction as OpenURLAction,
    StateInput as StateInput,
    StreamMembers as StreamMembers,
    StreamRequest as StreamRequest,
    WebhookAction as WebhookAction,
)
from activitysmith_integrations.core.models.responses import (
    EndStreamResponse as EndStreamResponse,
    StreamResponse as StreamResponse,
)
from activitysmith_integrations.core.models.states import (
    AlertState as AlertState,
    Badge as Badge,
    ContentState as ContentState,
    Icon as Icon,
    Metric as Metric,
    MetricsState as MetricsState,
    ProgressState as ProgressState,
    SegmentedProgressState as SegmentedProgressState,
    StatsState as StatsState,
    TimerState as TimerState,
    ValueState as ValueState,
)
from activitysmith_integrations.core.retry import (
    RetryPolicy as RetryPolicy,
)
from activitysmith_integrations.core.runs.outcome import (
    EndOptions as EndOptions,
)

__all__ = [
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
    "ConfigurationError",
    "ContentState",
    "EndOptions",
    "EndStreamMembers",
    "EndStreamRequest",
    "EndStreamResponse",
    "Icon",
    "InvalidRequestError",
    "InvalidResponseError",
    "LiveActivity",
    "MetadataInput",
    "Metric",
    "MetricsState",
    "NoRecipientsError",
    "NotFoundError",
    "OpenURLAction",
    "PermissionDeniedError",
    "ProgressState",
    "RateLimitError",
    "RetryPolicy",
    "SegmentedProgressState",
    "ServerError",
    "StateInput",
    "StatsState",
    "StreamMembers",
    "StreamRequest",
    "StreamResponse",
    "TimerState",
    "ValueState",
    "WebhookAction",
    "stream_key",
]
