"""The types of a notifier's options, which may be templates; what they render to is checked when it is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from activitysmith_integrations.core.models.fields import Color
    from activitysmith_integrations.core.models.requests import ActionInput, AlertInput, MetadataInput, StateInput
    from activitysmith_integrations.core.runs.outcome import FailureForm, SuccessForm


class TemplatedEndOptions(TypedDict, total=False):
    """:class:`~activitysmith_integrations.core.EndOptions`, each of which may be a template."""

    on_success: SuccessForm | str | None
    on_failure: FailureForm | str | None
    title: str | None
    subtitle: str | None
    success_color: Color | str | None
    failure_color: Color | str | None
    success_auto_dismiss_minutes: int | str | None
    failure_auto_dismiss_minutes: int | str | None
    include_error: bool | str | None
    start_unseen_failures: bool | str | None
    content_state: StateInput | None
    action: ActionInput | None
    secondary_action: ActionInput | None
    alert: AlertInput | None
    tags: Sequence[str] | None
    metadata: MetadataInput | None
