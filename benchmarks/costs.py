"""Measure what the package costs, side by side with what people would use otherwise.

All of it takes some minutes, the names of parts (see ``--help``) a part. The contenders talk to one peer on loopback; a
value is the median of its runs, with the least and the most beside it. ``--keep`` writes what the site shows of it. A
missed aim is printed and is no failure.
"""

import argparse
import contextlib
import json
import math
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import figures
import pyperf
from comparison import HOLD_SECONDS, Row, compare, table

PROGRAMS = Path(__file__).resolve().parent / "programs"
PACKAGE = "activitysmith_integrations"

IMPORT_RUNS = 9
FAN_OUT_RUNS = {100: 7, 1_000: 5, 10_000: 3}
HOLD_RUNS = 3
FAULTS = {"hole": "no answer", "drip": "a byte a second", "limit": "429, come back in an hour"}
PROGRAM_SECONDS = 600.0


@dataclass(frozen=True)
class Bench:
    """Where all parts run.

    Args:
        environments: The folder of the environments ``bench``, ``bench-airflow`` and ``bench-prefect``.
        home: A folder for all that is written.
        peer: The URL of the peer, without a path.
    """

    environments: Path
    home: Path
    peer: str

    @property
    def api(self) -> str:
        """The base URL of a service in good health."""
        return f"{self.peer}/api"

    def start(self, environment: str, *arguments: object) -> "subprocess.Popen[str]":
        """Start Python in an environment."""
        environ = {
            **os.environ,
            "AIRFLOW_HOME": str(self.home / "airflow"),
            "PREFECT_HOME": str(self.home / "prefect"),
            "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
            "PREFECT_LOGGING_TO_API_ENABLED": "false",
        }
        command = [str(self.environments / environment / "bin" / "python"), *map(str, arguments)]
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, env=environ, cwd=self.home, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, text=True
        )

    def run(self, environment: str, program: str, *arguments: object) -> Any:
        """What a measured program found."""
        return last_line(self.start(environment, PROGRAMS / f"{program}.py", *arguments))

    def measure(self, *arguments: object, command: Sequence[object] = ()) -> dict[str, pyperf.Benchmark]:
        """What pyperf measured, by name.

        Args:
            arguments: Python's arguments up to pyperf's own.
            command: What pyperf is to run.
        """
        report = self.home / "pyperf.json"
        report.unlink(missing_ok=True)
        finished(self.start("bench", *arguments, "--fast", "--quiet", "--output", report, *command))
        return {benchmark.get_name(): benchmark for benchmark in pyperf.BenchmarkSuite.load(str(report))}


def imports(bench: Bench) -> Iterator[Row]:
    """What importing us costs a DAG file and a flow's file."""
    slack = "import airflow.providers.slack.notifications.slack_webhook"
    ours = f"import {PACKAGE}.airflow.notifications, {PACKAGE}.airflow.operators"
    importing = partial(bench.run, "bench-airflow", "importing", "from airflow.sdk import DAG")
    us, them = in_turns(IMPORT_RUNS, partial(importing, ours), partial(importing, slack))
    yield compare("import notifier and operator, after DAG", "ms", milli(us), "Slack's notifier", milli(them), most=5)
    ours, slack = f"import {PACKAGE}.prefect", "import prefect_slack"
    importing = partial(bench.run, "bench-prefect", "importing", "from prefect import flow, task")
    us, them = in_turns(IMPORT_RUNS, partial(importing, ours), partial(importing, slack))
    yield compare("import block, tasks, hooks, after flow", "ms", milli(us), "prefect_slack", milli(them), most=30)


def one_shot(bench: Bench) -> Iterator[Row]:
    """A fresh process that ends one stream."""
    times, memory = dict[str, list[float]](), dict[str, list[float]]()
    python = bench.environments / "bench" / "bin" / "python"
    for name in ("ours", "sdk", "httpx", "http_client"):
        command = ("--", python, PROGRAMS / "one_shot.py", name, bench.api)
        measured = bench.measure("-m", "pyperf", "command", "--name", name, command=command)[name]
        times[name] = milli(measured.get_values())
        memory[name] = [run.get_metadata()["command_max_rss"] / 2**20 for run in measured.get_runs()]
    what = "a fresh process ends one stream"
    yield compare(what, "ms", times["ours"], "SDK", times["sdk"], most_ratio=0.5)
    yield compare(what, "ms", times["ours"], "raw httpx", times["httpx"])
    yield compare(what, "ms", times["ours"], "http.client", times["http_client"])
    yield compare("its peak memory", "MiB", memory["ours"], "SDK", memory["sdk"], most_ratio=1)


def calls(bench: Bench) -> Iterator[Row]:
    """A call on a connection that is open, and a client for each call."""
    measured = bench.measure(PROGRAMS / "calls.py", "--base-url", bench.api)
    values = {name: milli(benchmark.get_values()) for name, benchmark in measured.items()}
    what = "a call on an open connection"
    yield compare(what, "ms", values["ours"], "raw httpx", values["httpx"], most_ratio=1.1)
    yield compare(what, "ms", values["ours"], "SDK", values["sdk"], most_ratio=1)
    yield compare(what, "ms", values["ours"], "http.client", values["http_client"])
    what, theirs = "a client, a connection, one call", values["httpx_per_call"]
    yield compare(what, "ms", values["ours_per_call"], "httpx.Client()", theirs, most_ratio=0.1)


def fan_out(bench: Bench) -> Iterator[Row]:
    """Many ends through one asynchronous client, by 100 workers."""
    times, memory = dict[int, list[float]](), dict[int, list[float]]()
    for size, runs in FAN_OUT_RUNS.items():
        contenders = (partial(bench.run, "bench", "fan_out", name, bench.api, size) for name in ("ours", "httpx"))
        us, them = in_turns(runs, *contenders)
        times[size], memory[size] = milli([run[0] for run in us]), [run[1] for run in us]
        theirs = milli([run[0] for run in them])
        yield compare(f"a call, of {size:,} ends at once", "ms", times[size], "httpx.AsyncClient", theirs)
    _, few, many = FAN_OUT_RUNS
    what = f"a call, of {many:,} ends at once"
    yield compare(what, "ms", times[many], f"ours, of {few:,}", times[few], most_ratio=1.25)
    yield compare("its peak memory", "MiB", memory[many], f"ours, of {few:,}", memory[few], most_ratio=1.25)


def hold(bench: Bench) -> Iterator[Row]:
    """How long a process is kept by a service that misbehaves. All at once: they only wait."""
    # What follows a failed try is the engine's: it waits between tries.
    ours = {"notifier": 10, "operator": 31, "hook": 10, "task": 31}
    engines = {"airflow": ("notifier", "operator", "slack"), "prefect": ("hook", "task", "slack")}
    started = {
        (engine, name): bench.start(
            f"bench-{engine}", PROGRAMS / f"hold_{engine}.py", name, bench.peer, HOLD_RUNS, HOLD_SECONDS, *FAULTS
        )
        for engine, names in engines.items()
        for name in names
    }
    held = {
        (*key, fault): [math.inf if seconds is None else seconds for seconds in values]
        for key, program in started.items()
        for fault, values in last_line(program).items()
    }
    for engine, names in engines.items():
        for name in names[:-1]:
            for fault, words in FAULTS.items():
                theirs = held[engine, "slack", fault]
                yield compare(f"{name}: {words}", "s", held[engine, name, fault], "Slack's", theirs, most=ours[name])


PARTS = {"imports": imports, "processes": one_shot, "calls": calls, "fan-out": fan_out, "hold": hold}
# What the site shows, and how it is called there.
SHOWN = {
    "imports": "What an import costs a DAG file and a flow's file",
    "processes": "A fresh process that ends one stream",
    "calls": "A call",
}


def in_turns(runs: int, *contenders: Callable[[], Any]) -> list[list[Any]]:
    """What each contender measured, run by run, after a run that does not count."""
    measured: list[list[Any]] = [[] for _ in contenders]
    for number in range(runs + 1):
        # Each begins as often as the others.
        for index in sorted(range(len(contenders)), reverse=bool(number % 2)):
            value = contenders[index]()
            measured[index] += [value] if number else []
    return measured


def finished(program: "subprocess.Popen[str]") -> str:
    """What a program printed, once it has ended well."""
    try:
        output, errors = program.communicate(timeout=PROGRAM_SECONDS)
    except BaseException:
        program.kill()
        raise
    if program.returncode:
        sys.exit(f"failed with exit code {program.returncode}: {program.args!r}\n{errors[-4000:]}")
    return output


def last_line(program: "subprocess.Popen[str]") -> Any:
    """The JSON in the last line of what a program printed; engines log to the same place before it."""
    return json.loads(finished(program).splitlines()[-1])


def milli(seconds: Sequence[float]) -> list[float]:
    """Seconds as milliseconds."""
    return [value * 1000 for value in seconds]


@contextlib.contextmanager
def _bench(environments: Path) -> Iterator[Bench]:
    # The peer ends with its standard input, so it cannot outlive this program.
    command = [sys.executable, str(PROGRAMS / "peer.py")]
    peer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with tempfile.TemporaryDirectory(prefix="activitysmith-bench-") as home, peer:
        assert peer.stdout is not None  # noqa: S101 - as asked for above
        yield Bench(environments, Path(home), f"http://127.0.0.1:{int(peer.stdout.readline())}")


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; none means all of them")
    parser.add_argument("--keep", action="store_true", help="write what the site shows of it")
    parser.add_argument("--environments", type=Path, required=True, help="the folder of the environments")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part is called {', '.join(sorted(unknown))}")
    rows: list[Row] = []
    with _bench(options.environments) as bench:
        for name in options.parts or PARTS:
            print(f"measure {name} ...", flush=True)
            start = time.monotonic()
            found = list(PARTS[name](bench))
            print(f"measure {name}: {time.monotonic() - start:.1f} s", flush=True)
            if options.keep and name in SHOWN:
                figures.keep(name, SHOWN[name], found)
            rows += found
    judged = [row.met for row in rows if row.met is not None]
    print(f"\n{table(rows)}\n\nmedian (least to most), Python {platform.python_version()}")
    print(f"{sum(judged)} of {len(judged)} aims met")


if __name__ == "__main__":
    main()
