"""An hour of runs at the service's limit, through both engines side by side: does any long-lived process grow?

Airflow with two Celery workers and a Prefect server with two process workers, both on PostgreSQL, make a run each
every few seconds, more than the service's 60 requests a minute and 4 Live Activities let through. Every process that
lives all the time is looked at: its memory, its threads and its open files and sockets.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from clusters import PIPELINES, CeleryAirflow, WorkedPrefect
from proofs import say, scratch, table
from support import processes
from support.airflow import connection
from support.databases import PostgreSQL, Programs, Redis
from support.processes import Deployment, DeploymentError
from support.sandbox import KEY, running_sandbox

_REQUESTS_PER_MINUTE, _ACTIVITIES = 60, 4
_SECONDS_BETWEEN_RUNS = 7.0
_SECONDS_BETWEEN_LOOKS = 15.0
# What starts up or is only now and then there is not judged.
_WARM_UP = 0.1
_ALL_THE_TIME = 0.95


@dataclass
class Series:
    """What one process had, look by look.

    Args:
        name: What people call it.
    """

    name: str
    memory: list[int] = field(default_factory=list)
    threads: list[int] = field(default_factory=list)
    files: list[int] = field(default_factory=list)

    def look(self, process: psutil.Process) -> None:
        """Look once more."""
        with process.oneshot():
            values = (process.memory_info().rss, process.num_threads(), process.num_fds())
        for found, value in zip((self.memory, self.threads, self.files), values, strict=True):
            found.append(value)

    def row(self) -> dict[str, str]:
        """The medians of its first and its last quarter, after the warm-up."""
        return {
            "process": self.name,
            "memory": _change([value // 2**20 for value in self.memory], " MB"),
            "threads": _change(self.threads),
            "files and sockets": _change(self.files),
        }


def _change(values: Sequence[int], unit: str = "") -> str:
    values = values[round(len(values) * _WARM_UP) :]
    quarter = max(1, len(values) // 4)
    first, last = (statistics.median(part) for part in (values[:quarter], values[-quarter:]))
    return f"{first:.0f} -> {last:.0f}{unit}"


class Watch:
    """All processes of some deployments.

    Args:
        deployments: They.
    """

    def __init__(self, deployments: Iterable[Deployment]) -> None:
        self._deployments = list(deployments)
        self._found: dict[tuple[int, float], Series] = {}
        self._looks = 0

    def look(self) -> None:
        """Look at each of them once."""
        self._looks += 1
        for deployment in self._deployments:
            for label, pid in deployment.pids().items():
                server = psutil.Process(pid)
                for process in [server, *server.children(recursive=True)]:
                    self._look(f"{deployment.name} {label}{'' if process is server else ', a child'}", process)

    def _look(self, name: str, process: psutil.Process) -> None:
        try:
            self._found.setdefault((process.pid, process.create_time()), Series(name)).look(process)
        except psutil.Error:  # it has just ended
            return

    def rows(self) -> list[dict[str, str]]:
        """A line for each process that was there all the time."""
        lasting = [found for found in self._found.values() if len(found.memory) >= _ALL_THE_TIME * self._looks]
        return [series.row() for series in sorted(lasting, key=lambda series: series.name)]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=60, help="how long (default: %(default)s)")
    parser.add_argument("--plain", action="store_true", help="runs that nothing shows, to compare with")
    for name in ("airflow", "prefect"):
        parser.add_argument(f"--{name}", type=Path, required=True, help=f"the folder of {name}'s programs")
    return parser.parse_args()


def _soak(home: Path, options: argparse.Namespace) -> None:
    debian = Programs(home / "debian", "postgres", "redis-server")
    with (
        running_sandbox() as sandbox,
        PostgreSQL(home / "postgres", debian) as postgres,
        Redis(home / "redis", debian) as redis,
        CeleryAirflow(
            home / "airflow",
            PIPELINES / "chaos_dags",
            connection(sandbox.base_url, KEY),
            postgres,
            redis,
            options.airflow,
        ) as airflow,
        WorkedPrefect(
            home / "prefect",
            PIPELINES / "chaos_flows.py",
            {"ACTIVITYSMITH_API_KEY": KEY, "ACTIVITYSMITH_BASE_URL": sandbox.base_url},
            postgres,
            options.prefect,
        ) as prefect,
    ):
        airflow.start_workers()
        sandbox.limit(max_concurrent=_ACTIVITIES, requests_per_minute=_REQUESTS_PER_MINUTE)
        watch, began, number, looked = Watch([airflow, prefect]), time.monotonic(), 0, 0.0
        while (now := time.monotonic() - began) < options.minutes * 60:
            if now >= number * _SECONDS_BETWEEN_RUNS:
                fails = number % 3 == 0
                shown = "chaos_followed" if number % 4 == 3 else "chaos_tagged"
                dag, flow = ("chaos_plain", "chaos-plain/chaos") if options.plain else (shown, "chaos-shown/chaos")
                airflow.trigger(dag, run_id=f"soak-{number}{'-fails' * fails}")
                prefect.create_run(flow, fails=fails)
                number += 1
            if now >= looked + _SECONDS_BETWEEN_LOOKS:
                looked = now
                watch.look()
                airflow.check()
                prefect.check()
            time.sleep(0.2)
        answers = [request["status"] for request in sandbox.all_requests()]
        say(f"{number} runs in each engine in {options.minutes:g} minutes")
        say(f"of the last {len(answers)} requests {answers.count(429)} were refused with 429")
        print(f"\n{table(watch.rows())}", flush=True)


def main() -> None:
    """Do what the command line says, and print a table."""
    options = _options()
    processes.interrupt_on_any_end()
    try:
        with scratch("soak") as home:
            _soak(home, options)
    except KeyboardInterrupt:
        sys.exit("\nstopped")
    except (DeploymentError, OSError) as error:
        sys.exit(f"It failed: {error}")


if __name__ == "__main__":
    main()
