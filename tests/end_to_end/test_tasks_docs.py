"""The Python in docs/tasks.md, and what the page says of it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from ranked_tars import write_ranked
from repository import ROOT

from stages.coverage import CoverageConfig, measure_coverage
from storage.contents import open_any

PAGE = ROOT / "docs" / "tasks.md"


def test_scores_of_another_method_stand_beside_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_ranked(tmp_path / "work", {"a": ["a1", "a2"], "b": ["b1"]})
    (tmp_path / "work" / "tars").rename(tmp_path / "work" / "shards")
    monkeypatch.chdir(tmp_path)
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(block, PAGE.name, "exec"), {})
    store, content = open_any("work/contrast")
    for shard in ("a", "b"):
        assert content.check(store.read_shard(shard), store.settings)[1] == []
    config = CoverageConfig(shards=["work/shards"], ranks="work/contrast", out="out", select=["topk"], keep_ratio=[0.5])
    ((_, result),) = measure_coverage(config, lambda through, total: None)
    assert (result.line, result.kept, result.images) == ("contrast topk", 32, 3)
    assert np.isfinite(list(result.metrics.values())).all()
