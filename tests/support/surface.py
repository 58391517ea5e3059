"""The public interface of a module, written down so that a change of it can be seen."""

import inspect
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, is_typeddict

from pydantic import BaseModel

OURS = "activitysmith_integrations"
KEPT = Path(__file__).parents[1] / "surface"


def check(package: str, *modules: types.ModuleType) -> None:
    """Fail where the public interface of these modules is not the one written down for the package."""
    found = "\n".join(f"{module.__name__}\n{_surface(module)}\n" for module in modules)
    file = KEPT / f"{package}.txt"
    assert found == file.read_text(), f"if it was meant to change, {file.name} is to say:\n{found}"


def _surface(module: types.ModuleType) -> str:
    """One line for each public name: functions and classes with what they take (``name=`` may be left out).

    Indented below a class are the methods and properties that it adds.
    """
    names = getattr(module, "__all__", None) or _defined_in(module)
    return "\n".join(f"  {line}" for name in names for line in _lines(name, getattr(module, name)))


def _defined_in(module: types.ModuleType) -> Iterator[str]:
    """The public names of a module that has no ``__all__``: what it defines itself."""
    for name, value in vars(module).items():
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__:
            yield name


def _lines(name: str, value: Any) -> Iterator[str]:
    if is_typeddict(value):
        members = [member if member in value.__required_keys__ else f"{member}=" for member in value.__annotations__]
        yield f"{name}: {', '.join(members)}"
    elif isinstance(value, type) and issubclass(value, Exception):
        yield f"{name}({_parameters(value.__init__)}), {' and '.join(_public_bases(value))}"
        yield from sorted(_members(value))
    elif isinstance(value, type):
        yield f"{name}({_parameters_of(value)})"
        yield from sorted(_members(value))
    elif hasattr(value, "fn"):  # a Prefect task
        yield f"{name}({_parameters(value.fn)})"
    elif inspect.isroutine(value):
        yield f"{name}({_parameters(value)})"
    else:
        yield f"{name}: {_alternatives(value)}" if _alternatives(value) else name


def _public_bases(cls: type) -> Iterator[str]:
    """The names of a class's bases, in place of a private one the names of its own bases."""
    for base in cls.__bases__:
        if base.__name__.startswith("_"):
            yield from _public_bases(base)
        else:
            yield base.__name__


def _alternatives(value: Any) -> str:
    """The words that a Literal allows."""
    return " | ".join(word for word in get_args(value) if isinstance(word, str))


def _parameters_of(cls: type) -> str:
    if issubclass(cls, BaseModel):
        return ", ".join(
            name if field.is_required() else f"{name}="
            for name, field in cls.model_fields.items()
            if not name.startswith("_")
        )
    return _parameters(cls)


def _parameters(function: Any) -> str:
    written: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.name == "self":
            continue
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in written:
            written.append("*")
        stars = "*" if parameter.kind is parameter.VAR_POSITIONAL else ""
        stars = "**" if parameter.kind is parameter.VAR_KEYWORD else stars
        optional = "" if parameter.default is parameter.empty else "="
        written.append(f"{stars}{parameter.name}{optional}")
    return ", ".join(written)


def _members(cls: type) -> Iterator[str]:
    """The methods and properties that our classes add, those of our own bases included."""
    seen = set()
    for base in cls.__mro__:
        for name, value in vars(base).items() if base.__module__.startswith(OURS) else ():
            if name in seen or name.startswith(("_", "model_")):
                continue
            seen.add(name)
            if isinstance(value, property):
                yield f"    {name}"
            elif isinstance(value, (types.FunctionType, classmethod, staticmethod)):
                bound = value.__get__(None, cls) if isinstance(value, (classmethod, staticmethod)) else value
                yield f"    .{name}({_parameters(bound)})"
