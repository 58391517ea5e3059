"""Measure what the package costs, side by side with what people would use otherwise.

``python3 tools/bench.py`` runs everything in some minutes, the names of parts (see ``--help``) a part. Contenders
take turns within one run, against one peer on loopback; a value is the median of its runs, with the least and the
most beside it. The table goes to ``.build/bench.json`` as well. A missed aim is printed and is no failure.
"""

import argparse
import contextlib
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import environments
import processes
from environments import BUILD, ENVIRONMENTS, ROOT

PROGRAMS = ROOT / "tests" / "benchmarks"
REPORT = BUILD / "bench.json"
BASELINES = ("activitysmith", "httpx", "apache-airflow", "apache-airflow-providers-slack", "prefect", "prefect-slack")

IMPORT_RUNS = 9
ONE_SHOT_RUNS = 15
FAN_OUT_RUNS = {100: 7, 1_000: 5, 10_000: 3}
HOLD_RUNS = 3
HOLD_SECONDS = 60.0
FAULTS = {"hole": "no answer", "drip": "a byte a second", "limit": "429, come back in an hour"}
PROGRAM_SECONDS = 180.0


@dataclass(frozen=True)
class Spread:
    """The median of some measurements, the least and the most; infinite where a cap was reached."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """The spread of one or more values."""
        return cls(statistics.median(values), min(values), max(values))

    def __str__(self) -> str:
        if math.isinf(self.median):
            return f"> {HOLD_SECONDS:g}"
        return f"{_short(self.median)} ({_short(self.least)} to {_short(self.most)})"


@dataclass(frozen=True)
class Row:
    """One comparison. The ratio is ours to theirs, taken run by run."""

    part: str
    what: str
    unit: str
    ours: Spread
    against: str
    theirs: Spread
    ratio: Spread
    aim: str
    met: bool | None


def compare(
    what: tuple[str, str, str],
    ours: Sequence[float],
    against: str,
    theirs: Sequence[float],
    *,
    most: float | None = None,
    most_ratio: float | None = None,
) -> Row:
    """A row of the table.

    Args:
        what: The part, what was measured in it, and the unit.
        ours: Our values, one a run.
        against: Who the others are.
        theirs: Their values, of the same runs.
        most: The aim for our median, if it has one.
        most_ratio: The aim for the ratio's median, if it has one.
    """
    mine, ratio = Spread.of(ours), Spread.of([one / other for one, other in zip(ours, theirs, strict=True)])
    aim, met = "", None
    if most is not None:
        aim, met = f"<= {most:g} {what[2]}", mine.median <= most
    if most_ratio is not None:
        aim, met = f"<= {most_ratio:.2f} x", ratio.median <= most_ratio
    return Row(*what, mine, against, Spread.of(theirs), ratio, aim, met)


class Bench:
    """The place that all parts run in: a clean environment and the peer."""

    def __init__(self, home: Path, peer: str) -> None:
        self._home = home
        self._peer = peer

    @property
    def api(self) -> str:
        """The base URL of a service in good health."""
        return f"{self._peer}/api"

    def start(self, environment: str, program: str, *arguments: object) -> "subprocess.Popen[str]":
        """Start a measured program."""
        command = [ENVIRONMENTS[environment].program("python"), str(PROGRAMS / f"{program}.py"), *map(str, arguments)]
        return subprocess.Popen(
            command,
            env=_environ(self._home),
            cwd=self._home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, environment: str, program: str, *arguments: object) -> Any:
        """What a measured program found."""
        return _found(self.start(environment, program, *arguments))

    def imports(self) -> Iterator[Row]:
        """What importing us costs a DAG file and a flow's file."""
        room = "activitysmith_integrations"
        for environment, base, ours, what, against, theirs, most in (
            (
                "bench-airflow",
                "from airflow.sdk import DAG",
                f"import {room}.airflow.notifications, {room}.airflow.operators",
                "notifier and operator, after airflow.sdk.DAG",
                "Slack's notifier",
                "import airflow.providers.slack.notifications.slack_webhook",
                5,
            ),
            (
                "bench-prefect",
                "from prefect import flow, task",
                f"import {room}.prefect",
                "block, tasks and hooks, after prefect.flow",
                "prefect_slack",
                "import prefect_slack",
                30,
            ),
        ):
            seconds = _in_turns(
                IMPORT_RUNS,
                {
                    name: lambda code=code: self.run(environment, "importing", base, code)  # type: ignore[misc]  # noqa: B023
                    for name, code in (("ours", ours), ("theirs", theirs))
                },
            )
            yield compare(
                ("import", what, "ms"), _milli(seconds["ours"]), against, _milli(seconds["theirs"]), most=most
            )

    def one_shot(self) -> Iterator[Row]:
        """A fresh process that ends one stream."""

        def measured(contender: str) -> tuple[float, float]:
            start = time.perf_counter()
            memory = self.run("bench-core", "one_shot", contender, self.api)
            return (time.perf_counter() - start) * 1000, memory

        names = ("ours", "sdk", "httpx", "http_client")
        found = _in_turns(ONE_SHOT_RUNS, {name: lambda name=name: measured(name) for name in names})  # type: ignore[misc]
        times = {name: [run[0] for run in runs] for name, runs in found.items()}
        memory = {name: [run[1] for run in runs] for name, runs in found.items()}
        what = ("one shot", "a fresh process ends one stream", "ms")
        yield compare(what, times["ours"], "SDK", times["sdk"], most_ratio=0.5)
        yield compare(what, times["ours"], "raw httpx", times["httpx"])
        yield compare(what, times["ours"], "http.client", times["http_client"])
        what = ("one shot", "its peak memory", "MiB")
        yield compare(what, memory["ours"], "SDK", memory["sdk"], most_ratio=1)
        yield compare(what, memory["ours"], "http.client", memory["http_client"])

    def warm(self) -> Iterator[Row]:
        """A call on a connection that is open."""
        found = self.run("bench-core", "calls", self.api, 80, 30, "ours", "httpx", "sdk", "http_client")
        what, ours = ("warm", "a call on an open connection", "ms"), _milli(found["ours"])
        yield compare(what, ours, "raw httpx", _milli(found["httpx"]), most_ratio=1.1)
        yield compare(what, ours, "SDK", _milli(found["sdk"]), most_ratio=1)
        yield compare(what, ours, "http.client", _milli(found["http_client"]))

    def per_call(self) -> Iterator[Row]:
        """A client for each call, in a process that lives on."""
        found = self.run("bench-core", "calls", self.api, 15, 20, "ours_per_call", "httpx_per_call")
        what = ("per call", "a client, a connection, one call", "ms")
        yield compare(
            what, _milli(found["ours_per_call"]), "httpx.Client()", _milli(found["httpx_per_call"]), most_ratio=0.1
        )

    def fan_out(self) -> Iterator[Row]:
        """Many ends through one asynchronous client, by 100 workers."""
        times: dict[int, list[float]] = {}
        memory: dict[int, list[float]] = {}
        for size, runs in FAN_OUT_RUNS.items():
            found = _in_turns(
                runs,
                {
                    name: lambda name=name: self.run("bench-core", "fan_out", name, self.api, size)  # type: ignore[misc]  # noqa: B023
                    for name in ("ours", "httpx")
                },
                warm_up=size < max(FAN_OUT_RUNS),
            )
            times[size] = _milli([run[0] for run in found["ours"]])
            memory[size] = [run[1] for run in found["ours"]]
            theirs = [_milli([run[0] for run in found["httpx"]]), [run[1] for run in found["httpx"]]]
            yield compare(("fan-out", f"a call, of {size:,} ends", "ms"), times[size], "httpx.AsyncClient", theirs[0])
            yield compare(("fan-out", "its peak memory", "MiB"), memory[size], "httpx.AsyncClient", theirs[1])
        _, few, many = FAN_OUT_RUNS
        runs = FAN_OUT_RUNS[many]
        what = ("fan-out", f"a call, of {many:,} ends", "ms")
        yield compare(what, times[many], f"ours, of {few:,}", times[few][:runs], most_ratio=1.25)
        what = ("fan-out", "its peak memory", "MiB")
        yield compare(what, memory[many], f"ours, of {few:,}", memory[few][:runs], most_ratio=1.25)

    def hold(self) -> Iterator[Row]:
        """How long a process is kept by a service that misbehaves. All at once: they only wait."""
        contenders = {
            "airflow": ("bench-airflow", ("notifier", "operator"), "Slack's notifier"),
            "prefect": ("bench-prefect", ("hook", "task"), "Slack's block"),
        }
        started = {
            (engine, name): self.start(
                environment, f"hold_{engine}", name, self._peer, HOLD_RUNS, HOLD_SECONDS, *FAULTS
            )
            for engine, (environment, ours, _) in contenders.items()
            for name in (*ours, "slack")
        }
        found = {key: _found(program) for key, program in started.items()}
        for engine, (_, ours, against) in contenders.items():
            for name in ours:
                for fault, words in FAULTS.items():
                    what = ("hold", f"{_WHAT_HOLDS[name]}: {words}", "s")
                    mine, theirs = (
                        [math.inf if seconds is None else seconds for seconds in found[engine, who][fault]]
                        for who in (name, "slack")
                    )
                    yield compare(what, mine, against, theirs, most=10 if name in ("notifier", "hook") else 31)


# What follows a failed try is the engine's: it waits between tries.
_WHAT_HOLDS = {
    "notifier": "notifier",
    "operator": "operator, one try",
    "hook": "hook",
    "task": "task, one try",
}
PARTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "import": Bench.imports,
    "oneshot": Bench.one_shot,
    "warm": Bench.warm,
    "percall": Bench.per_call,
    "fanout": Bench.fan_out,
    "hold": Bench.hold,
}


def _in_turns(runs: int, contenders: Mapping[str, Callable[[], Any]], *, warm_up: bool = True) -> dict[str, list[Any]]:
    """What each contender measured, run by run, after a run that does not count."""
    found: dict[str, list[Any]] = {name: [] for name in contenders}
    for number in range(-1 if warm_up else 0, runs):
        names = list(contenders)
        for name in names[number % len(names) :] + names[: number % len(names)]:
            value = contenders[name]()
            if number >= 0:
                found[name].append(value)
    return found


def _found(program: "subprocess.Popen[str]") -> Any:
    try:
        output, errors = program.communicate(timeout=PROGRAM_SECONDS)
    except BaseException:
        program.kill()
        raise
    if program.returncode:
        sys.exit(f"failed with exit code {program.returncode}: {program.args!r}\n{errors[-4000:]}")
    # Engines log to the same place before it.
    return json.loads(output.splitlines()[-1])


def _environ(home: Path) -> dict[str, str]:
    theirs = ("ACTIVITYSMITH_", "AIRFLOW_", "PREFECT_", "PYTHONPATH", "VIRTUAL_ENV")
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith(theirs)},
        "AIRFLOW_HOME": str(home / "airflow"),
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        "PREFECT_LOGGING_TO_API_ENABLED": "false",
    }


@contextlib.contextmanager
def _bench() -> Iterator[Bench]:
    command = [ENVIRONMENTS["bench-core"].program("python"), str(PROGRAMS / "peer.py")]
    # The peer ends with its standard input, so it cannot outlive this program.
    peer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with tempfile.TemporaryDirectory(prefix="activitysmith-bench-") as home, peer:
        assert peer.stdout is not None  # noqa: S101 - as asked for above
        yield Bench(Path(home), f"http://127.0.0.1:{int(peer.stdout.readline())}")


def _milli(seconds: Sequence[float]) -> list[float]:
    return [value * 1000 for value in seconds]


def _short(value: float) -> str:
    if math.isinf(value) or math.isnan(value):
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"


def table(rows: Sequence[Row]) -> str:
    """The rows for people."""
    heads = ("part", "what", "ours", "against", "theirs", "", "ratio", "aim", "")
    lines = [heads, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(heads))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _cells(row: Row) -> tuple[str, ...]:
    verdict = {True: "met", False: "MISSED", None: ""}[row.met]
    ratio = str(row.ratio) if math.isfinite(row.ratio.median) and row.ratio.median else "-"
    return (row.part, row.what, str(row.ours), row.against, str(row.theirs), row.unit, ratio, row.aim, verdict)


def _versions() -> dict[str, str]:
    pinned: dict[str, str] = {}
    for name in ("bench-core", "bench-airflow", "bench-prefect"):
        pinned |= dict(line.split("==") for line in ENVIRONMENTS[name].constraints.read_text().splitlines())
    return {name: pinned[name] for name in BASELINES}


def _write(rows: Sequence[Row]) -> None:
    about = {"python": platform.python_version(), "cores": os.cpu_count(), "versions": _versions()}
    text = json.dumps({**about, "rows": [asdict(row) for row in rows]}, indent=1)
    # JSON knows no infinity: null says that the cap was reached.
    REPORT.write_text(text.replace("Infinity", "null").replace("NaN", "null") + "\n")


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; none means all of them")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no part is called {', '.join(sorted(unknown))}")
    processes.interrupt_on_any_end()
    environments.prepare(["bench-core", "bench-airflow", "bench-prefect"])
    rows: list[Row] = []
    with _bench() as bench:
        for name in options.parts or PARTS:
            print(f"measure {name} ...", flush=True)
            start = time.monotonic()
            rows += PARTS[name](bench)
            print(f"measure {name}: {time.monotonic() - start:.1f} s", flush=True)
    _write(rows)
    judged = [row for row in rows if row.met is not None]
    versions = ", ".join(f"{name} {version}" for name, version in _versions().items())
    print(
        f"\n{table(rows)}\n\nmedian (least to most) of runs in turns, on Python {platform.python_version()}; {versions}"
    )
    print(f"{sum(row.met is True for row in judged)} of {len(judged)} aims met")


if __name__ == "__main__":
    main()
