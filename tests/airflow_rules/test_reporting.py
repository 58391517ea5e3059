"""Which task instance starts a run's stream, and which ones report."""

from collections.abc import Callable
from typing import Any

import pytest
from airflow_rules.dags import dag

from activitysmith_integrations.airflow.bar import bar_of
from activitysmith_integrations.airflow.reporting import (
    EndCounts,
    Instance,
    completes_segment,
    end_counts,
    is_among_first_failures,
    may_be_first_failure,
    progress_of,
    starts_stream,
    states_with,
)
from activitysmith_integrations.airflow.task_states import States, Tasks

EMPTY = {"is_empty": True}
MAPPED = {"is_mapped": True}


def nobody() -> int:
    raise AssertionError("nobody needs to ask Airflow for this")


def at(task_id: str, index: int = -1, state: str = "running") -> Instance:
    return Instance(task_id, index, state)


@pytest.mark.parametrize(
    ("tasks", "instance", "begun", "starts"),
    [
        (dag("a >> b"), at("a"), nobody, True),
        (dag("a >> b"), at("b"), nobody, False),
        (dag("a", "b"), at("b"), lambda: 1, True),
        (dag("a", "b"), at("b"), lambda: 2, False),
        (dag("e >> a", e=EMPTY), at("a"), nobody, True),
        (dag("e >> a", "e >> b", e=EMPTY), at("b"), lambda: 2, True),
        (dag("each >> b", each=MAPPED), at("each", 0), nobody, True),
        (dag("each >> b", each=MAPPED), at("each", 1), nobody, False),
        # Nothing to expand: the scheduler skips it.
        (dag("each >> b", each=MAPPED), at("b"), lambda: 1, True),
        (dag("each >> b", each=MAPPED), at("b"), lambda: 4, False),
        (dag("e >> f", e=EMPTY, f=EMPTY), at("e"), lambda: 1, True),
        (dag("a"), at("gone"), nobody, False),
    ],
)
def test_the_first_task_starts_the_stream_or_another_one_that_waits_for_nothing_if_it_is_the_first_to_begin(
    tasks: Tasks, instance: Instance, begun: Callable[[], int], starts: bool
) -> None:
    assert starts_stream(tasks, instance, begun) is starts


def test_a_task_reports_where_a_segment_ends_and_a_mapped_one_asks_how_many_instances_it_has() -> None:
    bar = bar_of(dag("a >> each", each=MAPPED))
    assert completes_segment(bar, at("a", state="success"), nobody)
    assert not completes_segment(bar, at("gone", state="success"), nobody)
    reports = [index for index in range(100) if completes_segment(bar, at("each", index, "success"), lambda: 100)]
    assert 8 <= len(reports) <= 9  # the first segment is that of a
    # An answer that is older than this instance.
    assert completes_segment(bar, at("each", 5, "success"), lambda: 1)


def test_a_failure_is_the_first_unless_another_one_is_posted() -> None:
    tasks = dag("a", "b", "t", t={"is_ignored_teardown": True})
    failed = at("b", state="failed")
    assert may_be_first_failure(tasks, failed, {"a": "running", "b": "running"})
    assert may_be_first_failure(tasks, failed, {"a": "success", "b": "failed", "t": "failed"})
    assert not may_be_first_failure(tasks, failed, {"a": "failed", "b": "running"})
    assert not may_be_first_failure(tasks, at("gone", state="failed"), {})


@pytest.mark.parametrize("count", [1, 2, 3, 32])
def test_of_instances_that_fail_at_once_two_speak_for_all_where_they_cannot_agree(count: int) -> None:
    tasks = dag("a >> each", each=MAPPED)
    states = {"a": "success", "other": "running"} | {f"each_{index}": "running" for index in range(count)}
    speak = [index for index in range(count) if is_among_first_failures(tasks, at("each", index, "failed"), states)]
    assert speak == [0, 1][:count]


def test_a_failure_counts_before_it_is_posted() -> None:
    assert states_with(at("a", state="failed"), {"a": "running"}) == {"a": "failed"}
    assert states_with(at("a", state="success"), {"a": "success", "b": "none"}) == {"a": "success", "b": "none"}
    assert states_with(at("a", state="up_for_retry"), {}) == {"a": "failed"}
    # One instance says nothing of how many others there are.
    assert states_with(at("each", 3, "success"), {}) == {}


def shown(tasks: Tasks, instance: Instance, states: States) -> Any:
    progress = progress_of(tasks, bar_of(tasks), instance, states, title="DAG", run_label="27 Nov")
    return progress and progress.state


def test_the_start_says_which_task_begins_only_if_it_is_the_first() -> None:
    tasks = dag("a >> c", "b >> c")
    assert shown(tasks, at("a"), {"a": "running"})["subtitle"] == "27 Nov · a"
    assert shown(tasks, at("b"), {"b": "running"})["subtitle"] == "27 Nov"


def test_a_report_says_what_ended_what_failed_and_how_many_instances_are_done() -> None:
    tasks = dag("a >> each >> b", a={"name": "Load orders"}, each=MAPPED)
    done = {"a": "success", "each_0": "success", "each_1": "none", "b": "none"}
    assert shown(tasks, at("a", state="success"), done)["subtitle"] == "27 Nov · Load orders done"
    assert (
        shown(tasks, at("a", state="skipped"), {**done, "a": "skipped"})["subtitle"] == "27 Nov · Load orders skipped"
    )
    assert shown(tasks, at("each", 0, "success"), done)["subtitle"] == "27 Nov · each: 1 of 2 done"
    both = dag("a", "b", a={"name": "Load orders"})
    failed = shown(both, at("a", state="failed"), {"a": "failed", "b": "running"})
    assert (failed["subtitle"], failed["step_color"]) == ("27 Nov · Load orders failed", "red")


def test_what_is_left_for_the_end_is_no_report() -> None:
    tasks = dag("a >> b")
    assert shown(tasks, at("b", state="success"), {"a": "success", "b": "success"}) is None
    assert shown(tasks, at("a", state="failed"), {"a": "failed", "b": "none"}) is None


def test_a_success_that_fail_fast_made_of_a_failure_counts_what_was_done() -> None:
    tasks = dag("a >> b >> c")
    states: States = {"a": "success", "b": "failed", "c": "skipped"}
    counts = end_counts(tasks, bar_of(tasks), states, "succeeded", skips_unfinished=True)
    assert counts == EndCounts(steps_done=1, steps_total=3, tasks_failed=1)
    # Without fail_fast what was skipped needed nobody.
    assert end_counts(tasks, bar_of(tasks), states, "succeeded") == EndCounts(3, 3, 1)
