"""The pictures of the documentation: what runs left on the lock screen, and the moving picture of the README.

``python tools/pictures.py draw`` draws the moving picture anew. ``python tools/pictures.py record URL KEY ...`` first
keeps what a running sandbox at URL received for these streams; the picture shows them in this order.
"""

import argparse
import json
import re
import urllib.request
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from moving_picture import moving_picture

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
RECORDED = FOLDER / "recorded"
# As the package writes them; they are never the same twice.
_DURATION = re.compile(r"less than 1 s|\b\d+ (?:s\b|[dhm] \d\d [hms]\b)")
_ANY_PAGE = "https://example.com"


def keep(name: str, content: Mapping[str, Any]) -> None:
    """Keep what a run left on the lock screen, unless it differs from what there is in durations only.

    Args:
        name: The name of the picture.
        content: What the sandbox shows: ``content_state`` and the buttons.
    """
    request = _shown({name: content[name] for name in content if content[name]})
    written = json.dumps(request, indent=2, ensure_ascii=False) + "\n"
    file = FOLDER / f"{name}.json"
    if not file.exists() or _DURATION.sub("", file.read_text()) != _DURATION.sub("", written):
        file.write_text(written)


def record(requests: Iterable[Mapping[str, Any]], keys: Iterable[str]) -> None:
    """Keep the requests that showed some runs, in files that the moving picture is made of.

    Args:
        requests: What a sandbox received, as ``GET /sandbox/streams`` tells it.
        keys: The streams, in the order in which they begin in the picture.
    """
    received = list(requests)
    RECORDED.mkdir(exist_ok=True)
    for file in RECORDED.glob("*.json"):
        file.unlink()
    for number, key in enumerate(keys, start=1):
        kept = [
            {"method": one["method"], "body": _shown(one["body"] or {})}
            for one in received
            if one["stream_key"] == key and one["status"] == 200
        ]
        run = {"stream_key": key, "requests": kept}
        (RECORDED / f"{number}.json").write_text(json.dumps(run, indent=2, ensure_ascii=False) + "\n")


def draw() -> None:
    """Draw the moving picture from what was recorded."""
    (FOLDER / "lock-screen.svg").write_text(moving_picture(sorted(RECORDED.glob("*.json"))))


def _shown(request: Mapping[str, Any]) -> dict[str, Any]:
    """What is seen of a request. Where its buttons lead is not, and was this machine's own."""
    seen: dict[str, Any] = {name: request[name] for name in ("content_state", "alert") if name in request}
    for button in ("action", "secondary_action"):
        if button in request:
            seen[button] = {**request[button], "url": _ANY_PAGE}
    return seen


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description="Record and draw the pictures of the documentation.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("draw", help="draw the moving picture from what was recorded")
    recording = commands.add_parser("record", help="keep what a sandbox received, and draw it")
    recording.add_argument("url", help="the sandbox's address, such as http://127.0.0.1:8765")
    recording.add_argument("keys", nargs="+", help="the streams, in the order in which they begin in the picture")
    options = parser.parse_args()
    if options.command == "record":
        with urllib.request.urlopen(f"{options.url.rstrip('/')}/sandbox/streams") as answer:  # noqa: S310 - a sandbox
            record(json.load(answer)["requests"], options.keys)
    draw()


if __name__ == "__main__":
    main()
