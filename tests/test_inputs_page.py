"""docs/inputs.md says what happens to odd inputs: each row names the test that shows it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROWS = re.findall(
    r"`(\w+/\w+\.py)::(test_\w+)` \|$", (ROOT / "docs/inputs.md").read_text(encoding="utf-8"), re.MULTILINE
)


@pytest.mark.parametrize(("file", "name"), ROWS, ids=[name for _, name in ROWS])
def test_a_row_names_a_test_that_there_is(file: str, name: str) -> None:
    code = (ROOT / "tests" / file).read_text(encoding="utf-8")
    assert re.search(rf"^def {name}\(", code, re.MULTILINE), f"{file} has no {name}"


def test_the_page_has_rows() -> None:
    assert len(ROWS) > 60
