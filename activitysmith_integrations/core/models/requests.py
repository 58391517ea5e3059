"""The bodies of requests, and the buttons and banner in them."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, Required, TypeAlias, TypedDict, Unpack

from pydantic import BeforeValidator, model_validator

from activitysmith_integrations.core.errors import InvalidRequestError
from activitysmith_integrations.core.models.base import LazyMember, Model, from_mapping, kind_of
from activitysmith_integrations.core.models.fields import Channels, JSONObject, Metadata, Tags, Text, to_dict, url_of
from activitysmith_integrations.core.models.states import AnyState, State


class _Action(Model):
    title: Text
    """The button's text."""
    method: Literal["GET", "POST"] | None = None
    """How a webhook is called; the service's default is POST. It means nothing to a button that opens a URL."""
    body: JSONObject | None = None
    """The JSON object that a webhook is called with. It means nothing to a button that opens a URL."""


class OpenURLAction(_Action):
    """A button that opens something on the phone.

    Raises:
        InvalidRequestError: A member breaks a rule of the API.
    """

    type: Literal["open_url"] = "open_url"
    url: Annotated[Text, url_of("https://", "http://", "shortcuts://")]
    """``https://``, ``http://`` or ``shortcuts://run-shortcut?name=...``."""


class WebhookAction(_Action):
    """A button on which the service calls a URL.

    Raises:
        InvalidRequestError: A member breaks a rule of the API.
    """

    type: Literal["webhook"] = "webhook"
    url: Annotated[Text, url_of("https://")]
    """``https://`` only."""


class AlertPayload(Model):
    """The notification with sound and banner that goes with a state.

    Raises:
        InvalidRequestError: A member breaks a rule of the API.
    """

    title: Text | None = None
    """Its first line."""
    body: Text | None = None
    """Its text."""


AnyAction: TypeAlias = OpenURLAction | WebhookAction
_ACTIONS: dict[str, type[AnyAction]] = {"open_url": OpenURLAction, "webhook": WebhookAction}


def _to_action(value: Any) -> Any:
    """A model as it is; a mapping as the class that its ``type`` names."""
    if isinstance(value, AnyAction):
        return value
    if not isinstance(value, Mapping):
        raise InvalidRequestError(("", f"must be a mapping or an action, not {kind_of(value)}"))
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in _ACTIONS:
        raise InvalidRequestError(("type", "is required and must be open_url or webhook"))
    return from_mapping(_ACTIONS[kind], value)


def _to_alert(value: Any) -> Any:
    return value if isinstance(value, AlertPayload) else from_mapping(AlertPayload, value)


_AnAction: TypeAlias = Annotated[AnyAction, LazyMember(_to_action)]
_AnAlert: TypeAlias = Annotated[AlertPayload, LazyMember(_to_alert)]


StateInput: TypeAlias = AnyState | Mapping[str, Any]
ActionInput: TypeAlias = AnyAction | Mapping[str, Any]
AlertInput: TypeAlias = AlertPayload | Mapping[str, Any]
MetadataInput: TypeAlias = Mapping[str, str | int | float | Decimal | bool]


class _Members(TypedDict, total=False):
    action: ActionInput | None
    secondary_action: ActionInput | None
    alert: AlertInput | None
    tags: Sequence[str] | None
    metadata: MetadataInput | None


class EndStreamMembers(_Members, total=False):
    """The members of :class:`EndStreamRequest`, as keyword arguments of methods. None means not given."""

    content_state: StateInput | None


class BesideStreamState(_Members, total=False):
    """What may go with the state of a :class:`StreamRequest`, as keyword arguments. None means not given."""

    channels: Sequence[str] | None
    target: Mapping[str, Sequence[str]] | None


class StreamMembers(BesideStreamState, total=False):
    """The members of :class:`StreamRequest`, as keyword arguments of methods. None means not given."""

    content_state: Required[StateInput]


class _Request(Model):
    content_state: State | None = None
    """The state to show."""
    action: _AnAction | None = None
    """A button."""
    secondary_action: _AnAction | None = None
    """A second button, for alert, progress, segmented_progress and value."""
    alert: _AnAlert | None = None
    """A notification with sound and banner."""
    tags: Tags | None = None
    """Strings of 1 to 64 characters that the history can be filtered by; left out keeps the stream's, ``[]`` clears."""
    metadata: Metadata | None = None
    """Strings of up to 4000 characters, finite numbers and booleans for the history; at most 50 entries and 16 KB of
    JSON. Left out keeps the stream's, ``{}`` clears."""


class EndStreamRequest(_Request):
    """The optional body that ends a stream.

    Raises:
        InvalidRequestError: A member breaks a rule of the API.
    """

    if TYPE_CHECKING:

        def __init__(self, /, **members: Unpack[EndStreamMembers]) -> None: ...

    content_state: State | None = None
    """The last state to show; left out, the latest one that the service knows. iOS shows it for two minutes unless its
    ``auto_dismiss_minutes`` or ``auto_dismiss_seconds`` say otherwise."""


class _ChannelTarget(Model):
    channels: Channels
    """Slugs of the channels."""


class StreamRequest(_Request):
    """The body that starts or updates a stream.

    Raises:
        InvalidRequestError: A member breaks a rule of the API.
    """

    if TYPE_CHECKING:

        def __init__(self, /, **members: Unpack[StreamMembers]) -> None: ...

    content_state: State
    """The state to show now; the first one of a stream names its ``type``."""
    channels: Channels | None = None
    """Slugs of the channels whose members see it; left out, the key's scope decides."""
    target: Annotated[_ChannelTarget, BeforeValidator(to_dict)] | None = None
    """The older form of ``channels``; both together must match."""

    @model_validator(mode="after")
    def _check_target(self) -> "StreamRequest":
        if self.channels is not None and self.target is not None and self.channels != self.target.channels:
            raise InvalidRequestError(("target", "differs from channels; give one of them"))
        return self
