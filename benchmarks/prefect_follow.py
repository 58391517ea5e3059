"""Measure what following a Prefect run costs: the same flow of many short tasks, without and with a stream.

Real processes and a real server on PostgreSQL, on loopback, against the sandbox. The runs take turns; a value is the
median, with the least and the most beside it. ``--runs N`` has one ``serve`` process run N flows instead, and looks at
what it holds.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from pathlib import Path

import psutil
from comparison import Row, compare, table
from proofs import scratch
from support import processes
from support.databases import PostgreSQL, Programs
from support.prefect import Prefect
from support.processes import DeploymentError, eventually
from support.sandbox import KEY, Sandbox, running_sandbox

FLOW = str(Path(__file__).resolve().parent / "pipelines" / "follow_flow.py")
# Tasks, their runner, and how many runs of each kind are measured.
CASES = ((200, "threads", 7), (2000, "threads", 5), (200, "processes", 3))


def _rows(prefect: Prefect) -> list[Row]:
    rows = []
    for tasks, runner, rounds in CASES:
        found: dict[str, dict[str, list[float]]] = {kind: defaultdict(list) for kind in ("plain", "shown")}
        for number in range(rounds + 1):
            for kind in sorted(found, reverse=bool(number % 2)):
                printed = prefect.run(f"{kind}-{tasks}-{runner}", FLOW, "run", kind, str(tasks), runner)
                one = json.loads(printed.splitlines()[-1])
                print(f"{tasks} tasks on {runner}, {kind}: {one}", flush=True)
                if number:  # the first of each warms up
                    for name, value in one.items():
                        found[kind][name].append(value)
        plain, shown = found["plain"], found["shown"]
        # Per second of the run, beside what Prefect asks by itself.
        pairs = zip(shown["requests"], plain["requests"], shown["seconds"], strict=True)
        asked = [(ours - theirs) / seconds for ours, theirs, seconds in pairs]
        what = f"{tasks} tasks on {runner}"
        rows += [
            compare(f"{what}: time", "s", shown["seconds"], "Prefect alone", plain["seconds"], most_ratio=1.02),
            compare(f"{what}: requests in all", "", shown["requests"], "Prefect alone", plain["requests"]),
            compare(f"{what}: requests more, a second", "/s", asked, "aim", [1.0], most=1.0),
            compare(f"{what}: memory", "MB", shown["memory"], "Prefect alone", plain["memory"]),
        ]
    return rows


def _serve(prefect: Prefect, sandbox: Sandbox, runs: int) -> None:
    process = psutil.Process(prefect.python("serve", FLOW, "serve").pid)
    prefect.create_run("served/bench", number=-1)
    eventually(lambda: len(sandbox.requests()) == 1, "the first run", 180)
    print(f"after 1 run: {_held(process)}", flush=True)
    for number in range(runs):
        prefect.create_run("served/bench", number=number)
    began = time.monotonic()
    while (done := len(sandbox.requests()) - 1) < runs and time.monotonic() - began < 4 * runs + 60:
        time.sleep(5)
        if done % 50 < 4:
            print(f"{done} runs: {_held(process)}", flush=True)
    eventually(lambda: not process.children(), "the end of the last run's process")
    print(f"after {done + 1} runs: {_held(process)}; streams still shown: {len(sandbox.living())}")


def _held(process: psutil.Process) -> str:
    sockets, memory = len(process.net_connections()), process.memory_info().rss / 2**20
    return f"{process.num_threads()} threads, {sockets} sockets, {process.num_fds()} descriptors, {memory:.0f} MB"


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--prefect", type=Path, required=True, help="the folder of Prefect's programs")
    parser.add_argument("--runs", type=int, help="how many runs one serve process does")
    options = parser.parse_args()
    processes.interrupt_on_any_end()
    try:
        with (
            scratch("bench") as home,
            running_sandbox() as sandbox,
            PostgreSQL(home / "postgres", Programs(home / "debian", "postgres")) as postgres,
        ):
            variables = {
                "ACTIVITYSMITH_API_KEY": KEY,
                "ACTIVITYSMITH_BASE_URL": sandbox.base_url,
                "PREFECT_LOGGING_LEVEL": "ERROR",
            }
            database = postgres.database("prefect")
            with Prefect(home / "prefect", variables, options.prefect, database=database) as prefect:
                if options.runs:
                    _serve(prefect, sandbox, options.runs)
                else:
                    print(f"\n{table(_rows(prefect))}")
    except DeploymentError as error:
        sys.exit(f"The measuring failed: {error}")


if __name__ == "__main__":
    main()
