"""ActivitySmith for Prefect: a flow's Live Activity from its first task to the right last picture.

Importing it registers the blocks. ``prefect block register -m activitysmith_integrations.prefect`` makes them
known to a server.
"""

from typing import TYPE_CHECKING

try:
    import prefect as _prefect  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "prefect":
        raise
    text = f"{error}; this needs Prefect: pip install 'activitysmith-integrations[prefect]'"
    raise ModuleNotFoundError(text, name=error.name) from error

from activitysmith_integrations.prefect.automations import (
    aend_live_activity_stream_automation,
    alive_activity_automation,
    end_live_activity_stream_automation,
    live_activity_automation,
)
from activitysmith_integrations.prefect.blocks import ActivitySmithCredentials, ActivitySmithNotification
from activitysmith_integrations.prefect.given_hooks import FlowHooks
from activitysmith_integrations.prefect.hooks import (
    StateHook,
    end_live_activity_stream_hook,
    end_live_activity_stream_hooks,
    live_activity_hooks,
)
from activitysmith_integrations.prefect.tasks import (
    aend_live_activity_stream,
    astream_live_activity,
    end_live_activity_stream,
    stream_live_activity,
)

if TYPE_CHECKING:
    from activitysmith_integrations.prefect.stream_options import StreamOptions

__all__ = [
    "ActivitySmithCredentials",
    "ActivitySmithNotification",
    "FlowHooks",
    "StateHook",
    "StreamOptions",
    "aend_live_activity_stream",
    "aend_live_activity_stream_automation",
    "alive_activity_automation",
    "astream_live_activity",
    "end_live_activity_stream",
    "end_live_activity_stream_automation",
    "end_live_activity_stream_hook",
    "end_live_activity_stream_hooks",
    "live_activity_automation",
    "live_activity_hooks",
    "stream_live_activity",
]


def __getattr__(name: str) -> object:
    # A file that defines flows is imported without what only sending needs.
    if name == "StreamOptions":
        from activitysmith_integrations.prefect.stream_options import StreamOptions

        return StreamOptions
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
