"""Airflow's DAG objects as plain data, with stand-ins for them."""

from types import SimpleNamespace
from typing import Any

from activitysmith_integrations.airflow.dag_tasks import plain_tasks, role_of
from activitysmith_integrations.airflow.task_states import Task, has_failed


def operator(task_id: str, **more: Any) -> SimpleNamespace:
    known = {"task_id": task_id, "upstream_task_ids": set(), "downstream_task_ids": set(), "trigger_rule": "all_done"}
    return SimpleNamespace(**{**known, **more})


def test_a_context_without_a_real_dag_has_its_task_ids_at_most() -> None:
    assert plain_tasks(SimpleNamespace(dag_id="d")) == {}
    assert plain_tasks(SimpleNamespace(task_ids=["a"])) == {"a": Task("a", "a")}


def test_a_task_is_what_airflow_says_of_it() -> None:
    group = SimpleNamespace(group_id="g")
    dag = SimpleNamespace(
        tasks=[
            operator(
                "t",
                task_display_name="Clean up",
                is_teardown=True,
                inherits_from_empty_operator=True,
                get_closest_mapped_task_group=lambda: group,
            ),
            operator("work", trigger_rule="all_success"),
        ]
    )
    assert plain_tasks(dag) == {
        "work": Task("work", "work"),
        "t": Task(
            "t",
            "Clean up",
            trigger_rule="all_done",
            is_mapped=True,
            mapped_group="g",
            is_empty=True,
            is_ignored_teardown=True,
        ),
    }


def test_among_nothing_but_teardowns_the_last_ones_decide() -> None:
    teardown = {"is_teardown": True}
    dag = SimpleNamespace(
        tasks=[
            operator("first", downstream_task_ids={"last"}, **teardown),
            operator("last", upstream_task_ids={"first"}, **teardown),
        ]
    )
    tasks = plain_tasks(dag)
    assert [task.is_ignored_teardown for task in tasks.values()] == [True, False]
    assert has_failed(tasks, {"first": "success", "last": "failed"})
    assert not has_failed(tasks, {"first": "failed", "last": "success"})


def test_what_ends_the_stream_is_known_mapped_and_serialized() -> None:
    class Ends:
        stream_role = "ends_stream"

    assert role_of(Ends()) == "ends_stream"
    assert role_of(SimpleNamespace(is_mapped=True, operator_class=Ends)) == "ends_stream"
    assert role_of(SimpleNamespace(task_type="ActivitySmithFollowRunOperator")) == "follows_run"
    assert role_of(SimpleNamespace(is_mapped=True, operator_class={}, task_type="BashOperator")) == "work"
