"""Shapes of DAGs: what their runs come to, as seen with ``dag.test()`` in Airflow 3.3.2, and what is said of it."""

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG, chain
from airflow.sdk.bases.operator import BaseOperator

from activitysmith_integrations.airflow.bar import bar_of, counted_tasks
from activitysmith_integrations.airflow.dag_tasks import plain_tasks
from activitysmith_integrations.airflow.operators import ActivitySmithEndStreamOperator
from activitysmith_integrations.airflow.reporting import end_counts
from activitysmith_integrations.airflow.task_states import has_failed


def task(task_id: str, **more: Any) -> BaseOperator:
    return BaseOperator(task_id=task_id, **more)


def two_then(rule: str) -> Callable[[], Any]:
    return lambda: [task("a"), task("b")] >> task("c", trigger_rule=rule)


def ignored_teardown_fails() -> None:
    chain(task("s").as_setup(), task("w"), task("t").as_teardown())


def teardown_decides() -> None:
    chain(task("w"), task("t").as_teardown(on_failure_fail_dagrun=True))


def teardown_alone() -> None:
    task("t").as_teardown()


def setup_and_teardown() -> None:
    setup = task("s").as_setup()
    chain(setup, task("w"), task("t").as_teardown(setups=setup))


def watcher() -> None:
    chain(task("a"), task("b"), task("c"))
    [task("x"), task("y")] >> task("watcher", trigger_rule="one_failed")


def handled() -> None:
    chain(task("h"), task("fix", trigger_rule="one_failed"))
    chain(task("x"), task("real"), task("y"))


def handled_and_needed() -> None:
    bad = task("bad")
    bad >> task("notify", trigger_rule="one_failed")
    bad >> task("next")


def ended_by_a_task() -> None:
    chain(task("a"), task("b"), ActivitySmithEndStreamOperator(task_id="end").as_teardown())


def mapped() -> None:
    chain(task("z"), BaseOperator.partial(task_id="each").expand(doc=["0", "1", "2", "3"]), task("after"))


# The DAG, the states of its tasks, whether Airflow failed the run, and what is said: done, of how many, failed, which.
SHAPES: list[tuple[Callable[[], Any], dict[str, str], bool, tuple[int, int, int, str | None]]] = [
    (two_then("one_done"), {"a": "failed", "b": "success", "c": "success"}, False, (3, 3, 1, None)),
    (two_then("all_failed"), {"a": "failed", "b": "failed", "c": "success"}, False, (3, 3, 2, None)),
    (two_then("always"), {"a": "failed", "b": "success", "c": "success"}, False, (3, 3, 1, None)),
    (two_then("all_done_min_one_success"), {"a": "failed", "b": "success", "c": "success"}, False, (3, 3, 1, None)),
    (two_then("none_skipped"), {"a": "failed", "b": "success", "c": "success"}, False, (3, 3, 1, None)),
    (two_then("all_skipped"), {"a": "skipped", "b": "skipped", "c": "success"}, False, (3, 3, 0, None)),
    (
        two_then("none_failed_min_one_success"),
        {"a": "skipped", "b": "success", "c": "success"},
        False,
        (3, 3, 0, None),
    ),
    (
        two_then("none_failed_min_one_success"),
        {"a": "skipped", "b": "failed", "c": "upstream_failed"},
        True,
        (1, 3, 0, "b"),
    ),
    (ignored_teardown_fails, {"s": "success", "w": "success", "t": "failed"}, False, (3, 3, 1, None)),
    (ignored_teardown_fails, {"s": "success", "w": "failed", "t": "failed"}, True, (1, 3, 0, "w")),
    (teardown_decides, {"w": "success", "t": "failed"}, True, (1, 2, 0, "t")),
    (teardown_alone, {"t": "failed"}, True, (0, 1, 0, "t")),
    (teardown_alone, {"t": "success"}, False, (1, 1, 0, None)),
    (setup_and_teardown, {"s": "failed", "w": "upstream_failed", "t": "upstream_failed"}, True, (0, 3, 0, "s")),
    (setup_and_teardown, {"s": "success", "w": "failed", "t": "success"}, True, (2, 3, 0, "w")),
    (
        watcher,
        {
            "a": "success",
            "b": "failed",
            "c": "upstream_failed",
            "x": "failed",
            "y": "success",
            "watcher": "failed",
        },
        True,
        (2, 6, 0, "x"),
    ),
    (
        handled,
        {"h": "failed", "fix": "success", "x": "success", "real": "failed", "y": "upstream_failed"},
        True,
        (2, 5, 0, "real"),
    ),
    (handled_and_needed, {"bad": "failed", "notify": "success", "next": "upstream_failed"}, True, (1, 3, 0, "bad")),
    (ended_by_a_task, {"a": "success", "b": "failed", "end": "success"}, True, (1, 2, 0, "b")),
    (
        mapped,
        {
            "z": "success",
            "each_0": "success",
            "each_1": "failed",
            "each_2": "success",
            "each_3": "success",
            "after": "upstream_failed",
        },
        True,
        (4, 6, 0, "each[1]"),
    ),
]


@pytest.mark.parametrize(("make", "states", "is_failed", "said"), SHAPES)
def test_what_a_run_came_to_is_known_and_said(
    make: Callable[[], Any], states: dict[str, str], is_failed: bool, said: tuple[int, int, int, str | None]
) -> None:
    with DAG("nightly", schedule=None) as dag:
        make()
    tasks = counted_tasks(plain_tasks(dag))
    assert has_failed(tasks, states) is is_failed
    counts = end_counts(tasks, bar_of(tasks), states, "failed" if is_failed else "succeeded")
    assert (counts.steps_done, counts.steps_total, counts.tasks_failed, counts.failed_step) == said


def test_what_fail_fast_skipped_among_mapped_instances_was_not_done() -> None:
    with DAG("nightly", schedule=None, fail_fast=True) as dag:
        mapped()
    tasks = counted_tasks(plain_tasks(dag))
    states = {"z": "success", "each_0": "success", "each_1": "failed", "each_2": "skipped", "each_3": "skipped"}
    states["after"] = "skipped"
    counts = end_counts(tasks, bar_of(tasks), states, "failed", skips_unfinished=True)
    assert (counts.steps_done, counts.steps_total, counts.failed_step) == (2, 6, "each[1]")
    # Airflow 3.3 calls this run a success, since its last task was skipped.
    counts = end_counts(tasks, bar_of(tasks), states, "succeeded", skips_unfinished=True)
    assert (counts.steps_done, counts.steps_total, counts.tasks_failed) == (2, 10, 1)


def test_what_a_branch_skipped_is_done_also_with_fail_fast() -> None:
    with DAG("nightly", schedule=None, fail_fast=True) as dag:
        chain(task("a"), [task("b"), task("c")])
    tasks = counted_tasks(plain_tasks(dag))
    states = {"a": "success", "b": "skipped", "c": "success"}
    counts = end_counts(tasks, bar_of(tasks), states, "succeeded", skips_unfinished=True)
    assert (counts.steps_done, counts.steps_total) == (3, 3)
