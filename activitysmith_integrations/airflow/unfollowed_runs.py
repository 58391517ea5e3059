"""The end of a followed run that the task which follows it cannot end.

Airflow drops that task, and its trigger, when the DAG times out. The trigger then ends the stream if it runs by then.
If it does not, since triggerers are busy or down, or the task still waits for its worker, nobody but a callback is
left. Nor does the task run after a setup that failed, where it is in that setup's scope, or in a run that was cleared
in part, without it (Airflow 3.1 to 3.3).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from activitysmith_integrations.airflow.callbacks import say
from activitysmith_integrations.airflow.developer_commands import DAGS_TEST_FOLLOWS_NOTHING
from activitysmith_integrations.airflow.notifications import FOLLOWER_ENDS, ActivitySmithEndStreamNotifier
from activitysmith_integrations.airflow.run_memory import RunMemory

if TYPE_CHECKING:
    from activitysmith_integrations.airflow.follow_operator import ActivitySmithFollowRunOperator
    from activitysmith_integrations.airflow.notifications import Ending
    from activitysmith_integrations.airflow.run import Run
    from activitysmith_integrations.core.runs.ending import EndResult

# The states of a task that has not ended the stream, and will not.
_DID_NOT_END = frozenset({"failed", "skipped", "upstream_failed"})


class EndUnfollowedRun(ActivitySmithEndStreamNotifier):
    """Ends the stream of a run that failed or timed out, if the task that follows it did not.

    Attributes:
        follower: The id of that task.
    """

    ends_stream = False  # the operator does
    follower: str

    @classmethod
    def of(cls, task: ActivitySmithFollowRunOperator) -> EndUnfollowedRun:
        """The callback for the DAG of an operator, with the same stream, connection and options.

        Args:
            task: The operator.
        """
        options: Any = {name: getattr(task, name) for name in task.option_names}
        made = cls(task.stream_key, activitysmith_conn_id=task.activitysmith_conn_id, **options)
        made.follower = task.task_id
        return made

    def _reason_to_send_nothing(self, run: Run) -> str | None:
        if run.is_in_process:
            return DAGS_TEST_FOLLOWS_NOTHING
        states = run.posted_states
        state = states.get(self.follower)
        if not states or state in _DID_NOT_END:
            return None
        if state == "success" and RunMemory(run).was_ended_before_clear([self.follower]):
            return None
        return FOLLOWER_ENDS

    def _is_news(self, run: Run) -> bool:
        # Of a timeout the trigger may have been quicker, and without states nobody knows.
        return run.result != "timed_out" and bool(run.posted_states)

    def _say_result(self, ending: Ending, result: EndResult) -> None:
        is_timeout = ending.end.result == "timed_out"
        if is_timeout and result.answer is not None and result.answer.was_inactive:
            key = ending.target.stream_key
            say(self, (logging.INFO, f"Live Activity stream {key!r} was ended by the task that follows the run."))
        else:
            super()._say_result(ending, result)
