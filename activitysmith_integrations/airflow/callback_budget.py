"""The time that the callbacks of one process share. Pure, without Airflow."""

from __future__ import annotations

from dataclasses import dataclass

from activitysmith_integrations.core.retry import DEFAULT_PATIENCE, seconds_for_calls

MAX_PATIENCE = 40.0
"""Seconds that a callback may take at most: Airflow kills the process of a DAG's callbacks after 50 s."""

MAX_SECONDS_IN_TASK = 18.0
"""Seconds that a task's own callbacks may take together: Airflow kills them after 20 s (``task_success_overtime``)."""

TOO_SHORT_TO_TRY = 0.3
"""Seconds that are not worth a request."""

LEAST_SECONDS = 1.0
"""Seconds that are left for a request however long Airflow took for what had to be known before."""


@dataclass
class CallbackBudget:
    """The time of the callbacks that one process runs right after each other.

    Airflow hands the callbacks of many runs to one process, which it kills after 50 s (``[dag_processor]
    dag_file_processor_timeout``); what is left of them then is never heard of again (seen in Airflow 3.3.2). So
    each may take a part of what is left for all: where the service does not answer, the first ones wait as long
    as they may, and the last ones can still say that they ended nothing.

    Args:
        seconds: For all of them together.
        parts: Into how many parts what is left is divided for a callback of no special patience.
        pause: Seconds without a callback after which the next one has all the time again.
        spent: Seconds that the callbacks so far took.
        ended: When the last one ended.
    """

    seconds: float = MAX_PATIENCE
    parts: int = 4
    pause: float = 10.0
    spent: float = 0.0
    ended: float = 0.0

    def share(self, now: float, patience: float = DEFAULT_PATIENCE) -> float:
        """Seconds for the calls of the callback that starts now.

        Args:
            now: The time on a clock that only goes forward.
            patience: Seconds that its user allows. Who asks for more than the default gets all that is left.
        """
        if now - self.ended > self.pause:
            self.spent = 0.0
        left = self.seconds - self.spent
        part = left / self.parts if patience <= DEFAULT_PATIENCE else left - LEAST_SECONDS
        return max(min(seconds_for_calls(patience), part), 0.0)

    def spend(self, began: float, ended: float) -> None:
        """Count a callback.

        Args:
            began: When it began.
            ended: When it ended.
        """
        self.spent += ended - began
        self.ended = ended
