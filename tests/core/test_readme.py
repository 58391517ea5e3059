import re
from collections.abc import Iterator

import pytest
from support import readme
from support.pictures import table
from support.sandbox import KEY, Sandbox, running_sandbox


@pytest.fixture
def sandbox(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sandbox]:
    with running_sandbox() as sandbox:
        monkeypatch.setenv("ACTIVITYSMITH_API_KEY", KEY)
        monkeypatch.setenv("ACTIVITYSMITH_BASE_URL", sandbox.base_url)
        yield sandbox


def test_the_table_of_pictures_is_what_the_code_draws() -> None:
    found = re.search(r"<!-- pictures -->\n(.*)<!-- /pictures -->", readme.TEXT, re.DOTALL)
    assert found
    assert found[1].strip() == table(), f"put this between the marks:\n{table()}"


def test_every_piece_of_code_is_run_here_or_with_its_engine() -> None:
    assert list(readme.code()) == [
        "Quick start: Airflow",
        "Quick start: Prefect",
        "Quick start: any Python",
        "Live progress from any Python",
    ]


def test_the_quick_start_for_any_python_starts_a_stream_and_ends_it(sandbox: Sandbox) -> None:
    exec(readme.code()["Quick start: any Python"], {})
    (start,) = sandbox.requests("PUT")
    assert start["body"]["content_state"]["number_of_steps"] == 5
    (end,) = sandbox.ends("nightly-etl")
    assert end["content_state"]["percentage"] == 100


def test_the_live_progress_of_any_python_starts_moves_and_ends_a_stream(sandbox: Sandbox) -> None:
    exec(readme.code()["Live progress from any Python"], {})
    start, *_ = sandbox.requests("PUT")
    shown = start["body"]["content_state"]
    assert (shown["title"], shown["number_of_steps"]) == ("Nightly ETL", 2)
    (end,) = sandbox.ends("nightly-etl")
    assert (end["content_state"]["current_step"], end["content_state"]["color"]) == (2, "green")
