"""The rankers that the package brings along."""

from __future__ import annotations

import configparser
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from repository import ROOT
from small_models import write_ranker

from ranker.card import card
from ranker.patch_ranker import PatchRanker
from ranker.pretrained import read_ranker
from ranker.zoo import MODELS, is_shipped, shipped_rankers
from stages.settings.choices import DEFAULT_RANKER as DEFAULT

MOST_BYTES = 12_000_000
"""Of all that are shipped."""


@pytest.fixture(scope="module")
def ranker() -> PatchRanker:
    return PatchRanker.from_pretrained(DEFAULT)


def test_the_default_is_there_by_its_name(ranker):
    assert DEFAULT in shipped_rankers()
    assert ranker.config.grid == 14, "that of ViT-B/16 at 224"
    assert ranker.config.head == "token", "so that it takes any grid"


def test_what_is_shipped_is_small_and_in_half_precision():
    assert sum(each.stat().st_size for each in MODELS.rglob("*") if each.is_file()) < MOST_BYTES
    for name in shipped_rankers():
        assert {each.dtype for each in read_ranker(name).weights.values()} == {torch.float16}


def test_all_that_is_shipped_is_in_the_wheel():
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    patterns = settings["options.package_data"]["ranker"].split()
    packed = {each for pattern in patterns for each in (ROOT / "ranker").glob(pattern)}
    assert packed == {each for each in MODELS.rglob("*") if each.is_file()}


@pytest.mark.parametrize("name", shipped_rankers())
def test_a_card_tells_data_terms_figures_and_checksum(name):
    written = (MODELS / name / "README.md").read_text(encoding="utf-8")
    header = yaml.safe_load(written.split("---")[1])
    assert header["license"] not in (None, "unknown")
    checkpoint = read_ranker(name)
    assert checkpoint.sha256 in written, "the checksum is that of the weights"
    for section in ("## Data and terms", "## Figures", "## Training"):
        assert section in written
    assert "Not told." not in written
    assert "Nothing is known." not in written
    assert checkpoint.sha256 in card(checkpoint, name)


@pytest.mark.parametrize(("row", "column"), [(2, 2), (5, 6), (9, 3)])
def test_what_stands_out_of_a_plain_ground_ranks_first(ranker, row, column):
    """A disc of another colour with a texture, anywhere: most of its patches are in the best tenth."""
    size, patch = ranker.config.image_size, ranker.config.patch_size
    y, x = np.mgrid[:size, :size] / patch
    inside = (y - row - 1.5) ** 2 + (x - column - 1.5) ** 2 < 1.5**2
    image = np.full((size, size, 3), (120, 140, 160), dtype=np.uint8)
    stripes = np.where((x * 4).astype(int) % 2, 230, 40)[..., None] * np.array([1, 0.6, 0.2])
    image[inside] = stripes[inside].astype(np.uint8)
    kept = ranker.keep(torch.tensor(image).permute(2, 0, 1)[None], 0.1)[0]
    near = sum(row - 1 <= each // 14 <= row + 3 and column - 1 <= each % 14 <= column + 3 for each in kept.tolist())
    assert near > len(kept) / 2


def test_a_folder_of_that_name_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_shipped(DEFAULT)
    write_ranker(Path(DEFAULT))
    assert not is_shipped(DEFAULT)
    assert PatchRanker.from_pretrained(DEFAULT).config.grid != 14


def test_a_name_that_is_none_is_told_which_there_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=rf"^ltrp-huge: no ranker there: expected .* or .*{DEFAULT}"):
        PatchRanker.from_pretrained("ltrp-huge")
