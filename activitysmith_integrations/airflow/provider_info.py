"""What Airflow asks a provider about itself. Plain data: it is read before Airflow is ready for imports."""

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """The provider's description, in the form of Airflow's ``provider_info.schema.json``."""
    return {
        "package-name": "activitysmith-integrations",
        "name": "ActivitySmith",
        "description": "Shows pipelines as Live Activities on iPhones: `ActivitySmith <https://activitysmith.com>`__.",
        "integrations": [
            {
                "integration-name": "ActivitySmith",
                "external-doc-url": "https://activitysmith.com/docs",
                "tags": ["service"],
            }
        ],
        "hooks": [
            {
                "integration-name": "ActivitySmith",
                "python-modules": ["activitysmith_integrations.airflow.hooks"],
            }
        ],
        "operators": [
            {
                "integration-name": "ActivitySmith",
                "python-modules": ["activitysmith_integrations.airflow.operators"],
            }
        ],
        "notifications": [
            "activitysmith_integrations.airflow.notifications.ActivitySmithEndStreamNotifier",
            "activitysmith_integrations.airflow.notifications.ActivitySmithStreamNotifier",
        ],
        "triggers": [
            {
                "integration-name": "ActivitySmith",
                "python-modules": ["activitysmith_integrations.airflow.triggers"],
            }
        ],
        "connection-types": [
            {
                "hook-class-name": "activitysmith_integrations.airflow.hooks.ActivitySmithHook",
                "hook-name": "ActivitySmith",
                "connection-type": "activitysmith",
                # The form of Airflow 3.2 and later; 3.1 asks the hook.
                "ui-field-behaviour": {
                    "hidden-fields": ["schema", "login", "port", "extra"],
                    "relabeling": {"password": "API key", "host": "Base URL"},
                    "placeholders": {"password": "ask_...", "host": "https://activitysmith.com/api"},
                },
                "conn-fields": {
                    "timeout": {
                        "label": "Timeout (seconds)",
                        "description": "Seconds for each step of one attempt. Empty: 10.",
                        "schema": {"type": ["number", "null"], "minimum": 0.1},
                    },
                    "max_retries": {
                        "label": "Retries",
                        "description": "How often a call is repeated after a fault that can pass. Empty: 4, 0: never.",
                        "schema": {"type": ["integer", "null"], "minimum": 0},
                    },
                },
            }
        ],
        "config": {
            "activitysmith": {
                "description": "ActivitySmith Live Activities.",
                "options": {
                    "end_tagged_dags": {
                        "description": (
                            "Whether a DAG tagged ``activitysmith`` or ``activitysmith:failures`` ends its runs' Live "
                            "Activity streams without any code of its own."
                        ),
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": "False",
                        "default": "True",
                    },
                    "end_marked_runs": {
                        "description": (
                            "Whether a tagged DAG's run that somebody marks as failed or successful by hand ends its "
                            "stream, as long as the stream is the run's own. It is ended through the connection "
                            "``activitysmith_default``, whatever the DAG uses."
                        ),
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": "False",
                        "default": "True",
                    },
                    "stream_tagged_dags": {
                        "description": (
                            "Whether a DAG tagged ``activitysmith`` also starts the stream with its first task and "
                            "shows how far the run is."
                        ),
                        "version_added": "0.1.0",
                        "type": "boolean",
                        "example": "False",
                        "default": "True",
                    },
                },
            }
        },
    }
