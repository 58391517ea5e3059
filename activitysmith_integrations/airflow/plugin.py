"""The plugin through which Airflow finds the listener for runs that are marked by hand."""

from typing import ClassVar

from airflow.plugins_manager import AirflowPlugin

from activitysmith_integrations.airflow import listener


class ActivitySmithPlugin(AirflowPlugin):
    """Gives Airflow the listener."""

    name = "activitysmith"
    listeners: ClassVar[list[object]] = [listener]  # type: ignore[misc]
