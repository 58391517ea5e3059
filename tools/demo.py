"""The whole job for everybody to see: real runs in Airflow and Prefect, and the lock screens that they leave.

It runs one success and one failure in each engine, each of which starts, moves and ends a stream of its own, and
looks at what became of the streams: on the package's sandbox, whose page shows the lock screen meanwhile, or, with
ACTIVITYSMITH_API_KEY set, on the real service and your phone.
"""

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import lock_screen
import pictures
import processes
from engines import Airflow, Engine, EngineError, Prefect, Sandbox, until
from environments import BUILD, ROOT
from lock_screen import Row

from activitysmith_integrations.core import ActivitySmithClient, ActivitySmithError, EndStreamResponse


@dataclass(frozen=True)
class Run:
    """What to run, and what to expect of it.

    Args:
        engine: Where it runs.
        name: The DAG's id or the flow's name, and the stream's key.
        shown_by: What starts, moves and ends the stream.
        fails_at: The step that is to fail; None for a run that is to succeed.
    """

    engine: str
    name: str
    shown_by: str
    fails_at: str | None = None


RUNS = (
    Run("Airflow", "example_tag_only", "a tag on the DAG"),
    Run("Airflow", "example_progress_by_hand", "an operator and notifiers", fails_at="load"),
    Run("Prefect", "live-activity", "hooks on the flow"),
    Run("Prefect", "live-activity-in-the-body", "LiveActivity in its body", fails_at="transform"),
)
LOGS = BUILD / "demo-logs"
_START = time.monotonic()
_SAYING = threading.Lock()


def say(text: str) -> None:
    """Print a line with the seconds since the start."""
    with _SAYING:
        print(f"{time.monotonic() - _START:6.1f} s  {text}", flush=True)


class SandboxService:
    """Streams on the sandbox, where everything can be seen."""

    api_key = "ask_sandbox"

    def __init__(self, home: Path) -> None:
        self._sandbox = Sandbox(home)
        self.base_url: str | None = self._sandbox.base_url
        self.page_url = self._sandbox.page_url
        self.stop = self._sandbox.stop

    def start(self) -> None:
        """Start it, and wait until it listens."""
        self._sandbox.start()
        say(f"watch the lock screen: {self.page_url}")

    def has_ended(self, run: Run, engine: Engine) -> bool:
        """Whether the run's stream has ended."""
        stream = self._sandbox.streams().get(run.name)
        return stream is not None and not stream["live"]

    def look(self, run: Run) -> tuple[dict[str, Any] | None, str]:
        """What the run's lock screen shows, and what is wrong with it."""
        content = self._sandbox.streams().get(run.name)
        if content is None:
            return None, "the stream was never started"
        state = content["content_state"]
        if content["live"]:
            return content, "the stream is still live"
        *updates, end = [request for request in self._sandbox.requests() if request["stream_key"] == run.name]
        if end["method"] != "DELETE" or len(updates) < 2 or updates[0]["operation"] != "started":
            return content, f"it did not start, move and end: {[one['operation'] for one in (*updates, end)]}"
        say(f"{run.name}: 1 start, {len(updates) - 1} updates, 1 end")
        if run.fails_at is None:
            good = state["type"] in ("segmented_progress", "progress")
            return content, "" if good else f"a success ended with {state['type']}"
        good = state["type"] == "alert" and run.fails_at in state["message"]
        return content, "" if good else f"a failure ended without an alert that names {run.fails_at}"


class RealService:
    """Streams on somebody's phone: only the engines' logs and a second DELETE tell how they ended."""

    def __init__(self, api_key: str) -> None:
        self.api_key = api_key
        self.base_url = os.environ.get("ACTIVITYSMITH_BASE_URL") or None

    def start(self) -> None:
        """It is there already."""

    def has_ended(self, run: Run, engine: Engine) -> bool:
        """Whether the engine says that it ended the run's stream."""
        return engine.logged(f"Ended Live Activity stream '{run.name}'")

    def look(self, run: Run) -> tuple[None, str]:
        """What is wrong with the run's stream; ends it if it is live."""
        answer = self._end(run)
        return None, "" if answer.activity_id is None or answer.ignored else "the stream was still live"

    def _end(self, run: Run) -> EndStreamResponse:
        with ActivitySmithClient(self.api_key, base_url=self.base_url) as client:
            return client.end_stream(run.name)

    def stop(self) -> None:
        """Leave nothing live on the phone."""
        for run in RUNS:
            with contextlib.suppress(ActivitySmithError):
                self._end(run)


Service = SandboxService | RealService


@contextlib.contextmanager
def _service(home: Path) -> Iterator[Service]:
    """The service, for as long as it is needed."""
    api_key = os.environ.get("ACTIVITYSMITH_API_KEY")
    service = RealService(api_key) if api_key else SandboxService(home / "sandbox")
    try:
        service.start()
        yield service
    finally:
        service.stop()


def show(home: Path, service: Service) -> list[Row]:
    """Run everything; what became of each stream.

    Args:
        home: A folder for all that is written meanwhile.
        service: Where the streams are.
    """
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(2 + len(RUNS)))
        futures = []
        for engine in _engines(home, service):
            # Called before the pool waits for its threads, which wait for what is stopped here.
            stack.callback(engine.stop)
            futures.append(pool.submit(_drive, engine, service, pool))
        wait(futures, return_when=FIRST_EXCEPTION)
        failed = [future for future in futures if future.done() and future.exception()]
        return [row for future in failed or futures for row in future.result()]


def _engines(home: Path, service: Service) -> Iterator[Engine]:
    host = {"host": service.base_url} if service.base_url else {}
    yield Airflow(home / "airflow", {"conn_type": "activitysmith", "password": service.api_key, **host})
    address = {"ACTIVITYSMITH_BASE_URL": service.base_url} if service.base_url else {}
    yield Prefect(home / "prefect", {"ACTIVITYSMITH_API_KEY": service.api_key, **address})


def _drive(engine: Engine, service: Service, pool: ThreadPoolExecutor) -> list[Row]:
    """Start an engine, and run there at once what is to run there."""
    engine.start()
    say(f"{engine.name} is up")
    runs = [run for run in RUNS if run.engine == engine.name]
    return list(pool.map(partial(_do, engine=engine, service=service), runs))


def _do(run: Run, engine: Engine, service: Service) -> Row:
    succeeded = engine.run(run.name, fail=run.fails_at is not None)
    how = "succeeded" if succeeded else "failed"
    say(f"{engine.name}: {run.name} {how}")

    def over() -> bool:
        engine.check()
        return service.has_ended(run, engine)

    try:
        until(over, "the stream ends", 60)
        ended = f"shown by {run.shown_by}"
        say(f"{engine.name}: {run.name}: its Live Activity has ended")
    except EngineError:
        ended = "not ended"
    content, problem = service.look(run)
    if ended == "not ended":
        problem = problem or f"{engine.name} did not say that it ended the stream"
    if succeeded is not (run.fails_at is None):
        problem = f"the run {how}, and should not have"
    return Row(run.name, [engine.name, f"run {how}", ended], content, problem)


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for the time of the demo; where that fails, the logs in it are kept."""
    shutil.rmtree(LOGS, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix="activitysmith-demo-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        try:
            yield home
        except Exception:
            for log in home.rglob("*.log"):
                kept = LOGS / log.relative_to(home)
                kept.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(log, kept)
            raise


def _keep_pictures(rows: list[Row]) -> None:
    for run in RUNS:
        (content,) = (row.content for row in rows if row.stream == run.name)
        if content is not None:
            pictures.keep(f"{run.engine.lower()}-{'failure' if run.fails_at else 'success'}", content)
    pictures.draw()


def _stay(service: SandboxService) -> None:
    say(f"the lock screen stays open until Ctrl-C: {service.page_url}")
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()


def main() -> None:
    """Show it, and fail if a stream did not end as it should."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--stay", action="store_true", help="keep the sandbox's page open until Ctrl-C")
    options = parser.parse_args()
    if options.stay and os.environ.get("ACTIVITYSMITH_API_KEY"):
        parser.error("the page is the sandbox's, which is not used while ACTIVITYSMITH_API_KEY is set")
    processes.interrupt_on_any_end()
    paint = lock_screen.colored if sys.stdout.isatty() and "NO_COLOR" not in os.environ else lock_screen.plain
    try:
        with _scratch() as home, _service(home) as service:
            rows = show(home, service)
            print(f"\n{lock_screen.table(rows, paint)}\n", flush=True)
            if wrong := [row.stream for row in rows if row.problem]:
                raise EngineError(f"{len(wrong)} of {len(rows)} streams are wrong: {', '.join(wrong)}")
            say("every Live Activity has ended as it should")
            if isinstance(service, SandboxService):
                _keep_pictures(rows)
                if options.stay:
                    _stay(service)
    except KeyboardInterrupt:
        sys.exit("\nstopped")
    except (EngineError, ActivitySmithError, OSError) as error:
        sys.exit(f"The demo failed: {error}\nWhat the programs printed is in {LOGS.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
