"""evaluate-ranker: true figures, on images that the ranker has not seen, beside those that give them a meaning."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from evaluations import TARS, assert_is_a_plot, call, config_of, evaluated
from PIL import Image
from scored_stores import noise_picture, shards_of, write_scored
from scoring import score_config, score_in_process
from small_models import write_ranker

from ranker.pretrained import read_ranker
from stages.evaluate_ranker import evaluate_ranker
from stages.images.views import evaluation_view, render
from stages.ranking.facts import RankerFacts, read_facts
from stages.ranking.quality import Densities, Estimate, quality
from stages.ranking.validation import SELECTED_BY, ValidationReport, rank_images
from stages.samples.scored import ScoredSample, Split, join_scores, read_scored
from storage.patch_store import PatchStore
from storage.scores import CONTENT

pytestmark = pytest.mark.usefixtures("quick_evaluation")

KEYS = [key for keys in TARS.values() for key in keys]
SPLIT = Split("key", 0.5, 1)
PRIOR = [number / 16 for number in range(16)]
METRICS = ["kendall", "spearman", "ndcg@25%", "recall@25%"]


def samples_of(folder: Path) -> dict[str, ScoredSample]:
    store = PatchStore.open(str(folder / "scores"), CONTENT)
    shards = join_scores(shards_of(folder), store)
    return {sample.key: sample for shard in shards for sample in read_scored(store, shard)}


def md5s_of(folder: Path) -> list[str]:
    store = PatchStore.open(str(folder / "scores"), CONTENT)
    return [str(shard.md5sum) for shard in join_scores(shards_of(folder), store)]


def facts_of(tars: list[str], split: Split = SPLIT) -> dict[str, Any]:
    report = ValidationReport(3, 30, 50, {"ranker": {SELECTED_BY: Estimate(0.3, 0.2, 0.4, 5)}}, is_best=True)
    return RankerFacts({"seed": 0}, tars, split, PRIOR, report).to_json()


def ranker_with(folder: Path, facts: dict[str, Any], **architecture: Any) -> Path:
    write_ranker(folder, **architecture)
    file = folder / "ranker.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **facts}))
    return folder


def test_the_figures_are_those_of_the_ranker_on_the_evaluation_crops(scored: Path, small_ranker: Path) -> None:
    found = evaluated(scored, small_ranker)
    samples = samples_of(scored).values()
    crops = [render(Image.fromarray(noise_picture(each.key)), evaluation_view(40, 40), 32) for each in samples]
    images = torch.from_numpy(np.stack(crops)).permute(0, 3, 1, 2)
    scores = rank_images(read_ranker(small_ranker).build(), images, torch.device("cpu"))
    densities = Densities(
        torch.from_numpy(np.stack([each.score[0] for each in samples])),
        torch.from_numpy(np.stack([each.visible[0] for each in samples])).long(),
        16,
    )
    expected = quality(scores, densities, 0.25)
    assert (found.images, found.masks) == (11, 16)
    assert list(found.qualities["ranker"]) == [f"{kind}: {name}" for kind in ("in mask", "of mean") for name in METRICS]
    for metric, values in expected.items():
        each = found.qualities["ranker"][metric]
        assert (each.mean, each.n) == (pytest.approx(values.mean()), 11)
        assert each.low < each.mean < each.high
    by_truth = quality(densities.mean(), densities, 0.25)
    assert by_truth["of mean: spearman"].mean() > found.qualities["other masks"]["of mean: spearman"].mean > 0.4


def test_what_the_ranker_is_better_by_is_compared_image_by_image(scored: Path, small_ranker: Path) -> None:
    found = evaluated(scored, small_ranker)
    assert set(found.advantages) == set(found.qualities) - {"ranker"}
    for scoring, metrics in found.advantages.items():
        for metric, each in metrics.items():
            difference = found.qualities["ranker"][metric].mean - found.qualities[scoring][metric].mean
            assert each.mean == pytest.approx(difference), (scoring, metric)
            assert each.n == 11


def test_a_published_ranker_has_no_position_prior_and_is_evaluated_on_everything(scored: Path, tmp_path: Path) -> None:
    weights = read_ranker(write_ranker(tmp_path / "ours", heads=1)).weights
    torch.save({"model": {f"score_net.{name}": tensor for name, tensor in weights.items()}}, tmp_path / "ltrp.pth")
    found = evaluated(scored, tmp_path / "ltrp.pth")
    assert found.images == 11
    assert list(found.qualities) == ["ranker", "random", "gradient energy", "colour contrast", "other masks"]
    again = evaluated(scored, tmp_path / "ours")
    assert again.qualities == found.qualities


def test_only_what_was_held_out_is_looked_at(scored: Path, tmp_path: Path) -> None:
    held_out = [key for key in KEYS if SPLIT.holds_out("", key)]
    assert 2 < len(held_out) < 9
    ranker = ranker_with(tmp_path / "ranker", facts_of(md5s_of(scored)))
    told: list[tuple[int, int]] = []
    found = evaluate_ranker(config_of(scored, ranker), lambda *through: told.append(through))
    assert found.images == len(held_out) == found.qualities["ranker"][SELECTED_BY].n
    assert told == [(len(held_out), len(held_out))]
    assert "position prior" in found.qualities
    assert evaluated(scored, ranker, part="all").images == 11
    only_a = ranker_with(tmp_path / "other", facts_of(md5s_of(scored)[:1]))
    assert evaluated(scored, only_a).images == 5 + sum(key.startswith("a") for key in held_out)


def test_the_position_prior_is_that_of_the_training(scored: Path, tmp_path: Path) -> None:
    ranker = ranker_with(tmp_path / "ranker", facts_of([]))
    samples = samples_of(scored).values()
    densities = Densities(
        torch.from_numpy(np.stack([each.score[0] for each in samples])),
        torch.from_numpy(np.stack([each.visible[0] for each in samples])).long(),
        16,
    )
    expected = quality(torch.tensor([PRIOR] * 11), densities, 0.25)
    for metric, each in evaluated(scored, ranker).qualities["position prior"].items():
        assert each.mean == pytest.approx(expected[metric].mean()), metric


def test_a_drawn_part_is_the_same_each_time_and_as_large_as_asked(scored: Path, small_ranker: Path) -> None:
    five = evaluated(scored, small_ranker, images=5)
    assert five.images == 5
    assert five == evaluated(scored, small_ranker, images=5)
    assert five.qualities["ranker"] != evaluated(scored, small_ranker, images=5, seed=1).qualities["ranker"]
    assert evaluated(scored, small_ranker, images=99).images == 11


def no_constants(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def test_the_command_prints_tables_and_writes_figures_and_a_plot_on_real_scores(
    scene_shards: Path, small_mae: Path, tmp_path: Path
) -> None:
    store, _ = score_in_process(score_config(scene_shards, small_mae, tmp_path / "scores", masks=16))
    tars = [store.books.record(name).tar_md5 for name in sorted(store.books.done())[:3]]
    ranker = ranker_with(tmp_path / "ranker", facts_of(tars))
    result = call(tmp_path, ranker, "--seed", 3, "--top", "0.5")
    assert result.exit_code == 0, result.output
    written = json.loads(Path("evaluation/evaluation.json").read_text(), parse_constant=no_constants)
    assert 3 < written["images"] < 15
    assert f"On {written['images']} images with 16 masks each" in result.output
    assert f"evaluate-ranker: {written['images']}/{written['images']} images" in result.output
    assert list(written["qualities"]) == [
        "ranker",
        "random",
        "position prior",
        "gradient energy",
        "colour contrast",
        "other masks",
    ]
    assert written["settings"]["seed"] == 3
    assert written["settings"]["part"] == "held-out"
    assert [each["masks"] for each in written["agreements"]] == [4, 8]
    kendall = Estimate(**written["qualities"]["ranker"][SELECTED_BY])
    (line,) = [line for line in result.output.splitlines() if line.startswith(f"| {SELECTED_BY} ")][:1]
    assert str(kendall) in line
    assert "in mask: ndcg@50%" in result.output
    assert f"| 4 | {4 * written['flops_per_mask'] / 1e9:.3g} | " in result.output
    assert "Written: " in result.output
    assert_is_a_plot(Path("evaluation/agreement.png").read_bytes())


def test_a_ranker_that_was_trained_on_all_images_is_refused(scored: Path, tmp_path: Path) -> None:
    everything = facts_of(md5s_of(scored), Split("shard", 0.1, 0, ("another",)))
    result = call(scored, ranker_with(tmp_path / "ranker", everything))
    assert result.exit_code == 1
    assert "the ranker was trained on all images that have scores there" in result.output
    assert not Path("evaluation").exists()


@pytest.mark.parametrize(
    ("architecture", "came"),
    [
        ({"image_size": 64, "patch_size": 16}, "64-pixel images with 16-pixel patches"),
        ({"image_size": 64}, "64-pixel images with 8-pixel patches"),
        ({"patch_size": 16, "head": "token"}, "32-pixel images with 16-pixel patches"),
    ],
)
def test_a_ranker_of_another_grid_is_refused(
    architecture: dict[str, Any], came: str, scored: Path, tmp_path: Path
) -> None:
    ranker = write_ranker(tmp_path / "ranker", **architecture)
    message = rf"ranker: expected a ranker for the 32-pixel images with 8-pixel patches of .*scores, got one for {came}"
    with pytest.raises(ValueError, match=message):
        evaluated(scored, ranker)


def test_a_ranker_of_tokens_from_larger_images_is_held_against_no_prior_of_theirs(scored: Path, tmp_path: Path) -> None:
    facts = {**facts_of([]), "position_prior": [0.5] * 64}
    found = evaluated(scored, ranker_with(tmp_path / "ranker", facts, head="token", image_size=64))
    assert "position prior" not in found.qualities
    assert found.images == 11


def without(facts: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in facts.items() if key != name}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda facts: {**facts, "tars": 3}, "tars: "),
        (lambda facts: without(facts, "tars"), "tars: Field required"),
        (lambda facts: {**facts, "split": {**facts["split"], "by": "colour"}}, "split.by: "),
        (lambda facts: {**facts, "split": {**facts["split"], "share": "much"}}, "split.share: "),
        (lambda facts: {**facts, "position_prior": [*PRIOR[:5], None, *PRIOR[6:]]}, "position_prior.5: "),
        (lambda facts: {**facts, "position_prior": PRIOR[:-1]}, "position_prior: expected 16 numbers, got 15"),
        (lambda facts: without(facts, "validation"), "validation: Field required"),
        (lambda facts: {**facts, "validation": without(facts["validation"], "epoch")}, "validation.epoch: Field"),
    ],
)
def test_damaged_facts_are_refused_by_the_name_of_the_field(damage: Any, message: str, scored: Path) -> None:
    result = call(scored, ranker_with(Path("ranker"), damage(facts_of(md5s_of(scored)))))
    assert result.exit_code == 1
    assert f"ranker/ranker.json: {message}" in result.output
    assert result.output.count("\n") == 1


def test_facts_are_read_as_they_were_written() -> None:
    facts = facts_of(["0" * 32], Split("shard", 0.25, 3, ("x", "y")))
    facts["position_prior"][3] = float("nan")  # of a position that no mask showed
    found = read_facts(json.loads(json.dumps(facts)), "ranker")
    assert found is not None
    assert found.split == Split("shard", 0.25, 3, ("x", "y"))
    assert found.validation.selected_by == 0.3
    np.testing.assert_array_equal(found.position_prior, facts["position_prior"])
    assert read_facts({}, "ranker") is None


def test_a_ranker_without_an_order_is_refused(scored: Path, tmp_path: Path) -> None:
    weights = dict(read_ranker(write_ranker(tmp_path / "ours", heads=1)).weights)
    for name in ("head.weight", "head.bias"):
        weights[name] = torch.zeros_like(weights[name])
    torch.save({"model": {f"score_net.{name}": tensor for name, tensor in weights.items()}}, tmp_path / "flat.pth")
    with pytest.raises(ValueError, match=r"flat\.pth: gives all patches of each image the same score"):
        evaluated(scored, tmp_path / "flat.pth")


def test_scores_without_an_order_are_refused(tmp_path: Path, small_ranker: Path) -> None:
    write_scored(tmp_path, TARS, lambda _, visible: np.ones(visible.shape))
    with pytest.raises(ValueError, match="scores: the scores of each list are equal"):
        evaluated(tmp_path, small_ranker)


def test_a_tar_that_has_changed_is_refused_and_nothing_written(tmp_path: Path, small_ranker: Path) -> None:
    write_scored(tmp_path, TARS)
    first, second = tmp_path / "tars" / "a.tar", tmp_path / "tars" / "b.tar"
    data = bytearray(second.read_bytes())
    data[512 + 60] ^= 1
    second.write_bytes(data)
    result = call(tmp_path, small_ranker)
    assert result.exit_code == 1
    assert "b.tar: b0: expected the image that was scored: damaged" in result.output
    first.write_bytes(first.read_bytes() + bytes(512))
    assert "a.tar: has changed since its scores were computed" in call(tmp_path, small_ranker).output
    assert not Path("evaluation").exists()
