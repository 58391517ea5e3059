"""A run of ``dag.test()`` that is interrupted calls no callback: its stream is ended when the process exits."""

from __future__ import annotations

import atexit
import logging
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from activitysmith_integrations.core.runs.ending import build_end_or_default, end_stream
from activitysmith_integrations.core.runs.log_lines import line_of_end

if TYPE_CHECKING:
    from activitysmith_integrations.core.client import ActivitySmithClient
    from activitysmith_integrations.core.runs.outcome import RunOutcome

log = logging.getLogger(__name__)


class _Shown(NamedTuple):
    """A run that is shown.

    Args:
        run: What is known of it; its result means nothing.
        title: First line.
        client: What its stream is ended with.
    """

    run: RunOutcome
    title: str
    client: ActivitySmithClient


_shown = dict[str, _Shown]()


def end_at_exit(stream_key: str, run: RunOutcome, title: str, client: ActivitySmithClient) -> None:
    """End a stream as cancelled when this process exits, unless it is forgotten before.

    Args:
        stream_key: The stream, which was just started.
        run: The run that it shows; its result means nothing.
        title: First line.
        client: What to end it with, which is closed then.
    """
    forget(stream_key)
    _shown[stream_key] = _Shown(run, title, client)


def forget(stream_key: str) -> None:
    """Leave a stream alone that was ended.

    Args:
        stream_key: The stream.
    """
    if stream_key in _shown:
        _shown.pop(stream_key).client.close()


@atexit.register
def _end_all() -> None:
    for key, shown in _shown.items():
        outcome = replace(shown.run, result="cancelled", ended_at=datetime.now(UTC))
        end = build_end_or_default(outcome, {"title": shown.title})
        with suppress(Exception), shown.client as client:
            log.log(*line_of_end(key, end, end_stream(client, key, end)))
