"""The operator that follows a run, through bad minutes: what the service received of each.

A real Airflow on PostgreSQL. Each case has a service of its own, which is away, refuses or is short of requests, or
something happens to the run or to Airflow; the table says what was sent, whether the last picture is right, and how
much longer the run took than its other tasks.
"""

import argparse
import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from support import processes
from support.airflow import Airflow, connection
from support.databases import postgresql
from support.live_runs import LiveRun, Wanted, start
from support.processes import DeploymentError, eventually
from support.sandbox import KEY, Sandbox, running_sandbox

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / ".build" / "follow-logs"
PIPELINES = Path(__file__).resolve().parent / "pipelines"
PER_MINUTE = 60
BAD_SECONDS = 60
_START = time.monotonic()
_PATIENCE = 540


def say(text: str) -> None:
    """Print a line with the seconds since the start."""
    print(f"{time.monotonic() - _START:6.1f} s  {text}", flush=True)


@dataclass(frozen=True)
class Scene:
    """What a case has.

    Args:
        airflow: Where its runs are.
        sandbox: Its service.
        account: The connection that leads to that.
    """

    airflow: Airflow
    sandbox: Sandbox
    account: str

    def start(self, dag_id: str, name: str, **conf: Any) -> LiveRun:
        """Start a run."""
        wanted = Wanted(dag_id, {"account": self.account, **conf})
        return start(self.airflow, self.sandbox, wanted, name)

    def finished(self, *runs: LiveRun) -> None:
        """Wait for the end of runs and of what is sent about them."""
        for run in runs:
            self.airflow.finished(run.dag_id, run.run_id, _PATIENCE)

    def bad_minute(self, **fault: Any) -> None:
        """Let all requests fail for a minute."""
        self.sandbox.inject_fault(times=1_000_000, **fault)
        time.sleep(BAD_SECONDS)
        self.sandbox.clear_faults()


def triggerer_killed(scene: Scene) -> list[LiveRun]:
    """The triggerer is killed -9 while it follows the run, and started again."""
    run = scene.start("follow_steps", "triggerer-killed", work=45)
    eventually(lambda: 1 in run.steps(), "the first step", every=0.5)
    scene.airflow.kill("triggerer")
    scene.airflow.start_component("triggerer")
    scene.finished(run)
    return [run]


def service_down(scene: Scene) -> list[LiveRun]:
    """The service answers nothing in the minute in which the run ends."""
    run = scene.start("follow_steps", "service-down", work=15)
    eventually(lambda: 1 in run.steps(), "the first step", every=0.5)
    scene.bad_minute(drop=True, status=503)  # with a status, the service does not work on the request
    scene.finished(run)
    return [run]


def rate_limited(scene: Scene) -> list[LiveRun]:
    """The service answers 429 for the minute in which the run ends."""
    run = scene.start("follow_steps", "rate-limited", work=15, fail=True)
    eventually(lambda: 1 in run.steps(), "the first step", every=0.5)
    scene.bad_minute(status=429, headers={"Retry-After": "20"})
    scene.finished(run)
    return [run]


def cleared(scene: Scene) -> list[LiveRun]:
    """The run is cleared after its end, and runs again."""
    run = scene.start("follow_steps", "cleared", work=5)
    scene.finished(run)
    run.ended()
    scene.airflow.clear(run.dag_id, run.run_id, only_failed=False)
    scene.finished(run)
    run.ended(times=2)
    return [run]


def marked(scene: Scene) -> list[LiveRun]:
    """Somebody marks the run as failed while it goes on."""
    run = scene.start("follow_steps", "marked", work=120)
    eventually(lambda: 1 in run.steps(), "the first step", every=0.5)
    scene.airflow.mark(run.dag_id, run.run_id, "failed")
    scene.finished(run)
    return [run]


def mapped(scene: Scene) -> list[LiveRun]:
    """One of its tasks is mapped over 500 values."""
    run = scene.start("follow_mapped", "mapped", instances=500)
    scene.finished(run)
    return [run]


def many(scene: Scene) -> list[LiveRun]:
    """Two hundred runs at once share 60 requests a minute."""
    scene.sandbox.limit(requests_per_minute=PER_MINUTE)
    runs = [scene.start("follow_many", f"many-{number:03}") for number in range(200)]
    say("many: all runs are started")
    scene.finished(*runs)
    return runs


CASES: dict[str, Callable[[Scene], list[LiveRun]]] = {
    case.__name__.replace("_", "-"): case
    for case in (triggerer_killed, service_down, rate_limited, cleared, marked, mapped, many)
}
# What all runs of the deployment would feel is by itself.
ALONE = ("triggerer-killed",)


@dataclass(frozen=True)
class Row:
    """What became of a case.

    Args:
        case: Which.
        runs: How many runs it made.
        counts: How many requests of each kind there were.
        right: How many streams ended with the picture of their run.
        shown: How many streams were ever shown.
        living: How many streams are still shown.
        delays: Seconds between the end of a run's other tasks and its own.
    """

    case: str
    runs: int
    counts: Mapping[str, int]
    right: int
    shown: int
    living: int
    delays: Sequence[float]

    def cells(self) -> list[str]:
        """The row as text."""
        delays = sorted(self.delays)
        delay = f"{delays[len(delays) // 2]:.1f} s" + (f" (at most {delays[-1]:.1f} s)" if len(delays) > 1 else "")
        kinds = ("started", "updated", "ended", "refused", "sent")
        counts = [str(self.counts[kind]) for kind in kinds]
        return [self.case, str(self.runs), *counts, f"{self.right} of {self.shown}", str(self.living), delay]


HEADS = (
    "case",
    "runs",
    "starts",
    "updates",
    "ends",
    "refused or lost",
    "requests",
    "last picture right",
    "left running",
    "delay of the run's end",
)


def examine(case: str, scene: Scene, runs: Sequence[LiveRun]) -> Row:
    """What became of a case.

    Args:
        case: Which.
        scene: What it has.
        runs: Its runs, which have ended.
    """
    requests, streams = scene.sandbox.all_requests(), scene.sandbox.streams()
    # The second end of a stream that has ended already changes nothing.
    counts = {
        kind: sum(request["operation"] == kind for request in requests) for kind in ("started", "updated", "ended")
    }
    counts["refused"] = sum(request["status"] != 200 for request in requests)
    counts["sent"] = len(requests)
    shown = [run for run in runs if run.stream in streams]
    return Row(
        case=case,
        runs=len(runs),
        counts=counts,
        right=sum(_is_right(streams[run.stream], run.finished()) for run in shown),
        shown=len(shown),
        living=sum(streams[run.stream]["live"] for run in shown),
        delays=[_delay(run) for run in runs],
    )


def _is_right(stream: Mapping[str, Any], result: str) -> bool:
    state = stream["content_state"]
    if result == "failed":
        return bool(state["type"] == "alert" and state["color"] == "red")
    return bool(state.get("color") == "green" and state["current_step"] == state["number_of_steps"])


def _delay(run: LiveRun) -> float:
    path = f"/dags/{run.dag_id}/dagRuns/{run.run_id}"
    tasks = run.airflow.api("GET", f"{path}/taskInstances?limit=1000")["task_instances"]
    ends = [_moment(one["end_date"]) for one in tasks if one["task_id"] != "follow" and one["end_date"]]
    return (_moment(run.airflow.api("GET", path)["end_date"]) - max(ends)).total_seconds()


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


@contextlib.contextmanager
def deployed(home: Path, programs: Path, cases: Sequence[str]) -> Iterator[dict[str, Scene]]:
    """An Airflow, and a service for each case.

    Args:
        home: A folder for all that is written meanwhile.
        programs: The folder of Airflow's programs.
        cases: Which cases there are.
    """
    with contextlib.ExitStack() as stack:
        sandboxes = {case: stack.enter_context(running_sandbox(programs=programs)) for case in cases}
        accounts = {case: case.replace("-", "_") for case in cases}
        variables = {
            "AIRFLOW__CORE__MAX_ACTIVE_TASKS_PER_DAG": "1000",
            **{
                f"AIRFLOW_CONN_{accounts[case].upper()}": connection(box.base_url, KEY)
                for case, box in sandboxes.items()
            },
        }
        postgres = stack.enter_context(postgresql())
        folder = home / "airflow"
        airflow = stack.enter_context(
            Airflow(folder, PIPELINES / "follow_dags", variables, programs, database=postgres.database("airflow"))
        )
        airflow.await_dags(["follow_steps", "follow_mapped", "follow_many"])
        yield {case: Scene(airflow, sandbox, accounts[case]) for case, sandbox in sandboxes.items()}


def rows(scenes: Mapping[str, Scene]) -> Iterator[Row]:
    """Play the cases: side by side those that do not disturb each other; what became of each."""

    def play(case: str) -> Row:
        say(f"{case}: {(CASES[case].__doc__ or '').strip()}")
        row = examine(case, scenes[case], CASES[case](scenes[case]))
        say(f"{case}: over")
        return row

    for case in scenes:
        if case in ALONE:
            yield play(case)
    beside = [case for case in scenes if case not in ALONE]
    with ThreadPoolExecutor(len(beside) or 1) as pool:
        yield from pool.map(play, beside)


def main() -> None:
    """Play the cases that the command line names, print a table, and fail if a picture is wrong or left running."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}; none means all")
    parser.add_argument("--airflow", type=Path, required=True, help="the folder of Airflow's programs")
    options = parser.parse_args()
    if unknown := set(options.cases) - set(CASES):
        parser.error(f"no case is called {', '.join(sorted(unknown))}")
    processes.interrupt_on_any_end()
    shutil.rmtree(LOGS, ignore_errors=True)
    try:
        with tempfile.TemporaryDirectory(prefix="activitysmith-follow-", ignore_cleanup_errors=True) as folder:
            try:
                with deployed(Path(folder), options.airflow, options.cases or [*CASES]) as scenes:
                    found = list(rows(scenes))
            finally:
                for log in Path(folder).glob("airflow/*.log"):
                    LOGS.mkdir(parents=True, exist_ok=True)
                    shutil.copy(log, LOGS)
    except DeploymentError as error:
        sys.exit(f"The cases were not played to their end: {error}")
    print(f"\n| {' | '.join(HEADS)} |\n|{'---|' * len(HEADS)}")
    for row in found:
        print(f"| {' | '.join(row.cells())} |")
    if wrong := [row.case for row in found if row.living or row.right < row.shown]:
        sys.exit(f"Not as it should be: {', '.join(wrong)}; the logs are in {LOGS.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
