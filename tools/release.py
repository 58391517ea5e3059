"""Check what a release has to have, and say each thing that is so.

``release.py WHEEL --tag v0.1.0`` is for a release itself; without a tag the changelog may still be unreleased.
"""

import argparse
import re
import sys
import zipfile
from collections.abc import Iterator
from email import message_from_string
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADING = re.compile(r"^## (?:(Unreleased)|(\d+\.\d+\.\d+\S*) - (\d{4}-\d\d-\d\d))$")


def problems(wheel: Path, tag: str | None) -> Iterator[tuple[str, list[str]]]:
    """What is checked, and what is wrong with each."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = message_from_string(archive.read(name).decode())
    version, changelog = str(metadata["Version"]), (ROOT / "CHANGELOG.md").read_text()
    yield f"the version is {tag or 'a plain one'}", _version(version, tag)
    yield "the changelog's parts are unreleased, or have a version and a date, newest first", _parts(changelog)
    if tag is not None:
        yield f"the changelog's newest part is {version}, and nothing is unreleased", _newest(changelog, version)
    description = str(metadata.get_payload())
    links = re.findall(r'(?:\]\(|(?:src|srcset|href)=")([^)"\s]+)', description)
    yield (
        "the README on PyPI has absolute links only",
        [f"relative link {link}" for link in links if not re.match(r"https?:|mailto:|#", link)],
    )
    yield (
        "the README on PyPI is Markdown",
        [
            f"it is {kind}"
            for kind in [metadata["Description-Content-Type"]]
            if not str(kind).startswith("text/markdown")
        ],
    )


def _version(version: str, tag: str | None) -> list[str]:
    wrong = [] if re.fullmatch(r"\d+\.\d+\.\d+((a|b|rc)\d+)?", version) else [f"{version} is no version for PyPI"]
    return wrong + ([f"the version is {version}, the tag {tag}"] if tag not in (None, f"v{version}") else [])


def _parts(changelog: str) -> list[str]:
    headings = [line for line in changelog.splitlines() if line.startswith("## ")]
    dates = [found[3] for line in headings if (found := HEADING.match(line)) and found[3]]
    wrong = [f"heading {line!r}" for line in headings if not HEADING.match(line)]
    return wrong + (["the dates do not go back in time"] if dates != sorted(dates, reverse=True) else [])


def _newest(changelog: str, version: str) -> list[str]:
    unreleased, *released = re.split(r"^## (?=\d)", changelog.partition("## Unreleased\n")[2], flags=re.MULTILINE)
    wrong = ["it has unreleased entries"] if unreleased.strip() else []
    return wrong + ([] if released and released[0].startswith(f"{version} - ") else [f"{version} has no part"])


def main() -> None:
    """Print the checklist, and fail if something on it is wrong."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--tag", help="the tag that is released, such as v0.1.0")
    options = parser.parse_args()
    failed = False
    for what, wrong in problems(options.wheel, options.tag):
        print(f"{'WRONG' if wrong else 'ok':<6} {what}" + "".join(f"\n       {line}" for line in wrong))
        failed = failed or bool(wrong)
    sys.exit(failed)


if __name__ == "__main__":
    main()
