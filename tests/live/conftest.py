"""A PostgreSQL for both engines; one Airflow for all of its live tests, and the runs that they want, all started."""

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from uuid import uuid4

import pytest
from support import readme
from support.airflow import Airflow, connection
from support.databases import PostgreSQL, postgresql
from support.live_runs import LiveRun, Wanted, start
from support.sandbox import KEY, Sandbox, running_sandbox

HERE = Path(__file__).parent
EXAMPLES = HERE.parents[1] / "example_dags"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "runs(*dag_ids, **wanted): the runs that a test looks at; the fixture `runs` has them by name"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests whose runs are started together first: runs that others start would wait behind all of those."""
    items.sort(key=lambda item: item.get_closest_marker("runs") is None)


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def four_places() -> Iterator[Sandbox]:
    """An account with the service's own limit of activities at once."""
    with running_sandbox() as sandbox:
        sandbox.limit(max_concurrent=4)
        yield sandbox


@pytest.fixture(scope="session")
def one_place() -> Iterator[Sandbox]:
    """An account with room for one activity."""
    with running_sandbox() as sandbox:
        sandbox.limit(max_concurrent=1)
        yield sandbox


@pytest.fixture(scope="session")
def accounts(sandbox: Sandbox, four_places: Sandbox, one_place: Sandbox) -> Mapping[str, Sandbox]:
    """The sandboxes by the names of the connections that lead to them."""
    return {"activitysmith_default": sandbox, "four_places": four_places, "one_place": one_place}


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgreSQL]:
    with postgresql() as postgres:
        yield postgres


@pytest.fixture(scope="session")
def airflow(
    postgres: PostgreSQL, accounts: Mapping[str, Sandbox], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Airflow]:
    home = tmp_path_factory.mktemp("airflow")
    dags = home / "dags"
    dags.mkdir()
    for source in (*HERE.glob("airflow_dags/*.py"), *EXAMPLES.glob("*.py")):
        shutil.copy(source, dags)
    (dags / "readme.py").write_text(readme.code()["Quick start: Airflow"])
    connections = {name: connection(account.base_url, KEY) for name, account in accounts.items()}
    variables = {f"AIRFLOW_CONN_{name.upper()}": value for name, value in connections.items()}
    with Airflow(home, dags, variables, database=postgres.database("airflow")) as deployment:
        # Quoted as the CLI wants it: the key as the password of a connection in the database.
        document = connections["activitysmith_default"]
        deployment.cli("connections", "add", "in_database", "--conn-json", document)
        yield deployment


@pytest.fixture(scope="session")
def started(
    request: pytest.FixtureRequest, airflow: Airflow, accounts: Mapping[str, Sandbox]
) -> dict[str, dict[str, LiveRun]]:
    """The runs that the chosen tests want, all of them started, by test."""
    wanted = {item.nodeid: _wanted(item) for item in request.session.items}
    airflow.await_dags(one.dag_id for of_test in wanted.values() for one in of_test.values())
    return {
        test: {
            name: start(airflow, accounts[one.account], one, f"live-{uuid4().hex[:8]}") for name, one in of_test.items()
        }
        for test, of_test in wanted.items()
    }


def _wanted(item: pytest.Item) -> dict[str, Wanted]:
    marker = item.get_closest_marker("runs")
    if marker is None:
        return {}
    return {**{dag_id: Wanted(dag_id) for dag_id in marker.args}, **marker.kwargs}


@pytest.fixture
def runs(request: pytest.FixtureRequest, started: dict[str, dict[str, LiveRun]]) -> dict[str, LiveRun]:
    """The runs that a test wants, by name."""
    return started[request.node.nodeid]
