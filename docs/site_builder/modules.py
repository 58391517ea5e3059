"""What each module is for, from the first line of its docstring. Nothing is imported: engines need not be there."""

import ast
from pathlib import Path

from site_builder.members import table

_PACKAGE = Path(__file__).parents[2] / "activitysmith_integrations"


def modules(folder: str) -> str:
    """The modules of a folder of the package, as a table.

    Args:
        folder: The folder, such as ``core/runs``.
    """
    files = sorted(file for file in (_PACKAGE / folder).glob("*.py") if file.stem not in ("__init__", "__main__"))
    return table(("module", "what it is for"), [(f"`{file.stem}`", _purpose(file)) for file in files])


def _purpose(file: Path) -> str:
    docstring = ast.get_docstring(ast.parse(file.read_text())) or ""
    return docstring.partition("\n\n")[0].replace("\n", " ").replace("``", "`")
