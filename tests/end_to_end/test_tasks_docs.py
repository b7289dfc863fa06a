"""The Python in docs/tasks.md, and what the page says of it."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from ranked_tars import write_ranked
from repository import ROOT

from pipeline.cli import main
from stages.comparison.result import read_result
from stages.images.views import evaluation_view
from stages.ranking.comparators import colour_contrast
from storage.locations import locate
from storage.patch_store import PatchStore
from storage.ranks import CONTENT, read_ranks
from storage.shard_files import read_shard
from storage.shard_index import expand_shards

PAGE = ROOT / "docs" / "tasks.md"
SIDE, PATCHES = 40, 64


@pytest.fixture(autouse=True)
def _shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """work/shards of four scenes."""
    write_ranked(tmp_path / "work", {"a": ["a1", "a2"], "b": ["b1", "b2"]})
    (tmp_path / "work" / "tars").rename(tmp_path / "work" / "shards")
    monkeypatch.chdir(tmp_path)


def call(*arguments: Any) -> str:
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def write_by_the_page() -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(block, PAGE.name, "exec"), {})


def write_by_the_page_of_earlier_versions() -> None:
    """With `PatchStore` alone, so that no run has listed the shards."""
    settings = {"selector": "contrast", "patches": PATCHES, "views": 1, "views.crop": 0.875}
    sizes = {"ranker.image_size": 64, "ranker.patch_size": 8}
    store = PatchStore.create_or_open("work/contrast", CONTENT, {**settings, **sizes})
    for shard in expand_shards(["work/shards"]):
        tar = read_shard(shard)
        keys = [sample.key for sample in tar]
        arrays = {
            "key": np.array(keys, dtype=object),
            "box": np.array([[evaluation_view(SIDE, SIDE, crop=0.875).box]] * len(keys), dtype=np.int32),
            "flip": np.zeros((len(keys), 1), dtype=bool),
            "score": np.random.default_rng(0).random((len(keys), 1, PATCHES)).astype(np.float32),
        }
        store.write_shard(shard.name, arrays, samples=tar.nsamples, left_out=[], tar_bytes=tar.nbytes, tar_md5=tar.md5)


@pytest.mark.parametrize("write", [write_by_the_page, write_by_the_page_of_earlier_versions])
def test_scores_of_another_method_are_taken_by_every_command_as_ranks_are(write: Any) -> None:
    write()
    data = ["--shards", "work/shards", "--ranks", "work/contrast"]
    small = ["--size", "nano", "--epochs", 2, "--warmup-epochs", 1, "--batch-size", 4, "--device", "cpu"]
    assert "2 of 2 shards are whole, 0 damaged, 0 missing." in call("verify", "work/contrast")
    told = call("status", "work/contrast")
    assert "shards    2\n  done    2" in told
    assert "samples   4 in the shards that are done: 4 ranked, 0 skipped" in told
    call("coverage", *data, "--out", "covered", "--select", "topk", "--keep-ratio", 0.5)
    call("train-task", "classify", *data, *small, "--keep-ratio", 0.5, "--out", "trained", "--no-throughput")
    model = "trained/topk-0.5-seed0"
    call("evaluate-task", "--model", model, *data, "--no-throughput", "--device", "cpu", "--out", "judged")
    for folder in ("covered/topk-0.5-seed0", "judged"):
        result = read_result(locate(folder))
        assert (result.line, result.kept, result.images) == ("contrast topk", 32, 4)
        assert all(value is not None and np.isfinite(value) for value in result.metrics.values())
    assert not PatchStore.open("work/contrast", CONTENT).books.damaged()


def test_what_an_earlier_verify_marked_damaged_for_want_of_a_list_is_whole_again() -> None:
    write_by_the_page_of_earlier_versions()
    books = PatchStore.open("work/contrast", CONTENT).books
    for name in "ab":
        books.mark_damaged(name, ["not in books/shards.json"])
    assert books.done() == set()
    assert "their records were believed" in call("verify", "work/contrast")
    assert books.done() == {"a", "b"}


def test_the_scores_of_the_page_are_those_of_its_method() -> None:
    write_by_the_page()
    store = PatchStore.open("work/contrast", CONTENT)
    for shard in expand_shards(["work/shards"]):
        ranks = read_ranks(store, shard.name)
        for row, sample in enumerate(read_shard(shard)):
            image = Image.open(io.BytesIO(sample.image)).convert("RGB")
            left, top, width, height = ranks.box[row, 0].tolist()
            crop = image.resize((64, 64), Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))
            expected = colour_contrast(torch.tensor(np.array(crop)).permute(2, 0, 1)[None], 8)[0].numpy()
            assert ranks.key[row] == sample.key
            np.testing.assert_allclose(ranks.score[row, 0], expected, rtol=1e-5)
