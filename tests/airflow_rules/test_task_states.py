"""What the states of a run's tasks say: which failure is named, and whether the run goes on."""

import pytest
from airflow_rules.dags import dag

from activitysmith_integrations.airflow.task_states import (
    States,
    Tasks,
    above,
    below,
    cause_of_failure,
    count_failed,
    failed_tasks,
    goes_on,
    has_failed,
    has_timed_out,
    in_order,
    label,
    split_key,
    state_key,
)

MAPPED = {"is_mapped": True}
IGNORED = {"is_ignored_teardown": True, "trigger_rule": "all_done_setup_success"}
ALL_DONE = {"trigger_rule": "all_done"}


def test_tasks_come_after_those_that_they_wait_for_and_otherwise_as_they_were_given() -> None:
    assert list(dag("c >> b", "a >> b", "b >> d")) == ["c", "a", "b", "d"]
    tasks = dag("a >> b >> d", "a >> c >> d")
    assert list(in_order(reversed(list(tasks.values())))) == ["a", "c", "b", "d"]
    assert above(tasks, "d") == {"a", "b", "c"}
    assert below(tasks, "a") == {"b", "c", "d"}


@pytest.mark.parametrize(("key", "index"), [("a", -1), ("a_1", -1), ("b_1", 1), ("b_x", -1), ("c_1", -1), ("d_1", -1)])
def test_a_key_is_taken_apart_only_where_the_task_is_there_and_mapped(key: str, index: int) -> None:
    found = key if index < 0 else key.partition("_")[0]
    assert split_key(key, dag("a >> a_1 >> b >> d", a=MAPPED, b=MAPPED)) == (found, index)


def test_a_key_is_put_together_and_a_task_instance_has_a_name() -> None:
    assert (state_key("a", -1), state_key("a", 3)) == ("a", "a_3")
    assert (label("a", -1), label("a", 3), label("a", 3, "orders")) == ("a", "a[3]", "a[orders]")


@pytest.mark.parametrize(
    ("tasks", "states", "cause"),
    [
        (dag("a >> b >> c"), {"a": "success", "b": "failed", "c": "upstream_failed"}, ("b", -1)),
        (dag("a >> b"), {"a": "success", "b": "success"}, None),
        # Of two that fail side by side the first in the DAG.
        (dag("a >> c", "b >> c"), {"a": "failed", "b": "failed", "c": "upstream_failed"}, ("a", -1)),
        # One that a later task was there to handle, while another task failed the run.
        (
            dag("a >> handle", "x >> y", handle=ALL_DONE),
            {"a": "failed", "handle": "success", "x": "failed", "y": "upstream_failed"},
            ("x", -1),
        ),
        # A teardown that Airflow ignores.
        (dag("a >> t", "b", t=IGNORED), {"a": "success", "t": "failed", "b": "failed"}, ("b", -1)),
        # A task before a teardown decides about the run.
        (dag("a >> b >> t", t=IGNORED), {"a": "success", "b": "failed", "t": "success"}, ("b", -1)),
        # A watcher fails because another task did.
        (
            dag("a >> b >> w", "a >> w", w={"trigger_rule": "one_failed"}),
            {"a": "failed", "b": "upstream_failed", "w": "failed"},
            ("a", -1),
        ),
        # A handler that fails itself.
        (dag("a >> handle", handle=ALL_DONE), {"a": "failed", "handle": "failed"}, ("handle", -1)),
        (dag("each >> b", each=MAPPED), {"each_0": "success", "each_11": "failed", "each_2": "failed"}, ("each", 2)),
        # The last task was removed, so those above it stand for it.
        (dag("a >> b"), {"a": "failed"}, ("a", -1)),
        # Airflow has not yet said that nothing below will run.
        (dag("a >> b >> c"), {"a": "failed", "b": "none", "c": "none"}, ("a", -1)),
        # Nothing that failed decides: whoever says that the run failed knows more, and any failure is better than none.
        (dag("a >> handle", handle=ALL_DONE), {"a": "failed", "handle": "success"}, ("a", -1)),
    ],
)
def test_the_failure_that_made_the_run_fail_is_named(
    tasks: Tasks, states: States, cause: tuple[str, int] | None
) -> None:
    assert cause_of_failure(tasks, states) == cause


@pytest.mark.parametrize(
    ("tasks", "states", "failed"),
    [
        (dag("a >> b"), {"a": "success", "b": "success"}, False),
        (dag("a >> b"), {"a": "success", "b": "skipped"}, False),
        (dag("a >> b"), {"a": "success", "b": "upstream_failed"}, True),
        (dag("a >> handle", handle=ALL_DONE), {"a": "failed", "handle": "success"}, False),
        (dag("a >> handle", handle=ALL_DONE), {"a": "failed", "handle": "running"}, False),
        (dag("a >> t", t=IGNORED), {"a": "success", "t": "failed"}, False),
        (dag("a >> b >> c"), {"a": "failed", "b": "none", "c": "none"}, True),
        (dag("a >> b >> d", "a >> c >> d"), {"a": "failed"}, True),
        (dag("a"), {"other": "failed"}, False),
    ],
)
def test_a_run_fails_with_the_tasks_that_decide_about_it(tasks: Tasks, states: States, failed: bool) -> None:
    assert has_failed(tasks, states) is failed


def test_where_what_is_unfinished_is_skipped_any_failure_decides() -> None:
    states = {"a": "success", "b": "failed", "c": "skipped"}
    assert not has_failed(dag("a >> b >> c"), states)
    assert has_failed(dag("a >> b >> c"), states, is_fail_fast=True)


@pytest.mark.parametrize(
    ("states", "is_fail_fast", "timed_out"),
    [
        ({"a": "success", "b": "skipped", "handle": "skipped", "c": "skipped"}, False, True),
        # What was to handle the failure was skipped with the rest.
        ({"a": "failed", "b": "upstream_failed", "handle": "skipped", "c": "skipped"}, False, True),
        ({"a": "failed", "b": "upstream_failed", "handle": "skipped", "c": "skipped"}, True, False),
        # Nothing was to handle it, whether Airflow came to say that the next one cannot run or not.
        ({"a": "success", "b": "success", "handle": "success", "c": "failed"}, False, False),
        ({"a": "success", "b": "success", "handle": "failed", "c": "skipped"}, False, False),
        ({}, False, True),
    ],
)
def test_a_run_that_failed_although_none_of_its_tasks_made_it_fail_timed_out(
    states: States, is_fail_fast: bool, timed_out: bool
) -> None:
    tasks = dag("a >> b >> handle >> c", handle=ALL_DONE)
    assert has_timed_out(tasks, states, is_fail_fast=is_fail_fast) is timed_out


GROUP = {"is_mapped": True, "mapped_group": "g"}


@pytest.mark.parametrize(
    ("tasks", "states", "on"),
    [
        (dag("a >> b"), {"a": "success", "b": "none"}, True),
        (dag("a >> b"), {"a": "success", "b": "success"}, False),
        (dag("a >> b >> c"), {"a": "failed", "b": "none", "c": "none"}, False),
        (dag("a >> b", "c"), {"a": "failed", "b": "none", "c": "running"}, True),
        (dag("a >> b", b=ALL_DONE), {"a": "failed", "b": "none"}, True),
        # Within a mapped group each instance waits for its own alone.
        (dag("a >> b", a=GROUP, b=GROUP), {"a_0": "failed", "a_1": "success", "b_0": "none", "b_1": "none"}, True),
        (dag("a >> b", a=GROUP, b=MAPPED), {"a_0": "failed", "a_1": "success", "b": "none"}, False),
        (dag("a >> c", "b >> c"), {"a": "failed", "b": "failed", "c": "none"}, False),
        (dag("a"), {"a": "success", "gone": "none"}, False),
    ],
)
def test_a_run_goes_on_while_something_can_still_run(tasks: Tasks, states: States, on: bool) -> None:
    assert goes_on(tasks, states) is on


def test_ignored_failures_are_counted_and_not_named() -> None:
    tasks = dag("a >> t", t=IGNORED)
    states = {"a": "failed", "t": "failed", "gone": "failed"}
    assert failed_tasks(tasks, states) == ["a"]
    assert count_failed(tasks, states) == 2
