"""Run sessions of noxfile.py side by side, say how long is left, and sum up.

``checks.py test`` runs what ``make test`` does, ``checks.py test ci`` what CI does, ``checks.py test ci rest``
everything. First all environments are made, then the sessions run in them. It ends with a line
``N passed, N failed, N skipped``, in which a session that runs no tests counts as one.
"""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field
from pathlib import Path

from support import processes

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / ".build"
REPORTS, LOGS = BUILD / "reports", BUILD / "logs"

# The sessions, those that wait most first, and the seconds that each takes on two cores beside others.
PARTS: dict[str, dict[str, int]] = {
    "test": {
        "demo": 60,
        "prefect-3.9": 100,
        "airflow-3.3": 60,
        "page": 60,
        "core": 60,
        "types": 60,
        "sandbox": 20,
        "lint": 5,
        "release": 5,
    },
    "ci": {
        "core-python3.13": 150,
        "airflow-3.2": 120,
        "airflow-3.1": 100,
        "docs": 60,
        "plain-airflow": 10,
        "plain-prefect": 10,
        "plain-sandbox": 5,
        "plain": 5,
    },
    "rest": {
        "live-airflow-3.3": 670,
        "live-airflow-3.1": 670,
        "live-prefect-3.9": 380,
        "live-prefect-3.6": 380,
        "prefect-3.8": 300,
        "prefect-3.6": 300,
        "lowest-prefect": 300,
        "prefect-python3.13": 300,
        "lowest-airflow": 100,
        "airflow-python3.13": 100,
        "core-python3.12": 150,
        "lowest-core": 150,
        "next-httpx": 10,
        "next-pydantic": 60,
    },
}
MAY_FAIL = {"next-httpx", "next-pydantic"}
ENVIRONMENT_SECONDS = 5
TIME_LIMIT = 20 * 60
# More than there are cores, since sessions wait for servers that they start.
AT_ONCE = (os.cpu_count() or 2) + 1


@dataclass
class Check:
    """One session.

    Args:
        name: The session's name.
        expected: The seconds that it usually takes.
    """

    name: str
    expected: int
    process: "subprocess.Popen[bytes] | None" = None
    began: float = 0.0
    seconds: float = 0.0
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    @property
    def log(self) -> Path:
        """What it printed."""
        return LOGS / f"{self.name}.log"

    def start(self, *options: str) -> None:
        """Start it."""
        report = REPORTS / f"{self.name}.json"
        command = [sys.executable, "-m", "nox", "--session", self.name, f"--report={report}", *options]
        self.began = time.monotonic()
        self.process = processes.start(command, env={**os.environ}, cwd=ROOT, log=self.log)

    def is_over(self) -> bool:
        """Whether it has ended; stops it when it takes too long."""
        assert self.process is not None  # noqa: S101 - it was started
        self.seconds = time.monotonic() - self.began
        if self.seconds > TIME_LIMIT:
            processes.stop([self.process], grace=20)
        if self.process.poll() is None:
            return False
        self._count()
        return True

    def _count(self) -> None:
        result = _result(REPORTS / f"{self.name}.json")
        tests = REPORTS / f"{self.name}.xml"
        if result == "skipped" or (result == "failed" and self.name in MAY_FAIL):
            self.skipped = 1
            return
        self.passed, self.failed, self.skipped = _counts(tests) if tests.exists() else (int(result == "success"), 0, 0)
        # One that broke off has failed, whatever it counted.
        self.failed = self.failed or int(result != "success")


@dataclass
class Run:
    """All that is run.

    Args:
        checks: In the order in which they start.
    """

    checks: list[Check]
    over: list[Check] = field(default_factory=list)

    def left(self) -> float:
        """The seconds until all are over, as far as is known: each begins where one ends first."""
        now = time.monotonic()
        going = [c for c in self.checks if c.process and c not in self.over]
        lanes = sorted([max(5.0, c.expected - (now - c.began)) for c in going] + [0.0] * (AT_ONCE - len(going)))
        for check in self.checks:
            if not check.process:
                lanes = sorted([lanes[0] + check.expected, *lanes[1:]])
        return lanes[-1]

    def go(self) -> None:
        """Run them, as many at once as is good."""
        waiting, going = [*self.checks], list[Check]()
        try:
            while waiting or going:
                while waiting and len(going) < AT_ONCE:
                    going.append(waiting.pop(0))
                    going[-1].start("--no-install")
                time.sleep(0.2)
                for check in [check for check in going if check.is_over()]:
                    going.remove(check)
                    self.over.append(check)
                    print(_line(check), f"  {minutes(self.left())} left" * bool(waiting or going), flush=True)
                    if check.failed:
                        print(check.log.read_text(errors="replace"), flush=True)
        finally:
            processes.stop([check.process for check in going if check.process], grace=20)


def again(run: Run) -> Run:
    """Run what failed beside others once more by itself: servers and their databases are slow on a busy machine."""
    failed = [Check(check.name, check.expected) for check in run.over if check.failed]
    for check in failed:
        print(f"{check.name} is run once more, by itself", flush=True)
        Run([check]).go()
    names = {check.name for check in failed}
    return Run(run.checks, [*(check for check in run.over if check.name not in names), *failed])


def make_environments(names: list[str]) -> bool:
    """Make the environments of all sessions, one after the other; whether that went well."""
    log, report = LOGS / "environments.log", REPORTS / "environments.json"
    command = [sys.executable, "-m", "nox", "--install-only", f"--report={report}", "--session", *names]
    process = processes.start(command, env={**os.environ}, cwd=ROOT, log=log)
    try:
        process.wait()
    finally:
        processes.stop([process], grace=5)
    if process.returncode:
        print(log.read_text(errors="replace"))
    return process.returncode == 0


def _result(report: Path) -> str:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return str(json.loads(report.read_text())["sessions"][0]["result"])
    return "failed"


def _counts(report: Path) -> tuple[int, int, int]:
    """How many tests passed, failed and were skipped."""
    total = failed = skipped = 0
    for suite in ET.parse(report).getroot().iter("testsuite"):  # noqa: S314 - pytest has just written it
        total += int(suite.get("tests", 0))
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
    return max(0, total - failed - skipped), failed, skipped


def _line(check: Check) -> str:
    outcome = f"{check.passed} passed" + f", {check.failed} FAILED" * bool(check.failed)
    outcome += f", {check.skipped} skipped" * bool(check.skipped)
    if check.name in MAY_FAIL and check.skipped and not check.passed:
        outcome = f"failed, as it may: {check.log.relative_to(ROOT)}"
    return f"{check.name:<20} {check.seconds:>5.0f} s  {outcome}"


def minutes(seconds: float) -> str:
    """A duration as people say it."""
    return f"{seconds:.0f} s" if seconds < 60 else f"{seconds / 60:.0f} min"


def main() -> int:
    """Run the parts that the command line names; the exit code."""
    processes.interrupt_on_any_end()
    for folder in (REPORTS, LOGS, BUILD / "coverage"):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    checks = [Check(name, expected) for part in sys.argv[1:] for name, expected in PARTS[part].items()]
    start, run = time.monotonic(), Run(checks)
    print(f"{len(checks)} checks, {minutes(run.left() + ENVIRONMENT_SECONDS * len(checks))} in all", flush=True)
    print("make their environments (the first time, with what is downloaded for them) ...", flush=True)
    made = make_environments([check.name for check in checks])
    print(f"made in {minutes(time.monotonic() - start)}  {minutes(run.left())} left", flush=True)
    if made:
        run.go()
        run = again(run)
        coverage = Check("coverage", 5)
        run = Run([coverage], run.over)
        run.go()
    slowest = sorted(run.over, key=lambda check: -check.seconds)[:5]
    print("\nslowest: " + ", ".join(f"{check.name} {check.seconds:.0f} s" for check in slowest))
    print(f"in all {time.monotonic() - start:.0f} s\n")
    passed, failed, skipped = (
        sum(getattr(check, name) for check in run.over) for name in ("passed", "failed", "skipped")
    )
    failed += not made
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
