"""What members mean and which values they take, from where they are declared."""

import ast
import inspect
import itertools
import textwrap
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, TypeAdapter

from activitysmith_integrations.core.models.base import member_docs
from activitysmith_integrations.core.models.fields import Color

_COLORS = get_args(Color)


def table_of(model: type[BaseModel], *, left_out: Collection[str] = ()) -> str:
    """A model's members as a table: name, form, meaning.

    Args:
        model: The model.
        left_out: The names of members that the table does not have.
    """
    docs = member_docs(model)
    rows = []
    for name, field in model.model_fields.items():
        if name in left_out or _is_fixed(field.annotation):
            continue
        required = " (required)" if field.is_required() else ""
        form = form_of(Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation)
        rows.append((f"`{name}`{required}", form, f"{docs.get(name, '')}."))
    return table(("member", "form", "meaning"), rows)


def _is_fixed(annotation: Any) -> bool:
    """Whether a member has one value only, such as the type of a state."""
    return get_origin(annotation) is Literal and len(get_args(annotation)) == 1


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)


def form_of(annotation: Any) -> str:
    """The kind of value that a member takes, in words; what it means says the limits.

    Args:
        annotation: Its type.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated and all(_is_model(one) for one in get_args(arguments[0]) or arguments[:1]):
        return _linked(arguments[0])
    if origin is Annotated and get_origin(arguments[0]) is list:
        return form_of(arguments[0])
    if origin is list:
        return f"list of {form_of(arguments[0]).partition(',')[0]}"
    if type(None) in arguments:
        (first,) = (one for one in arguments if one is not type(None))
        return form_of(first)
    return _form(TypeAdapter(annotation).json_schema())


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _linked(kind: Any) -> str:
    """A model by its name, or what several have in common."""
    names = [one.__name__ for one in get_args(kind) or (kind,)]
    if len(names) > 2:
        return "a [state](#types)"
    if names[0].startswith("_"):
        return "mapping"
    return " or ".join(f"[{name}](#{name.lower()})" for name in names)


def _form(schema: Mapping[str, Any]) -> str:
    if "enum" in schema:
        choices = tuple(schema["enum"])
        return "[color](#colors)" if choices == _COLORS else " or ".join(f"`{choice}`" for choice in choices)
    if "anyOf" in schema:
        forms = dict.fromkeys(_form(one) for one in schema["anyOf"])
        if "number" in forms:
            forms.pop("whole number", None)
        return " or ".join(forms)
    return "text, not empty" if schema.get("minLength") else _KINDS[schema["type"]]


_KINDS = {
    "boolean": "`True` or `False`",
    "integer": "whole number",
    "number": "number",
    "object": "mapping",
    "string": "text",
}


def attribute_docs(owner: type) -> dict[str, str]:
    """The texts below the attributes of a class that is no model, such as a ``TypedDict``."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
    lines = definition.body if isinstance(definition, ast.ClassDef) else []
    return {
        declared.target.id: " ".join(str(text.value.value).split()).replace("``", "`")
        for declared, text in itertools.pairwise(lines)
        if isinstance(declared, ast.AnnAssign)
        and isinstance(declared.target, ast.Name)
        and isinstance(text, ast.Expr)
        and isinstance(text.value, ast.Constant)
    }
