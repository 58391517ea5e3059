"""The commands with which a DAG's author tries out its tasks, and what is said where they send nothing."""

from __future__ import annotations

import sys

TASKS_TEST_SHOWS_NOTHING = "`airflow tasks test` shows nothing."
DAGS_TEST_FOLLOWS_NOTHING = (
    "`airflow dags test` and `dag.test()` run one task at a time, so no run is followed and shown there."
)

# What `airflow tasks test` calls the run that it makes for one task and deletes afterwards (Airflow 3.1 to 3.3).
_TEMPORARY_RUN = "__airflow_temporary_run_"


def is_tasks_test(run_id: str | None) -> bool:
    """Whether ``airflow tasks test`` tries out one task: of a run that it makes for that, or of one that exists.

    Args:
        run_id: The run's id.
    """
    # Airflow 3.3 sets AIRFLOW_TEST_MODE as well; 3.1 and 3.2 do so only with --env-vars.
    return (run_id or "").startswith(_TEMPORARY_RUN) or sys.argv[1:3] == ["tasks", "test"]


def is_dags_test() -> bool:
    """Whether ``dag.test()`` or ``airflow dags test`` runs this, in one process and one task after the other."""
    runner = sys.modules.get("airflow.sdk.execution_time.task_runner")  # loaded wherever a task runs
    comms = getattr(runner, "SUPERVISOR_COMMS", None)
    return type(comms).__name__ == "InProcessSupervisorComms"  # Airflow 3.1 to 3.3; importing it is slow
