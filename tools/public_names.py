"""Write the stub of the core's public names, which type checkers and editors read, from the table in the package."""

from pathlib import Path

from activitysmith_integrations import core

STUB = Path(core.__file__).with_suffix(".pyi")
# Private, so that the stub does not show it.
TABLE: dict[str, tuple[str, ...]] = vars(core)["_MODULES"]


def stub() -> str:
    """The stub's text."""
    lines = ["# Written by tools/public_names.py from the table in __init__.py.", ""]
    for module, names in TABLE.items():
        listed = "".join(f"    {name} as {name},\n" for name in sorted(names, key=str.lower))
        lines.append(f"from {core.__name__}.{module} import (\n{listed})")
    exported = "".join(f'    "{name}",\n' for name in core.__all__)
    return "\n".join([*lines, "", f"__all__ = [\n{exported}]", ""])


if __name__ == "__main__":
    STUB.write_text(stub())
