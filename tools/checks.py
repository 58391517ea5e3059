"""Run sessions of noxfile.py side by side, say how long is left, and sum up.

``checks.py test`` runs what ``make test`` does, ``checks.py test ci`` what CI does, ``checks.py test ci live``
everything. First all environments are made, then the sessions run in them. It ends with a line
``N passed, N failed, N skipped``, in which a session that runs no tests counts as one.
"""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path

import psutil
from support import processes

ROOT = Path(__file__).resolve().parent.parent
REPORTS, LOGS, COVERAGE = (ROOT / ".build" / name for name in ("reports", "logs", "coverage"))

# The sessions, those that wait most first, and the seconds that each takes on two cores beside others.
PARTS: dict[str, dict[str, int]] = {
    "test": {
        "demo": 65,
        "prefect-3.9": 210,
        "prefect-3.9-followed": 300,
        "airflow-3.3": 120,
        "page": 60,
        "core": 140,
        "types": 45,
        "sandbox": 45,
        "lint": 5,
        "release": 5,
    },
    "ci": {
        "prefect-3.8": 460,
        "prefect-3.6": 470,
        "lowest-prefect": 440,
        "prefect-python3.13": 440,
        "core-python3.13": 160,
        "core-python3.12": 160,
        "lowest-core": 130,
        "airflow-3.2": 100,
        "airflow-3.1": 100,
        "lowest-airflow": 110,
        "airflow-python3.13": 105,
        "next-pydantic": 120,
        "docs": 60,
        "next-httpx": 10,
        "plain-airflow": 10,
        "plain-prefect": 10,
        "plain-sandbox": 5,
        "plain": 5,
    },
    "live": {
        "live-prefect-3.9": 460,
        "live-prefect-3.8": 410,
        "live-prefect-3.6": 360,
        "live-airflow-3.3": 240,
        "live-airflow-3.2": 240,
        "live-airflow-3.1": 220,
    },
}
# More than there are cores, since sessions wait for servers that they start.
AT_ONCE = 2 * (os.cpu_count() or 2)
# The seconds after which a session is taken to hang. The longest takes eleven minutes on two slow cores, and one test
# that hangs ends it after ten (pyproject.toml).
LONGEST = 30 * 60

# What nox prints when a session starts, and above all that it printed when it is over.
STARTS = re.compile(r"Starting session (\S+)\.\.\.$")
IS_OVER = re.compile(r"={10} \S+ (\S+): (\w+).* ={10}$")
WHY_SKIPPED = re.compile(r"nox > Session \S+ skipped: ")


@dataclass
class Run:
    """Sessions that run side by side.

    Args:
        expected: The seconds that each usually takes, in the order in which they start.
    """

    expected: dict[str, int]
    began: dict[str, float] = field(default_factory=dict)
    took: dict[str, float] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def go(self) -> None:
        """Run them in the environments that are made; print a line for each, and all that a failed one printed."""
        log, shown = LOGS / "nox.log", True
        options = ("--no-install", "--allow-parallel", f"--parallel={AT_ONCE}")
        with nox(*options, "--session", *self.expected) as process, no_session_hangs(process):
            for line in process.stdout or ():
                if starts := STARTS.match(line):
                    self.began[starts[1]] = time.monotonic()
                elif is_over := IS_OVER.match(line):
                    name, result = is_over.groups()
                    log, shown = LOGS / f"{name}.log", result not in ("success", "skipped")
                    self._end(name, result)
                elif shown or WHY_SKIPPED.match(line):
                    print(line, end="", flush=True)
                with log.open("a") as file:
                    file.write(line)
        for name in self.expected.keys() - self.took.keys():  # nox itself broke off
            self._end(name, "failed")

    def _end(self, name: str, result: str) -> None:
        self.took[name] = time.monotonic() - self.began.get(name, time.monotonic())
        counts = tests_of(name, result)
        self.counts += counts
        counted = ", ".join(f"{number} {what}" for what, number in counts.items() if number)
        print(f"{name:<20} {self.took[name]:>5.0f} s  {counted:<30} {minutes(self.left())} left", flush=True)

    def left(self) -> float:
        """The seconds until all are over, as far as is known: each starts where one ends first."""
        now = time.monotonic()
        lanes = [0.0] * AT_ONCE
        for name, seconds in self.expected.items():
            if name not in self.took:
                lanes.sort()
                lanes[0] += max(5.0, seconds - now + self.began.get(name, now))
        return max(lanes)


def side_by_side(*parts: Mapping[str, int]) -> dict[str, int]:
    """The sessions of parts in turns: unit tests wait for servers while real deployments keep the cores busy."""
    rows = zip_longest(*(part.items() for part in parts))
    return dict(session for row in rows for session in row if session)


def tests_of(name: str, result: str) -> Counter[str]:
    """How many tests of a session passed, failed and were skipped; one without tests counts as one."""
    report = REPORTS / f"{name}.xml"
    counts = Counter(passed=0, failed=0, skipped=0)
    if result == "skipped":
        counts["skipped"] = 1
    elif report.exists():
        suite = next(ET.parse(report).getroot().iter("testsuite"))  # noqa: S314 - pytest has just written it
        number = {key: int(suite.get(key, 0)) for key in ("tests", "failures", "errors", "skipped")}
        counts["failed"], counts["skipped"] = number["failures"] + number["errors"], number["skipped"]
        counts["passed"] = number["tests"] - counts["failed"] - counts["skipped"]
    elif result == "success":
        counts["passed"] = 1
    if result not in ("success", "skipped"):  # whatever it counted before it broke off
        counts["failed"] = max(1, counts["failed"])
    return counts


@contextmanager
def nox(*options: str) -> Iterator["subprocess.Popen[str]"]:
    """Run nox; where this program is stopped, nothing goes on of what it has started."""
    command = [sys.executable, "-m", "nox", *options]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        except BaseException:
            processes.stop([process], grace=5)
            raise


@contextmanager
def no_session_hangs(nox: "subprocess.Popen[str]") -> Iterator[None]:
    """End what takes too long, and what goes on after its session: nox waits for all that can print."""
    is_over = threading.Event()

    def watch() -> None:
        while not is_over.wait(10):
            with suppress(psutil.NoSuchProcess):
                for session in psutil.Process(nox.pid).children():
                    hangs = time.time() - session.create_time() > LONGEST
                    if hangs:
                        print(f"ended after {minutes(LONGEST)}: {' '.join(session.cmdline())}", flush=True)
                    if hangs or session.status() == psutil.STATUS_ZOMBIE:
                        processes.kill(session.pid)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        is_over.set()
        watcher.join()


def made_environments(names: Iterable[str]) -> bool:
    """Make the environments of sessions, one after the other; whether that went well."""
    with nox("--install-only", "--session", *names) as process:
        printed, _ = process.communicate()
    (LOGS / "environments.log").write_text(printed)
    if process.returncode:
        print(printed)
    return process.returncode == 0


def minutes(seconds: float) -> str:
    """A duration as people say it."""
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.0f} min"


def main() -> int:
    """Run the parts that the command line names; the exit code."""
    processes.interrupt_on_any_end()
    for folder in (REPORTS, LOGS, COVERAGE):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    start = time.monotonic()
    run = Run(side_by_side(*(PARTS[part] for part in sys.argv[1:])))
    print(f"{len(run.expected)} checks, {minutes(run.left())} beside what has to be installed", flush=True)
    print("make their environments (the first time, with what is downloaded for them) ...", flush=True)
    if made_environments(run.expected):
        print(f"made in {minutes(time.monotonic() - start)}, {minutes(run.left())} left", flush=True)
        run.go()
        run.expected = {"coverage": 5}
        run.go()
    else:
        run.counts["failed"] += 1
    slowest = sorted(run.took, key=lambda name: -run.took[name])[:5]
    print("\nslowest: " + ", ".join(f"{name} {run.took[name]:.0f} s" for name in slowest))
    print(f"in all {time.monotonic() - start:.0f} s\n")
    print(", ".join(f"{run.counts[what]} {what}" for what in ("passed", "failed", "skipped")), flush=True)
    return int(run.counts["failed"] > 0)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nstopped")
