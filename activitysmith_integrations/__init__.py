"""End ActivitySmith Live Activity streams from Airflow, Prefect or any Python."""

__version__ = "0.1.0"
