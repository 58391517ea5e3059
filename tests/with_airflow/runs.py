"""A run of a DAG, task instance by task instance, as workers see it, and the supervisor that they ask."""

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from airflow.sdk import DAG
from airflow.sdk.execution_time.comms import GetXComSequenceSlice, SetXCom, XComSequenceSliceResult
from support.sandbox import Sandbox

from activitysmith_integrations.airflow.reporter import ProgressReporter
from activitysmith_integrations.core import stream_key

CONNECTION = "activitysmith_default"
STREAM = stream_key("nightly", "r1")
# What a task instance has that was deferred and resumes.
RESUMES: dict[str, Any] = {"_ti_context_from_server": SimpleNamespace(next_method="resume")}


class Supervisor:
    """Stands in for the process that a worker asks: it keeps XComs."""

    def __init__(self) -> None:
        self.xcoms: dict[tuple[str, str, str, str, int | None], Any] = {}
        self.writes = 0

    def send(self, msg: Any) -> Any:
        if isinstance(msg, SetXCom):
            self.writes += 1
            self.xcoms[self._place(msg)] = msg.value
            return None
        assert isinstance(msg, GetXComSequenceSlice), f"a worker's callback asks for {msg}"
        found = [value for place, value in self.xcoms.items() if place[:4] == self._place(msg)[:4]]
        return XComSequenceSliceResult(root=found)

    @staticmethod
    def _place(msg: Any) -> tuple[str, str, str, str, int | None]:
        return msg.dag_id, msg.run_id, msg.task_id, msg.key, getattr(msg, "map_index", None)


class Run:
    """One run of a DAG. Like Airflow it posts a success before its callbacks and a failure after them.

    Args:
        dag: The DAG.
        notifier: What its tasks call; the reporter that the tag gives them where None.
        instances: How many instances its mapped tasks expand to.
    """

    def __init__(self, dag: DAG, notifier: Any = None, **instances: int) -> None:
        self.dag = dag
        self.notifier = ProgressReporter(None, CONNECTION) if notifier is None else notifier
        self.instances = instances
        self.states: dict[str, str | None] = dict.fromkeys(dag.task_ids)
        self.state = "running"
        self.clear_number = 0
        self.started = datetime.now(UTC)
        self.asked: list[str] = []

    def clear(self) -> None:
        """Begin anew, once it is over."""
        self.clear_number += 1
        self.started = datetime.now(UTC)

    def expand(self, task_id: str) -> list[tuple[str, int]]:
        """The instances of a task; a mapped one gets them now."""
        if task_id not in self.instances:
            return [(task_id, -1)]
        del self.states[task_id]
        found = [(task_id, index) for index in range(self.instances[task_id])]
        self.states |= {f"{task_id}_{index}": None for _, index in found}
        return found

    def context(self, task_id: str, index: int, state: str | None, **more: Any) -> dict[str, Any]:
        task = self.dag.get_task(task_id)
        ti = SimpleNamespace(
            task_id=task_id,
            map_index=index,
            state=state,
            try_number=1,
            max_tries=task.retries,
            get_task_states=self._get_task_states,
            get_ti_count=self._get_ti_count,
            get_dagrun_state=lambda dag_id, run_id: self.state,
        )
        dag_run = SimpleNamespace(
            dag_id=self.dag.dag_id,
            run_id="r1",
            start_date=self.started,
            end_date=None,
            clear_number=self.clear_number,
        )
        vars(ti).update(more)
        return {"dag": self.dag, "run_id": "r1", "dag_run": dag_run, "task": task, "ti": ti, "task_instance": ti}

    def ended(self, reason: str) -> dict[str, Any]:
        """The context of the DAG's callbacks."""
        context = self.context(next(iter(self.dag.task_ids)), -1, None)
        context["dag_run"].end_date = datetime.now(UTC)
        return {**context, "reason": reason}

    def _get_task_states(self, dag_id: str, run_ids: list[str]) -> Any:
        self.asked.append("states")
        return {run_ids[0]: dict(self.states)}

    def _get_ti_count(self, dag_id: str, run_ids: list[str], task_ids: Any = None, states: Any = None) -> int:
        self.asked.append("count")
        return sum(
            (task_ids is None or key in task_ids or key.rpartition("_")[0] in task_ids)
            and (states is None or state in states)
            for key, state in self.states.items()
        )

    @staticmethod
    def _key(task_id: str, index: int) -> str:
        return task_id if index < 0 else f"{task_id}_{index}"

    def begin(self, task_id: str, index: int = -1, **more: Any) -> None:
        self.states[self._key(task_id, index)] = "running"
        self.notifier(self.context(task_id, index, "running", **more))

    def end(self, task_id: str, index: int = -1, state: str = "success", **more: Any) -> None:
        if state != "failed":
            self.states[self._key(task_id, index)] = state
        self.notifier(self.context(task_id, index, state, **more))
        self.states[self._key(task_id, index)] = state

    def do(self, *task_ids: str, **more: Any) -> None:
        for task_id in task_ids:
            for one in self.expand(task_id):
                self.begin(*one, **more)
                self.end(*one, **more)


def parsed(code: str, folder: Path) -> DAG:
    """The one DAG of a file, as Airflow's dag-processor finds it and its policies leave it.

    Args:
        code: The file's.
        folder: Where the file may stand.
    """
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:  # before Airflow 3.2
        from airflow.models.dagbag import DagBag
    path = folder / "parsed.py"
    path.write_text(code)
    bag = DagBag(dag_folder=str(path))
    assert bag.import_errors == {}
    (dag,) = bag.dags.values()
    return dag


def operations(sandbox: Sandbox, key: str = STREAM) -> list[tuple[str, int, str | None]]:
    """The requests about a stream: method, status and what the service did."""
    return [(one["method"], one["status"], one["operation"]) for one in sandbox.story(key)]
