"""ActivitySmith for Prefect: a flow's Live Activity from its first task to the right last picture.

Importing it registers the blocks. ``prefect block register -m activitysmith_integrations.prefect`` makes them
known to a server.
"""

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
from activitysmith_integrations.prefect.hooks import (
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

__all__ = [
    "ActivitySmithCredentials",
    "ActivitySmithNotification",
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
