"""What all models have in common: when they are built, and how they speak of a broken rule."""

import ast
import functools
import inspect
import itertools
import json
import re
import textwrap
import threading
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import (
    CoreSchema,
    ErrorDetails,
    PydanticCustomError,
    PydanticSerializationError,
    core_schema,
)

from activitysmith_integrations.core import forks
from activitysmith_integrations.core.errors import InvalidRequestError, error_text, join_path
from activitysmith_integrations.core.suggest import unknown_name

# The contract's deepest member has five levels; what is within a webhook's body does not count.
_MAX_LEVELS = 32

_ModelT = TypeVar("_ModelT", bound="Model")


class _BuildLock:
    """Two threads that build one model at a time spoil it for each other (pydantic 2.11)."""

    def __init__(self) -> None:
        self.renew()
        # A child may be forked while another thread of its parent holds the lock.
        forks.in_child(self.renew)

    def renew(self) -> None:
        """Start with a lock that nobody holds."""
        self.lock = threading.RLock()


_building = _BuildLock()


class LazyModel(BaseModel):
    """Frozen, and built on first use: a file that only imports the package does not pay for its validators."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    def __init__(self, /, **members: Any) -> None:
        if not type(self).__pydantic_complete__:
            with _building.lock:
                type(self).model_rebuild()
        super().__init__(**members)


class Model(LazyModel):
    """Refuses members that it does not know; speaks of a broken rule as ``InvalidRequestError``.

    A member that is None counts as not given.
    """

    model_config = ConfigDict(extra="forbid")

    def __init__(self, /, **members: Any) -> None:
        try:
            super().__init__(**{name: value for name, value in members.items() if value is not None})
        except ValidationError as error:
            raise _to_invalid_request(type(self), error) from None
        except Exception as error:  # whatever a value of the user's own does when it is looked at
            raise InvalidRequestError(("", f"holds a value that cannot be read: {error_text(error)}")) from error

    def model_post_init(self, context: Any, /) -> None:
        """Count a fixed type as given."""
        # A class that fixes its type says so on the wire; nothing else is sent that was not given.
        if "type" in type(self).model_fields and getattr(self, "type", None) is not None:
            self.model_fields_set.add("type")

    def to_wire(self) -> dict[str, Any]:
        """The members that were given, as JSON-ready values."""
        return self.model_dump(exclude_unset=True)

    def encode(self) -> bytes:
        """:meth:`to_wire` as compact UTF-8 JSON.

        Raises:
            InvalidRequestError: A value cannot be written as JSON.
        """
        try:
            return self.model_dump_json(exclude_unset=True).encode()
        except (PydanticSerializationError, ValueError) as error:
            raise InvalidRequestError(("", f"cannot be written as JSON: {error}")) from None


class LazyMember:
    """Marks a member that one function makes a model of, so that no validator is built for models that nobody uses.

    Args:
        convert: Gives the model; what it raises is the member's fault.
    """

    def __init__(self, convert: Callable[[Any], Any]) -> None:
        self._convert = convert

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """What pydantic asks of an annotation."""
        return core_schema.no_info_plain_validator_function(self._convert)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """What pydantic asks for a JSON schema, such as FastAPI's."""
        return {"type": "object"}


def from_mapping(model: type[_ModelT], value: Any) -> _ModelT:
    """A model of a mapping as the API would read it: None is null there, and no member may be null.

    Raises:
        InvalidRequestError: It is no mapping, holds a null, or breaks a rule of the API.
    """
    if not isinstance(value, Mapping):
        raise InvalidRequestError(("", f"must be a mapping or {model.__name__}, not {kind_of(value)}"))
    _refuse_nulls(value, "", _MAX_LEVELS)
    return model(**value)


def to_model(model: type[_ModelT]) -> Callable[[Any], _ModelT]:
    """A function that makes a model of a mapping, and leaves the model as it is."""

    def convert(value: Any) -> _ModelT:
        if isinstance(value, model):
            return value
        if not isinstance(value, Mapping):
            raise PydanticCustomError("object", "must be an object")
        return from_mapping(model, value)

    return convert


def kind_of(value: Any) -> str:
    """The kind of a value, in JSON's words where it has one."""
    return {type(None): "null", bool: "a boolean", str: "a string"}.get(type(value), type(value).__name__)


def _refuse_nulls(value: Any, path: str, levels: int) -> None:
    if value is None:
        raise InvalidRequestError((path, "is null; leave it out instead"))
    if isinstance(value, Mapping):
        members = list(value.items())
    elif isinstance(value, (list, tuple)):
        members = [(str(index), member) for index, member in enumerate(value)]
    else:
        return
    if not levels:
        raise InvalidRequestError((path.partition(".")[0], f"is nested more than {_MAX_LEVELS} levels deep"))
    for name, member in members:
        if not isinstance(name, str):
            raise InvalidRequestError((path, f"member names must be strings, not {kind_of(name)}"))
        # What is within a webhook's body is the user's own JSON.
        if name != "body" or member is None:
            _refuse_nulls(member, join_path(path, name), levels - 1)


_RULES = {
    "missing": "is required",
    "string_type": "must be a string",
    "string_too_short": "must not be empty",
    "too_short": "must not be empty",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "dict_type": "must be an object",
    "model_type": "must be an object",
}
_PYDANTIC_SUBJECT = re.compile(r"^(Input|String|List|Value) should ")


def _to_invalid_request(model: type[BaseModel], error: ValidationError) -> InvalidRequestError:
    problems: list[tuple[str, str]] = []
    for detail in error.errors(include_url=False):
        path = ".".join(str(part) for part in detail["loc"])
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, InvalidRequestError):
            problems += cause.within(path).problems
        else:
            problems.append((path, _rule(model, detail)))
    return InvalidRequestError(*problems)


def _rule(model: type[BaseModel], detail: ErrorDetails) -> str:
    if not detail["loc"]:  # of a name that is no text pydantic does not say where it is
        return "has a member whose name holds half a surrogate pair, which UTF-8 cannot carry"
    name = str(detail["loc"][-1])
    if detail["type"] == "extra_forbidden":
        return f"is not a member; {unknown_name(name, model.model_fields)}"
    rule = _RULES.get(detail["type"]) or _PYDANTIC_SUBJECT.sub("must ", detail["msg"])
    meaning = member_docs(model).get(name) if len(detail["loc"]) == 1 else None
    return f"{rule} ({meaning})" if meaning else rule


@functools.cache
def member_docs(model: type[BaseModel]) -> dict[str, str]:
    """What each member of a model means, from the text below its declaration; without its last full stop.

    Read when something is refused, since reading the source takes longer than most programs use a model. A source
    that is not there explains nothing.

    Args:
        model: The model; the members of its bases count.
    """
    docs: dict[str, str] = {}
    for one in reversed(model.__mro__):
        if issubclass(one, BaseModel) and one.__module__.startswith(__package__):
            docs |= _docs_in_source(one)
    return docs


def _docs_in_source(model: type[BaseModel]) -> dict[str, str]:
    try:
        definition = ast.parse(textwrap.dedent(inspect.getsource(model))).body[0]
    except (OSError, TypeError):
        return {}
    lines = definition.body if isinstance(definition, ast.ClassDef) else []
    found = {}
    for declared, text in itertools.pairwise(lines):
        if isinstance(declared, ast.AnnAssign) and isinstance(declared.target, ast.Name):
            doc = _text_of(text)
            if doc:
                found[declared.target.id] = " ".join(doc.split()).removesuffix(".").replace("``", "")
    return found


def _text_of(line: ast.stmt) -> str | None:
    if isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str):
        return line.value.value
    return None


def encode_json(value: Any) -> bytes:
    """Compact UTF-8 JSON.

    Raises:
        InvalidRequestError: The value cannot be written as JSON.
    """
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidRequestError(("", f"cannot be written as JSON: {error}")) from None
