"""The picture of a state without sending it."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from activitysmith_integrations.sandbox.__main__ import main
from activitysmith_integrations.sandbox.preview import svg_of

STATE = {"title": "Load <b>", "type": "progress", "percentage": 42}
PICTURES = sorted((Path(__file__).parents[2] / "docs" / "pictures").glob("*.json"))


def test_a_state_in_a_file_becomes_an_svg_file(tmp_path: Path) -> None:
    source, target = tmp_path / "state.json", tmp_path / "state.svg"
    source.write_text(json.dumps(STATE))
    main(["preview", str(source), "--output", str(target)])
    written = ET.parse(target).getroot()
    assert written.get("aria-label") == "Load <b>, 42 %"


@pytest.mark.parametrize("arguments", [[], ["-"]])
def test_a_state_on_standard_input_goes_to_standard_output(arguments: list[str]) -> None:
    command = [sys.executable, "-P", "-m", "activitysmith_integrations.sandbox", "preview", *arguments]
    done = subprocess.run(command, input=json.dumps(STATE).encode(), capture_output=True, check=True)
    assert done.stdout.decode() == svg_of(STATE)
    assert done.stderr == b""


def test_a_whole_request_shows_its_buttons() -> None:
    button = {"title": "Open run", "type": "open_url", "url": "https://example.com"}
    assert "Open run" in svg_of({"content_state": STATE, "action": button})


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ("{", "not JSON"),
        ("[]", "must be a JSON object"),
        ("{}", "title: is required"),
        ('{"title": "x"}', "type: is required"),
        ('{"title": "x", "type": "alert"}', "message: is required"),
        ('{"title": "x", "type": "progress", "percentge": 4}', "did you mean percentage?"),
        ('{"content_state": {"title": "x", "type": "timer"}, "action": {}}', "action.type: is required"),
    ],
)
def test_what_the_service_would_refuse_is_reported_and_nothing_is_written(
    document: str, problem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(document.encode())))
    with pytest.raises(SystemExit) as stopped:
        main(["preview", "-o", str(tmp_path / "x.svg")])
    assert stopped.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("No picture of standard input: ")
    assert problem in output.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["state.png", "state.v2.PDF"])
def test_another_format_than_svg_is_refused_before_anything_is_read(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["preview", "none.json", "-o", str(tmp_path / name)])
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert f"only SVG is written, not {name.rpartition('.')[2]}" in error
    assert error.endswith(f"name it {(tmp_path / name).with_suffix('.svg')}\n")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["preview", str(tmp_path / "none.json")])
    assert stopped.value.code == 2
    assert "none.json: [Errno 2] No such file" in capsys.readouterr().err


def test_there_are_pictures_to_look_at() -> None:
    names = {path.stem for path in PICTURES}
    assert {"segmented_progress", "progress", "metrics", "stats", "alert", "timer", "value"} <= names
    assert {f"{engine}-{end}" for engine in ("airflow", "prefect") for end in ("success", "failure")} <= names


@pytest.mark.parametrize("path", PICTURES, ids=lambda path: path.stem)
def test_the_pictures_of_the_documentation_can_be_drawn(path: Path) -> None:
    document: dict[str, Any] = json.loads(path.read_text())
    assert document.get("content_state", document)["title"] in svg_of(document)
