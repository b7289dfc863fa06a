"""calibrate: agreements and costs that are what they say, and a choice that follows from them."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from click.testing import CliRunner
from pictures import picture
from PIL import Image
from scoring import score_config, score_in_process
from small_models import SMALL

from pipeline.cli import main
from stages.calibrate import Calibration, calibrate, cheapest
from stages.density.cost import density_flops
from stages.ranking.choice_agreement import Choice, Point
from stages.ranking.quality import Estimate
from stages.samples.controlled import with_control
from stages.settings.calibrate import CalibrateConfig
from stages.settings.score import ScoreConfig
from storage.locations import locate
from storage.patch_store import PatchStore
from storage.scores import patch_statistics, read_scores
from storage.shard_files import write_shard

NAMES = [f"scenes-{number:06d}" for number in range(4)]


def config_of(shards: Path, mae: Path, **settings: Any) -> CalibrateConfig:
    given = {"images": 15, "rounds": 2, "reference_rounds": 2, "mask_ratio": 0.75, "precision": "fp32", **settings}
    return CalibrateConfig(shards=[str(shards)], mae=str(mae), out="calibration", **given)


def found_of(shards: Path, mae: Path, **settings: Any) -> Calibration:
    return calibrate(config_of(shards, mae, **settings), lambda *_: None)


@pytest.fixture(scope="module")
def found(_drawn_scenes: Path, small_mae: Path) -> Calibration:
    return found_of(_drawn_scenes, small_mae, random=True)


def means_of(store: PatchStore, part: slice) -> np.ndarray:
    """(n, L): of all images of the store, over some masks."""
    means = []
    for name in NAMES:
        scores = read_scores(store, name)
        chosen = type(scores)(
            **{**vars(scores), "score": scores.score[:, :, part], "visible": scores.visible[:, :, part]}
        )
        means.append(patch_statistics(chosen, SMALL.n_patches).mean[:, 0])
    return np.concatenate(means)


@pytest.fixture(scope="module")
def judge(_drawn_scenes: Path, small_mae: Path, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """(n, L): of other masks."""
    folder = tmp_path_factory.mktemp("reference")
    exact = {"masking": "partition", "decode": "full", "masks": 8, "seed": 1}
    reference, _ = score_in_process(score_config(_drawn_scenes, small_mae, folder / "scores", **exact))
    return means_of(reference, slice(None))


@pytest.mark.parametrize("choice", [Choice("spread", "cells"), Choice("partition", "full"), Choice("random", "full")])
def test_agreements_are_those_of_stores_that_score_writes(
    choice: Choice, found: Calibration, judge: np.ndarray, scene_shards: Path, small_mae: Path, tmp_path: Path
) -> None:
    settings = {"masking": choice.masking, "decode": choice.decode, "masks": 8}
    store, _ = score_in_process(score_config(scene_shards, small_mae, tmp_path / "chosen", **settings))
    stores = {"none": store, "geometry": with_control(store, "geometry")}
    for control, chosen in stores.items():
        for rounds, parts in ((1, [slice(0, 4), slice(4, 8)]), (2, [slice(0, 8)])):
            (point,) = (
                each for each in found.points if (each.choice, each.control, each.rounds) == (choice, control, rounds)
            )
            expected = [
                scipy.stats.spearmanr(one, other, nan_policy="omit").statistic
                for part in parts
                for one, other in zip(means_of(chosen, part), judge, strict=True)
            ]
            assert point.agreement.mean == pytest.approx(np.mean(expected), abs=5e-3)  # stored scores are rounded
            assert point.agreement.n == found.images == 15
            assert point.masks == 4 * rounds
            assert point.flops == 4 * rounds * density_flops(SMALL, 4, decode=choice.decode)


def point(agreement: float, flops: float, masking: Any = "spread") -> Point:
    estimate = Estimate(agreement, agreement - 0.1, agreement + 0.1, 9)
    return Point(Choice(masking, "full"), "none", 1, 4, flops, estimate)


def test_the_cheapest_that_is_good_enough_is_chosen_and_of_equally_cheap_ones_the_best() -> None:
    points = [point(0.5, 10), point(0.6, 20), point(0.65, 20), point(0.9, 80)]
    assert [cheapest(points, wanted) for wanted in (0.4, 0.55, 0.7, 0.95)] == [points[0], points[2], points[3], None]


def test_by_default_what_score_does_by_default_is_wanted(scene_shards: Path, small_mae: Path) -> None:
    usual = ScoreConfig(shards=["tars"], mae="mae", out="scores")
    found = found_of(scene_shards, small_mae)
    (default,) = (
        each
        for each in found.points
        if (each.choice, each.control, each.rounds) == (Choice(usual.masking, usual.decode), "none", 2)
    )
    assert found.wanted == default.agreement.mean
    assert found.chosen is not None
    assert found.chosen.flops <= default.flops
    assert found_of(scene_shards, small_mae, wanted=0.99).chosen is None


def test_the_command_prints_a_table_and_settings_and_writes_figures_and_a_plot(
    scene_shards: Path, small_mae: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = ["--images", 12, "--rounds", 1, "--reference-rounds", 2, "--mask-ratio", 0.75, "--wanted", -0.9]
    options += ["--crop", "letterbox"]
    arguments = ["calibrate", "--shards", scene_shards, "--mae", small_mae, "--out", "calibration", *options]
    result = CliRunner().invoke(main, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output
    assert "| spread, cells, geometry | " in result.output
    assert "with the mean of 8 other masks" in result.output
    written = json.loads(Path("calibration/calibration.json").read_text())
    assert written["images"] == 12
    assert len(written["points"]) == 8
    choice = written["chosen"]["choice"]
    assert choice["decode"] == "cells", "the cheapest of all"
    assert f"--masking {choice['masking']} --decode cells --masks 4 --mask-ratio 0.75 --crop letterbox" in result.output
    image = Image.open(io.BytesIO(Path("calibration/calibration.png").read_bytes()))
    assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 20


def test_too_few_images_are_refused(small_mae: Path, tmp_path: Path) -> None:
    samples = [(f"good{number}", {"png": picture(40, 40)}) for number in range(7)]
    write_shard(locate(tmp_path / "tars"), "few.tar", [*samples, ("bad", {"png": b"no"})])
    with pytest.raises(ValueError, match="tars: expected at least 8 images that can be used, got 7"):
        found_of(tmp_path / "tars", small_mae)
