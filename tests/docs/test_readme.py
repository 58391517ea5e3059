"""The README: what a newcomer reads first, on GitHub and on PyPI."""

import re
from pathlib import Path

import pytest
from readme_renderer import markdown
from support.readme import README, ROOT, TEXT, blocks

REPOSITORY = "https://github.com/ActivitySmithHQ/activitysmith-integrations/"
RAW = "https://raw.githubusercontent.com/ActivitySmithHQ/activitysmith-integrations/main/"
SITE = "https://activitysmithhq.github.io/activitysmith-integrations/"
LINKS = re.findall(r"\]\(([^)]+)\)|src=\"([^\"]+)\"|<(http[^>]+)>", TEXT)


def test_it_is_read_in_a_few_minutes() -> None:
    assert len(README.read_bytes()) < 7000


def test_links_and_pictures_work_on_pypi_too() -> None:
    for link in (next(filter(None, found)) for found in LINKS):
        assert link.startswith(("https://", "http://127.0.0.1", "#")), link


@pytest.mark.parametrize("link", sorted({next(filter(None, found)) for found in LINKS}))
def test_a_link_into_the_project_leads_somewhere(link: str) -> None:
    if link.startswith(RAW):
        assert (ROOT / link.removeprefix(RAW)).is_file()
    elif link.startswith(REPOSITORY):
        kind, branch, path = link.removeprefix(REPOSITORY).split("/", 2)
        assert branch == "main"
        found = ROOT / path
        assert found.is_dir() if kind == "tree" else found.is_file()
    elif link.startswith(SITE):
        page = link.removeprefix(SITE).strip("/")
        assert page_of(page).is_file()
    elif link.startswith("#"):
        headings = re.findall(r"^#+ (.+)$", TEXT, re.MULTILINE)
        assert link[1:] in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def page_of(path: str) -> Path:
    """The source of a page of the site."""
    direct = ROOT / "docs" / f"{path}.md"
    return direct if direct.is_file() else ROOT / "docs" / path / "index.md"


def test_pypi_shows_its_picture_and_its_code() -> None:
    html = markdown.render(TEXT)
    assert html is not None
    assert f'src="{RAW}docs/pictures/lock-screen.svg"' in html
    assert html.count("<pre") == sum(block.page == README for block in blocks("console", "python"))


def test_it_has_a_quick_start_for_each_way() -> None:
    quick_starts = [block for block in blocks("python") if block.page == README]
    assert [(block.heading, block.engine) for block in quick_starts] == [
        ("Quick start: Airflow", "airflow"),
        ("Quick start: Prefect", "prefect"),
        ("Quick start: any Python", ""),
    ]
