"""Run the checks and the tests, each in its environment, and sum up.

``python3 tools/run_tests.py`` runs all of it, the names of topics (see ``--help``) a part. It ends with a line
``N passed, N failed``, in which a check such as the linter's counts as one.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import browser
import environments
import processes
from environments import BUILD, ENVIRONMENTS, ROOT

TOPICS = ("lint", "core", "browser", "airflow", "prefect", "live")
TIME_LIMIT = 20 * 60.0
REPORT = "report.xml"


@dataclass(frozen=True)
class Step:
    """One program to run.

    Args:
        environment: Where it runs.
        topics: What it belongs to.
        command: The program and its arguments.
        paths: What it looks at, as patterns; what does not exist is left out, and the step with it if nothing does.
        name: What people call it; its paths, if not given.
        folder: Where it runs, and what its paths start from.
    """

    environment: str
    topics: str
    command: tuple[str, ...]
    paths: tuple[str, ...] = ()
    name: str = ""
    folder: Path = ROOT

    @property
    def title(self) -> str:
        """What people call it."""
        return self.name or " ".join(self.paths)

    @property
    def existing(self) -> list[str]:
        """The paths that have something in them for Python."""
        found = [path for pattern in self.paths for path in sorted(self.folder.glob(pattern))]
        return [str(path.relative_to(self.folder)) for path in found if path.is_file() or any(path.rglob("*.py"))]


@dataclass(frozen=True)
class Result:
    """How a step went."""

    step: Step
    passed: int
    failed: int
    skipped: int
    seconds: float


def _types(environment: str, topics: str, *paths: str) -> Step:
    return Step(environment, f"lint {topics}", _mypy(environment), paths, "mypy")


def _types_for_users(environment: str, topics: str, program: str) -> Step:
    # From the program's own folder, where mypy does not see the sources: it reads the package installed.
    folder = ROOT / "tests/for_users"
    return Step(environment, f"lint {topics}", _mypy(environment), (program,), f"mypy for users: {program}", folder)


def _mypy(environment: str) -> tuple[str, ...]:
    return ("mypy", f"--config-file={ROOT / 'pyproject.toml'}", f"--cache-dir={BUILD / f'mypy-{environment}'}")


def _plain(environment: str, topics: str) -> Step:
    # Isolated, so that the package is the one installed. There is no pytest.
    command = ("python", "-I", "tests/for_users/plain_environment.py", *ENVIRONMENTS[environment].extras)
    return Step(environment, topics, command, name="the package with what it asks for")


def _tests(environment: str, topics: str, *paths: str) -> Step:
    # As a program of its own: `python -m pytest` would import the package from here, not the one installed.
    return Step(environment, topics, ("pytest",), paths)


PACKAGE = "activitysmith_integrations"
CORE_TESTS = ("tests/core", "tests/sandbox", "tests/*.py")
STEPS = (
    Step("core", "lint core", ("ruff", "check", "--quiet"), name="ruff check"),
    Step("core", "lint core", ("ruff", "format", "--check", "--quiet"), name="ruff format"),
    _types("core", "core", f"{PACKAGE}/core", f"{PACKAGE}/sandbox", "tools", *CORE_TESTS, "tests/for_users/plain*"),
    _types("browser", "browser", "tests/browser"),
    _types("airflow-3.3", "airflow", f"{PACKAGE}/airflow"),
    _types("prefect-3.8", "prefect", f"{PACKAGE}/prefect"),
    _types_for_users("core", "core", "core_client.py"),
    _types_for_users("airflow-3.3", "airflow", "airflow_dag.py"),
    _types_for_users("prefect-3.8", "prefect", "prefect_flow.py"),
    _plain("plain", "core"),
    _plain("plain-sandbox", "core"),
    _plain("plain-airflow", "airflow"),
    _plain("plain-prefect", "prefect"),
    Step("core", "core", ("coverage", "run", ENVIRONMENTS["core"].program("pytest")), ("tests/core",)),
    Step("core", "core", ("coverage", "report"), name="branches of core"),
    _tests("core", "core", "tests/sandbox"),
    _tests("core", "core", "tests/*.py"),
    _tests("browser", "browser", "tests/browser"),
    _tests("airflow-3.3", "airflow", "tests/with_airflow"),
    _tests("airflow-3.1", "airflow", "tests/with_airflow"),
    _tests("prefect-3.8", "prefect", "tests/with_prefect"),
    _tests("airflow-3.3", "live", "tests/live/test_airflow*"),
    _tests("airflow-3.1", "live", "tests/live/test_airflow*"),
    _tests("prefect-3.8", "live", "tests/live/test_prefect*"),
)


def run(step: Step) -> Result:
    """Run one step, its output where this program's is."""
    print(f"\n==> {step.environment}: {step.title}", flush=True)
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="activitysmith-tests-") as folder:
        home = Path(folder)
        program = ENVIRONMENTS[step.environment].program(step.command[0])
        command = [program, *step.command[1:], *step.existing]
        process = processes.start(command, env=_environ(step, home), cwd=step.folder)
        try:
            code = process.wait(TIME_LIMIT)
        except subprocess.TimeoutExpired:
            print(f"stopped after {TIME_LIMIT:g} s", flush=True)
            code = -1
        finally:
            # The signal of Ctrl-C, on which pytest still stops the servers that its tests started.
            processes.stop([process], grace=20, first=signal.SIGINT)
        report = home / REPORT
        passed, failed, skipped = _counts(report) if report.exists() else (int(code == 0), 0, 0)
    # A run that broke off, or found no test, has failed whatever it counted.
    return Result(step, passed, failed or int(code != 0), skipped, time.monotonic() - start)


def _environ(step: Step, home: Path) -> dict[str, str]:
    """This program's environment without what would lead tests out of theirs."""
    theirs = ("ACTIVITYSMITH_", "AIRFLOW_", "PREFECT_", "PYTHONPATH", "VIRTUAL_ENV")
    mine = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
    folder = ENVIRONMENTS[step.environment].folder / "bin"
    return {
        **mine,
        "AIRFLOW_HOME": str(home / "airflow"),
        "COVERAGE_FILE": str(BUILD / "coverage"),
        "PATH": f"{folder}{os.pathsep}{mine.get('PATH', os.defpath)}",
        "PYTEST_ADDOPTS": f"{mine.get('PYTEST_ADDOPTS', '')} --junitxml={home / REPORT}",
        "PREFECT_HOME": str(home / "prefect"),
        "RUFF_CACHE_DIR": str(BUILD / "ruff"),
    }


def _counts(report: Path) -> tuple[int, int, int]:
    """How many tests passed, failed and were skipped."""
    suites = ET.parse(report).getroot().iter("testsuite")  # noqa: S314 - pytest has just written it
    total = failed = skipped = 0
    for suite in suites:
        total += int(suite.get("tests", 0))
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
    return max(0, total - failed - skipped), failed, skipped


def summary(results: Sequence[Result]) -> str:
    """A table of what ran, and the line that says how it went."""
    width = max((len(result.step.title) for result in results), default=4)
    lines = [f"{'environment':<13} {'what':<{width}} {'passed':>7} {'failed':>7} {'skipped':>8} {'seconds':>8}"]
    for result in results:
        counts = f"{result.passed:>7} {result.failed or '-':>7} {result.skipped or '-':>8} {result.seconds:>8.1f}"
        lines.append(f"{result.step.environment:<13} {result.step.title:<{width}} {counts}")
    passed = sum(result.passed for result in results)
    failed = sum(result.failed for result in results)
    skipped = sum(result.skipped for result in results)
    closing = f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else "")
    return "\n".join(["", *lines, "", closing])


def _selected(topics: Iterable[str]) -> list[Step]:
    wanted = set(topics or TOPICS)
    return [step for step in STEPS if wanted & set(step.topics.split()) and (step.existing or not step.paths)]


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help=f"of {', '.join(TOPICS)}; none means all of them")
    options = parser.parse_args()
    if unknown := set(options.topics) - set(TOPICS):
        parser.error(f"no topic is called {', '.join(sorted(unknown))}")
    processes.interrupt_on_any_end()
    steps = _selected(options.topics)
    environments.prepare(list(dict.fromkeys(step.environment for step in steps)))
    if any(step.environment == "browser" for step in steps):
        browser.prepare()
    results: list[Result] = []
    try:
        for step in steps:
            results.append(run(step))  # noqa: PERF401 - what ran before Ctrl-C is summed up, too
    except KeyboardInterrupt:
        print(summary(results), flush=True)
        sys.exit("stopped before the rest")
    print(summary(results), flush=True)
    sys.exit(any(result.failed for result in results))


if __name__ == "__main__":
    main()
