"""What docs/python.md shows runs as it stands, but for a smaller MAE."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from repository import ROOT


def test_the_examples_of_the_page_run(small_mae: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("xarray")
    monkeypatch.chdir(tmp_path)
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    assert page.count('mae="ltrp-mae-112"') == 1
    page = page.replace('mae="ltrp-mae-112"', f'mae="{small_mae}", mask_ratio=0.75')
    names: dict[str, Any] = {}
    for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL):
        exec(block, names)
    assert len(names["scores"].maps) == 60
    assert names["covered"].to_pandas()["keep_ratio"].unique().tolist() == [0.25]
