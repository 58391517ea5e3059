"""Documents that come from outside: strict JSON, and the requests that are written in it (pure)."""

import json
from typing import Any, TypeVar

from activitysmith_integrations.core.errors import InvalidRequestError
from activitysmith_integrations.core.models import EndStreamRequest

_RequestT = TypeVar("_RequestT", bound=EndStreamRequest)


def read_request(model: type[_RequestT], raw: bytes) -> _RequestT:
    """A request's body as its model.

    Raises:
        InvalidRequestError: It is not a JSON object, or breaks a rule of the API.
    """
    return request_of(model, json_object(raw))


def request_of(model: type[_RequestT], document: dict[str, Any]) -> _RequestT:
    """A request's JSON as its model.

    Raises:
        InvalidRequestError: It breaks a rule of the API.
    """
    for name, member in document.items():
        # To the models None means not given; on the wire it is null, which the API does not take.
        if member is None:
            raise InvalidRequestError((name, "is null; leave it out instead"))
    return model(**document)


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
    """A JSON document, None where it is none."""
    try:
        return _load(raw)
    except ValueError:
        return None


def _load(raw: bytes) -> Any:
    """Strict JSON: without the NaN and Infinity that Python takes for numbers.

    Raises:
        ValueError: It is not JSON.
    """
    try:
        return json.loads(raw, parse_constant=_finite, parse_float=_finite)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _finite(text: str) -> float:
    number = float(text)
    if number - number != 0:
        raise ValueError(f"{text} is no JSON number of a size that can be kept")
    return number
