"""Measure what showing a run from its first task to its last costs the engine: the same work with and without us.

Real engines on loopback, against the sandbox; ``airflow`` or ``prefect`` measures that one alone. The runs take
turns; a value is the median of their times, from the run's start to its end, with the least and the most beside it.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path

import bench
import environments
import processes
from databases import PostgreSQL, Programs
from engines import Airflow, EngineError, Prefect, Sandbox
from environments import ROOT

ROUNDS = 9
KEY = "ask_bench"
PROGRAMS = ROOT / "tests" / "benchmarks"


def _in_turns(seconds: Callable[[str], float]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"plain": [], "shown": []}
    for number in range(ROUNDS + 1):
        for name in sorted(found, reverse=bool(number % 2)):
            took = seconds(name)
            print(f"{name}: {took:.2f} s", flush=True)
            if number:  # the first of each warms up
                found[name].append(took)
    return found


def _of_airflow(home: Path, stack: ExitStack, base_url: str) -> bench.Row:
    connection = {"conn_type": "activitysmith", "password": KEY, "host": base_url}
    # On sqlite a run of 20 s waits now and then 5 s for a lock, with and without us.
    postgres = PostgreSQL(home / "postgres", Programs(home / "debian"))
    stack.callback(postgres.stop)
    postgres.start()
    variables = {
        "AIRFLOW__CORE__PARALLELISM": "4",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{postgres.database('airflow')}",
    }
    environment = "airflow-3.3-celery"  # where there is a driver for PostgreSQL
    airflow = Airflow(
        home / "airflow", connection, environment=environment, dags=PROGRAMS / "live_dags", variables=variables
    )
    stack.callback(airflow.stop)
    airflow.start()

    def seconds(name: str) -> float:
        run = airflow.finished(name, {})
        return (datetime.fromisoformat(run["end_date"]) - datetime.fromisoformat(run["start_date"])).total_seconds()

    found = _in_turns(seconds)
    what = ("Airflow", "30 tasks of a second, 3 at a time", "s")
    return bench.compare(what, found["shown"], "without us", found["plain"], most_ratio=1.02)


def _of_prefect(home: Path, stack: ExitStack, base_url: str) -> bench.Row:
    variables = {"ACTIVITYSMITH_API_KEY": KEY, "ACTIVITYSMITH_BASE_URL": base_url, "PREFECT_LOGGING_LEVEL": "WARNING"}
    prefect = Prefect(home / "prefect", variables)
    stack.callback(prefect.stop)
    prefect.start()

    def seconds(name: str) -> float:
        return float(prefect.said(name, "python", str(PROGRAMS / "live_flow.py"), name).split()[-1])

    found = _in_turns(seconds)
    what = ("Prefect", "200 tasks of a second, 20 at a time", "s")
    return bench.compare(what, found["shown"], "without us", found["plain"], most_ratio=1.02)


PARTS = {"airflow": _of_airflow, "prefect": _of_prefect}


def main() -> None:
    """Do what the command line says, and print a table."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help=f"of {', '.join(PARTS)}; none means both")
    options = parser.parse_args()
    if unknown := set(options.engines) - set(PARTS):
        parser.error(f"no engine is called {', '.join(sorted(unknown))}")
    processes.interrupt_on_any_end()
    environments.prepare(["airflow-3.3", "airflow-3.3-celery", "prefect-3.8"])
    rows = []
    try:
        with tempfile.TemporaryDirectory(prefix="activitysmith-bench-", ignore_cleanup_errors=True) as folder:
            home = Path(folder)
            home.chmod(0o711)  # for PostgreSQL, which is not this user where that is root
            with ExitStack() as stack:
                sandbox = Sandbox(home / "sandbox")
                stack.callback(sandbox.stop)
                sandbox.start()
                sandbox.limit(max_concurrent=None, requests_per_minute=None)
                for name in options.engines or PARTS:
                    with ExitStack() as engine:
                        rows.append(PARTS[name](home, engine, sandbox.base_url))
                sent = [request["method"] for request in sandbox.requests()]
    except EngineError as error:
        sys.exit(f"The measuring failed: {error}")
    print(f"\n{bench.table(rows)}\n\n{sent.count('PUT')} updates and {sent.count('DELETE')} ends were sent")


if __name__ == "__main__":
    main()
