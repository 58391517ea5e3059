"""The ActivitySmith stream API: clients, models, errors. Knows no engine.

A name is loaded when it is first used, so that parsing a DAG file does not pay for what only sending needs. Type
checkers and editors read ``__init__.pyi``, which ``tools/public_names.py`` writes from the table below.
"""

from importlib import import_module

_MODULES = {
    "client": ("ActivitySmithClient", "AsyncActivitySmithClient"),
    "errors": (
        "ActivitySmithError",
        "APIConnectionError",
        "APIStatusError",
        "APITimeoutError",
        "AuthenticationError",
        "BadRequestError",
        "BillingError",
        "ConfigurationError",
        "InvalidRequestError",
        "InvalidResponseError",
        "NoRecipientsError",
        "NotFoundError",
        "PermissionDeniedError",
        "RateLimitError",
        "ServerError",
    ),
    "keys": ("stream_key",),
    "live": ("AsyncLiveActivity", "LiveActivity"),
    "models.fields": ("Color",),
    "models.requests": (
        "ActionInput",
        "AlertInput",
        "AlertPayload",
        "EndStreamMembers",
        "EndStreamRequest",
        "MetadataInput",
        "OpenURLAction",
        "StateInput",
        "StreamMembers",
        "StreamRequest",
        "WebhookAction",
    ),
    "models.responses": ("EndStreamResponse", "StreamResponse"),
    "models.states": (
        "AlertState",
        "Badge",
        "ContentState",
        "Icon",
        "Metric",
        "MetricsState",
        "ProgressState",
        "SegmentedProgressState",
        "StatsState",
        "TimerState",
        "ValueState",
    ),
    "retry": ("RetryPolicy",),
    "runs.outcome": ("EndOptions",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}

__all__ = sorted(_MODULE_OF)


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
