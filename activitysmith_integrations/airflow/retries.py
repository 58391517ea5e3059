"""A retry policy for tasks that talk to ActivitySmith (Airflow 3.3 and later)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from activitysmith_integrations import core
from activitysmith_integrations.airflow import needs_airflow

with needs_airflow():
    from airflow.sdk import RetryDecision, RetryPolicy

if TYPE_CHECKING:
    from airflow.sdk import Context


class ActivitySmithRetryPolicy(RetryPolicy):
    """Waits exactly as long as the service asks, and does not repeat what cannot succeed.

    Give it to an operator as ``retry_policy``, together with ``retries``, which still bounds how often.
    """

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        """Decide about one failure; other errors than this package's keep Airflow's own delay.

        Args:
            exception: What the task raised.
            try_number: The try that failed, from 1.
            max_tries: How many there are.
            context: Airflow's.
        """
        if not isinstance(exception, core.ActivitySmithError):
            return RetryDecision.default()
        if not exception.retryable:
            return RetryDecision.fail(reason=str(exception))
        if exception.retry_after is None:
            return RetryDecision.default()
        return RetryDecision.retry(delay=timedelta(seconds=exception.retry_after), reason=str(exception))
