"""The whole job for everybody to see: real runs in Airflow and Prefect, and the lock screens that they leave.

It runs one success and one failure in each engine, each of which starts, moves and ends a stream of its own, and
looks at what became of the streams: on the package's sandbox, whose page shows the lock screen meanwhile, or, with
ACTIVITYSMITH_API_KEY set, on the real service and your phone.
"""

import argparse
import contextlib
import os
import re
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lock_screen
import pictures
from support import processes
from support.airflow import Airflow, connection
from support.prefect import Prefect
from support.processes import Deployment, DeploymentError, eventually
from support.sandbox import Sandbox, running_sandbox

ROOT = Path(__file__).resolve().parent.parent
LOGS = ROOT / ".build" / "demo-logs"


@dataclass(frozen=True)
class Run:
    """What to run, and what to expect of it.

    Args:
        engine: Where it runs.
        name: The DAG's id or the flow's name.
        shown_by: What starts, moves and ends its stream.
        fails_at: The step that is to fail; None for a run that is to succeed.
    """

    engine: str
    name: str
    shown_by: str
    fails_at: str | None = None


RUNS = (
    Run("Airflow", "example_tag_only", "a tag on the DAG"),
    Run("Airflow", "example_follow_run", "a task that follows the run", fails_at="load"),
    Run("Prefect", "live-activity", "hooks on the flow"),
    Run("Prefect", "live-activity-in-the-body", "LiveActivity in its body", fails_at="transform"),
)
_START = time.monotonic()
_SAYING = threading.Lock()


def say(text: str) -> None:
    """Print a line with the seconds since the start."""
    with _SAYING:
        print(f"{time.monotonic() - _START:6.1f} s  {text}", flush=True)


def _run_of(stream_key: str) -> Run | None:
    """The run that a stream is of: its key begins with the pipeline's name."""
    found = [run for run in RUNS if stream_key.startswith(run.name)]
    return max(found, key=lambda run: len(run.name), default=None)


class SandboxService:
    """Streams on the sandbox, where everything can be seen."""

    def __init__(self, sandbox: Sandbox) -> None:
        self.api_key, self.base_url = "ask_sandbox", sandbox.base_url
        self._sandbox = sandbox

    def has_ended(self, run: Run, engine: Deployment) -> bool:
        """Whether the run's stream has ended."""
        requests = self._requests(run)
        return bool(requests) and requests[-1]["method"] == "DELETE"

    def look(self, run: Run) -> tuple[dict[str, Any] | None, str]:
        """What the run's lock screen shows, and what is wrong with it."""
        requests = self._requests(run)
        # What shows the same again changes nothing.
        operations = [request["operation"] for request in requests if request["operation"] != "noop"]
        if len({request["stream_key"] for request in requests}) != 1:
            return None, f"it has not one stream, but {len({request['stream_key'] for request in requests})}"
        content = self._sandbox.streams()[requests[0]["stream_key"]]
        if len(operations) < 2 or operations != ["started", *["updated"] * (len(operations) - 2), "ended"]:
            return content, f"it did not start, move and end once: {', '.join(map(str, operations))}"
        say(f"{run.name}: 1 start, {len(operations) - 2} updates, 1 end")
        state = content["content_state"]
        if run.fails_at is None:
            good = state["type"] in ("segmented_progress", "progress")
            return content, "" if good else f"a success ended with {state['type']}"
        good = state["type"] == "alert" and run.fails_at in state["message"]
        return content, "" if good else f"a failure ended without an alert that names {run.fails_at}"

    def _requests(self, run: Run) -> list[dict[str, Any]]:
        return [request for request in self._sandbox.all_requests() if _run_of(request["stream_key"]) == run]


class RealService:
    """Streams on somebody's phone: only the engines' logs tell how they ended."""

    def __init__(self, api_key: str) -> None:
        self.api_key, self.base_url = api_key, os.environ.get("ACTIVITYSMITH_BASE_URL")

    def has_ended(self, run: Run, engine: Deployment) -> bool:
        """Whether the engine says that it ended the run's stream."""
        logs = (log.read_text(errors="replace") for log in engine.home.rglob("*.log"))
        return any(
            _run_of(key) == run for log in logs for key in re.findall("Ended Live Activity stream '([^']+)'", log)
        )

    def look(self, run: Run) -> tuple[None, str]:
        """Nothing can be seen from here."""
        return None, ""


Service = SandboxService | RealService


@contextlib.contextmanager
def _service(airflow: Path) -> Iterator[Service]:
    """The service, for as long as it is needed."""
    if api_key := os.environ.get("ACTIVITYSMITH_API_KEY"):
        yield RealService(api_key)
        return
    with running_sandbox(programs=airflow) as sandbox:
        say(f"watch the lock screen: {sandbox.page_url}")
        yield SandboxService(sandbox)


class AirflowRuns:
    """Airflow with the example DAGs."""

    def __init__(self, home: Path, programs: Path, service: Service) -> None:
        account = connection(service.base_url, service.api_key)
        variables = {"AIRFLOW_CONN_ACTIVITYSMITH_DEFAULT": account, "AIRFLOW__CORE__PARALLELISM": "2"}
        self.deployment = Airflow(home, ROOT / "example_dags", variables, programs)

    def run(self, run: Run) -> bool:
        """Run a DAG to its end; whether that was a success."""
        return self.deployment.run(run.name, fail=run.fails_at is not None)[1] == "success"


class PrefectRuns:
    """A Prefect server with the example flows."""

    def __init__(self, home: Path, programs: Path, service: Service) -> None:
        address = {"ACTIVITYSMITH_BASE_URL": service.base_url} if service.base_url else {}
        self.deployment = Prefect(home, {"ACTIVITYSMITH_API_KEY": service.api_key, **address}, programs)

    def run(self, run: Run) -> bool:
        """Run a flow's file to its end; whether that was a success."""
        file = ROOT / "example_flows" / f"{run.name.replace('-', '_')}.py"
        return self.deployment.call(run.name, "python", str(file), *["--fail"] * (run.fails_at is not None)) == 0


Engine = AirflowRuns | PrefectRuns


def show(engines: list[Engine], service: Service) -> list[lock_screen.Row]:
    """Run everything; what became of each stream."""
    with ThreadPoolExecutor(len(engines)) as pool:
        try:
            futures = [pool.submit(_drive, engine, service) for engine in engines]
            return [row for future in futures for row in future.result()]
        finally:
            # Before the pool waits for its threads, which wait for what is stopped here.
            for engine in engines:
                engine.deployment.stop()


def _drive(engine: Engine, service: Service) -> list[lock_screen.Row]:
    """Start an engine, and run there at once what is to run there."""
    engine.deployment.start()
    say(f"{engine.deployment.name} is up")
    runs = [run for run in RUNS if run.engine == engine.deployment.name]
    with ThreadPoolExecutor(len(runs)) as pool:
        return list(pool.map(partial(_do, engine=engine, service=service), runs))


def _do(run: Run, engine: Engine, service: Service) -> lock_screen.Row:
    succeeded = engine.run(run)
    how = "succeeded" if succeeded else "failed, as it was meant to" if run.fails_at else "failed"
    say(f"{run.engine}: {run.name} {how}")
    ended, problem = f"shown by {run.shown_by}", ""
    try:
        eventually(lambda: engine.deployment.check() and service.has_ended(run, engine.deployment), "the end", 60)
        say(f"{run.engine}: {run.name}: its Live Activity has ended")
    except DeploymentError as error:
        ended, problem = "not ended", str(error)
    content, seen = service.look(run)
    if succeeded is not (run.fails_at is None):
        problem = f"the run {how}, and should not have"
    return lock_screen.Row(run.name, [run.engine, f"run {how}", ended], content, problem or seen)


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for the time of the demo; where that fails, the logs in it are kept."""
    shutil.rmtree(LOGS, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="activitysmith-demo-", ignore_cleanup_errors=True) as folder:
        try:
            yield Path(folder)
        except Exception:
            for log in Path(folder).rglob("*.log"):
                kept = LOGS / log.relative_to(folder)
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(log, kept)
            raise


def _keep_pictures(rows: list[lock_screen.Row]) -> None:
    for run in RUNS:
        (content,) = (row.content for row in rows if row.stream == run.name)
        if content is not None:
            pictures.keep(f"{run.engine.lower()}-{'failure' if run.fails_at else 'success'}", content)
    pictures.draw()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--airflow", type=Path, required=True, help="the folder of Airflow's programs")
    parser.add_argument("--prefect", type=Path, required=True, help="the folder of Prefect's programs")
    parser.add_argument("--stay", action="store_true", help="keep the sandbox's page open until Ctrl-C")
    parser.add_argument("--pictures", action="store_true", help="keep the pictures that the README shows")
    options = parser.parse_args()
    if options.stay and os.environ.get("ACTIVITYSMITH_API_KEY"):
        parser.error("the page is the sandbox's, which is not used while ACTIVITYSMITH_API_KEY is set")
    return options


def main() -> None:
    """Show it, and fail if a stream did not end as it should."""
    options = _options()
    processes.interrupt_on_any_end()
    paint = lock_screen.colored if sys.stdout.isatty() and "NO_COLOR" not in os.environ else lock_screen.plain
    for run in RUNS:
        meant = f"is meant to fail, at its step {run.fails_at}" if run.fails_at else "is meant to succeed"
        print(f"  {run.engine}: {run.name} {meant}; shown by {run.shown_by}")
    print(flush=True)
    try:
        with _service(options.airflow) as service, _scratch() as home:
            airflow = AirflowRuns(home / "airflow", options.airflow, service)
            prefect = PrefectRuns(home / "prefect", options.prefect, service)
            rows = show([airflow, prefect], service)
            print(f"\n{lock_screen.table(rows, paint)}\n", flush=True)
            if wrong := [row.stream for row in rows if row.problem]:
                raise DeploymentError(f"{len(wrong)} of {len(rows)} streams are wrong: {', '.join(wrong)}")
            say("every Live Activity has ended as it should")
            if options.pictures:
                _keep_pictures(rows)
            if options.stay:
                say("the page stays open until Ctrl-C")
                threading.Event().wait()
    except KeyboardInterrupt:
        sys.exit("\nstopped")
    except (DeploymentError, OSError) as error:
        sys.exit(f"The demo failed: {error}\nWhat the programs printed is in {LOGS.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
