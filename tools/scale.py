"""Callbacks never hurt, and operators and tasks lose nothing: shown on real engines, under the service's own limit.

Airflow with two Celery workers and a Prefect server with two process workers, both on PostgreSQL, make hundreds of
runs that end almost together, while the sandbox lets 60 requests a minute through. Every run has a stream of its own;
in the end every one of them is accounted for.
"""

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import environments
import processes
from accounting import Account, account, floor
from clusters import CeleryAirflow, WorkedPrefect
from databases import PostgreSQL, Programs, Redis
from engines import EngineError, Sandbox, until
from environments import BUILD, ROOT

ENVIRONMENTS = ("airflow-3.3-celery", "prefect-3.8")
PER_MINUTE = 60
PER_PROCESS = 10
REPORT = BUILD / "scale.json"
LOGS = BUILD / "scale-logs"
_API_KEY = "ask_sandbox"
_PATIENCE = 40 * 60
_QUIET = 60
_START = time.monotonic()


@dataclass(frozen=True)
class Part:
    """One way to end streams.

    Args:
        name: What people call it; its streams are named after it.
        engine: Where it runs.
        durable: Whether it has to deliver all; else it may say in the log which streams it did not end.
    """

    name: str
    engine: str
    durable: bool


PARTS = (
    Part("airflow-callbacks", "airflow", durable=False),
    Part("airflow-operators", "airflow", durable=True),
    Part("airflow-deferrable", "airflow", durable=True),
    Part("prefect-hooks", "prefect", durable=False),
    Part("prefect-tasks", "prefect", durable=True),
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


def say(text: str) -> None:
    """Print a line with the seconds since the start."""
    print(f"{time.monotonic() - _START:6.1f} s  {text}", flush=True)


class Streams:
    """The streams of one part on the sandbox: started without a limit, ended under it.

    Args:
        sandbox: Where they are.
        keys: Their keys.
    """

    def __init__(self, sandbox: Sandbox, keys: Sequence[str]) -> None:
        self._sandbox = sandbox
        sandbox.forget()
        sandbox.limit(max_concurrent=None, requests_per_minute=None)
        for key in keys:
            sandbox.start_stream(key, _API_KEY)
        self._started = time.monotonic()

    def enforce(self) -> None:
        """Enforce the limit, once the requests that started the streams no longer count against it."""
        time.sleep(max(0.0, self._started + 61 - time.monotonic()))
        self._sandbox.limit(max_concurrent=None, requests_per_minute=PER_MINUTE)


def airflow_callbacks(airflow: CeleryAirflow, streams: Streams, keys: Sequence[str]) -> int:
    """Let all runs do their work, then end together; how many did not succeed."""
    dag = "scale_callbacks"
    for key in keys:
        airflow.trigger(dag, key)
    until(lambda: airflow.tasks(dag, "queued") == len(keys), "all tasks are queued", _PATIENCE)
    # A paused DAG's tasks go on, but nobody looks whether its runs are over: they will all be so at once.
    airflow.pause(dag, paused=True)
    airflow.start_workers()
    until(lambda: airflow.tasks(dag, "success") == len(keys), "all tasks are done", _PATIENCE)
    streams.enforce()
    airflow.pause(dag, paused=False)
    say("airflow-callbacks: the work of all runs is done; now they end")
    return _airflow_runs(airflow, dag, len(keys))


def airflow_operators(airflow: CeleryAirflow, streams: Streams, keys: Sequence[str], dag: str) -> int:
    """Run DAGs that end with an operator; how many runs did not succeed."""
    airflow.start_workers()
    streams.enforce()
    for key in keys:
        airflow.trigger(dag, key)
    return _airflow_runs(airflow, dag, len(keys))


def _airflow_runs(airflow: CeleryAirflow, dag: str, runs: int) -> int:
    until(lambda: airflow.runs(dag, "success", "failed") == runs, f"all runs of {dag} are over", _PATIENCE)
    return runs - airflow.runs(dag, "success")


def prefect_runs(prefect: WorkedPrefect, streams: Streams, keys: Sequence[str], kind: str) -> int:
    """Let processes with some runs each start, then go on together; how many runs did not succeed."""
    gate = prefect.home / f"{kind}-may-go"
    batches = [keys[first : first + PER_PROCESS] for first in range(0, len(keys), PER_PROCESS)]
    before = prefect.over("scale-batch")
    for batch in batches:
        prefect.trigger(kind, batch, gate)
    until(lambda: prefect.runs("scale-batch", "RUNNING") == len(batches), "all processes run", _PATIENCE)
    streams.enforce()
    gate.touch()
    say(f"prefect-{kind}: all processes are up; now they go")
    until(lambda: prefect.over("scale-batch") == before + len(batches), "all processes are done", _PATIENCE)
    return len(keys) - prefect.runs(f"scale-{kind}", "COMPLETED")


class Proof:
    """The engines that the parts need, and the parts one after the other.

    Args:
        home: A folder for all that is written meanwhile.
        stack: What stops it all.
        runs: How many each part makes.
    """

    def __init__(self, home: Path, stack: contextlib.ExitStack, runs: int) -> None:
        self._home, self._stack, self._runs = home, stack, runs
        self._programs = Programs(home / "debian")
        self._sandbox = Sandbox(home / "sandbox", ENVIRONMENTS[0])
        self._postgres = PostgreSQL(home / "postgres", self._programs)
        for server in (self._sandbox, self._postgres):
            stack.callback(server.stop)
            server.start()

    def airflow(self, parts: Sequence[Part]) -> Iterator[Result]:
        """The parts on Airflow."""
        with contextlib.ExitStack() as stack:
            redis = Redis(self._home / "redis", self._programs)
            stack.callback(redis.stop)
            redis.start()
            connection = {"conn_type": "activitysmith", "password": _API_KEY, "host": self._sandbox.base_url}
            airflow = CeleryAirflow(self._home / "airflow", connection, self._postgres, redis)
            stack.callback(airflow.stop)
            airflow.start()
            say("Airflow is up")
            for part in parts:
                dag = part.name.replace("airflow-", "scale_")

                def work(streams: Streams, keys: Sequence[str], part: Part = part, dag: str = dag) -> int:
                    if part.durable:
                        return airflow_operators(airflow, streams, keys, dag)
                    return airflow_callbacks(airflow, streams, keys)

                yield self._account(part, work, airflow.log)

    def prefect(self, parts: Sequence[Part]) -> Iterator[Result]:
        """The parts on Prefect."""
        variables = {"ACTIVITYSMITH_API_KEY": _API_KEY, "ACTIVITYSMITH_BASE_URL": self._sandbox.base_url}
        with contextlib.ExitStack() as stack:
            prefect = WorkedPrefect(self._home / "prefect", variables, self._postgres)
            stack.callback(prefect.stop)
            prefect.start()
            say("Prefect is up")
            for part in parts:
                kind = part.name.removeprefix("prefect-")

                def work(streams: Streams, keys: Sequence[str], kind: str = kind) -> int:
                    return prefect_runs(prefect, streams, keys, kind)

                yield self._account(part, work, prefect.log)

    def _account(self, part: Part, work: Callable[[Streams, Sequence[str]], int], log: Callable[[], str]) -> Result:
        keys = [f"{part.name}-{number:03}" for number in range(self._runs)]
        say(f"{part.name}: {self._runs} runs")
        failed = work(Streams(self._sandbox, keys), keys)
        seen = account(keys, self._sandbox.requests(), log())
        # Callbacks come after the runs. As long as there are more of them every minute, they are not done.
        while seen.lost:
            before = seen
            time.sleep(_QUIET)
            seen = account(keys, self._sandbox.requests(), log())
            if len(seen.lost) == len(before.lost):
                break
        say(f"{part.name}: {seen.delivered} delivered, {seen.said} said in the log, {len(seen.lost)} lost")
        return Result(part, seen, failed)


def table(results: Sequence[Result]) -> str:
    """The results as a table."""
    rows = [_row(result) for result in results]
    heads = list(dict.fromkeys(head for row in rows for head in row))
    width = {head: max(len(head), *(len(row[head]) for row in rows)) for head in heads}
    lines = [{head: head for head in heads}, *rows]
    return "\n".join("  ".join(f"{line[head]:>{width[head]}}" for head in heads) for line in lines)


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


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for the time of the proof; the logs in it are kept."""
    shutil.rmtree(LOGS, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="activitysmith-scale-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        # PostgreSQL, which is not root, has its own folder in it.
        home.chmod(0o711)
        try:
            yield home
        finally:
            for log in home.rglob("*.log"):
                kept = LOGS / log.relative_to(home)
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(log, kept)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    names = ", ".join(part.name for part in PARTS)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"airflow, prefect, or of {names}; none means all")
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
    environments.prepare(ENVIRONMENTS)
    results: list[Result] = []
    try:
        with _scratch() as home, contextlib.ExitStack() as stack:
            proof = Proof(home, stack, options.runs)
            for engine, show in (("airflow", proof.airflow), ("prefect", proof.prefect)):
                if parts := [part for part in _selected(options.parts) if part.engine == engine]:
                    results.extend(show(parts))
    except KeyboardInterrupt:
        sys.exit("\nstopped")
    except (EngineError, OSError) as error:
        sys.exit(f"The proof failed: {error}\nWhat the programs printed is in {LOGS.relative_to(ROOT)}")
    document = [{"part": result.part.name, "floor": result.floor, **asdict(result.account)} for result in results]
    REPORT.write_text(json.dumps(document, indent=2))
    print(f"\n{table(results)}\n\nAll of it: {REPORT.relative_to(ROOT)}", flush=True)
    if wrong := [result.part.name for result in results if result.wrong]:
        sys.exit(f"Not as it should be: {', '.join(wrong)}; the logs are in {LOGS.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
