"""Measure what showing a run from its first task to its last costs the engine: the same work with and without us.

Real engines on loopback, against the sandbox; ``airflow`` or ``prefect`` measures that one alone. The runs take
turns; a value is the median of their times, from the run's start to its end, with the least and the most beside it.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import figures
from costs import Row, compare, table
from databases import PostgreSQL, Programs
from support import processes
from support.airflow import Airflow, connection
from support.prefect import Prefect
from support.processes import DeploymentError
from support.sandbox import KEY, running_sandbox

ROUNDS = 9
PIPELINES = Path(__file__).resolve().parent / "pipelines"


def _in_turns(seconds: Callable[[str], float]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"plain": [], "shown": []}
    for number in range(ROUNDS + 1):
        for name in sorted(found, reverse=bool(number % 2)):
            took = seconds(name)
            print(f"{name}: {took:.2f} s", flush=True)
            if number:  # the first of each warms up
                found[name].append(took)
    return found


def _of_airflow(home: Path, programs: Path, base_url: str) -> Row:
    # On sqlite a run of 20 s waits now and then 5 s for a lock, with and without us.
    with PostgreSQL(home / "postgres", Programs(home / "debian")) as postgres:
        variables = {
            "AIRFLOW_CONN_ACTIVITYSMITH_DEFAULT": connection(base_url, KEY),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{postgres.database('airflow')}",
        }
        with Airflow(home / "airflow", PIPELINES / "cost_dags", variables, programs) as airflow:

            def seconds(name: str) -> float:
                run = airflow.run_of(name, airflow.run(name)[0])
                began, ended = (datetime.fromisoformat(run[key]) for key in ("start_date", "end_date"))
                return (ended - began).total_seconds()

            found = _in_turns(seconds)
    what = "Airflow: 30 tasks of a second, 3 at a time"
    return compare(what, "s", found["shown"], "Airflow alone", found["plain"], most_ratio=1.02)


def _of_prefect(home: Path, programs: Path, base_url: str) -> Row:
    variables = {"ACTIVITYSMITH_API_KEY": KEY, "ACTIVITYSMITH_BASE_URL": base_url, "PREFECT_LOGGING_LEVEL": "WARNING"}
    with Prefect(home / "prefect", variables, programs) as prefect:
        flow = str(PIPELINES / "cost_flow.py")
        found = _in_turns(lambda name: float(prefect.run(name, flow, name).split()[-1]))
    what = "Prefect: 200 tasks of a second, 20 at a time"
    return compare(what, "s", found["shown"], "Prefect alone", found["plain"], most_ratio=1.02)


def main() -> None:
    """Do what the command line says, and print a table."""
    engines = {"airflow": _of_airflow, "prefect": _of_prefect}
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("engines", nargs="*", metavar="ENGINE", help=f"of {', '.join(engines)}; none means both")
    parser.add_argument("--keep", action="store_true", help="write what the site shows of it")
    for name in engines:
        parser.add_argument(f"--{name}", type=Path, required=True, help=f"the folder of {name}'s programs")
    options = parser.parse_args()
    if unknown := set(options.engines) - set(engines):
        parser.error(f"no engine is called {', '.join(sorted(unknown))}")
    processes.interrupt_on_any_end()
    try:
        with tempfile.TemporaryDirectory(prefix="activitysmith-bench-", ignore_cleanup_errors=True) as folder:
            home = Path(folder)
            home.chmod(0o711)  # for PostgreSQL, which is not this user where that is root
            with running_sandbox() as sandbox:
                rows = [
                    engines[name](home, getattr(options, name), sandbox.base_url) for name in options.engines or engines
                ]
                sent = [request["method"] for request in sandbox.all_requests()]
    except DeploymentError as error:
        sys.exit(f"The measuring failed: {error}")
    if options.keep:
        figures.keep("runs", "The same work without and with a stream that shows it", rows)
    print(f"\n{table(rows)}\n\n{sent.count('PUT')} updates and {sent.count('DELETE')} ends were sent")


if __name__ == "__main__":
    main()
