"""README as a package index shows it (setup.py)."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TARGETS = re.compile(r"\]\(([^)]*)\)")


@pytest.fixture(scope="module")
def setup_py() -> dict:
    return runpy.run_path(str(ROOT / "setup.py"), run_name="read")


def test_no_link_or_picture_leads_nowhere(setup_py: dict) -> None:
    readme = (ROOT / "README.md").read_text()
    relative = [target for target in TARGETS.findall(readme) if not target.startswith("http")]
    assert relative
    shown = setup_py["described"](readme, setup_py["files_address"]())
    assert all(target.startswith("http") for target in TARGETS.findall(shown))
    assert "<!--" not in shown
    assert all(target in shown for target in relative), "what a link was to is still named"


def test_with_an_address_all_lead_there(setup_py: dict) -> None:
    text = "[a](docs/a.md) ![b](docs/b.png)\n[c](https://c.org) [docs/a.md](docs/a.md)"
    assert setup_py["described"](text, "https://x.org/blob/main") == (
        "[a](https://x.org/blob/main/docs/a.md) ![b](https://x.org/blob/main/docs/b.png?raw=true)\n"
        "[c](https://c.org) [docs/a.md](https://x.org/blob/main/docs/a.md)"
    )
    assert setup_py["described"](text, None) == ("a (docs/a.md) *b: docs/b.png*\n[c](https://c.org) docs/a.md")
