"""The MAEs that the package includes."""

from __future__ import annotations

import configparser
import shutil
from pathlib import Path

import matplotlib
import pytest
import torch
import yaml
from PIL import Image
from repository import ROOT

from ranker.zoo import MODELS as RANKERS
from stages.density.mae_checkpoints import load_mae
from stages.density.reconstruction import reconstruct_pixels
from stages.density.zoo import MODELS, is_shipped_mae, shipped_maes
from stages.images.views import evaluation_view, render

NAME = "ltrp-mae-112"
MOST_BYTES = 12_000_000
"""Of all weights that the package includes, those of rankers among them."""


def test_an_mae_is_there_by_its_name_on_the_grid_of_the_included_ranker() -> None:
    assert NAME in shipped_maes()
    mae = load_mae(NAME)
    assert (mae.config.grid, mae.config.image_size) == (14, 112)
    assert {each.dtype for each in mae.weights.values()} == {torch.float16}


def test_all_weights_of_the_package_together_are_small() -> None:
    files = [each for folder in (MODELS, RANKERS) for each in folder.rglob("*") if each.is_file()]
    assert sum(each.stat().st_size for each in files) < MOST_BYTES


def test_its_files_are_in_the_wheel() -> None:
    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    patterns = settings["options.package_data"]["stages"].split()
    packed = {each for pattern in patterns for each in (ROOT / "stages").glob(pattern)}
    assert packed >= {each for each in MODELS.rglob("*") if each.is_file()}


@pytest.mark.parametrize("name", shipped_maes())
def test_its_card_tells_data_terms_figures_and_checksum(name: str) -> None:
    written = (MODELS / name / "README.md").read_text(encoding="utf-8")
    assert yaml.safe_load(written.split("---")[1])["license"] == "apache-2.0"
    assert load_mae(name).sha256 in written, "the checksum is that of the weights"
    for section in ("## Data and terms", "## Figures", "## Training"):
        assert section in written


def test_a_folder_of_its_name_comes_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, small_mae: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_shipped_mae(NAME)
    shutil.copytree(small_mae, tmp_path / NAME)
    assert not is_shipped_mae(NAME)
    assert load_mae(NAME).sha256 == load_mae(str(small_mae)).sha256


def test_it_reconstructs_what_is_hidden_better_than_the_mean_colour_of_what_is_visible() -> None:
    """Three quarters of a photograph that comes with matplotlib."""
    file = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    with Image.open(file) as opened:
        image = opened.convert("RGB")
    crop = torch.from_numpy(render(image, evaluation_view(*image.size), 112)).permute(2, 0, 1)[None]
    hidden, reconstructed = reconstruct_pixels(load_mae(NAME).build().eval(), crop, 0.75, 0)
    is_hidden = (hidden != crop).any(dim=1)[0]
    truth, guess = crop[0].float()[:, is_hidden], reconstructed[0].float()[:, is_hidden]
    mean = crop[0].float()[:, ~is_hidden].mean(dim=1, keepdim=True)
    assert (guess - truth).square().mean() < 0.5 * (mean - truth).square().mean()
