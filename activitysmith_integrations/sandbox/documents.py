"""Request bodies and files: strict JSON, and the models that it becomes (pure)."""

import json
from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from activitysmith_integrations.core.errors import InvalidRequestError
from activitysmith_integrations.core.models.requests import EndStreamRequest, StreamRequest

_MAX_DEPTH = 64


class SandboxRequest(BaseModel):
    """The base of the bodies that the sandbox's own routes take."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


_StreamRequestT = TypeVar("_StreamRequestT", EndStreamRequest, StreamRequest)
_SandboxRequestT = TypeVar("_SandboxRequestT", bound=SandboxRequest)


def parse_stream_request(model: type[_StreamRequestT], raw: bytes) -> _StreamRequestT:
    """The body of a PUT or DELETE of a stream.

    Raises:
        InvalidRequestError: It is not a JSON object, or breaks a rule of the API.
    """
    return stream_request(model, json_object(raw))


def stream_request(model: type[_StreamRequestT], document: dict[str, Any]) -> _StreamRequestT:
    """The model of a stream request that is parsed already.

    Raises:
        InvalidRequestError: It breaks a rule of the API.
    """
    for name, value in document.items():
        # To the models None means not given. On the wire it is null, which the API does not take.
        if value is None:
            raise InvalidRequestError((name, "is null; leave it out instead"))
    return model(**document)


def parse_sandbox_request(model: type[_SandboxRequestT], raw: bytes) -> _SandboxRequestT:
    """The body of a request to one of the sandbox's own routes.

    Raises:
        InvalidRequestError: It is not a JSON object, or not as the model wants it.
    """
    try:
        return model(**json_object(raw))
    except ValidationError as error:
        raise InvalidRequestError(*(_problem(model, detail) for detail in error.errors())) from None


def _problem(model: type[BaseModel], detail: Mapping[str, Any]) -> tuple[str, str]:
    member = ".".join(str(part) for part in detail["loc"])
    if detail["type"] == "extra_forbidden":
        return member, f"is not a member; known are {', '.join(model.model_fields)}"
    return member, str(detail["msg"]).removeprefix("Value error, ")


def json_object(raw: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        InvalidRequestError: It is something else.
    """
    try:
        document = _load(raw)
    except ValueError as error:
        raise InvalidRequestError(("", f"the body is not JSON: {error}")) from None
    if not isinstance(document, dict):
        raise InvalidRequestError(("", "the body must be a JSON object"))
    return document


def json_or_none(raw: bytes) -> Any:
    """A JSON document; None where it is not JSON."""
    try:
        return _load(raw)
    except ValueError:
        return None


def _load(raw: bytes) -> Any:
    """Strict JSON: without NaN and Infinity, with numbers that a double can hold, as in the service, and not too deep.

    Raises:
        ValueError: It is not that.
    """
    too_deep = ValueError(f"it is nested more than {_MAX_DEPTH} levels deep")
    try:
        document = json.loads(raw, parse_constant=_finite, parse_float=_finite, parse_int=_integer)
    except RecursionError:
        raise too_deep from None
    if _is_deeper_than(_MAX_DEPTH, document):
        raise too_deep
    return document


def _finite(text: str) -> float:
    number = float(text)
    if number - number != 0:
        raise ValueError(f"{text:.20} is not a number that a double can hold")
    return number


def _integer(text: str) -> int:
    _finite(text)
    return int(text)


def _is_deeper_than(levels: int, document: Any) -> bool:
    values = [document]
    for _ in range(levels + 1):
        containers = [value for value in values if isinstance(value, dict | list)]
        if not containers:
            return False
        values = [
            member
            for container in containers
            for member in (container.values() if isinstance(container, dict) else container)
        ]
    return True
