"""Native rendering, keys that render to nothing, and what is checked when a DAG is parsed."""

import collections
import dataclasses
import math
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pydantic
import pytest
from airflow.sdk import DAG
from airflow.sdk.bases.operator import BaseOperator
from support.sandbox import KEY as API_KEY, Sandbox
from with_airflow.runs import Run

from activitysmith_integrations.airflow import policy, templates
from activitysmith_integrations.airflow.compat import AirflowFailException
from activitysmith_integrations.airflow.dag_tasks import written_key
from activitysmith_integrations.airflow.notifications import (
    ActivitySmithEndStreamNotifier,
    ActivitySmithStreamNotifier,
    end_activitysmith_stream,
)
from activitysmith_integrations.airflow.operators import (
    ActivitySmithEndStreamOperator,
    ActivitySmithFollowRunOperator,
    ActivitySmithStreamOperator,
)
from activitysmith_integrations.core import (
    AlertState,
    ConfigurationError,
    InvalidRequestError,
    Metric,
    WebhookAction,
    stream_key,
)

RUN_ID = "manual__2026-11-27"


def native(**options: Any) -> DAG:
    return DAG("nightly", schedule=None, render_template_as_native_obj=True, **options)


def executed(sandbox: Sandbox, key: str, *, params: dict[str, Any] | None = None, **options: Any) -> Any:
    """The end that an operator of a DAG with native rendering sends."""
    with native():
        operator = ActivitySmithEndStreamOperator(task_id="end", **options)
    sandbox.start(key)
    ti = SimpleNamespace(task_id="end", map_index=-1, state="running", get_task_states=lambda **_: {}, start_date=None)
    dag_run = SimpleNamespace(dag_id="nightly", run_id="r1", start_date=None, end_date=None, conf={})
    context: Any = {
        "dag": operator.dag,
        "run_id": RUN_ID,
        "dag_run": dag_run,
        "ti": ti,
        "task_instance": ti,
        "params": {"tags": ["2026", "nightly"], "rows": 42, "share": 0.5, "sound": True, **(params or {})},
    }
    operator.render_template_fields(context)
    operator.execute(context)
    return sandbox.ends(key)[0]


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("2026_11_27", "2026_11_27"),
        ("{{ '12e4567' }}", "12e4567"),
        ("{{ '0x1f' }}", "0x1f"),
        ("{{ 20261123 }}", "20261123"),
    ],
)
def test_a_key_stays_the_text_that_it_is(sandbox: Sandbox, written: str, key: str) -> None:
    assert executed(sandbox, key, stream_key=written)["metadata"]["pipeline"] == "nightly"


KEY = stream_key("nightly", RUN_ID)


def test_texts_stay_texts_and_numbers_and_the_users_own_json_are_what_they_look_like(sandbox: Sandbox) -> None:
    body = executed(
        sandbox,
        KEY,
        title="{{ '1,234' }}",
        tags=["{{ run_id[8:12] }}"],
        alert={"title": "{{ 42 }}", "body": "{{ 42 }} rows"},
        action={"type": "webhook", "title": "{{ 404 }}", "url": "https://example.com", "body": {"rows": "{{ 42 }}"}},
        metadata={"rows": "{{ 42 }}"},
        success_auto_dismiss_minutes="{{ 5 }}",
    )
    assert body["content_state"]["title"] == "1,234"
    assert body["content_state"]["auto_dismiss_minutes"] == 5
    assert body["tags"] == ["airflow", "2026"]
    assert body["alert"] == {"title": "42", "body": "42 rows"}
    assert (body["action"]["title"], body["action"]["body"]) == ("404", {"rows": 42})
    assert body["metadata"]["rows"] == 42


def test_a_whole_list_or_state_may_come_from_a_template(sandbox: Sandbox) -> None:
    state = {"title": "t", "type": "metrics", "metrics": [{"label": "{{ 7 }}", "value": "{{ params.rows }}"}]}
    body = executed(sandbox, KEY, tags="{{ params.tags }}", content_state=state)
    assert body["tags"] == ["airflow", "2026", "nightly"]
    assert body["content_state"]["metrics"] == [{"label": "7", "value": 42}]


def notified(sandbox: Sandbox, key: str, **options: Any) -> Any:
    """The end that a notifier of a DAG with native rendering sends."""
    with native(params={"rows": 42, "share": 0.5, "sound": True}) as dag:
        BaseOperator(task_id="a")
    sandbox.start(key)
    context = {**Run(dag).ended("success"), "run_id": RUN_ID, "params": {"rows": 42, "share": 0.5, "sound": True}}
    end_activitysmith_stream(**options)(context)
    return sandbox.ends(key)[0]


def webhook(body: Any) -> dict[str, Any]:
    return {"type": "webhook", "title": "Again", "url": "https://example.com", "body": body}


both = pytest.mark.parametrize("ends", [executed, notified])


@both
@pytest.mark.parametrize("text", ["1,234", "12e4567", "None", "True", "2026_11_27", "0x1f", "[1]", "42", "{'a': 1}"])
def test_a_text_that_looks_like_python_reaches_the_service_as_it_is(
    sandbox: Sandbox, ends: Callable[..., Any], text: str
) -> None:
    written = f'{{{{ "{text}" }}}}'
    body = ends(
        sandbox,
        KEY,
        metadata={"commit": written},
        action=webhook({"commit": written, "all": [written]}),
        secondary_action=webhook({"commit": written}),
        content_state={"type": "value", "title": "Commit", "value": written},
    )
    assert body["metadata"]["commit"] == text
    assert body["action"]["body"] == {"commit": text, "all": [text]}
    assert body["secondary_action"]["body"] == {"commit": text}
    assert body["content_state"]["value"] == text
    stats = [{"label": "Commit", "value": written}]
    sandbox.reset()
    state = ends(sandbox, KEY, content_state={"type": "stats", "title": "t", "metrics": stats})["content_state"]
    assert state["metrics"] == [{"label": "Commit", "value": text}]


@both
def test_a_template_that_is_one_number_boolean_or_collection_stays_one(
    sandbox: Sandbox, ends: Callable[..., Any]
) -> None:
    members = {"rows": "{{ params.rows }}", "share": "{{ params.share }}", "sound": "{{ params.sound }}"}
    body = ends(
        sandbox,
        KEY,
        metadata=members,
        action=webhook({**members, "list": "{{ [params.rows] }}", "null": "{{ none }}", "text": "{{ params.rows }}!"}),
        content_state={"type": "value", "title": "Rows", "value": "{{ params.rows }}"},
    )
    found = {"rows": 42, "share": 0.5, "sound": True}
    assert {name: body["metadata"][name] for name in found} == found
    assert body["action"]["body"] == {**found, "list": [42], "null": None, "text": "42!"}
    assert body["content_state"]["value"] == 42


@pytest.mark.parametrize(
    ("rendered", "text"), [(None, "None"), (math.inf, "inf"), (math.nan, "nan"), ([1], "[1]"), ({"a": 1}, "{'a': 1}")]
)
def test_an_object_that_metadata_and_values_cannot_hold_is_its_text(sandbox: Sandbox, rendered: Any, text: str) -> None:
    body = executed(
        sandbox,
        KEY,
        params={"found": rendered},
        metadata={"found": "{{ params.found }}"},
        content_state={"type": "value", "title": "Found", "value": "{{ params.found }}"},
    )
    assert (body["metadata"]["found"], body["content_state"]["value"]) == (text, text)


def test_what_a_dag_makes_of_each_value_counts(sandbox: Sandbox) -> None:
    options: Any = {"jinja_environment_kwargs": {"finalize": lambda value: 0 if value is None else value}}
    with native(**options) as dag:
        BaseOperator(task_id="a")
    sandbox.start(KEY)
    end_activitysmith_stream(metadata={"rows": "{{ none }}"})({**Run(dag).ended("success"), "run_id": RUN_ID})
    assert sandbox.ends(KEY)[0]["metadata"]["rows"] == 0


def test_what_a_bar_is_drawn_from_is_a_number_as_without_native_rendering(sandbox: Sandbox) -> None:
    state = {"type": "progress", "title": "Rows", "value": "{{ '42' }}", "upper_limit": "{{ '84' }}"}
    body = executed(sandbox, KEY, content_state=state)
    assert (body["content_state"]["value"], body["content_state"]["upper_limit"]) == (42, 84)


class Names(str, Enum):  # noqa: UP042 - the enums of older code
    KEY = "etl"
    TEMPLATE = "etl-{{ run_id }}"
    TITLE = "Nightly {{ run_id }}"
    MEMBER = "title"
    CONNECTION = "activitysmith_default"


@both
@pytest.mark.parametrize(("written", "key"), [(Names.KEY, "etl"), (Names.TEMPLATE, f"etl-{RUN_ID}")])
def test_members_of_an_enum_are_the_texts_that_they_stand_for(
    sandbox: Sandbox, ends: Callable[..., Any], written: Names, key: str
) -> None:
    body = ends(
        sandbox,
        key,
        stream_key=written,
        activitysmith_conn_id=Names.CONNECTION,
        content_state={Names.MEMBER: Names.TITLE, "type": "alert", "message": Names.KEY},
        tags=[Names.TITLE],
    )
    assert body["content_state"] == {"title": f"Nightly {RUN_ID}", "type": "alert", "message": "etl"}
    assert body["tags"] == ["airflow", f"Nightly {RUN_ID}"]


def test_a_key_that_an_enum_holds_is_the_same_one_for_all_tasks_of_a_dag() -> None:
    with DAG("nightly", schedule=None, default_args={"stream_key": Names.KEY}) as dag:
        ActivitySmithEndStreamOperator(task_id="one")
        ActivitySmithEndStreamOperator.partial(task_id="mapped", stream_key=Names.KEY).expand(title=["a", "b"])
    assert {task.task_id: written_key(task) for task in dag.tasks} == {"one": "etl", "mapped": "etl"}


class Report(pydantic.BaseModel):
    run: str
    due: timedelta = timedelta(minutes=5)


@dataclasses.dataclass
class Owner:
    name: str


@both
def test_models_are_searched_for_templates_wherever_they_are(sandbox: Sandbox, ends: Callable[..., Any]) -> None:
    report = Report(run="{{ run_id }}")
    body = ends(
        sandbox,
        KEY,
        content_state={"title": "t", "type": "stats", "metrics": [Metric(label="Rows", value="{{ run_id }}")]},
        action=webhook({"all": [report], "owner": Owner("{{ run_id }}"), "tags": {"{{ run_id }}"}}),
        secondary_action=WebhookAction(title="Again", url="https://example.com", body={"of": report}),
    )
    assert body["content_state"]["metrics"] == [{"label": "Rows", "value": RUN_ID}]
    written = {"run": RUN_ID, "due": "PT5M"}
    assert body["action"]["body"] == {"all": [written], "owner": {"name": RUN_ID}, "tags": [RUN_ID]}
    assert body["secondary_action"]["body"] == {"of": written}


def test_what_mapped_instances_share_may_be_models_too(sandbox: Sandbox) -> None:
    state = {"title": "t", "type": "stats", "metrics": [Metric(label="Rows", value="{{ run_id }}")]}
    with DAG("nightly", schedule=None):
        mapped: Any = ActivitySmithStreamOperator.partial(task_id="show", content_state=state).expand(stream_key=["a"])
    assert mapped.partial_kwargs["content_state"]["metrics"] == [{"label": "Rows", "value": "{{ run_id }}"}]


def recursive(kind: type) -> Any:
    found: Any = kind()
    if isinstance(found, dict):
        found |= {"title": "t", "type": "alert", "message": "m", "icon": found}
    else:
        found.append(found)
    return found


RECURSIVE: list[tuple[str, Any]] = [
    ("content_state", recursive(dict)),
    ("content_state", {"title": "{{ run_id }}", "type": "alert", "message": "m", "icon": recursive(dict)}),
    ("metadata", recursive(dict)),
    ("tags", recursive(list)),
    ("alert", recursive(dict)),
    ("action", recursive(dict)),
    ("action", webhook(recursive(dict))),
    ("secondary_action", webhook({"all": recursive(list)})),
]


@pytest.mark.parametrize(
    "kind",
    [
        lambda **options: end_activitysmith_stream(**options),
        lambda **options: ActivitySmithStreamNotifier(**{"content_state": {"title": "t"}, **options}),
        lambda **options: ActivitySmithEndStreamOperator(task_id="one", **options),
        lambda **options: ActivitySmithFollowRunOperator(task_id="one", **options),
        lambda **options: ActivitySmithStreamOperator(task_id="one", **options),
        lambda **options: ActivitySmithStreamOperator.partial(task_id="one", **options),
    ],
)
@pytest.mark.parametrize(("name", "value"), RECURSIVE)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # what is partial was never mapped
def test_a_value_that_holds_itself_is_refused_by_its_name(kind: Callable[..., Any], name: str, value: Any) -> None:
    with (
        DAG("nightly", schedule=None),
        pytest.raises(InvalidRequestError, match=f"^{name}: is nested more than 100 levels deep; it may hold itself$"),
    ):
        kind(**{name: value})


class Output:
    """The output of a task, which Airflow resolves when another task runs."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def resolve(self, context: Any) -> Any:
        return self.value

    def iter_references(self) -> Iterator[Any]:
        return iter(())


@pytest.mark.parametrize(("name", "value"), [("title", Path("orders")), ("metadata", {"file": Path("orders")})])
def test_a_path_is_no_output_of_a_task(name: str, value: Any) -> None:
    with pytest.raises(InvalidRequestError, match=rf"^{name}.*: must be a string"):
        end_activitysmith_stream(**{name: value})


def test_an_output_that_holds_itself_is_refused_by_its_name(sandbox: Sandbox) -> None:
    with pytest.raises(AirflowFailException, match="content_state: is nested more than 100 levels deep"):
        executed(sandbox, KEY, content_state=Output(recursive(dict)))


def test_a_notifier_renders_texts_as_texts_too(sandbox: Sandbox) -> None:
    context = Run(native()).context
    sandbox.start("2026_11_27")
    with native() as dag:
        BaseOperator(task_id="a")
    context = Run(dag).ended("success")
    end_activitysmith_stream("{{ '2026-11-27' | replace('-', '_') }}", title="{{ '1,234' }}")(context)
    assert sandbox.ends("2026_11_27")[0]["content_state"]["title"] == "1,234"


@pytest.mark.parametrize("collection", [set, frozenset, collections.deque, lambda tags: dict.fromkeys(tags).keys()])
def test_a_collection_of_any_kind_is_rendered(collection: Callable[[list[str]], Any], sandbox: Sandbox) -> None:
    assert executed(sandbox, KEY, tags=collection(["{{ run_id }}"]))["tags"] == ["airflow", RUN_ID]
    metrics = collections.deque([Metric(label="Rows", value="{{ run_id }}")])
    state = {"type": "stats", "title": "Nightly", "metrics": metrics}
    shown = executed(sandbox, "stats", stream_key="stats", content_state=state)["content_state"]
    assert shown["metrics"][0]["value"] == RUN_ID


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (date(2026, 11, 28), "2026-11-28"),
        (UUID(int=7), "00000000-0000-0000-0000-000000000007"),
        (Decimal("1.50"), "1.50"),
        (b"ab", "ab"),
        ({"ab"}, ["ab"]),
    ],
)
@pytest.mark.parametrize("output", [lambda body: body, lambda body: Output(body)])
def test_a_webhooks_body_is_what_json_makes_of_it(value: Any, sent: Any, output: Any, sandbox: Sandbox) -> None:
    action = {"type": "webhook", "title": "Again", "url": "https://ci.example/again", "body": {"a": value}}
    assert executed(sandbox, KEY, action=output(action))["action"]["body"] == {"a": sent}


def test_the_output_of_a_task_is_resolved(sandbox: Sandbox) -> None:
    output = Output({"type": "progress", "title": "Nightly", "percentage": 5})
    assert executed(sandbox, KEY, content_state=output)["content_state"]["title"] == "Nightly"


@pytest.mark.parametrize(("output", "key"), [("2026_11_27", "2026_11_27"), (42, "42"), ("etl/7", stream_key("etl/7"))])
def test_a_key_may_be_the_output_of_a_task(sandbox: Sandbox, output: Any, key: str) -> None:
    assert executed(sandbox, key, stream_key=Output(output))


@pytest.mark.parametrize("output", [None, "", b"abc", [1], 1.5])
def test_an_output_that_is_no_key_is_refused(sandbox: Sandbox, output: Any) -> None:
    with pytest.raises(AirflowFailException, match="stream_key: "):
        executed(sandbox, "other", stream_key=Output(output))
    assert sandbox.requests() == []


@pytest.mark.parametrize("written", ["{{ dag_run.conf.get('key') }}", "a-{{ none }}", "{{ '' }}", "{{ ' ' }}"])
def test_a_key_that_is_not_there_is_refused_and_not_replaced_by_another(sandbox: Sandbox, written: str) -> None:
    for options in ({}, {"render_template_as_native_obj": True}):
        with DAG("nightly", schedule=None, **options):  # type: ignore[arg-type]
            operator = ActivitySmithEndStreamOperator(task_id="end", stream_key=written)
        context: Any = {"dag_run": SimpleNamespace(conf={}), "run_id": "r1"}
        with pytest.raises(AirflowFailException, match=r"stream_key: .*(is None|renders to nothing)"):
            operator.render_template_fields(context)
    assert sandbox.requests() == []


def test_a_serialized_dag_has_the_macros_and_filters_of_its_file(sandbox: Sandbox) -> None:
    def key(dag_id: str) -> str:
        return f"{dag_id}-of-a-macro"

    end = end_activitysmith_stream("{{ key(dag.dag_id) | upper }}")
    dag = DAG(
        "nightly",
        schedule=None,
        user_defined_macros={"key": key},
        user_defined_filters={"upper": str.upper},
        on_success_callback=end,
    )
    policy.dag_policy(dag)
    sandbox.start("NIGHTLY-OF-A-MACRO")
    serialized = SimpleNamespace(dag_id="nightly", tasks=[], timezone=None)
    end({"dag": serialized, "run_id": "r1", "reason": "success"})
    assert len(sandbox.ends("NIGHTLY-OF-A-MACRO")) == 1
    assert templates.rendering(serialized, lambda: None).text.globals["key"] is key  # type: ignore[arg-type,return-value]


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"success_color": "grene"}, r"^success_color: 'grene' is not a color; did you mean green\?$"),
    ({"failure_color": "rde"}, r"^failure_color: 'rde' is not a color; did you mean red\?$"),
    ({"on_success": "alert"}, "on_success: 'alert' is not among segmented_progress, progress"),
    ({"success_auto_dismiss_minutes": "five"}, "success_auto_dismiss_minutes: must be a whole number of 0 or more"),
    ({"failure_auto_dismiss_minutes": -1}, "failure_auto_dismiss_minutes: must be a whole number of 0 or more"),
    ({"action": "https://x"}, "action: must be a mapping or an action, not a string; it is 'https://x'"),
    (
        {"content_state": {"type": "value", "title": "t", "value": 1, "color": "grene"}},
        "content_state.color: .*'grene'",
    ),
    ({"action": {"type": "open_url", "title": "{{ run_id }}", "ulr": "https://x"}}, "action.ulr: is not a member"),
    ({"tags": "a"}, "tags: must be a list of strings, not 'a'"),
    ({"stream_key": "a b/c"}, "stream_key: 'a b/c' is not 1 to 255"),
    ({"stream_key": ""}, "stream_key: is empty"),
    ({"content_state": {"tilte": "x"}}, "content_state.tilte: is not a member; did you mean title"),
    ({"content_state": {"title": "{{ run_id }}", "mesage": "y"}}, "content_state.mesage: is not a member"),
    ({"content_state": {"title": "{{ run_id }}", "color": "grene"}}, "content_state.color: .*'grene'"),
    ({"content_state": {"title": "{{ run_id }}", "type": "alrt"}}, "content_state.type: .*'alrt'"),
    ({"content_state": {"title": "{{ run_id }}", "percentage": 150}}, "content_state.percentage: .*150"),
    ({"action": {"title": "{{ run_id }}", "typ": "open_url", "url": "https://x"}}, "action.type: is required"),
    ({"action": {"title": "{{ run_id }}", "type": "open_url", "url": "ftp://x"}}, "action.url: .*'ftp://x'"),
    ({"tags": ["{{ run_id }}", ""]}, "tags.1: must not be empty"),
    ({"tags": ["{{ run_id }}", 3]}, "tags.1: must be a string, not 3"),
    ({"tags": ["{{ run_id }}", None]}, "tags.1: must be a string, not None"),
    ({"tags": {"{{ run_id }}", b"etl"}}, r"tags.\d: must be a string, not b'etl'"),
    ({"content_state": {"title": "{{ run_id }}", "subtitle": None}}, "content_state.subtitle: is null; leave it out"),
    ({"alert": {"title": "{{ run_id }}", "body": None}}, "alert.body: is null; leave it out"),
    ({"metadata": {"day": "{{ ds }}", "table": None}}, "metadata.table: must be a string, a finite number"),
    ({"title": ["x"]}, "title: must be a string"),
    ({"subtitle": 5, "tags": ["{{ run_id }}"]}, "subtitle: must be a string"),
    ({"activitysmith_conn_id": None}, "activitysmith_conn_id: None is not the id of a connection"),
    (
        {"activitysmith_conn_id": API_KEY},
        "activitysmith_conn_id: is an API key. Put it into the password",
    ),
    ({"alert": {"titel": "x"}}, r"alert.titel: is not a member; did you mean title"),
]


@pytest.mark.parametrize(
    "kind", [ActivitySmithEndStreamOperator, ActivitySmithFollowRunOperator, end_activitysmith_stream]
)
@pytest.mark.parametrize(("options", "words"), REFUSED)
def test_what_is_wrong_is_said_when_the_dag_is_parsed(kind: Any, options: dict[str, Any], words: str) -> None:
    named = {} if kind is end_activitysmith_stream else {"task_id": "end"}
    with pytest.raises(ValueError, match=words) as raised:
        kind(**named, **options)
    assert API_KEY not in repr(raised.value)


@pytest.mark.parametrize("kind", [ActivitySmithStreamOperator, ActivitySmithStreamNotifier])
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"content_state": {"type": "progress", "title": "t", "percentage": 101}}, "content_state.percentage"),
        ({"content_state": {"title": "t"}, "channels": "ops"}, "channels"),
        ({"content_state": {"title": "t"}, "stream_key": "a/b"}, "stream_key"),
        ({"content_state": {"title": "{{ ds }}", "subtitle": None}}, "content_state.subtitle: is null"),
    ],
)
def test_what_is_wrong_with_a_state_is_said_when_the_dag_is_parsed(kind: Any, options: Any, words: str) -> None:
    named = {} if kind is ActivitySmithStreamNotifier else {"task_id": "show"}
    with pytest.raises(InvalidRequestError, match=words):
        kind(**named, **options)


@pytest.mark.parametrize(
    ("kind", "name", "meant"),
    [
        (end_activitysmith_stream, "state", "content_state"),
        (end_activitysmith_stream, "icon", "icon in content_state"),
        (end_activitysmith_stream, "color", "success_color or failure_color"),
        (end_activitysmith_stream, "timeout", "patience"),
        (end_activitysmith_stream, "conn_id", "activitysmith_conn_id"),
        (ActivitySmithStreamNotifier, "color", "color in content_state"),
        (ActivitySmithStreamNotifier, "percentage", "percentage in content_state"),
        (ActivitySmithStreamNotifier, "state", "content_state"),
    ],
)
def test_an_argument_that_belongs_elsewhere_is_answered_with_its_place(kind: Any, name: str, meant: str) -> None:
    with pytest.raises(InvalidRequestError, match=rf"^{name}: is not an option; did you mean {meant}\?$"):
        kind(**{name: 5})


def test_an_option_that_is_like_none_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(InvalidRequestError, match=r"^total: is not an option; known are stream_key, "):
        end_activitysmith_stream(total=5)  # type: ignore[call-arg]


@pytest.mark.parametrize(("written", "shown"), [("{{ 10 / 2 }}", 5), ("{{ 5 }}", 5)])
def test_minutes_that_a_template_divides_are_whole(sandbox: Sandbox, written: str, shown: int) -> None:
    sandbox.start("nightly")
    notifier = end_activitysmith_stream("nightly", title="Own", success_auto_dismiss_minutes=written)
    notifier({"dag": DAG("nightly", schedule=None), "run_id": "r1", "reason": "success"})
    (end,) = sandbox.ends("nightly")
    assert (end["content_state"]["title"], end["content_state"]["auto_dismiss_minutes"]) == ("Own", shown)


def test_a_misspelt_parameter_is_recognized() -> None:
    with pytest.raises(InvalidRequestError, match=r"stream_kye: is not an option; did you mean stream_key\?"):
        ActivitySmithEndStreamNotifier(stream_kye="x")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "kind", [ActivitySmithEndStreamOperator, ActivitySmithFollowRunOperator, end_activitysmith_stream]
)
def test_what_is_right_or_only_known_later_is_taken(kind: Any) -> None:
    named = {} if kind is end_activitysmith_stream else {"task_id": "end"}
    kind(
        **named,
        stream_key="{{ run_id }}",
        success_color="{{ params.color }}",
        failure_color="purple",
        success_auto_dismiss_minutes="5",
        failure_auto_dismiss_minutes="{{ params.minutes }}",
        on_failure="{{ params.form }}",
        start_unseen_failures="{{ params.starts }}",
        content_state=AlertState(title="{{ run_id }}", message="over"),
        tags=["{{ run_id }}"],
        action={"type": "open_url", "title": "Open", "url": "{{ params.url }}"},
        metadata={"rows": 5},
    )
    state = {"type": "{{ params.type }}", "title": "{{ run_id }}", "percentage": "{{ params.done }}"}
    kind(**named, content_state=state, tags="{{ params.tags }}", metadata={"rows": "{{ params.rows }}"})


@pytest.mark.parametrize("options", [{"title": ["x"]}, {"subtitle": 5}])
def test_a_line_that_is_no_text_is_refused_where_it_is_written(options: Any) -> None:
    with pytest.raises(InvalidRequestError, match="must be a string"):
        ActivitySmithStreamOperator(task_id="show", **options)


def test_a_notifier_without_a_state_is_refused_where_it_is_written() -> None:
    with pytest.raises(InvalidRequestError, match="content_state: is required"):
        ActivitySmithStreamNotifier(content_state=None)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [0, -1, None, "5", timedelta(seconds=5), True])
@pytest.mark.parametrize("name", ["poll_interval", "patience"])
def test_seconds_that_are_none_are_refused_where_they_are_written(name: str, value: Any) -> None:
    if (name, value) == ("patience", 0):
        return
    with pytest.raises(ConfigurationError, match=name):
        ActivitySmithFollowRunOperator(task_id="follow", **{name: value})
