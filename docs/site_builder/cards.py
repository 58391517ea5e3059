"""Live Activities as pictures on a page: drawn by the sandbox, dark where the page is."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from activitysmith_integrations.core.models.requests import StreamRequest
from activitysmith_integrations.sandbox.describe import Clock
from activitysmith_integrations.sandbox.drawing import draw
from activitysmith_integrations.sandbox.palette import FIGURES, LIGHT, dark_rules

PICTURES = Path(__file__).parents[1] / "pictures"


def stylesheet() -> str:
    """The CSS of the cards: their dark colors where the page's own are dark."""
    return FIGURES + dark_rules("[data-md-color-scheme=slate] .card") + "\n"


def card_of(request: Mapping[str, Any]) -> str:
    """A request's card, as an element for a page.

    Args:
        request: Its ``content_state`` with its ``type``, and its buttons.
    """
    checked = StreamRequest(**request).to_wire()
    # Nothing counts on a page of documentation: a timer stands where it began.
    return f'<div class="shown">{draw(checked, Clock())}</div>'


def picture(name: str) -> dict[str, Any]:
    """The request of a picture, which the tests and the demo draw as well.

    Args:
        name: The name of a file in ``docs/pictures``.
    """
    document: dict[str, Any] = json.loads((PICTURES / f"{name}.json").read_text())
    return document if "content_state" in document else {"content_state": document}


def swatch(color: str) -> str:
    """A color by its name in the API, as a dot and the name."""
    dot = f'<circle cx="7" cy="7" r="7" fill="currentColor" class="{color}" color="{LIGHT[color]}"/>'
    return f'<span class="card"><svg width="14" height="14" aria-hidden="true">{dot}</svg></span> `{color}`'
