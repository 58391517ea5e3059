"""The pictures that the README shows: each a request in a JSON file, and beside it what the sandbox draws of it."""

import json
import re
from collections.abc import Mapping
from typing import Any

from environments import ROOT

from activitysmith_integrations.sandbox.preview import svg_of

FOLDER = ROOT / "docs" / "pictures"
# As the package writes them; they are never the same twice.
_DURATION = re.compile(r"less than 1 s|\b\d+ (?:s\b|[dhm] \d\d [hms]\b)")


def keep(name: str, content: Mapping[str, Any]) -> None:
    """Keep what a run left on the lock screen, unless it differs from what there is in durations only.

    Args:
        name: The name of the picture.
        content: What the sandbox shows: ``content_state`` and the buttons.
    """
    request = {"content_state": content["content_state"]}
    for button in ("action", "secondary_action"):
        if content.get(button):
            # Where it leads is not seen, and was this machine's own.
            request[button] = {**content[button], "url": "https://example.com"}
    written = json.dumps(request, indent=2, ensure_ascii=False) + "\n"
    file = FOLDER / f"{name}.json"
    if not file.exists() or _DURATION.sub("", file.read_text()) != _DURATION.sub("", written):
        file.write_text(written)


def draw() -> None:
    """Draw every picture from its file."""
    for file in sorted(FOLDER.glob("*.json")):
        file.with_suffix(".svg").write_text(svg_of(json.loads(file.read_text())))
