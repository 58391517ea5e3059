"""``preview``: the picture of a state without sending it."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from activitysmith_integrations.core.models.requests import StreamRequest
from activitysmith_integrations.sandbox.documents import json_object, stream_request
from activitysmith_integrations.sandbox.drawing import draw
from activitysmith_integrations.sandbox.streams import Account

_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)


def preview(source: str | None, target: str | None) -> None:
    """Write the SVG of a state.

    Args:
        source: A file with a content state, or with a whole request that has one and perhaps buttons, as JSON;
            None or ``-`` reads standard input.
        target: The file to write; None writes to standard output.

    Raises:
        InvalidRequestError: The service would refuse the state. Nothing has been written.
        OSError: A file cannot be read or written.
    """
    raw = Path(source).read_bytes() if source not in (None, "-") else sys.stdin.buffer.read()
    picture = svg_of(json_object(raw)).encode()
    if target is None:
        sys.stdout.buffer.write(picture)
    else:
        Path(target).write_bytes(picture)


def svg_of(document: dict[str, Any]) -> str:
    """The SVG of a state, a file's content with its last newline.

    Args:
        document: A content state with its ``type``, or a request that has one as ``content_state``.

    Raises:
        InvalidRequestError: The service would refuse it.
    """
    whole = document if "content_state" in document else {"content_state": document}
    # It starts a stream of its own, so that what the service would refuse is refused.
    account = Account(lambda: "preview")
    account.put("preview", stream_request(StreamRequest, whole), _ANY_TIME)
    return draw(account.streams[0].to_json(), standalone=True) + "\n"
