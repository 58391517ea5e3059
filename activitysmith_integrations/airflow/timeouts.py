"""The end of a followed run that its DAG's timeout ends: Airflow then drops the task that follows it.

It drops the trigger as well, which ends the stream if it runs by then. If it does not, since triggerers are busy or
down, or the task still waits for its worker, nobody but a callback is left (Airflow 3.1 to 3.3).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from activitysmith_integrations.airflow.callbacks import say
from activitysmith_integrations.airflow.notifications import ActivitySmithEndStreamNotifier

if TYPE_CHECKING:
    from activitysmith_integrations.airflow.follow_operator import ActivitySmithFollowRunOperator
    from activitysmith_integrations.airflow.notifications import Ending
    from activitysmith_integrations.airflow.run import Run
    from activitysmith_integrations.core.runs.ending import EndResult


class EndTimedOutRun(ActivitySmithEndStreamNotifier):
    """Ends the stream of a followed run that timed out."""

    ends_stream = False  # the operator does

    @classmethod
    def of(cls, task: ActivitySmithFollowRunOperator) -> EndTimedOutRun:
        """The callback for the DAG of an operator, with the same stream, connection and options.

        Args:
            task: The operator.
        """
        options: Any = {name: getattr(task, name) for name in task.option_names}
        return cls(task.stream_key, activitysmith_conn_id=task.activitysmith_conn_id, **options)

    def _reason_to_send_nothing(self, run: Run) -> str | None:
        return None if run.result == "timed_out" else "The task that follows the run ends its Live Activity stream."

    def _is_news(self, run: Run) -> bool:
        return False  # what is inactive shows the timeout: the trigger was quicker

    def _say_result(self, ending: Ending, result: EndResult) -> None:
        if result.answer is not None and result.answer.was_inactive:
            key = ending.target.stream_key
            say(self, (logging.INFO, f"Live Activity stream {key!r} was ended by the task that follows the run."))
        else:
            super()._say_result(ending, result)
