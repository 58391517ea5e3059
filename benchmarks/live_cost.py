"""Measure what showing a run from its first task to its last costs the engine: the same work with and without us.

Real engines on loopback, against the sandbox; ``airflow`` or ``prefect`` measures that one alone. The runs take
turns; a value is the median of their times, from the run's start to its end, with the least and the most beside it.
The ratio that counts is the median of those of each round, since other work on the machine hits both of its runs.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias

import figures
from comparison import Row, compare, table
from support import processes
from support.airflow import Airflow, connection
from support.databases import postgresql
from support.prefect import Prefect
from support.processes import DeploymentError
from support.sandbox import KEY, running_sandbox

ROUNDS = 9
MOST_RATIO = 1.05
PIPELINES = Path(__file__).resolve().parent / "pipelines"

Measured: TypeAlias = dict[str, dict[str, list[float]]]
"""Seconds of each part of a run, by its name, of the runs without and with a stream."""


def _in_turns(seconds: Callable[[str], dict[str, float]]) -> Measured:
    found: Measured = {"plain": {}, "shown": {}}
    for number in range(ROUNDS + 1):
        for name in sorted(found, reverse=bool(number % 2)):
            took = seconds(name)
            parts = ", ".join(f"{part} {value:.2f} s" for part, value in took.items())
            print(f"{name}: {parts}; load {os.getloadavg()[0]:.1f}", flush=True)
            for part, value in took.items() if number else ():  # the first of each warms up
                found[name].setdefault(part, []).append(value)
    return found


def _rows(engine: str, what: str, found: Measured) -> list[Row]:
    """Rows of the table: the whole run, and its parts, which say where the time goes."""
    rows = []
    for part, shown in found["shown"].items():
        aim = {"most_ratio": MOST_RATIO} if part == "run" else {}
        name = what if part == "run" else f"  of it {part}"
        rows.append(compare(name, "s", shown, f"{engine} alone", found["plain"][part], **aim))
    # Another's work on the machine hits both runs of a round, and not all rounds.
    pairs = zip(found["shown"]["run"], found["plain"]["run"], strict=True)
    ratios = [shown / plain for shown, plain in pairs]
    rows.append(compare("  with to without, round by round", "x", ratios, "alike", [1.0], most_ratio=MOST_RATIO))
    return rows


def _of_airflow(home: Path, programs: Path, base_url: str) -> list[Row]:
    with postgresql() as postgres:
        variables = {"AIRFLOW_CONN_ACTIVITYSMITH_DEFAULT": connection(base_url, KEY)}
        dags, database = PIPELINES / "cost_dags", postgres.database("airflow")
        with Airflow(home / "airflow", dags, variables, programs, database=database) as airflow:
            airflow.await_dags(["plain", "shown"])
            found = _in_turns(lambda name: _airflow_seconds(airflow, name))
    return _rows("Airflow", "Airflow: 30 tasks of a second, 3 at a time", found)


def _airflow_seconds(airflow: Airflow, dag_id: str) -> dict[str, float]:
    run_id, state = airflow.run(dag_id)
    if state != "success":
        raise DeploymentError(f"a run of {dag_id} is {state}")
    run = airflow.run_of(dag_id, run_id)
    total = _seconds_between(run["start_date"], run["end_date"])
    rows: dict[str, list[dict[str, Any]]] = {}
    for task in airflow.api("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances?limit=100")["task_instances"]:
        rows.setdefault(task["task_id"].rpartition("_")[0], []).append(task)
    in_tasks = sum(
        _seconds_between(min(task["start_date"] for task in row), max(task["end_date"] for task in row))
        for row in rows.values()
    )
    return {"run": total, "in tasks": in_tasks, "between tasks": total - in_tasks}


def _seconds_between(began: str, ended: str) -> float:
    return (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()


def _of_prefect(home: Path, programs: Path, base_url: str) -> list[Row]:
    variables = {"ACTIVITYSMITH_API_KEY": KEY, "ACTIVITYSMITH_BASE_URL": base_url, "PREFECT_LOGGING_LEVEL": "WARNING"}
    with Prefect(home / "prefect", variables, programs) as prefect:
        flow = str(PIPELINES / "cost_flow.py")
        found = _in_turns(lambda name: {"run": float(prefect.run(name, flow, name).split()[-1])})
    return _rows("Prefect", "Prefect: 200 tasks of a second, 20 at a time", found)


def main() -> None:
    """Do what the command line says, and print a table."""
    engines = {"airflow": _of_airflow, "prefect": _of_prefect}
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help=f"of {', '.join(engines)}; none means both")
    parser.add_argument("--keep", action="store_true", help="write what the site shows of it")
    for name in engines:
        parser.add_argument(f"--{name}", type=Path, required=True, help=f"the folder of {name}'s programs")
    options = parser.parse_args()
    if unknown := set(options.engines) - set(engines):
        parser.error(f"no engine is called {', '.join(sorted(unknown))}")
    processes.interrupt_on_any_end()
    try:
        with tempfile.TemporaryDirectory(prefix="activitysmith-bench-", ignore_cleanup_errors=True) as folder:
            home = Path(folder)
            with running_sandbox() as sandbox:
                rows = [
                    row
                    for name in options.engines or engines
                    for row in engines[name](home, getattr(options, name), sandbox.base_url)
                ]
                sent = [request["method"] for request in sandbox.all_requests()]
    except DeploymentError as error:
        sys.exit(f"The measuring failed: {error}")
    if options.keep:
        figures.keep(
            "runs", "The same work without and with a stream that shows it", [row for row in rows if row.what[0] != " "]
        )
    print(f"\n{table(rows)}\n\n{sent.count('PUT')} updates and {sent.count('DELETE')} ends were sent")


if __name__ == "__main__":
    main()
