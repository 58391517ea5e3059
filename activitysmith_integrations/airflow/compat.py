"""What Airflow 3.2 moved into its SDK and 3.1 still has elsewhere."""

from activitysmith_integrations.airflow import needs_airflow

with needs_airflow():
    try:
        from airflow.sdk.configuration import conf
        from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException, AirflowSkipException
    except ImportError:
        from airflow.configuration import conf
        from airflow.exceptions import (  # type: ignore[no-redef,attr-defined]
            AirflowFailException,
            AirflowNotFoundException,
            AirflowSkipException,
        )

__all__ = ["AirflowFailException", "AirflowNotFoundException", "AirflowSkipException", "conf"]
