"""What is shown of runs while something breaks, and whether the runs themselves are any worse for being shown.

Airflow with two Celery workers and a Prefect server with two process workers, both on PostgreSQL. Of each fault there
is one at a time, in the middle of the runs: a process is killed as a lost machine ends it, and started again where
something else would; the database is restarted; the service misbehaves for 20 seconds. Runs that nothing shows are
under way beside them, for comparison.
"""

import argparse
import contextlib
import itertools
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from broken_engines import ChaosAirflow, ChaosPrefect, Supervised
from proofs import say, scratch, table
from support import processes
from support.airflow import connection
from support.databases import PostgreSQL, Programs, Redis
from support.processes import DeploymentError, eventually
from support.sandbox import KEY, Sandbox, running_sandbox
from verdicts import Run, Verdict, verdict

SECONDS = 20.0
_PATIENCE = 300.0
# The longest time after a run's end in which its stream may still end, such as by a dag-processor started again.
_QUIET = 75.0
_SERVICE_FAULTS: dict[str, dict[str, object]] = {
    "service closes connections": {"drop": True, "status": 503},
    "service answers 500": {"status": 500},
    "service does not answer": {"delay": 3600, "status": 503},
    "service answers 429": {"status": 429},
}


@dataclass(frozen=True)
class Result:
    """What came of one fault.

    Args:
        fault: Which.
        shown: What became of the runs by the way in which they are shown.
        unplanned: How many runs of each pipeline did not go as they were made to, of how many.
        seconds: From the first run's start until all were over.
    """

    fault: str
    shown: Mapping[str, Verdict]
    unplanned: Mapping[str, tuple[int, int]]
    seconds: float


def service_faults(sandbox: Sandbox) -> Mapping[str, Callable[[], None]]:
    """What the service may do for 20 seconds, by name."""

    def hold(fault: Mapping[str, object], seconds: float) -> None:
        sandbox.inject_fault(times=1_000_000, **fault)
        time.sleep(seconds)
        sandbox.clear_faults()

    def flap() -> None:
        for _ in range(round(SECONDS / 2)):
            hold({"status": 500}, 1)
            time.sleep(1)

    kinds: dict[str, Callable[[], None]] = {
        name: lambda fault=fault: hold(fault, SECONDS)  # type: ignore[misc]
        for name, fault in _SERVICE_FAULTS.items()
    }
    return {**kinds, "service comes and goes": flap}


class Chaos:
    """One engine, its faults one after the other.

    Args:
        engine: It.
        sandbox: The service.
        runs: How many runs of the first pipeline are under way; there is half of that number of each other one.
    """

    def __init__(self, engine: Supervised, sandbox: Sandbox, runs: int) -> None:
        self._engine, self._sandbox, self._runs = engine, sandbox, runs
        self.faults = {"nothing": lambda: None, **engine.faults(), **service_faults(sandbox)}

    def result(self, fault: str) -> Result:
        """Let it happen, and see what becomes of the runs."""
        self._sandbox.reset()
        started = time.monotonic()
        meant = self._trigger(fault.replace(" ", "-"))
        quarter = sum(map(len, meant.values())) / 4
        eventually(lambda: self._over(meant) >= quarter, "the end of a quarter of the runs", _PATIENCE)
        self.faults[fault]()
        self._engine.wait_until_healthy()
        with contextlib.suppress(DeploymentError):  # what is not over by then is counted as open
            eventually(lambda: self._over(meant) == 4 * quarter, "the end of all runs", _PATIENCE)
        seconds = time.monotonic() - started
        with contextlib.suppress(DeploymentError):
            eventually(lambda: not self._sandbox.living(), "the end of all streams", _QUIET)
        return self._judged(fault, meant, seconds)

    def _trigger(self, name: str) -> dict[str, dict[str, bool]]:
        """Start the runs; by pipeline, which of them are meant to fail."""
        meant: dict[str, dict[str, bool]] = {pipeline: {} for pipeline in self._engine.pipelines}
        for number in range(self._runs):
            for pipeline in itertools.islice(meant, None if number % 2 == 0 else 1):
                fails = number % 3 == 0
                unique = f"{name}-{number:02}-{os.urandom(3).hex()}"
                meant[pipeline][self._engine.trigger_one(pipeline, unique, fails=fails)] = fails
        return meant

    def _over(self, meant: Mapping[str, Mapping[str, bool]]) -> int:
        self._engine.check()
        found = [(self._failures(pipeline), runs) for pipeline, runs in meant.items()]
        return sum(failures.get(run) is not None for failures, runs in found for run in runs)

    def _failures(self, pipeline: str) -> dict[str, bool | None]:
        with contextlib.suppress(Exception):  # the engine's own API may be what is broken
            return self._engine.failures(pipeline)
        return {}

    def _judged(self, fault: str, meant: Mapping[str, Mapping[str, bool]], seconds: float) -> Result:
        streams, log, shown, unplanned = self._sandbox.streams(), self._engine.all_logs(), {}, {}
        for pipeline, runs in meant.items():
            failures = self._engine.failures(pipeline)
            unplanned[pipeline] = (sum(failures.get(run) != fails for run, fails in runs.items()), len(runs))
            if self._engine.pipelines[pipeline]:
                ours = [Run(self._engine.key(pipeline, run), failures.get(run)) for run in runs]
                shown[pipeline] = verdict(ours, streams, log)
        return Result(fault, shown, unplanned, seconds)


def rows(result: Result) -> list[dict[str, str]]:
    """A line for each pipeline of a result."""
    return [
        {
            "fault": result.fault,
            "pipeline": pipeline,
            "runs": str(seen.runs),
            "started": str(seen.started),
            "right": str(seen.right),
            "wrong": str(len(seen.wrong)),
            "never ended": str(len(seen.live)),
            "failure unseen": str(len(seen.unseen)),
            "of these in a log": str(seen.said),
            "not over": str(seen.open),
            "runs not as made": ", ".join(f"{name} {bad}/{of}" for name, (bad, of) in result.unplanned.items() if bad),
            "took": f"{result.seconds:.0f} s",
        }
        for pipeline, seen in result.shown.items()
    ]


@contextlib.contextmanager
def _running(name: str, options: argparse.Namespace) -> Iterator[Chaos]:
    with scratch("chaos") as home, running_sandbox() as sandbox:
        debian = Programs(home / "debian", "postgres", "redis-server")
        with PostgreSQL(home / "postgres", debian) as postgres:
            if name == "airflow":
                account = connection(sandbox.base_url, KEY)
                with (
                    Redis(home / "redis", debian) as redis,
                    ChaosAirflow(home / "airflow", account, postgres, redis, options.airflow) as airflow,
                ):
                    yield Chaos(airflow, sandbox, options.airflow_runs)
            else:
                variables = {"ACTIVITYSMITH_API_KEY": KEY, "ACTIVITYSMITH_BASE_URL": sandbox.base_url}
                with ChaosPrefect(home / "prefect", variables, postgres, options.prefect) as prefect:
                    yield Chaos(prefect, sandbox, options.prefect_runs)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help="airflow or prefect; none means both")
    parser.add_argument("--fault", action="append", metavar="TEXT", help="only faults whose names contain this")
    parser.add_argument("--airflow-runs", type=int, default=40, help="tagged runs, 100 at most (default: %(default)s)")
    parser.add_argument("--prefect-runs", type=int, default=12, help="shown runs (default: %(default)s)")
    for name in ("airflow", "prefect"):
        parser.add_argument(f"--{name}", type=Path, required=True, help=f"the folder of {name}'s programs")
    options = parser.parse_args()
    if unknown := set(options.engines) - {"airflow", "prefect"}:
        parser.error(f"no engine is called {', '.join(sorted(unknown))}")
    return options


def _is_wrong(results: Sequence[Result]) -> bool:
    return any(seen.wrong for result in results for seen in result.shown.values())


def main() -> None:
    """Break everything once, and fail if a wrong picture was shown."""
    options = _options()
    processes.interrupt_on_any_end()
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    results = list[Result]()
    try:
        for name in options.engines or ("airflow", "prefect"):
            with _running(name, options) as chaos:
                say(f"{name} is up")
                for fault in chaos.faults:
                    if not options.fault or any(part in fault for part in options.fault):
                        results.append(chaos.result(fault))
                        say(f"{fault}\n{table(rows(results[-1]))}")
    except KeyboardInterrupt:
        sys.exit("\nstopped")
    except (DeploymentError, OSError) as error:
        sys.exit(f"It failed: {error}")
    finally:
        if results:
            print(f"\n{table([row for result in results for row in rows(result)])}", flush=True)
    if _is_wrong(results):
        sys.exit("A wrong picture was shown")


if __name__ == "__main__":
    main()
