"""The kinds of values that members have, and what makes one valid (API contract)."""

import json
import math
import numbers
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, StrictBool, StrictStr, StringConstraints
from pydantic_core import PydanticCustomError, PydanticSerializationError, to_jsonable_python

from activitysmith_integrations.core.models.base import encode_json, kind_of

_MAX_METADATA_ENTRIES = 50
_MAX_METADATA_TEXT = 4000
_MAX_METADATA_BYTES = 16 * 1024

# RFC 3986: the characters a URI is made of.
_URI = re.compile(r"[a-z]+://(?![/?#])(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")


def _check_text(value: str) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise PydanticCustomError("text", "holds half a surrogate pair, which UTF-8 cannot carry") from None
    return value


def _check_number(value: Any) -> int | float:
    number: int | float = value if type(value) in (int, float) else _to_number(value)
    if isinstance(number, float) and not math.isfinite(number):
        raise PydanticCustomError("number", "must be a finite number")
    return number


def _to_number(value: Any) -> int | float:
    """A number of another library's, such as numpy's or a database's, as Python's own."""
    number = plain(value)
    if not isinstance(number, bool):
        if isinstance(number, numbers.Integral):
            return int(number)
        if isinstance(number, Decimal):
            return _from_decimal(number)
        if isinstance(number, numbers.Real):
            try:
                return float(number)
            except OverflowError:  # a fraction can be larger than any float
                return math.inf
    raise PydanticCustomError("number", "must be a number, not {kind}", {"kind": kind_of(value)})


def _from_decimal(value: Decimal) -> int | float:
    """Whole ones stay whole: 7, not 7.0."""
    number = float(value) if value.is_finite() else math.inf
    return int(value) if math.isfinite(number) and value == value.to_integral_value() else number


def plain(value: Any) -> Any:
    """What Python has for a value of numpy, pandas and the like; anything else as it is."""
    return value.tolist() if hasattr(value, "dtype") and hasattr(value, "tolist") else value


def _check_whole_number(value: Any) -> int:
    number = _check_number(value)
    if isinstance(number, float):
        if not number.is_integer():
            raise PydanticCustomError("number", "must be a whole number")
        return int(number)
    return number


def _check_metric_value(value: Any) -> int | float | str:
    if isinstance(value, str):
        if not 1 <= len(value) <= 64:
            raise PydanticCustomError("metric", "must be a string of 1 to 64 characters or a number")
        return _check_text(value)
    number = _check_number(value)
    if number < 0:
        raise PydanticCustomError("metric", "must be 0 or more")
    return number


def _check_display_value(value: Any) -> int | float | str:
    return _check_text(value) if isinstance(value, str) else _check_number(value)


def _check_metadata_value(value: Any) -> Any:
    value = plain(value)
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        if len(value) > _MAX_METADATA_TEXT:
            raise PydanticCustomError("metadata", "must be at most 4000 characters")
        return _check_text(value)
    try:
        return _check_number(value)
    except PydanticCustomError:
        raise PydanticCustomError("metadata", "must be a string, a finite number or a boolean") from None


def _check_metadata_size(metadata: dict[str, Any]) -> dict[str, Any]:
    if len(metadata) > _MAX_METADATA_ENTRIES:
        raise PydanticCustomError("metadata", "has more than 50 entries")
    if len(encode_json(metadata)) > _MAX_METADATA_BYTES:
        raise PydanticCustomError("metadata", "is larger than 16 KB of JSON")
    return metadata


def _to_json_object(value: Any) -> Any:
    """The user's own JSON: models, dates, arrays and the like in it become what JSON has for them."""
    if not isinstance(value, Mapping):
        return value
    try:
        with suppress(RecursionError):  # what holds itself is told by the next line
            _refuse_iterators(value)
        body = in_json(dict(value))
        json.dumps(body, allow_nan=False, ensure_ascii=False).encode()
    except (PydanticSerializationError, TypeError, ValueError, RecursionError) as error:
        raise PydanticCustomError("json", "cannot be written as JSON: {fault}", {"fault": str(error)}) from None
    return body


def _refuse_iterators(value: Any) -> None:
    """Raise TypeError for a generator and the like: once it was checked, it has nothing left to send."""
    if isinstance(value, Iterator):
        raise TypeError(f"{kind_of(value)} can be read only once; make it a list")
    if isinstance(value, (Mapping, list, tuple, set, frozenset)):
        for one in value.values() if isinstance(value, Mapping) else value:
            _refuse_iterators(one)


def in_json(value: Any) -> Any:
    """What JSON has for a value, such as a model or a date.

    Args:
        value: The value, and all that it holds.

    Raises:
        PydanticSerializationError, TypeError, ValueError: JSON has nothing for it.
    """
    return to_jsonable_python(value, fallback=_to_jsonable)


def _to_jsonable(value: Any) -> Any:
    found = plain(value)
    if found is value:
        raise TypeError(f"{kind_of(value)} has no form in JSON")
    return found


def to_list(value: Any) -> Any:
    """A collection, such as a tuple or a set, as a list; a text, a mapping and anything else as it is."""
    is_one = isinstance(value, Collection) and not isinstance(value, (str, bytes, bytearray, Mapping))
    return list(value) if is_one else value


def to_dict(value: Any) -> Any:
    """A mapping of any kind as a dict; anything else as it is."""
    return dict(value) if isinstance(value, Mapping) else value


def url_of(*schemes: str) -> AfterValidator:
    """A validator of URLs.

    Args:
        schemes: What a URL may start with.
    """

    def check(url: str) -> str:
        if not url.startswith(schemes):
            raise PydanticCustomError("url", "must start with {schemes}", {"schemes": " or ".join(schemes)})
        if not _URI.fullmatch(url):
            raise PydanticCustomError(
                "url", "is no URL: after the scheme come a host and characters of RFC 3986, others percent-encoded"
            )
        return url

    return AfterValidator(check)


Color: TypeAlias = Literal["lime", "green", "cyan", "blue", "purple", "magenta", "red", "orange", "yellow", "gray"]
StateType: TypeAlias = Literal["segmented_progress", "progress", "metrics", "stats", "alert", "timer", "value"]

Text: TypeAlias = Annotated[StrictStr, AfterValidator(_check_text)]
NonEmptyText: TypeAlias = Annotated[str, StringConstraints(strict=True, min_length=1), AfterValidator(_check_text)]
Tag: TypeAlias = Annotated[
    str, StringConstraints(strict=True, min_length=1, max_length=64), AfterValidator(_check_text)
]

Flag: TypeAlias = Annotated[StrictBool, BeforeValidator(plain)]
if TYPE_CHECKING:
    # What a caller may give. What is kept is one of Python's own numbers.
    _AnyNumber: TypeAlias = int | float | Decimal
else:
    _AnyNumber = int | float
Number: TypeAlias = Annotated[_AnyNumber, BeforeValidator(_check_number)]
PositiveNumber: TypeAlias = Annotated[Number, Field(gt=0)]
Percentage: TypeAlias = Annotated[Number, Field(ge=0, le=100)]
DisplayValue: TypeAlias = Annotated[_AnyNumber | str, BeforeValidator(_check_display_value)]
MetricValue: TypeAlias = Annotated[_AnyNumber | str, BeforeValidator(_check_metric_value)]
WholeNumber: TypeAlias = Annotated[int, BeforeValidator(_check_whole_number), Field(ge=0)]
Steps: TypeAlias = Annotated[int, BeforeValidator(_check_whole_number), Field(ge=1)]

Tags: TypeAlias = Annotated[list[Tag], Field(strict=True), BeforeValidator(to_list)]
Channels: TypeAlias = Annotated[list[Text], BeforeValidator(to_list), Field(strict=True, min_length=1)]
MetadataValue: TypeAlias = Annotated[str | bool | _AnyNumber, BeforeValidator(_check_metadata_value)]
Metadata: TypeAlias = Annotated[
    dict[Text, MetadataValue], BeforeValidator(to_dict), AfterValidator(_check_metadata_size)
]

if TYPE_CHECKING:
    # What a caller may give. What is kept is a list, or a dict.
    Colors: TypeAlias = Sequence[Color]
    JSONObject: TypeAlias = Mapping[str, Any]
else:
    Colors = Annotated[list[Color], BeforeValidator(to_list), Field(strict=True)]
    JSONObject = Annotated[dict[str, Any], BeforeValidator(_to_json_object)]
