"""The DAGs that people copy, from examples and documentation: a run that succeeds is shown from a start to an end."""

from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from support.readme import blocks
from support.sandbox import Sandbox
from with_airflow.runs import Run, Supervisor, parsed

from activitysmith_integrations.airflow.dag_callbacks import callbacks_of
from activitysmith_integrations.airflow.operator_base import Operator

EXAMPLES = sorted((Path(__file__).parents[2] / "example_dags").glob("*.py"))
CODE = {path.stem: path.read_text() for path in EXAMPLES}
CODE |= {block.id: block.code for block in blocks("python", engine="airflow")}

# What follows a run that goes on (see test_follow_run.py), shows only a run that is late, or only one argument.
LEFT_OUT = ("FollowRunOperator(", "deadline=", "retry_policy=")
OCCASIONS = {"running": "execute", "success": "success"}


def pulled(task_ids: str) -> int:
    return 1200


def call_back(context: Any) -> None:
    for callback in callbacks_of(context["task"], OCCASIONS[context["ti"].state]):
        callback(context)


def succeed(dag: DAG) -> None:
    """A run of a DAG in which all tasks succeed, as workers and the dag-processor see it."""
    run = Run(dag, call_back, **{task.task_id: 3 for task in dag.tasks if task.is_mapped})
    for task in dag.topological_sort():
        for one in run.expand(task.task_id):
            run.begin(*one, xcom_pull=pulled)
            if isinstance(task, Operator):
                context: Any = run.context(*one, "running", xcom_pull=pulled)
                task.render_template_fields(context)
                task.execute(context)
            run.end(*one, xcom_pull=pulled)
    run.state = "success"
    for callback in callbacks_of(dag, "success"):
        callback(run.ended("success"))


@pytest.mark.parametrize("name", [name for name, code in CODE.items() if not any(part in code for part in LEFT_OUT)])
def test_a_run_that_succeeds_is_shown_from_a_start_to_an_end(
    sandbox: Sandbox, supervisor: Supervisor, tmp_path: Path, name: str
) -> None:
    succeed(parsed(CODE[name], tmp_path))
    assert sandbox.streams()
    for key in sandbox.streams():
        operations = [request["operation"] for request in sandbox.story(key)]
        assert (operations[0], operations[-1]) == ("started", "ended"), key
    assert sandbox.living() == []
