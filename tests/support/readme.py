"""The README's code."""

from pathlib import Path

TEXT = (Path(__file__).parents[2] / "README.md").read_text()


def code() -> dict[str, str]:
    """The Python of the README, by the heading that it stands below."""
    found = {}
    for section in f"\n{TEXT}".split("\n## ")[1:]:
        _, *blocks = section.split("\n```python\n")
        if blocks:
            found[section.partition("\n")[0]] = "\n".join(block.partition("\n```")[0] for block in blocks)
    return found
