"""Run Airflow's own example DAGs, tagged, on a real scheduler, and show what reached the service about each of them.

Each run has one start, a bar that does not shrink, and one end with the run's result. The DAGs are those of the
installed Airflow and its standard provider; those left out need something that is not here, or somebody.
"""

import argparse
import importlib
import itertools
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support import processes
from support.airflow import Airflow, connection
from support.databases import postgresql
from support.live_runs import LiveRun, Wanted, start
from support.processes import DeploymentError, eventually
from support.sandbox import KEY, Sandbox, running_sandbox

LOGS = Path(__file__).resolve().parent.parent / ".build" / "examples-logs"
PACKAGES = {"core": "airflow.example_dags", "standard": "airflow.providers.standard.example_dags"}

# A policy of the user's, as a platform team has one.
SETTINGS = """
def dag_policy(dag):
    dag.tags.add("activitysmith")
"""

LEFT_OUT = {
    "example_branch_operator": "installs packages from the network",
    "example_branch_python_operator_decorator": "installs packages from the network",
    "example_dag_decorator": "asks a website",
    "example_external_task": "waits for another DAG's run of the same date",
    "example_external_task_marker_child": "waits for another DAG's run of the same date",
    "example_hitl_operator": "waits for somebody's answer",
    "example_python_decorator": "installs packages from the network",
    "example_python_operator": "installs packages from the network",
    "example_retry_policy": "tries again minutes later",
    "example_sensors": "waits for minutes",
    "example_workday_timetable": "its timetable is in a plugin that is not installed",
    "tutorial_objectstorage": "reads from the network",
    "tutorial_taskflow_api_virtualenv": "installs packages from the network",
}

# What somebody has to fill in before such a run.
CONF: dict[str, dict[str, Any]] = {"example_params_ui_tutorial": {"required_field": "given by hand"}}

# Airflow hangs in the callbacks of these, so the tag passes them over and says so.
PASSED_OVER = {
    "asset2_producer",
    "asset_alias_example_alias_consumer",
    "asset_alias_example_alias_consumer_with_no_taskflow",
}

# Settled by the scheduler, so that a DAG of nothing else shows nothing.
EMPTY = {"EmptyOperator", "ExternalTaskMarker"}
RUN_SECONDS = 420


@dataclass(frozen=True)
class Row:
    """What became of one run.

    Args:
        dag_id: Its DAG.
        tasks: How many tasks that has.
        start: How the stream began.
        bar: The steps that it showed, of how many.
        end: What it ended with.
        result: How the run ended.
        faults: What is not as it should be.
    """

    dag_id: str
    tasks: int
    start: str
    bar: str
    end: str
    result: str
    faults: tuple[str, ...] = ()

    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        result = self.result if not self.faults else f"{self.result}: WRONG, {', '.join(self.faults)}"
        return self.dag_id, str(self.tasks), self.start, self.bar, self.end, result


def why_not_shown(dag_id: str, operators: Sequence[str]) -> str:
    """Why the runs of a DAG are not shown; empty where they are.

    Args:
        dag_id: The DAG.
        operators: What its tasks are made of.
    """
    if dag_id in PASSED_OVER:
        return "passed over, since Airflow hangs in its callbacks"
    return "nothing but empty operators" if set(operators) <= EMPTY else ""


def examine(run: LiveRun, operators: Sequence[str], result: str) -> Row:
    """What became of a run.

    Args:
        run: The run.
        operators: What its tasks are made of.
        result: How it ended.
    """
    # An update that the service refused has changed nothing.
    story = [request for request in run.story() if request["status"] != 400]
    if why := why_not_shown(run.dag_id, operators):
        faults = ("something was sent",) if story else ()
        return Row(run.dag_id, len(operators), f"none: {why}", "-", "-", result, faults)
    operations = [request["operation"] or str(request["status"]) for request in story]
    states = [request["body"]["content_state"] for request in story if request["status"] == 200]
    steps = [state["current_step"] for state in states if "current_step" in state]
    lengths = {state["number_of_steps"] for state in states if "number_of_steps" in state}
    last = states[-1] if states else {}
    started_with = "with the failure" if operations[:1] == ["404"] else "begin"
    return Row(
        dag_id=run.dag_id,
        tasks=len(operators),
        start=started_with if "started" in operations else "none",
        bar=f"{' '.join(map(str, steps)) or '-'} of {'/'.join(map(str, sorted(lengths))) or '-'}{_overtaken(steps)}",
        end=f"{last.get('color', '-')} {last.get('type', '-')}" if "ended" in operations else "none",
        result=result,
        faults=tuple(_faults(operations, steps, len(lengths), last, result)),
    )


def _overtaken(steps: Sequence[int]) -> str:
    count = sum(later < earlier for earlier, later in itertools.pairwise(steps))
    return f" ({count} overtaken)" if count else ""


def _faults(
    operations: Sequence[str], steps: Sequence[int], lengths: int, last: dict[str, Any], result: str
) -> Iterator[str]:
    if operations.count("started") != 1:
        yield f"{operations.count('started')} starts"
    if operations.count("ended") != 1 or operations[-1:] != ["ended"]:
        yield f"{operations.count('ended')} ends, the last request was {operations[-1:]}"
    # One report may overtake another on its way, and a later one puts that right.
    if steps and steps[-1] < max(steps):
        yield "the bar shrank"
    if lengths > 1:
        yield "the bar changed its length"
    if result not in ("success", "failed"):
        yield "it did not end in time"
    elif last and (last.get("color") == "red") != (result == "failed"):
        yield f"a run that is {result} ended {last.get('color')}"


class Examples:
    """The example DAGs on an Airflow.

    Args:
        airflow: Running.
        sandbox: What shows them.
    """

    def __init__(self, airflow: Airflow, sandbox: Sandbox) -> None:
        self._airflow, self._sandbox = airflow, sandbox

    def rows(self) -> Iterator[Row]:
        """Run all of them at once; what became of each."""
        known = self._known()
        operators = {dag_id: self._operators(dag_id) for dag_id in known}
        runs = dict[str, LiveRun]()
        for dag_id in known:
            try:
                runs[dag_id] = start(
                    self._airflow, self._sandbox, Wanted(dag_id, CONF.get(dag_id, {})), f"tried-{dag_id}"
                )
            except AssertionError as error:
                yield Row(dag_id, len(operators[dag_id]), "", "", "", "was not started", (str(error),))
        give_up_at = time.monotonic() + RUN_SECONDS
        results = {dag_id: self._result(run, give_up_at) for dag_id, run in runs.items()}
        for dag_id, run in runs.items():
            if not why_not_shown(dag_id, operators[dag_id]):
                self._await_end(run, give_up_at)
            yield examine(run, operators[dag_id], results[dag_id])

    def _result(self, run: LiveRun, give_up_at: float) -> str:
        try:
            return self._airflow.finished(run.dag_id, run.run_id, max(1.0, give_up_at - time.monotonic()))
        except DeploymentError:
            return "did not end"

    def _known(self) -> list[str]:
        """The DAGs, once no more of them come up: their files are parsed one after the other."""
        known: list[str] = []
        while not known or known != self._airflow.dags():
            known = self._airflow.dags()
            time.sleep(8)
        return [dag_id for dag_id in known if dag_id not in LEFT_OUT]

    def _await_end(self, run: LiveRun, give_up_at: float) -> None:
        left = max(1.0, give_up_at - time.monotonic())
        try:
            eventually(lambda: self._sandbox.ends(run.stream), "its end", left, every=0.5)
        except DeploymentError:
            return  # the row says it

    def _operators(self, dag_id: str) -> list[str]:
        return [str(task["operator_name"]) for task in self._airflow.api("GET", f"/dags/{dag_id}/tasks")["tasks"]]


@contextmanager
def deployed(packages: Sequence[str], sandbox: Sandbox) -> Iterator[Airflow]:
    """An Airflow with example DAGs.

    Args:
        packages: The packages that they are in.
        sandbox: What shows them.
    """
    with tempfile.TemporaryDirectory(prefix="activitysmith-examples-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        for name in ("dags", "config"):
            (home / name).mkdir()
        (home / "config/airflow_local_settings.py").write_text(SETTINGS)
        for name in packages:
            for source in Path(next(iter(importlib.import_module(name).__path__))).glob("*.py"):
                shutil.copy(source, home / "dags")
        # The runs are those that are started here, and no others.
        variables = {
            "AIRFLOW_CONN_ACTIVITYSMITH_DEFAULT": connection(sandbox.base_url, KEY),
            # All runs are started at once: with more at work, each waits for seconds for the one API server.
            "AIRFLOW__CORE__PARALLELISM": "6",
            "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "60",
            "AIRFLOW__SCHEDULER__USE_JOB_SCHEDULE": "False",
            "PYTHONPATH": os.pathsep.join([str(home / "config"), os.environ.get("PYTHONPATH", "")]),
        }
        try:
            with (
                postgresql() as postgres,
                Airflow(home, home / "dags", variables, database=postgres.database("airflow")) as airflow,
            ):
                yield airflow
        finally:
            shutil.rmtree(LOGS, ignore_errors=True)
            shutil.copytree(home / "logs", LOGS, symlinks=True)


def main() -> None:
    """Run them, print the table, and fail if something is wrong."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("packages", nargs="*", metavar="PACKAGE", help=f"of {', '.join(PACKAGES)}; none means both")
    options = parser.parse_args()
    if unknown := set(options.packages) - set(PACKAGES):
        parser.error(f"no package is called {', '.join(sorted(unknown))}")
    processes.interrupt_on_any_end()
    packages = [PACKAGES[name] for name in options.packages or PACKAGES]
    rows = list[Row]()
    try:
        with running_sandbox() as sandbox, deployed(packages, sandbox) as airflow:
            print("| DAG | tasks | start | bar | end | result |\n|---|---|---|---|---|---|", flush=True)
            for row in Examples(airflow, sandbox).rows():
                print(f"| {' | '.join(row.cells())} |", flush=True)
                rows.append(row)
    except DeploymentError as error:
        sys.exit(f"The examples were not run: {error}")
    print("\nLeft out:\n\n" + "\n".join(f"- {dag_id}: {reason}" for dag_id, reason in LEFT_OUT.items()))
    wrong = [row.dag_id for row in rows if row.faults]
    print(f"\n{len(rows)} DAGs, {len(rows) - len(wrong)} as they should be")
    if wrong:
        sys.exit(f"Not as it should be: {', '.join(wrong)}; the logs are in {LOGS}")


if __name__ == "__main__":
    main()
