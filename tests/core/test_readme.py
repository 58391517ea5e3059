import re
from pathlib import Path

from support.pictures import table

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_table_of_pictures_is_what_the_code_draws() -> None:
    found = re.search(r"<!-- pictures -->\n(.*)<!-- /pictures -->", README, re.DOTALL)
    assert found
    assert found[1].strip() == table(), f"put this between the marks:\n{table()}"
