import json
import sys
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import DAG, task
from airflow.sdk.bases.operator import BaseOperator
from support.airflow import connection
from support.sandbox import Sandbox

from activitysmith_integrations.airflow.compat import AirflowFailException
from activitysmith_integrations.airflow.end_options import TemplatedEndOptions
from activitysmith_integrations.airflow.notifications import end_activitysmith_stream
from activitysmith_integrations.airflow.operators import (
    ActivitySmithEndStreamOperator,
    ActivitySmithFollowRunOperator,
    ActivitySmithStreamOperator,
)
from activitysmith_integrations.core import (
    ActivitySmithError,
    APIStatusError,
    ConfigurationError,
    EndOptions,
    InvalidRequestError,
    NotFoundError,
    OpenURLAction,
    RateLimitError,
    ServerError,
    StreamMembers,
    stream_key,
)

try:
    from airflow.sdk.exceptions import TaskDeferred
except ImportError:
    from airflow.exceptions import TaskDeferred


STREAM = stream_key("nightly", "r1")


def _operator(**arguments: Any) -> ActivitySmithEndStreamOperator:
    with DAG("nightly", schedule=None):
        load = BaseOperator(task_id="load")
        end = ActivitySmithEndStreamOperator(task_id="end", **arguments)
        BaseOperator(task_id="extract") >> load >> end >> BaseOperator(task_id="after")
    return end


def _context(operator: BaseOperator, states: dict[str, str] | None = None) -> Any:
    asked: dict[str, str] = states or {"extract": "success", "load": "success", "end": "running", "after": "none"}
    ti = SimpleNamespace(
        task_id="end",
        map_index=-1,
        state="running",
        get_task_states=lambda dag_id, run_ids: {run_ids[0]: asked},
        xcom_pull=lambda task_ids: 42,
    )
    began = datetime.now(UTC) - timedelta(minutes=3, seconds=10)
    run = SimpleNamespace(dag_id="nightly", run_id="r1", start_date=began, end_date=None, conf={})
    return {"dag": operator.dag, "run_id": "r1", "dag_run": run, "ti": ti, "task_instance": ti}


def _execute(operator: BaseOperator, states: dict[str, str] | None = None) -> Any:
    context = _context(operator, states)
    operator.render_template_fields(context)
    return operator.execute(context)


def test_it_shows_the_runs_tasks_without_itself_and_what_follows(sandbox: Sandbox) -> None:
    sandbox.start(STREAM)
    _execute(_operator())
    (body,) = sandbox.ends(STREAM)
    assert body["content_state"]["number_of_steps"] == 2
    assert body["content_state"]["current_step"] == 2
    assert body["content_state"]["subtitle"] == "r1 · Done in 3 m 10 s"


def test_an_instance_that_failed_is_named(sandbox: Sandbox) -> None:
    @task
    def load(table: str) -> None: ...

    with DAG("nightly", schedule=None):
        end = ActivitySmithEndStreamOperator(task_id="end", trigger_rule="all_done")
        load.expand(table=["orders", "customers"]) >> end
    sandbox.start(STREAM)
    _execute(end, {"load_0": "success", "load_1": "failed", "end": "running"})
    assert sandbox.ends(STREAM)[0]["content_state"]["message"].startswith("load[1] failed after 1 of 2 steps")


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ({"extract": "success", "load": "failed", "end": "running"}, "load failed after 1 of 2 steps, 3 m 10 s"),
        ({"extract": "failed", "load": "failed"}, "extract failed after 0 of 2 steps, 3 m 10 s"),
        ({"extract": "success", "load": "upstream_failed"}, "Failed after 1 of 2 steps, 3 m 10 s"),
        ({"extract": "failed", "load": "removed"}, "extract failed after 0 of 1 step, 3 m 10 s"),
    ],
)
def test_a_failed_task_makes_it_an_alert_that_names_the_first(
    sandbox: Sandbox, states: dict[str, str], message: str
) -> None:
    sandbox.start(STREAM)
    _execute(_operator(trigger_rule="all_done"), states)
    assert sandbox.ends(STREAM)[0]["content_state"]["message"] == message


def test_a_parallel_task_that_still_runs_is_not_shown_as_complete(sandbox: Sandbox) -> None:
    sandbox.start(STREAM)
    _execute(_operator(), {"extract": "success", "load": "running"})
    state = sandbox.ends(STREAM)[0]["content_state"]
    assert (state["current_step"], state["number_of_steps"]) == (1, 2)


def test_a_not_found_of_another_server_is_no_success(sandbox: Sandbox) -> None:
    sandbox.inject_fault(times=1, status=404, body="<html>")
    with pytest.raises(AirflowFailException, match="base_url"):
        _execute(_operator())


def test_bars_get_numbers_and_stats_get_what_was_written(sandbox: Sandbox) -> None:
    for kind, value in (("metrics", 1200), ("stats", "1200")):
        sandbox.start(STREAM)
        state = {"type": kind, "title": "t", "metrics": [{"label": "Rows", "value": "{{ 1200 }}"}]}
        _execute(_operator(content_state=state))
        assert sandbox.ends(STREAM)[-1]["content_state"]["metrics"][0]["value"] == value


def test_what_comes_after_it_may_fail_without_being_shown(sandbox: Sandbox) -> None:
    sandbox.start(STREAM)
    _execute(_operator(), {"extract": "success", "load": "success", "after": "failed"})
    assert sandbox.ends(STREAM)[0]["content_state"]["type"] == "segmented_progress"


def test_it_returns_the_answer_as_plain_json(sandbox: Sandbox) -> None:
    sandbox.start(STREAM)
    answer = _execute(_operator())
    assert json.loads(json.dumps(answer)) == answer
    assert (answer["operation"], answer["stream_key"]) == ("ended", STREAM)


def test_everything_a_user_writes_may_be_a_template(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_R1", connection(sandbox.base_url, "ask_other"))
    sandbox.start("run-r1")
    _execute(
        _operator(
            stream_key="run-{{ run_id }}",
            activitysmith_conn_id="{{ run_id }}",
            content_state={
                "type": "segmented_progress",
                "title": "{{ dag.dag_id }}",
                "number_of_steps": "{{ ti.xcom_pull(task_ids='x') }}",
                "current_step": "{{ 41 }}",
                "auto_dismiss_minutes": 5,
            },
            tags=["{{ run_id }}"],
            action={"title": "Open", "type": "open_url", "url": "https://example.com/{{ run_id }}"},
        )
    )
    (body,) = sandbox.ends("run-r1")
    assert body["content_state"] == {
        "type": "segmented_progress",
        "title": "nightly",
        "number_of_steps": 42,
        "current_step": 41,
        "auto_dismiss_minutes": 5,
    }
    assert body["action"]["url"] == "https://example.com/r1"


def test_what_an_upstream_task_returned_is_data_and_no_template(sandbox: Sandbox) -> None:
    returned = "{{ conn.warehouse.password }}"
    operator = _operator(title=returned)
    context = _context(operator)
    # As Airflow does for a mapped operator: it knows what came from elsewhere by its id.
    operator._do_render_template_fields(
        operator, ("title",), context, operator.get_template_env(dag=operator.dag), {id(returned)}
    )
    operator.execute(context)
    assert sandbox.requests()[0]["body"]["content_state"]["title"] == returned


def test_a_run_whose_states_airflow_does_not_tell_is_no_success(sandbox: Sandbox) -> None:
    operator = _operator()
    context = _context(operator)

    def refuse(dag_id: str, run_ids: list[str]) -> Any:
        raise RuntimeError("API_SERVER_ERROR 503")

    context["ti"].get_task_states = refuse
    with pytest.raises(ActivitySmithError, match="how the run went is not known"):
        operator.execute(context)
    assert sandbox.requests() == []


@pytest.mark.parametrize("is_shown_by_task", [False, True])
def test_a_failure_under_a_key_of_its_own_is_shown_although_an_earlier_run_ended_the_stream(
    is_shown_by_task: bool, sandbox: Sandbox
) -> None:
    sandbox.start("warehouse")
    sandbox.end("warehouse")
    operator = _operator(stream_key="warehouse")
    if is_shown_by_task:
        operator.dag.get_task("load").on_failure_callback = [end_activitysmith_stream("warehouse")]
    operator.execute(_context(operator, {"extract": "success", "load": "failed", "end": "running"}))
    shown_again = [] if is_shown_by_task else ["started", "ended"]
    assert [request["operation"] for request in sandbox.story("warehouse")[2:]] == ["ended", *shown_again]


@pytest.mark.parametrize("first_state", ["running", "success"])
def test_of_several_operators_that_end_a_stream_one_shows_that_its_run_failed(
    first_state: str, sandbox: Sandbox
) -> None:
    sandbox.start("warehouse")
    sandbox.end("warehouse")
    with DAG("nightly", schedule=None):
        first, second = (ActivitySmithEndStreamOperator(task_id=name, stream_key="warehouse") for name in ("a", "b"))
        BaseOperator(task_id="load") >> [first, second]
    for operator, states in (
        (first, {"load": "failed", "a": "running", "b": "running"}),
        (second, {"load": "failed", "a": first_state, "b": "running"}),
    ):
        context = _context(operator, states)
        context["ti"].task_id = operator.task_id
        operator.execute(context)
    shown = [request["operation"] for request in sandbox.story("warehouse")[2:]]
    assert shown == ["ended", "started", "ended", "ended"]


def test_choices_change_the_picture(sandbox: Sandbox) -> None:
    sandbox.start(STREAM)
    _execute(
        _operator(on_success="progress", title="Nightly", success_color="lime", success_auto_dismiss_minutes="30"),
    )
    state = sandbox.ends(STREAM)[0]["content_state"]
    assert (state["type"], state["title"], state["color"], state["auto_dismiss_minutes"]) == (
        "progress",
        "Nightly",
        "lime",
        30,
    )


def test_models_are_accepted_as_well(sandbox: Sandbox) -> None:
    sandbox.start(STREAM)
    _execute(_operator(action=OpenURLAction(title="Open", url="https://example.com")))
    assert sandbox.ends(STREAM)[0]["action"]["url"] == "https://example.com"


@pytest.mark.parametrize(
    "arguments",
    [
        {"stream_key": ""},
        {"stream_key": "a/b"},
        {"on_success": "alert"},
        {"content_state": {"title": "t", "percentage": "many"}},
    ],
)
def test_a_literal_that_breaks_a_rule_is_refused_when_the_dag_is_parsed(arguments: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequestError):
        _operator(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [
        {"stream_key": "{{ '' }}"},
        {"stream_key": "{{ dag_run.conf.get('key') }}"},
        {"stream_key": "{{ 'ask_0123456789' }}"},
        {"on_success": "{{ 'alert' }}"},
        {"content_state": {"title": "t", "percentage": "{{ 'many' }}"}},
    ],
)
def test_what_renders_to_something_that_breaks_a_rule_is_not_sent(sandbox: Sandbox, arguments: dict[str, Any]) -> None:
    with pytest.raises(AirflowFailException):
        _execute(_operator(**arguments))
    assert sandbox.requests() == []


@pytest.mark.parametrize("status", [400, 401, 402, 403])
def test_a_refusal_that_somebody_must_act_on_is_not_tried_again(sandbox: Sandbox, status: int) -> None:
    sandbox.inject_fault(times=1, status=status)
    with pytest.raises(AirflowFailException, match=str(status)):
        _execute(_operator())


def test_a_fault_that_can_pass_is_left_to_airflows_retries(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_ACTIVITYSMITH_DEFAULT", connection(sandbox.base_url, "ask_k", max_retries=0))
    sandbox.inject_fault(times=1, status=503)
    with pytest.raises(ServerError):
        _execute(_operator())


def test_an_unknown_stream_counts_as_ended_and_the_result_says_so(sandbox: Sandbox) -> None:
    answer = _execute(_operator())
    assert (answer["success"], answer["ignored"], answer["activity_id"]) == (True, True, None)
    assert "nothing was left to end" in answer["message"]


def test_an_unknown_stream_is_an_error_where_that_is_asked_for(sandbox: Sandbox) -> None:
    with pytest.raises(NotFoundError):
        _execute(_operator(missing_ok=False))


def test_a_long_wait_fails_with_the_wait_in_the_message(sandbox: Sandbox) -> None:
    sandbox.inject_fault(times=1, status=429, headers={"Retry-After": "3600"})
    with pytest.raises(RateLimitError, match="asks to wait 3600 s"):
        _execute(_operator(deferrable=False))


def test_a_long_wait_is_deferred_where_that_is_allowed_and_ends_the_stream_after_it(sandbox: Sandbox) -> None:
    sandbox.start(STREAM)
    sandbox.inject_fault(times=1, status=429, headers={"Retry-After": "3600"})
    operator = _operator(deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        _execute(operator)
    assert deferred.value.method_name == "resume"
    moment = deferred.value.trigger.moment
    assert timedelta(minutes=59) < moment - datetime.now(UTC) < timedelta(minutes=61)
    assert deferred.value.kwargs == {"deferrals": 1}
    assert operator.resume(_context(operator), {}, **deferred.value.kwargs)["operation"] == "ended"


@pytest.mark.parametrize("status", [429, 503])
def test_a_wait_is_deferred_ten_times_and_then_fails(sandbox: Sandbox, status: int) -> None:
    sandbox.inject_fault(times=2, status=status, headers={"Retry-After": "3600"})
    operator = _operator(deferrable=True)
    with pytest.raises(TaskDeferred):
        operator.resume(_context(operator), {}, deferrals=9)
    with pytest.raises(APIStatusError):
        operator.resume(_context(operator), {}, deferrals=10)


def _start(**arguments: Any) -> ActivitySmithStreamOperator:
    with DAG("nightly", schedule=None):
        start = ActivitySmithStreamOperator(task_id="end", **arguments)
        start >> BaseOperator(task_id="extract") >> BaseOperator(task_id="load")
    return start


def test_a_stream_can_be_started_by_a_task_with_the_runs_progress(sandbox: Sandbox) -> None:
    answer = _execute(_start(title="Nightly {{ run_id }}", channels=["ops"]), {"end": "running", "extract": "none"})
    assert (answer["operation"], answer["stream_key"]) == ("started", STREAM)
    (request,) = sandbox.requests("PUT")
    assert request["body"] == {
        "content_state": {
            "type": "segmented_progress",
            "title": "Nightly r1",
            "subtitle": "r1 · end",
            "number_of_steps": 3,
            "current_step": 0,
        },
        "tags": ["airflow"],
        "metadata": {"engine": "airflow", "pipeline": "nightly", "run": "r1"},
        "channels": ["ops"],
    }


def test_a_task_can_show_a_state_of_its_own(sandbox: Sandbox) -> None:
    state = {"type": "progress", "title": "{{ dag.dag_id }}", "percentage": "{{ ti.xcom_pull(task_ids='x') }}"}
    _execute(_start(stream_key="rows", content_state=state))
    (request,) = sandbox.requests("PUT")
    assert request["stream_key"] == "rows"
    assert request["body"]["content_state"] == {"type": "progress", "title": "nightly", "percentage": 42}


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404])
def test_a_start_that_somebody_must_act_on_is_not_tried_again(sandbox: Sandbox, status: int) -> None:
    sandbox.inject_fault(times=1, status=status)
    with pytest.raises(AirflowFailException, match=str(status)):
        _execute(_start())


def test_a_start_waits_for_its_turn_without_a_worker_where_that_is_allowed(sandbox: Sandbox) -> None:
    sandbox.inject_fault(times=1, status=429, headers={"Retry-After": "3600"})
    operator = _start(deferrable=True)
    with pytest.raises(TaskDeferred) as deferred:
        _execute(operator)
    assert operator.resume(_context(operator), {}, **deferred.value.kwargs)["operation"] == "started"


OPERATORS = [ActivitySmithEndStreamOperator, ActivitySmithFollowRunOperator, ActivitySmithStreamOperator]


def test_operators_and_notifiers_take_every_option_that_there_is() -> None:
    assert {*TemplatedEndOptions.__annotations__} == {*EndOptions.__annotations__}
    ends = {*EndOptions.__annotations__} - {"include_error"}  # a task that ends a stream has no exception to show
    for operator in (ActivitySmithEndStreamOperator, ActivitySmithFollowRunOperator):
        assert {*operator.option_names} == ends
    members = {*StreamMembers.__annotations__} - {"target"}  # the older form of channels
    assert {*ActivitySmithStreamOperator.option_names} == members | {"title", "subtitle"}


@pytest.mark.parametrize("kind", OPERATORS)
def test_options_of_default_args_count_and_those_of_the_task_win(kind: Any) -> None:
    default_args = {"stream_key": "from-default", "title": "Default", "tags": ["a"], "deferrable": True}
    with DAG("nightly", schedule=None, default_args=default_args):
        task = kind(task_id="one", title="Own")
    assert (task.stream_key, task.title, task.tags, task.deferrable) == ("from-default", "Own", ["a"], True)


@pytest.mark.parametrize("kind", OPERATORS)
def test_a_wrong_option_of_default_args_is_refused_when_the_dag_is_parsed(kind: Any) -> None:
    with (
        DAG("nightly", schedule=None, default_args={"stream_key": "no key!"}),
        pytest.raises(InvalidRequestError, match="no key!"),
    ):
        kind(task_id="one")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # that "three" was never mapped
@pytest.mark.parametrize("kind", OPERATORS)
def test_a_mapped_operator_takes_its_options_and_no_others(kind: Any) -> None:
    with DAG("nightly", schedule=None) as dag:
        kind.partial(task_id="one", title="Nightly", retries=2).expand(stream_key=["a", "b"])
        with pytest.raises(InvalidRequestError, match="titel: is not an option; did you mean title"):
            kind.partial(task_id="two", titel="Nightly")
        with pytest.raises(TypeError, match="unexpected keyword argument 'tilte'"):
            kind.partial(task_id="three").expand(tilte=["a"])
    task = dag.get_task("one")
    made = task.unmap({"stream_key": "a", "title": "Nightly"})
    assert (made.stream_key, made.title, made.retries) == ("a", "Nightly", 2)


@pytest.mark.parametrize("kind", OPERATORS)
@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"tags": "nightly"}, "tags: .*'nightly'"),
        ({"action": {"type": "open_url", "title": "Run", "url": "ftp://x"}}, "action.url"),
        ({"content_state": {"title": "Rows", "color": "grene"}}, "content_state.color"),
        ({"stream_key": "a b"}, "stream_key"),
        ({"activitysmith_conn_id": 5}, "activitysmith_conn_id"),
        ({"deferrable": "false"}, "deferrable: must be True or False, not 'false'"),
        ({"deferrable": None}, "deferrable: must be True or False, not None"),
    ],
)
def test_what_mapped_instances_share_is_checked_when_the_dag_is_parsed(kind: Any, wrong: Any, said: str) -> None:
    with DAG("nightly", schedule=None), pytest.raises((InvalidRequestError, ConfigurationError), match=said):
        kind.partial(task_id="one", **wrong)
    with DAG("nightly", schedule=None), pytest.raises((InvalidRequestError, ConfigurationError), match=said):
        kind(task_id="one", **wrong)


@pytest.mark.parametrize(
    ("kind", "wrong", "said"),
    [
        (ActivitySmithEndStreamOperator, {"missing_ok": "false"}, "missing_ok: must be True or False, not 'false'"),
        (ActivitySmithEndStreamOperator, {"missing_ok": 0}, "missing_ok: must be True or False, not 0"),
        (ActivitySmithFollowRunOperator, {"poll_interval": 0}, "poll_interval: 0 s"),
        (ActivitySmithFollowRunOperator, {"poll_interval": None}, "poll_interval: None is not a number of seconds"),
        (ActivitySmithFollowRunOperator, {"patience": "x"}, "patience: 'x' is not a number of seconds"),
    ],
)
@pytest.mark.parametrize("make", [lambda kind: kind, lambda kind: kind.partial], ids=["one", "mapped"])
def test_a_setting_that_is_no_such_thing_is_refused_when_the_dag_is_parsed(
    make: Any, kind: Any, wrong: dict[str, Any], said: str
) -> None:
    with DAG("nightly", schedule=None), pytest.raises((InvalidRequestError, ConfigurationError), match=said):
        make(kind)(task_id="one", **wrong)


@pytest.mark.parametrize("kind", OPERATORS)
@pytest.mark.parametrize(("written", "meant"), [("titel", "title"), ("conn_id", "activitysmith_conn_id")])
def test_a_misspelt_option_is_recognized(kind: Any, written: str, meant: str) -> None:
    with (
        DAG("nightly", schedule=None),
        pytest.raises(InvalidRequestError, match=f"{written}: is not an option; did you mean {meant}"),
    ):
        kind(task_id="one", **{written: "Nightly"})


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        (ActivitySmithEndStreamOperator, "patience", r"give its task `retries`"),
        (ActivitySmithStreamOperator, "patience", r"give its task `retries`"),
        (ActivitySmithFollowRunOperator, "patient", r"did you mean patience\?"),
        (ActivitySmithEndStreamOperator, "missingok", r"did you mean missing_ok\?"),
        (ActivitySmithEndStreamOperator, "retires", r"did you mean retries\?"),
        (ActivitySmithEndStreamOperator, "retry", r"did you mean retries\?"),
        (ActivitySmithStreamOperator, "steps", r"did you mean number_of_steps in content_state\?"),
        (ActivitySmithEndStreamOperator, "state", r"did you mean content_state\?"),
        (ActivitySmithEndStreamOperator, "color", r"did you mean success_color or failure_color\?"),
        (ActivitySmithStreamOperator, "color", r"did you mean color in content_state\?"),
        (ActivitySmithStreamOperator, "icon", r"did you mean icon in content_state\?"),
        (ActivitySmithStreamOperator, "current_step", r"did you mean current_step in content_state\?"),
        (ActivitySmithFollowRunOperator, "timeout", r"did you mean patience\?"),
        (ActivitySmithEndStreamOperator, "timeout", r"did you mean execution_timeout\?"),
    ],
)
@pytest.mark.parametrize("make", [lambda kind: kind, lambda kind: kind.partial], ids=["one", "mapped"])
def test_a_hint_names_what_the_operator_takes(make: Any, kind: Any, name: str, said: str) -> None:
    with (
        DAG("nightly", schedule=None),
        pytest.raises(InvalidRequestError, match=f"^{name}: is not an option; .*{said}"),
    ):
        make(kind)(task_id="one", **{name: 30})


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (ActivitySmithEndStreamOperator, "poll_interval"),
        (ActivitySmithStreamOperator, "poll_interval"),
        (ActivitySmithStreamOperator, "missing_ok"),
        (ActivitySmithFollowRunOperator, "missing_ok"),
        (ActivitySmithEndStreamOperator, "total"),
    ],
)
@pytest.mark.parametrize("make", [lambda kind: kind, lambda kind: kind.partial], ids=["one", "mapped"])
def test_what_another_operator_takes_is_not_suggested(make: Any, kind: Any, name: str) -> None:
    with DAG("nightly", schedule=None), pytest.raises(TypeError, match=name):
        make(kind)(task_id="one", **{name: 30})


@pytest.mark.parametrize("kind", OPERATORS)
def test_an_argument_that_is_like_none_of_ours_is_refused_as_airflow_does(kind: Any) -> None:
    with DAG("nightly", schedule=None), pytest.raises(TypeError, match="xyzzy"):
        kind(task_id="one", xyzzy="Nightly")


@pytest.mark.parametrize("kind", OPERATORS)
def test_the_output_of_a_task_is_waited_for(kind: Any) -> None:
    with DAG("nightly", schedule=None):

        @task
        def name() -> str:
            return "Nightly"

        one = kind(task_id="one", title=name())
    assert one.upstream_task_ids == {"name"}


def test_an_operator_of_ones_own_may_have_more_arguments_and_templates() -> None:
    class Ours(ActivitySmithEndStreamOperator):
        template_fields = (*ActivitySmithEndStreamOperator.template_fields, "owner_name")

        def __init__(self, *, owner_name: str, **kwargs: Any) -> None:
            super().__init__(title="Ours", **kwargs)
            self.owner_name = owner_name

    with DAG("nightly", schedule=None, default_args={"owner_name": "data", "tags": ["ours"]}):
        one = Ours(task_id="one")
    assert (one.owner_name, one.title, one.tags) == ("data", "Ours", ["ours"])


def test_the_retry_policy_waits_exactly_as_long_as_the_service_asks() -> None:
    pytest.importorskip("airflow.sdk.definitions.retry_policy", reason="retry policies came with Airflow 3.3")
    from airflow.sdk import RetryAction

    from activitysmith_integrations.airflow.retries import ActivitySmithRetryPolicy

    def decide(error: BaseException) -> tuple[Any, Any]:
        decision = ActivitySmithRetryPolicy().evaluate(error, 1, 3)
        return decision.action, decision.retry_delay

    assert decide(RateLimitError(429, None, 90.0)) == (RetryAction.RETRY, timedelta(seconds=90))
    assert decide(ServerError(503)) == (RetryAction.DEFAULT, None)
    assert decide(NotFoundError(404)) == (RetryAction.FAIL, None)
    assert decide(ValueError()) == (RetryAction.DEFAULT, None)


@pytest.mark.parametrize("kind", [ActivitySmithEndStreamOperator, ActivitySmithStreamOperator])
def test_a_task_that_is_tested_alone_sends_nothing(sandbox: Sandbox, kind: Any) -> None:
    with DAG("nightly", schedule=None):
        operator = kind(task_id="end")
    context = _context(operator) | {"run_id": "__airflow_temporary_run_2026-11-27T03:00:00+00:00__"}
    assert operator.execute(context) == {}
    assert sandbox.all_requests() == []


@pytest.mark.parametrize("kind", [ActivitySmithEndStreamOperator, ActivitySmithStreamOperator])
def test_a_task_of_an_existing_run_that_is_tested_alone_sends_nothing(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    monkeypatch.setattr(sys, "argv", ["airflow", "tasks", "test", "nightly", "end", "r1"])
    with DAG("nightly", schedule=None):
        operator = kind(task_id="end")
    assert operator.execute(_context(operator)) == {}
    assert sandbox.all_requests() == []
