"""The API reference: which names there are, from where the package itself has them."""

import ast
from pathlib import Path

from activitysmith_integrations import core
from activitysmith_integrations.sandbox import control


def reference_of_core() -> str:
    """The public names of core, each where it is defined."""
    modules = _modules()
    kinds = {
        "Clients and live progress": ("Client", "LiveActivity", "RetryPolicy", "EndOptions", "stream_key"),
        "States and their parts": ("State", "Icon", "Badge", "Metric", "Color"),
        "Requests and responses": ("Request", "Response", "Action", "AlertPayload", "Input", "Members"),
    }
    placed: dict[str, list[str]] = {heading: [] for heading in (*kinds, "Errors")}
    for name in sorted(modules):
        heading = next((kind for kind, ends in kinds.items() if name.endswith(ends)), "Errors")
        placed[heading].append(name)
    return "\n\n".join(
        f"## {heading}\n\n" + "\n\n".join(f"::: {modules[name]}.{name}" for name in several)
        for heading, several in placed.items()
    )


def _modules() -> dict[str, str]:
    """Where each public name is defined, as the stub says that editors read."""
    stub = ast.parse(Path(core.__file__).with_suffix(".pyi").read_text())
    imports = (node for node in stub.body if isinstance(node, ast.ImportFrom))
    return {alias.name: str(node.module) for node in imports for alias in node.names}


def sandbox_routes() -> str:
    """What the sandbox says of itself at ``/sandbox``."""
    return f"```text\n{control._INDEX}```"
