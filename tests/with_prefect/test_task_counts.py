"""What became of a run's task runs, as Prefect's API counts them."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

pytest.importorskip("prefect")

from prefect import flow, task
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect.states import Cancelled, Completed, Crashed, Failed
from support.processes import eventually

from activitysmith_integrations.prefect.task_counts import TaskCounts, count_tasks, impatient_client

pytestmark = pytest.mark.usefixtures("server")


def test_finished_failed_crashed_cancelled_and_running_tasks_are_counted_for_what_they_are() -> None:
    since = datetime.now(UTC) - timedelta(minutes=1)
    wanted = TaskCounts(finished=4, failed=2, cancelled=1, unfinished=1)

    @task
    def end(make_state: Callable[[], State]) -> State:
        return make_state()

    @task
    def look() -> None:
        with impatient_client() as api:
            run_id = UUID(flow_run.get_id())
            eventually(lambda: count_tasks(api, run_id, since) == wanted, str(wanted), 30)

    @flow
    def nightly() -> None:
        for make_state in (Completed, Failed, Crashed, Cancelled):
            end(make_state, return_state=True)
        look()

    nightly()
    assert wanted.done == 1
