"""The steps of a DAG and the segments of its bar."""

import pytest
from airflow_rules.dags import dag

from activitysmith_integrations.airflow.bar import bar_of, counted_tasks

MAPPED = {"is_mapped": True}


def test_a_task_is_a_step_and_a_mapped_one_is_ten() -> None:
    bar = bar_of(dag("a >> each >> b", each=MAPPED))
    assert (dict(bar.first_steps), bar.total) == ({"a": 0, "each": 1, "b": 11}, 12)


@pytest.mark.parametrize("role", ["ends_stream", "follows_run"])
def test_what_ends_the_stream_or_follows_the_run_and_what_comes_after_it_is_no_step(role: str) -> None:
    assert list(counted_tasks(dag("a >> live >> after", "b", live={"role": role}))) == ["a", "b"]


def test_all_steps_of_a_short_dag_are_segments() -> None:
    bar = bar_of(dag("a >> b >> c"))
    assert bar.segments({}) == (0, 3)
    assert bar.segments({"a": "success", "b": "running", "gone": "success"}) == (1, 3)
    assert bar.segments({"a": "failed", "b": "upstream_failed", "c": "skipped"}) == (3, 3)


def test_instances_complete_the_steps_of_their_task_together() -> None:
    bar = bar_of(dag("a >> each", each=MAPPED))
    states = {"a": "success"} | {f"each_{index}": "success" if index < 50 else "none" for index in range(100)}
    assert bar.segments(states) == (5, 10)
    assert bar.segments(dict.fromkeys(states, "success")) == (10, 10)


def test_a_bar_of_nothing_has_one_segment() -> None:
    assert bar_of({}).segments({}) == (0, 0)


@pytest.mark.parametrize("count", [1, 2, 3, 7, 10, 11, 12, 25, 40, 100])
def test_a_dag_in_a_row_has_ten_reports_at_most_and_one_for_its_last_task(count: int) -> None:
    names = [f"t{number}" for number in range(count)]
    bar = bar_of(dag(" >> ".join(names)))
    reports = [name for name in names if bar.completes_segment(name)]
    assert len(reports) <= 10
    assert reports[0] == names[0]
    assert len(reports) >= min(count, 9)


@pytest.mark.parametrize("instances", [1, 2, 9, 10, 11, 33, 500])
def test_a_mapped_task_has_as_many_reports_as_segments_however_many_instances_it_has(instances: int) -> None:
    bar = bar_of(dag("each", each=MAPPED))
    reports = [index for index in range(instances) if bar.completes_segment("each", index, instances)]
    assert 1 <= len(reports) <= 10


def test_a_task_that_is_no_step_reports_nothing() -> None:
    assert not bar_of(dag("a")).completes_segment("other")
