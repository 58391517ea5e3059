"""Whatever is late and whenever a run ends, its stream ends with it: all orders of starts, updates and the end."""

import itertools
import threading
import time
from dataclasses import dataclass

import pytest
from airflow.sdk import DAG
from airflow.sdk.bases.operator import BaseOperator
from support.processes import eventually
from support.sandbox import Sandbox
from with_airflow.runs import Run, Supervisor

from activitysmith_integrations.airflow import callbacks, policy
from activitysmith_integrations.airflow.callback_budget import CallbackBudget
from activitysmith_integrations.core import stream_key

# Seconds after which the service takes up what it got: at once, before and after a task's callback has stopped waiting
# for it. That of the DAG has ten seconds for a start and an end, of which a busy machine takes some itself.
LATE = (0.0, 1.0, 2.5, 4.0, 5.5)
# Seconds between the first task's begin and the run's end: before, between and after each of those.
ENDS = (0.0, 0.5, 1.5, 2.8, 3.5, 5.0, 8.0)
RESULTS = {"success": "green", "failed": "red"}
REQUESTS = 100


@dataclass
class Case:
    """One order.

    Args:
        late: Seconds after which the service takes up each start and update.
        end: Seconds between the first task's begin and the run's end.
        state: The state that the run ends in.
        is_start_lost: Whether the first task's process died before it sent the start, which a report makes up for.
    """

    late: float
    end: float
    state: str
    is_start_lost: bool

    @property
    def name(self) -> str:
        return f"late-{self.late:g}-end-{self.end:g}-{self.state}{'-lost' * self.is_start_lost}".replace(".", "_")

    @property
    def stream(self) -> str:
        return stream_key(self.name, "r1")

    def play(self) -> None:
        """Run the DAG as Airflow does: callbacks of tasks that succeeded run beside what comes next."""
        dag = DAG(self.name, schedule=None, tags=["activitysmith"])  # threads share the DAG that `with` begins
        first, *others = [BaseOperator(task_id=name, dag=dag) for name in ("first", "second", "third", "last")]
        first >> others
        policy.dag_policy(dag)
        run = Run(dag, dag.get_task("first").on_success_callback[-1])
        if not self.is_start_lost:
            run.begin("first")
        reports = [self._end(run, "first")]
        for name in ("second", "third"):
            run.states[name] = "running"
            time.sleep(self.end / 3)
            reports.append(self._end(run, name))
        time.sleep(self.end / 3)
        run.states["last"] = self.state
        run.state = self.state
        reason = "success" if self.state == "success" else "task_failure"
        for callback in getattr(dag, f"on_{'success' if self.state == 'success' else 'failure'}_callback"):
            callback(run.ended(reason))
        for report in reports:
            report.join()

    @staticmethod
    def _end(run: Run, task_id: str) -> threading.Thread:
        run.states[task_id] = "success"
        thread = threading.Thread(target=run.notifier, args=(run.context(task_id, -1, "success"),))
        thread.start()
        return thread


def test_after_everything_nothing_lives_whatever_came_first(
    sandbox: Sandbox, supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each of these runs has processes of its own; here they share one.
    for name in ("budget", "task_budget"):
        monkeypatch.setattr(callbacks, name, CallbackBudget(seconds=1_000_000))
    cases = [Case(*one) for one in itertools.product(LATE, ENDS, RESULTS, (False, True))]
    late = [case for case in cases if case.late]
    for case in late:
        sandbox.inject_fault(times=REQUESTS, stream_key=case.stream, method="PUT", late=case.late)
    threads = [threading.Thread(target=case.play) for case in cases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    def in_hand() -> int:
        received = REQUESTS * len(late) - sum(fault["times"] for fault in sandbox.faults())
        streams = {case.stream for case in late}
        return received - sum(request["stream_key"] in streams for request in sandbox.requests("PUT"))

    eventually(lambda: in_hand() == 0, "the last late request")
    streams = sandbox.streams()
    assert sorted(case.name for case in cases if streams.get(case.stream, {}).get("live")) == []
    # A success whose start came to nothing is never shown; a failure always is.
    shown = {case.name: streams[case.stream]["content_state"]["color"] for case in cases if case.stream in streams}
    assert shown == {case.name: RESULTS[case.state] for case in cases if case.name in shown}
    assert [case.name for case in cases if case.state == "failed" and case.name not in shown] == []
