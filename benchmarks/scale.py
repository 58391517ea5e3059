"""Callbacks never hurt, and operators and tasks lose nothing: shown on real engines, under the service's own limit.

Airflow with two Celery workers and a Prefect server with two process workers, both on PostgreSQL, make hundreds of
runs that end almost together, while the sandbox lets 60 requests a minute through. Every run has a stream of its own;
in the end every one of them is accounted for.
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import figures
import proofs
from accounting import Account, account, floor
from clusters import PIPELINES, CeleryAirflow, WorkedPrefect
from proofs import say
from support import processes
from support.airflow import connection
from support.databases import PostgreSQL, Programs, Redis
from support.processes import DeploymentError, eventually
from support.sandbox import KEY, Sandbox, running_sandbox

ROOT = Path(__file__).resolve().parent.parent
PER_MINUTE = 60
PER_PROCESS = 10
LOGS = proofs.logs("scale")
_PATIENCE = 40 * 60
_QUIET = 60


@dataclass(frozen=True)
class Part:
    """One way to end streams.

    Args:
        name: What people call it; its streams are named after it.
        engine: Where it runs.
        what: The DAG or flow that it runs.
        durable: Whether it has to deliver all; else it may say in the log which streams it did not end.
        outage: Whether the service answers nothing at all, instead of 60 requests a minute.
    """

    name: str
    engine: str
    what: str
    durable: bool = False
    outage: bool = False


PARTS = (
    Part("airflow-callbacks", "airflow", "scale_callbacks"),
    Part("airflow-outage", "airflow", "scale_callbacks", outage=True),
    Part("airflow-operators", "airflow", "scale_operators", durable=True),
    Part("airflow-deferrable", "airflow", "scale_deferrable", durable=True),
    Part("prefect-hooks", "prefect", "hooks"),
    Part("prefect-outage", "prefect", "hooks", outage=True),
    Part("prefect-tasks", "prefect", "tasks", durable=True),
)


@dataclass(frozen=True)
class Result:
    """What came of a part.

    Args:
        part: Which.
        account: What became of its streams.
        failed_runs: How many of the pipeline's own runs did not succeed.
    """

    part: Part
    account: Account
    failed_runs: int

    @property
    def floor(self) -> float:
        """The least seconds in which the limit lets so many ends through."""
        return floor(self.account.delivered, PER_MINUTE)

    @property
    def wrong(self) -> bool:
        """Whether it is not as it should be."""
        undelivered = self.part.durable and self.account.delivered < self.account.runs
        return bool(self.account.lost or self.account.wrong or self.failed_runs or undelivered)


class Streams:
    """The streams of one part on the sandbox: started without a limit, ended under it.

    Args:
        sandbox: Where they are.
        part: The part.
        runs: How many there are.
    """

    def __init__(self, sandbox: Sandbox, part: Part, runs: int) -> None:
        self.keys = [f"{part.name}-{number:03}" for number in range(runs)]
        self._sandbox, self._part = sandbox, part
        sandbox.reset()
        sandbox.start(*self.keys)
        self._started = time.monotonic()

    def restrict(self) -> None:
        """Let the service be as the part wants it."""
        if self._part.outage:
            self._sandbox.inject_fault(times=100_000, delay=3600, status=503)
            return
        # Until then the requests that started the streams count, too.
        time.sleep(max(0.0, self._started + 61 - time.monotonic()))
        self._sandbox.limit(requests_per_minute=PER_MINUTE)

    def account(self, log: str) -> Account:
        """What became of them so far."""
        return account(self.keys, self._sandbox.all_requests(), log)


class AirflowFleet:
    """Makes the runs of a part on Airflow.

    Args:
        airflow: Running, maybe without its workers.
    """

    def __init__(self, airflow: CeleryAirflow) -> None:
        self._airflow = airflow
        self.log = airflow.log

    def run(self, part: Part, streams: Streams) -> int:
        """Make a run for each stream; how many runs did not succeed."""
        airflow, dag, count = self._airflow, part.what, len(streams.keys)
        eventually(lambda: airflow.knows(dag), f"the DAG {dag}")
        before, succeeded = airflow.runs(dag, "success", "failed"), airflow.runs(dag, "success")
        together = not (part.durable or part.outage)
        if not together:
            streams.restrict()
        for key in streams.keys:
            airflow.trigger(dag, run_id=key)
        if together:
            self._end_together(dag, before + count, streams)
        airflow.start_workers()
        over = before + count
        eventually(lambda: airflow.runs(dag, "success", "failed") == over, f"the end of all runs of {dag}", _PATIENCE)
        return count - (airflow.runs(dag, "success") - succeeded)

    def _end_together(self, dag: str, done: int, streams: Streams) -> None:
        """Let the tasks of all runs end before a run does, as the scheduler looks at no paused DAG's runs."""
        airflow = self._airflow
        eventually(lambda: airflow.tasks(dag, "queued", "running", "success") == done, "all queued tasks", _PATIENCE)
        airflow.hold(dag, held=True)
        airflow.start_workers()
        eventually(lambda: airflow.tasks(dag, "success") == done, "the end of all tasks", _PATIENCE)
        streams.restrict()
        airflow.hold(dag, held=False)


class PrefectFleet:
    """Makes the runs of a part on Prefect.

    Args:
        prefect: Running.
    """

    def __init__(self, prefect: WorkedPrefect) -> None:
        self._prefect = prefect
        self.log = prefect.log

    def run(self, part: Part, streams: Streams) -> int:
        """Make a run for each stream, some in each process; how many runs did not succeed."""
        prefect, flow, keys = self._prefect, f"scale-{part.what}", streams.keys
        gate = prefect.home / f"{part.name}-may-go"
        batches = [keys[first : first + PER_PROCESS] for first in range(0, len(keys), PER_PROCESS)]
        before, succeeded = prefect.over("scale-batch"), prefect.runs(flow, "COMPLETED")
        for batch in batches:
            prefect.trigger(part.what, batch, gate)
        eventually(lambda: prefect.runs("scale-batch", "RUNNING") == len(batches), "all processes", _PATIENCE)
        streams.restrict()
        gate.touch()
        eventually(lambda: prefect.over("scale-batch") == before + len(batches), "the end of all processes", _PATIENCE)
        return len(keys) - (prefect.runs(flow, "COMPLETED") - succeeded)


Fleet = AirflowFleet | PrefectFleet


class Proof:
    """What all parts need, and the parts one after the other.

    Args:
        home: A folder for all that is written meanwhile.
        options: The command line.
    """

    def __init__(self, home: Path, options: argparse.Namespace) -> None:
        self._home, self._options, self._runs = home, options, options.runs
        self._debian = Programs(home / "debian", "postgres", "redis-server")

    def results(self, parts: Sequence[Part]) -> Iterator[Result]:
        """Run the parts; what comes of each."""
        engines: dict[str, Callable[[], AbstractContextManager[Fleet]]]
        engines = {"airflow": self._airflow, "prefect": self._prefect}
        with running_sandbox() as self._sandbox, PostgreSQL(self._home / "postgres", self._debian) as self._postgres:
            for name, engine in engines.items():
                if chosen := [part for part in parts if part.engine == name]:
                    with engine() as fleet:
                        say(f"{name} is up")
                        yield from (self._result(part, fleet) for part in chosen)

    @contextlib.contextmanager
    def _airflow(self) -> Iterator[AirflowFleet]:
        account = connection(self._sandbox.base_url, KEY)
        with (
            Redis(self._home / "redis", self._debian) as redis,
            CeleryAirflow(
                self._home / "airflow", PIPELINES / "scale_dags", account, self._postgres, redis, self._options.airflow
            ) as airflow,
        ):
            yield AirflowFleet(airflow)

    @contextlib.contextmanager
    def _prefect(self) -> Iterator[PrefectFleet]:
        variables = {"ACTIVITYSMITH_API_KEY": KEY, "ACTIVITYSMITH_BASE_URL": self._sandbox.base_url}
        with WorkedPrefect(
            self._home / "prefect", PIPELINES / "scale_flows.py", variables, self._postgres, self._options.prefect
        ) as prefect:
            yield PrefectFleet(prefect)

    def _result(self, part: Part, fleet: Fleet) -> Result:
        streams = Streams(self._sandbox, part, self._runs)
        say(f"{part.name}: {self._runs} runs")
        failed = fleet.run(part, streams)
        seen = streams.account(fleet.log())
        # Callbacks come after the runs, and as long as there are more of them every minute they are not done.
        unknown = self._runs + 1
        while 0 < len(seen.lost) < unknown:
            unknown = len(seen.lost)
            time.sleep(_QUIET)
            seen = streams.account(fleet.log())
        say(f"{part.name}: {seen.delivered} delivered, {seen.said} said in the log, {len(seen.lost)} lost")
        return Result(part, seen, failed)


def _outcomes(account: Account) -> dict[str, int]:
    return {"delivered": account.delivered, "said in the log": account.said, "lost": len(account.lost)}


def _row(result: Result) -> dict[str, str]:
    seen, longest = result.account, result.account.longest_callback
    return {
        "part": result.part.name,
        "runs": str(seen.runs),
        "failed": str(result.failed_runs),
        "delivered": str(seen.delivered),
        "said in the log": str(seen.said),
        "lost": str(len(seen.lost)),
        "wrong stream": str(len(seen.wrong)),
        "again": str(seen.again),
        "refused": str(seen.refused),
        "longest callback": "-" if longest is None else f"{longest:.1f} s",
        "window": f"{seen.window:.0f} s",
        "took": f"{seen.seconds:.0f} s",
        "floor": f"{result.floor:.0f} s",
    }


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    names = ", ".join(part.name for part in PARTS)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"airflow, prefect, or of {names}; none means all")
    parser.add_argument("--keep", action="store_true", help="write what the site shows of it")
    for name in ("airflow", "prefect"):
        parser.add_argument(f"--{name}", type=Path, required=True, help=f"the folder of {name}'s programs")
    parser.add_argument("--runs", type=int, default=200, help="how many runs each part makes (default: %(default)s)")
    options = parser.parse_args()
    if unknown := [name for name in options.parts if not _selected([name])]:
        parser.error(f"no part is called {', '.join(unknown)}")
    if not 1 <= options.runs <= 1000:
        parser.error("--runs must be from 1 to 1000")
    return options


def _selected(names: Sequence[str]) -> list[Part]:
    return [part for part in PARTS if not names or {part.name, part.engine} & set(names)]


def main() -> None:
    """Show it, and fail if something was lost or went to a wrong stream."""
    options = _options()
    processes.interrupt_on_any_end()
    try:
        with proofs.scratch("scale") as home:
            results = list(Proof(home, options).results(_selected(options.parts)))
    except KeyboardInterrupt:
        sys.exit("\nstopped")
    except (DeploymentError, OSError) as error:
        sys.exit(f"The proof failed: {error}\nWhat the programs printed is in {LOGS.relative_to(ROOT)}")
    print(f"\n{proofs.table([_row(result) for result in results])}", flush=True)
    if options.keep:
        rows: list[dict[str, object]] = [
            {"name": f"{result.part.name}: {what}", "value": value, "ours": what != "lost"}
            for result in results
            for what, value in _outcomes(result.account).items()
        ]
        figures.write("scale", f"What became of {options.runs} streams", "streams", rows)
    if wrong := [result.part.name for result in results if result.wrong]:
        sys.exit(f"Not as it should be: {', '.join(wrong)}; the logs are in {LOGS.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
