"""What MkDocs calls while it builds the site.

A line ``<!-- site: name argument ... -->`` in a page is replaced by what the function of that name makes.
"""

import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

from site_builder import cards, errors, figures, looks, modules, reference, simulation, states  # noqa: E402 - found by the line above

_MAKERS: dict[str, Callable[..., str]] = {
    "buttons": states.buttons,
    "card": lambda name: cards.card_of(cards.picture(name)),
    "colors": states.colors,
    "errors": errors.errors,
    "figure": figures.figure,
    "looks": looks.looks,
    "modules": modules.modules,
    "moments": looks.moments,
    "parts": states.parts,
    "reference-of-core": reference.reference_of_core,
    "requests": states.requests,
    "scale": simulation.scale,
    "sandbox-routes": reference.sandbox_routes,
    "states": states.states,
}
_DIRECTIVE = re.compile(r"^<!-- site: (.*) -->$", re.MULTILINE)
# Docstrings name other things as Sphinx does; a page shows their names alone.
_ROLE = re.compile(r":(?:class|func|meth|mod|attr|data):<code>~?([^<]*)</code>")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put in what is made from the code."""

    def made(found: re.Match[str]) -> str:
        name, *arguments = shlex.split(found[1])
        return _MAKERS[name](*arguments)

    return _DIRECTIVE.sub(made, markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Turn Sphinx's roles into plain code."""
    return _ROLE.sub(lambda found: f"<code>{found[1].rpartition('.')[2]}</code>", html)


def on_post_page(output: str, **_: Any) -> str:
    """Name the theme's search for screen readers."""
    return output.replace(
        'data-md-component="search" role="dialog"', 'data-md-component="search" role="dialog" aria-label="Search"'
    )


def on_post_build(config: Any, **_: Any) -> None:
    """Write the colors of the cards beside the site's own stylesheet."""
    folder = Path(config["site_dir"]) / "assets"
    with (folder / "site.css").open("a") as file:
        file.write(cards.stylesheet())
