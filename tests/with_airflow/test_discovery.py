import json
import subprocess
import sys
from datetime import timedelta
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import airflow
import pytest
from airflow import settings
from airflow.sdk import DAG, Asset, AssetAlias
from airflow.sdk.bases.operator import BaseOperator
from airflow.sdk.definitions.deadline import AsyncCallback, DeadlineAlert, DeadlineReference
from support import readme
from support.sandbox import Sandbox
from with_airflow.runs import Run

from activitysmith_integrations.airflow import policy
from activitysmith_integrations.airflow.bar import counted_tasks
from activitysmith_integrations.airflow.dag_callbacks import callbacks_of
from activitysmith_integrations.airflow.dag_tasks import plain_tasks
from activitysmith_integrations.airflow.notifications import (
    ActivitySmithEndStreamNotifier,
    end_activitysmith_stream,
)
from activitysmith_integrations.airflow.operators import (
    ActivitySmithEndStreamOperator,
    ActivitySmithFollowRunOperator,
)
from activitysmith_integrations.airflow.provider_info import get_provider_info
from activitysmith_integrations.airflow.reporter import ProgressReporter
from activitysmith_integrations.core import stream_key

EXAMPLES = Path(__file__).parents[2] / "example_dags"


def test_the_providers_description_fits_airflows_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_airflow_finds_the_provider_its_connection_type_and_its_policy() -> None:
    (provider,) = [point for point in entry_points(group="apache_airflow_provider") if "activitysmith" in point.value]
    assert provider.load()()["package-name"] == provider.dist.name  # type: ignore[union-attr]
    (found,) = [point for point in entry_points(group="airflow.policy") if "activitysmith" in point.value]
    assert found.load() is policy


def test_every_class_the_description_names_can_be_imported() -> None:
    info = get_provider_info()
    named = [*info["notifications"], *(kind["hook-class-name"] for kind in info["connection-types"])]
    for path in named:
        module, _, name = path.rpartition(".")
        assert hasattr(__import__(module, fromlist=[name]), name)


LOADED = """
import sys
from airflow.sdk import DAG
from airflow.sdk.bases.notifier import BaseNotifier
before = set(sys.modules)
from activitysmith_integrations.airflow import policy
from activitysmith_integrations.airflow.notifications import ActivitySmithEndStreamNotifier
from activitysmith_integrations.airflow.operators import ActivitySmithEndStreamOperator, ActivitySmithStreamOperator
with DAG("nightly", on_failure_callback=ActivitySmithEndStreamNotifier(), tags=["activitysmith"]) as dag:
    ActivitySmithStreamOperator(task_id="start_stream")
    ActivitySmithEndStreamOperator(task_id="end_stream").as_teardown()
policy.dag_policy(dag)
print(*sorted(set(sys.modules) - before))
"""


def test_parsing_a_dag_file_loads_nothing_that_only_sending_needs() -> None:
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", LOADED], capture_output=True, text=True, check=True)
    ours = {module for module in done.stdout.split() if module.startswith("activitysmith_integrations.core")}
    names = ("core", "core.errors", "core.retry")
    assert ours == {f"activitysmith_integrations.{name}" for name in names}


def _dag(**arguments: Any) -> DAG:
    return DAG("nightly", schedule=None, **arguments)


def _ours(callbacks: Any) -> int:
    return sum(isinstance(callback, ActivitySmithEndStreamNotifier) for callback in callbacks or ())


def test_a_tagged_dag_gets_the_notifier_beside_the_callbacks_it_has() -> None:
    def mine(context: Any) -> None: ...

    dag = _dag_of_two(tags=["activitysmith"], on_failure_callback=mine)
    policy.dag_policy(dag)
    policy.dag_policy(dag)
    assert _ours(dag.on_success_callback) == 1
    assert dag.on_failure_callback[0] is mine
    assert _ours(dag.on_failure_callback) == 1
    assert dag.has_on_success_callback
    assert dag.has_on_failure_callback


def test_a_tagged_dag_that_ends_its_stream_already_gets_no_second_end() -> None:
    dag = _dag(tags={"activitysmith"}, on_success_callback=[ActivitySmithEndStreamNotifier("mine")])
    policy.dag_policy(dag)
    assert _ours(dag.on_success_callback) == 1


def test_other_dags_are_not_touched() -> None:
    dag = _dag(tags=["else"])
    policy.dag_policy(dag)
    assert not dag.on_success_callback
    assert not dag.has_on_success_callback


def test_an_option_turns_the_tag_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__ACTIVITYSMITH__END_TAGGED_DAGS", "False")
    dag = _dag(tags=["activitysmith"])
    policy.dag_policy(dag)
    assert not dag.on_success_callback


def _shown_by(task: Any, when: str) -> list[ProgressReporter]:
    callbacks = getattr(task, f"on_{when}_callback")
    return [callback for callback in callbacks if isinstance(callback, ProgressReporter)]


def _dag_of_two(**arguments: Any) -> DAG:
    with _dag(**arguments) as dag:
        BaseOperator(task_id="extract") >> BaseOperator(task_id="load")
    return dag


def test_the_tasks_of_a_tagged_dag_get_the_notifier_that_moves_the_stream_beside_the_callbacks_they_have() -> None:
    def mine(context: Any) -> None: ...

    dag = _dag_of_two(tags=["activitysmith"], default_args={"on_success_callback": mine})
    policy.dag_policy(dag)
    policy.dag_policy(dag)
    for one in dag.tasks:
        assert one.on_success_callback[0] is mine
        for when in ("execute", "success", "failure", "skipped"):
            assert len(_shown_by(one, when)) == 1


def test_a_tagged_dag_that_ends_its_stream_in_its_own_words_moves_the_same_one() -> None:
    end = ActivitySmithEndStreamNotifier("{{ run_id }}", activitysmith_conn_id="mine", title="Nightly")
    dag = _dag_of_two(tags=["activitysmith"], on_success_callback=end)
    policy.dag_policy(dag)
    (notifier,) = _shown_by(dag.get_task("load"), "success")
    assert (notifier.stream_key, notifier.activitysmith_conn_id) == ("{{ run_id }}", "mine")
    assert notifier.options == {"title": "Nightly"}


@pytest.mark.parametrize("when", ["success", "failure"])
def test_a_tagged_dag_with_an_end_on_one_side_gets_the_other_for_the_same_stream(when: str) -> None:
    end = ActivitySmithEndStreamNotifier("{{ run_id }}", activitysmith_conn_id="mine", title="Nightly")
    arguments: dict[str, Any] = {f"on_{when}_callback": end}
    dag = _dag_of_two(tags=["activitysmith"], **arguments)
    policy.dag_policy(dag)
    for occasion in ("success", "failure"):
        (found,) = callbacks_of(dag, occasion)
        assert (found.stream_key, found.activitysmith_conn_id, found.options) == (
            "{{ run_id }}",
            "mine",
            {"title": "Nightly"},
        )


def test_a_tagged_dag_that_ends_two_streams_is_told_which_one_is_shown(caplog: pytest.LogCaptureFixture) -> None:
    ends = {f"on_{when}_callback": ActivitySmithEndStreamNotifier(when) for when in ("success", "failure")}
    dag = _dag_of_two(tags=["activitysmith"], **ends)
    policy.dag_policy(dag)
    (notifier,) = _shown_by(dag.get_task("load"), "success")
    assert notifier.stream_key == "success"
    assert "ends one stream on success and another on failure; 'success' is shown" in caplog.text


def test_a_task_that_moves_a_stream_already_is_left_to_it() -> None:
    mine = ProgressReporter("mine", "activitysmith_default")
    dag = _dag_of_two(tags=["activitysmith"], default_args={"on_success_callback": mine})
    policy.dag_policy(dag)
    assert _shown_by(dag.get_task("load"), "success") == [mine]
    assert _shown_by(dag.get_task("load"), "execute") == []


def test_an_option_turns_progress_off_and_leaves_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__ACTIVITYSMITH__STREAM_TAGGED_DAGS", "False")
    dag = _dag_of_two(tags=["activitysmith"])
    policy.dag_policy(dag)
    assert _ours(dag.on_success_callback) == 1
    assert not dag.get_task("load").on_success_callback


def test_a_fault_of_ours_does_not_keep_a_dag_from_being_parsed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__ACTIVITYSMITH__END_TAGGED_DAGS", "perhaps")
    dag = _dag(tags=["activitysmith"])
    policy.dag_policy(dag)
    assert not dag.on_success_callback


def test_airflow_calls_the_policy_that_the_entry_point_names() -> None:
    dag = _dag_of_two(tags=["activitysmith"])
    settings.dag_policy(dag)
    assert _ours(dag.on_success_callback) == 1


def _parsed(path: Path) -> list[str]:
    """The DAGs that Airflow finds in a file without an error."""
    try:
        from airflow.dag_processing.dagbag import DagBag
    except ImportError:
        from airflow.models.dagbag import DagBag
    bag = DagBag(dag_folder=str(path))
    assert bag.import_errors == {}
    return list(bag.dags)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.stem)
def test_every_example_parses_without_a_connection(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AIRFLOW_CONN_ACTIVITYSMITH_DEFAULT", raising=False)
    assert _parsed(path) == [f"example_{path.stem}"]


def test_the_readmes_quick_start_parses(tmp_path: Path) -> None:
    path = tmp_path / "readme.py"
    path.write_text(readme.code()["Quick start: Airflow"])
    assert _parsed(path) == ["nightly_etl"]


@pytest.mark.parametrize("tag", ["ActivitySmith", "ACTIVITYSMITH"])
def test_the_tag_may_be_written_in_any_case(tag: str) -> None:
    dag = _dag_of_two(tags=[tag])
    policy.dag_policy(dag)
    assert _ours(dag.on_success_callback) == 1
    assert len(_shown_by(dag.get_task("load"), "success")) == 1


def test_a_dag_that_shows_failures_alone_sends_nothing_while_all_is_well() -> None:
    dag = _dag_of_two(tags=["ActivitySmith:Failures"])
    policy.dag_policy(dag)
    assert _ours(dag.on_failure_callback) == 1
    assert not dag.on_success_callback
    assert not dag.get_task("load").on_success_callback


def test_with_both_tags_the_whole_run_is_shown() -> None:
    dag = _dag_of_two(tags=["activitysmith", "activitysmith:failures"])
    policy.dag_policy(dag)
    assert _ours(dag.on_success_callback) == 1
    assert len(_shown_by(dag.get_task("load"), "success")) == 1


def test_a_dag_of_empty_operators_alone_is_passed_over_in_silence_but_for_a_failure() -> None:
    empty = pytest.importorskip("airflow.providers.standard.operators.empty").EmptyOperator
    with _dag(tags=["activitysmith"]) as dag:
        empty(task_id="begin") >> empty(task_id="end")
    policy.dag_policy(dag)
    assert not dag.on_success_callback
    assert _ours(dag.on_failure_callback) == 1
    assert not dag.get_task("begin").has_on_success_callback


def test_a_task_policy_that_sets_callbacks_of_its_own_leaves_the_reports_in_place() -> None:
    def theirs(context: Any) -> None: ...

    dag = _dag_of_two(tags=["activitysmith"])
    policy.dag_policy(dag)
    for one in dag.tasks:
        one.on_execute_callback = one.on_success_callback = theirs
        one.on_failure_callback = one.on_skipped_callback = None
        policy.task_policy(one)
        policy.task_policy(one)
        assert callbacks_of(one, "success")[0] is theirs
        assert len(_shown_by(one, "success")) == len(_shown_by(one, "failure")) == 1


def test_a_task_that_takes_no_callback_does_not_keep_its_dag_from_being_parsed() -> None:
    class Stubborn(BaseOperator):
        def __setattr__(self, name: str, value: Any) -> None:
            if name == "on_skipped_callback" and value:
                raise RuntimeError("none of those")
            super().__setattr__(name, value)

    dag = _dag_of_two(tags=["activitysmith"])
    policy.dag_policy(dag)
    with dag:
        policy.task_policy(Stubborn(task_id="stubborn"))


def test_ours_is_the_last_of_the_policies_to_run() -> None:
    for hook in (policy.dag_policy, policy.task_policy):
        assert getattr(hook, "airflow.policy_impl")["trylast"]


def test_tasks_of_other_dags_are_not_touched() -> None:
    dag = _dag_of_two(tags=["else"])
    policy.task_policy(dag.get_task("load"))
    assert not dag.get_task("load").on_success_callback


@pytest.mark.parametrize("left_out", ["the follow operator shows it", "an option leaves it out"])
def test_a_task_policy_gives_nothing_to_a_dag_that_was_left_out(monkeypatch: pytest.MonkeyPatch, left_out: str) -> None:
    own = end_activitysmith_stream()
    dag = _dag_of_two(tags=["activitysmith"], on_success_callback=own)
    if left_out.startswith("an option"):
        monkeypatch.setenv("AIRFLOW__ACTIVITYSMITH__END_TAGGED_DAGS", "False")
    else:
        with dag:
            ActivitySmithFollowRunOperator(task_id="follow")
    policy.dag_policy(dag)
    for one in dag.tasks:
        policy.task_policy(one)
        assert not one.on_execute_callback
        assert not one.on_success_callback
    assert callbacks_of(dag, "success") == [own]


def test_what_a_task_is_given_needs_no_look_at_the_others(caplog: pytest.LogCaptureFixture) -> None:
    dag = SimpleNamespace(dag_id="nightly", tags={"activitysmith"})  # one that would fail if it were asked for them
    policy.task_policy(SimpleNamespace(task_id="load", get_dag=lambda: dag))
    assert caplog.messages == []


def test_a_success_that_a_task_alone_shows_is_ended_by_nobody_else() -> None:
    empty = pytest.importorskip("airflow.providers.standard.operators.empty").EmptyOperator
    with _dag(tags=["activitysmith"]) as dag:
        empty(task_id="a") >> ActivitySmithEndStreamOperator(task_id="end")
    policy.dag_policy(dag)
    assert not dag.on_success_callback
    assert len(callbacks_of(dag, "failure")) == 1


def test_an_operator_that_ends_the_runs_stream_is_no_step_and_one_that_ends_another_is() -> None:
    with _dag(tags=["activitysmith"]) as dag:
        of_tables = ActivitySmithEndStreamOperator.partial(task_id="of_tables").expand(stream_key=["k1", "k2"])
        of_files = ActivitySmithEndStreamOperator.partial(task_id="of_files").expand_kwargs([{"stream_key": "k3"}])
        of_phase = ActivitySmithEndStreamOperator(task_id="of_phase", stream_key="load-phase")
        of_run = ActivitySmithEndStreamOperator.partial(task_id="of_run").expand(title=["t1", "t2"])
        BaseOperator(task_id="a") >> of_tables >> of_files >> of_phase >> BaseOperator(task_id="b") >> of_run
    policy.dag_policy(dag)
    assert list(counted_tasks(plain_tasks(dag))) == ["a", "of_tables", "of_files", "of_phase", "b"]
    assert list(counted_tasks(plain_tasks(dag), "load-phase")) == ["a", "of_tables", "of_files"]
    assert _shown_by(dag.get_task("of_phase"), "success")
    assert not dag.get_task("of_run").on_success_callback


def test_a_run_that_airflow_makes_to_test_one_task_shows_nothing(sandbox: Sandbox) -> None:
    dag = _dag_of_two(tags=["activitysmith"])
    policy.dag_policy(dag)
    run = Run(dag)
    for context in (run.context("extract", -1, "running"), run.context("extract", -1, "success"), run.ended("success")):
        context["run_id"] = "__airflow_temporary_run_2026-11-27T03:00:00__"
        run.notifier(context)
        callbacks_of(dag, "success")[-1](context)
    assert sandbox.requests() == []


@pytest.mark.parametrize("inlet", [AssetAlias("orders"), Asset.ref(name="orders"), Asset.ref(uri="s3://orders")])
def test_a_dag_in_whose_callbacks_airflow_hangs_is_not_shown_and_says_so(
    inlet: Any, caplog: pytest.LogCaptureFixture
) -> None:
    with DAG("nightly", schedule=None, tags=["activitysmith"]) as dag:
        task = BaseOperator(task_id="read", inlets=[inlet])
    policy.dag_policy(dag)
    assert callbacks_of(dag, "success") == callbacks_of(dag, "failure") == callbacks_of(task, "execute") == []
    assert "DAG nightly is tagged, but its runs are not shown" in caplog.text


def test_a_dag_whose_tasks_read_assets_is_shown() -> None:
    with DAG("nightly", schedule=None, tags=["activitysmith"]) as dag:
        BaseOperator(task_id="read", inlets=[Asset("orders")])
    policy.dag_policy(dag)
    assert callbacks_of(dag, "success")


@pytest.mark.parametrize("tags", [[], ["activitysmith"], ["activitysmith:failures"]])
@pytest.mark.parametrize("when", ["success", "failure"])
def test_a_notifier_without_its_parentheses_is_made_when_the_dag_is_parsed(tags: list[str], when: str) -> None:
    def theirs(context: Any) -> None: ...

    given: dict[str, Any] = {f"on_{when}_callback": [theirs, end_activitysmith_stream]}
    dag = _dag_of_two(tags=tags, default_args=given, **given)
    for task in dag.tasks:
        policy.task_policy(task)
    policy.dag_policy(dag)
    for owner in (dag, *dag.tasks):
        assert callbacks_of(owner, when)[0] is theirs
        ends = [one for one in callbacks_of(owner, when) if getattr(one, "ends_stream", False)]
        assert [type(one) for one in ends] == [ActivitySmithEndStreamNotifier]


def test_a_partial_of_a_notifier_is_made_when_the_dag_is_parsed(sandbox: Sandbox) -> None:
    dag = _dag_of_two(on_failure_callback=partial(end_activitysmith_stream, title="Nightly"))
    policy.dag_policy(dag)
    (end,) = callbacks_of(dag, "failure")
    end({"dag": dag, "run_id": "r1", "reason": "task_failure"})
    (body,) = sandbox.ends(stream_key(dag.dag_id, "r1"))
    assert body["content_state"]["title"] == "Nightly"


def _with_deadline(**kwargs: Any) -> DAG:
    reference = DeadlineReference.DAGRUN_QUEUED_AT
    callback = AsyncCallback(ActivitySmithEndStreamNotifier, kwargs=kwargs)
    alert = DeadlineAlert(reference=reference, interval=timedelta(hours=1), callback=callback)
    return _dag_of_two(deadline=alert)


def test_a_deadlines_notifier_that_cannot_be_made_is_refused_when_the_dag_is_parsed() -> None:
    policy.dag_policy(_with_deadline(title="Late", stream_key="nightly-{{ ds }}"))
    for name, wrong in {"titel": "Late", "stream_key": "a b"}.items():
        with pytest.raises(ValueError, match=f"^A deadline of DAG nightly cannot be shown: {name}: "):
            policy.dag_policy(_with_deadline(**{name: wrong}))


@pytest.mark.parametrize("tag", ["activitysmith ", "ActivitySmith", " activitysmith: failures"])
def test_the_tag_may_be_written_with_blanks_and_capitals(tag: str) -> None:
    dag = _dag_of_two(tags=[tag])
    policy.dag_policy(dag)
    assert callbacks_of(dag, "failure")


def test_an_operator_that_follows_a_run_only_once_all_is_over_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with DAG("nightly", schedule=None):
        extract, load = BaseOperator(task_id="extract"), BaseOperator(task_id="load")
        follow = ActivitySmithFollowRunOperator(task_id="follow")
        extract >> follow
    policy.task_policy(follow)
    assert caplog.messages == []
    load >> follow
    policy.task_policy(follow)
    text = "DAG nightly shows nothing of its runs while they go on: follow waits for all other tasks."
    assert text in caplog.text


def test_a_callback_that_has_every_attribute_is_not_taken_for_ours() -> None:
    dag = _dag_of_two(tags=["activitysmith"], on_failure_callback=MagicMock())
    policy.dag_policy(dag)
    assert isinstance(callbacks_of(dag, "failure")[-1], ActivitySmithEndStreamNotifier)
    assert _shown_by(dag.get_task("load"), "success")


@pytest.mark.parametrize("tag", ["activitysmith:failure", "Activity-Smith", "activitysmith_failures"])
def test_a_misspelt_tag_is_said_with_those_that_there_are(tag: str, caplog: pytest.LogCaptureFixture) -> None:
    policy.dag_policy(_dag_of_two(tags=[tag]))
    assert f"is tagged {tag!r}, which shows nothing. Known are activitysmith and activitysmith:failures." in caplog.text
    caplog.clear()
    policy.dag_policy(_dag_of_two(tags=["activity", "activitysmith", tag]))
    assert caplog.messages == []
