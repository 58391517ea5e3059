"""The code of README and site, block by block."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
TEXT = README.read_text()

_ENGINE = re.compile(r"^(?:>>> )?(?:from|import) (?:activitysmith_integrations\.)?(airflow|prefect)\b", re.MULTILINE)
_HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
_FENCE = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A block of code on a page.

    Args:
        page: The file.
        line: The line on which it begins.
        heading: The heading that it stands below.
        language: What it is written in.
        code: The code.
    """

    page: Path
    line: int
    heading: str
    language: str
    code: str

    @property
    def id(self) -> str:
        """Where it is, for the names of tests."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def engine(self) -> str:
        """What it needs: ``airflow``, ``prefect``, or nothing."""
        found = _ENGINE.search(self.code)
        return found[1] if found else ""


def blocks(*languages: str, engine: str | None = None) -> list[Block]:
    """The blocks of all pages, in these languages and for this engine."""
    return [
        block
        for page in PAGES
        for block in _blocks_of(page)
        if block.language in languages and engine in (None, block.engine)
    ]


def languages() -> set[str]:
    """All languages that blocks are written in."""
    return {block.language for page in PAGES for block in _blocks_of(page)}


def _blocks_of(page: Path) -> list[Block]:
    text = page.read_text()
    found = []
    for fence in _FENCE.finditer(text):
        before = text[: fence.start()]
        headings = _HEADING.findall(_FENCE.sub("", before))
        code = re.sub(rf"^{fence[1]}", "", fence[3], flags=re.MULTILINE)
        found.append(Block(page, before.count("\n") + 1, headings[-1] if headings else "", fence[2], code))
    return found


def code() -> dict[str, str]:
    """The Python of the README, by the heading that it stands below."""
    return {block.heading: block.code for block in _blocks_of(README) if block.language == "python"}
