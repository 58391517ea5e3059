"""What Airflow 3.2 moved into its SDK and 3.1 still has elsewhere."""

try:
    from airflow.sdk.configuration import conf
    from airflow.sdk.exceptions import AirflowFailException
except ImportError:
    from airflow.configuration import conf
    from airflow.exceptions import AirflowFailException  # type: ignore[no-redef]

__all__ = ["AirflowFailException", "conf"]
