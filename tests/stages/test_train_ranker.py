"""`train-ranker` in one process: what it learns, keeps and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from ranker_training import ranker_config, train_in_process, weights_of
from scored_stores import lonely_scoring, write_scored
from scoring import files_of
from small_models import SMALL

from ranker import PatchRanker
from stages.density.mae import MaskedAutoencoder
from stages.density.mae_checkpoints import save_mae
from stages.ranking.recipes import PRESETS
from stages.ranking.validation import RANKER
from stages.settings.train_ranker import TrainRankerConfig
from stages.training.recipe import Recipe, epoch_end
from storage.patch_store import PatchStore
from storage.scores import CONTENT


@pytest.fixture(autouse=True)
def _report_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.train_ranker.REPORT_EVERY", 1)


def test_a_ranker_learns_the_order_that_it_is_shown(scene_shards: Path, scores: Path, tmp_path: Path) -> None:
    """It overfits: on the 11 scenes that it was trained on the loss falls far below that of random order."""
    told = train_in_process(
        ranker_config(scene_shards, scores, tmp_path / "ranker", epochs=60, batch_size=12, base_learning_rate=0.1)
    )
    losses = [report.loss for report in told.reports()]
    random_order = torch.arange(1, 5).log().sum().item()
    assert losses[0] == pytest.approx(random_order, rel=0.1)
    assert losses[-1] < 0.85 * random_order


def test_the_folder_holds_a_ranker_with_what_is_known_of_it(scene_shards: Path, scores: Path, tmp_path: Path) -> None:
    told = train_in_process(ranker_config(scene_shards, scores, tmp_path / "ranker"))
    ranker = PatchRanker.from_pretrained(tmp_path / "ranker")
    assert (ranker.config.image_size, ranker.config.patch_size, ranker.config.head) == (32, 8, "token")
    facts = json.loads((tmp_path / "ranker/ranker.json").read_text())
    assert facts["split"]["by"] == "shard"
    assert len(facts["split"]["shards"]) == 1
    assert len(facts["tars"]) == 3
    assert len(facts["position_prior"]) == 16
    assert facts["validation"]["qualities"][RANKER]["in mask: kendall"]["mean"] == told.summary().best.selected_by
    assert set(facts["validation"]["qualities"]) == {
        "ranker",
        "random",
        "position prior",
        "gradient energy",
        "colour contrast",
        "other masks",
    }
    left = set(files_of(tmp_path / "ranker"))
    assert left == {"ranker.json", "ranker.safetensors", "training.json"}


def test_each_epoch_is_validated_and_the_best_is_kept(scene_shards: Path, scores: Path, tmp_path: Path) -> None:
    told = train_in_process(ranker_config(scene_shards, scores, tmp_path / "ranker", epochs=6, base_learning_rate=0.1))
    validations = told.validations()
    assert [each.epoch for each in validations] == [1, 2, 3, 4, 5, 6]
    assert [each.step for each in validations] == [epoch_end(epoch, 11, 4) for epoch in range(1, 7)]
    best = max(validations, key=lambda each: (each.selected_by, -each.step))
    assert told.summary().best == best
    assert best.is_best


def test_the_best_weights_are_those_of_the_epoch_that_validated_best(
    scene_shards: Path, scores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Validation is made to fall after the second epoch: what is kept are the weights of that one."""
    from stages.ranking.validation import RankerValidation

    report = RankerValidation.report
    states: dict[int, dict[str, torch.Tensor]] = {}

    def scripted(self: Any, model: Any, device: Any, *, epoch: int, step: int, steps: int) -> Any:
        states[epoch] = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        found = report(self, model, device, epoch=epoch, step=step, steps=steps)
        kendall = found.qualities[RANKER]["in mask: kendall"]
        object.__setattr__(kendall, "mean", {1: 0.1, 2: 0.3, 3: 0.2, 4: 0.1}[epoch])
        return found

    monkeypatch.setattr(RankerValidation, "report", scripted)
    told = train_in_process(ranker_config(scene_shards, scores, tmp_path / "ranker", base_learning_rate=0.1))
    assert told.summary().best.epoch == 2
    kept = weights_of(tmp_path / "ranker")
    assert all(torch.equal(kept[name], tensor) for name, tensor in states[2].items())
    assert any(not torch.equal(kept[name], tensor) for name, tensor in states[4].items())


def test_a_ranker_learns_from_controlled_scores_and_is_validated_on_scores_as_they_are(tmp_path: Path) -> None:
    write_scored(tmp_path, {tar: [f"{tar}{number}" for number in range(8)] for tar in "abc"}, lonely_scoring)
    tars, store = tmp_path / "tars", tmp_path / "scores"
    plain = train_in_process(ranker_config(tars, store, tmp_path / "plain"))
    controlled = train_in_process(ranker_config(tars, store, tmp_path / "controlled", control="geometry"))
    first, other = (told.reports()[0].loss for told in (plain, controlled))
    assert first != other, "other lists"
    kinds = ("random", "other masks", "position prior")
    one, two = (told.summary().best.qualities for told in (plain, controlled))
    assert [one[kind] for kind in kinds] == [two[kind] for kind in kinds]
    sha256 = json.loads((store / "books/control.json").read_text())["sha256"]
    settings = [json.loads((tmp_path / name / "training.json").read_text()) for name in ("plain", "controlled")]
    settings = [each.get("settings", each) for each in settings]
    assert settings[1] == {**settings[0], "control": "geometry", "control.sha256": sha256}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accumulate": 3}, r"batch_size: expected a multiple of 1 workers times accumulate 3, got 4"),
        ({"warmup_epochs": 9}, r"warmup_epochs: expected at most all epochs, 4, got 9"),
        ({"loss": "focused", "focus_top": 4}, r"focus_top: expected fewer than the 4 patches of a list, got 4"),
        ({"loss": "focused", "focus_top": 2, "sublist": 2}, r"focus_top: expected fewer than the 2 patches of a list"),
        ({"focus_top": 2}, r"focus_top: expected none for the loss list_mle, got 2"),
        ({"heads": 3}, r"ranker width: expected a multiple of 3 heads and of 4, got 16"),
        ({"base_learning_rate": 1e12, "warmup_epochs": 0}, r"loss became nan|not finite|infinite or NaN|same score"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    settings: dict[str, object], message: str, scene_shards: Path, scores: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        train_in_process(ranker_config(scene_shards, scores, tmp_path / "ranker", **settings))


@pytest.mark.parametrize(
    ("settings", "length", "expected"),
    [
        ({}, 19, 10),
        ({}, 49, 10),
        ({}, 4, 2),
        ({}, 5, 3),
        ({"sublist": 4}, 49, 2),
        ({"focus_top": 5}, 19, 5),
        ({"focus_top": 18}, 19, 18),
        ({"loss": "list_mle"}, 19, None),
    ],
)
def test_focused_looks_at_the_ten_best_as_published_or_at_half_of_a_shorter_list(
    settings: dict[str, object], length: int, expected: int | None
) -> None:
    config = ranker_config(Path(), Path(), Path(), **{"loss": "focused", **settings})
    assert config.focus(length) == expected


@pytest.mark.parametrize(
    "settings",
    [
        {"symmetric": False, "lists": 2},
        {"symmetric": False, "head": "cls"},
        {"head": "cls"},
        {"loss": "rank_net", "sublist": 3},
        {"loss": "focused", "split": "key", "validation": 0.3},
        {"loss": "pointwise", "accumulate": 2},
        {"loss": "list_net", "precision": "bf16"},
        {"clip_norm": 0.5, "lists": 1},
    ],
    ids=str,
)
def test_every_way_of_training_ends_in_a_ranker(
    settings: dict[str, object], scene_shards: Path, scores: Path, tmp_path: Path
) -> None:
    told = train_in_process(ranker_config(scene_shards, scores, tmp_path / "ranker", epochs=1, **settings))
    assert told.summary().steps == told.reports()[-1].step
    images = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    assert PatchRanker.from_pretrained(tmp_path / "ranker").rank(images).isfinite().all()


def test_accumulating_changes_rounding_alone(scene_shards: Path, scores: Path, tmp_path: Path) -> None:
    train_in_process(ranker_config(scene_shards, scores, tmp_path / "whole"))
    train_in_process(ranker_config(scene_shards, scores, tmp_path / "parts", accumulate=2))
    whole, parts = weights_of(tmp_path / "whole"), weights_of(tmp_path / "parts")
    assert all(torch.allclose(whole[name], parts[name], atol=1e-4) for name in whole)


def test_a_ranker_starts_from_an_mae_where_asked(scene_shards: Path, scores: Path, tmp_path: Path) -> None:
    torch.manual_seed(3)
    mae = MaskedAutoencoder(SMALL)
    save_mae(mae, str(tmp_path / "other-mae"), {})
    settings = {"init": str(tmp_path / "other-mae"), "base_learning_rate": 1e-9, "epochs": 1, "warmup_epochs": 0}
    train_in_process(ranker_config(scene_shards, scores, tmp_path / "ranker", **settings))
    begun_as = mae.state_dict()["blocks.0.attn.qkv.weight"]
    assert torch.allclose(weights_of(tmp_path / "ranker")["blocks.0.attn.qkv.weight"], begun_as, atol=1e-6)
    assert json.loads((tmp_path / "ranker/training.json").read_text())["init"] is not None


def test_the_mae_is_not_needed_nor_the_index_of_the_tars(
    scene_shards: Path, small_mae: Path, scores: Path, tmp_path: Path
) -> None:
    (scene_shards / "index.json").unlink()
    settings = PatchStore.open(str(scores), CONTENT).settings
    assert str(small_mae) not in json.dumps(settings)
    train_in_process(ranker_config(scene_shards, scores, tmp_path / "ranker", epochs=1))


def test_the_published_recipe_is_the_papers() -> None:
    config = TrainRankerConfig(shards=["a"], scores="b", out="c", preset="published")
    recipe = Recipe.of_epochs(config.recipe(), 1_281_167, processes=8, accumulate=1, precision="fp16")
    assert recipe == Recipe(
        steps=epoch_end(400, 1_281_167, 4096),
        batch_size=4096,
        base_learning_rate=1.5e-4,
        warmup_steps=epoch_end(40, 1_281_167, 4096),
        weight_decay=0.06,
        precision="fp16",
    )
    architecture = config.architecture(224, 16)
    assert (architecture.width, architecture.depth, architecture.heads, architecture.head) == (384, 12, 6, "cls")
    assert (PRESETS["published"].symmetric, PRESETS["published"].loss) == (False, "list_mle")


def test_flags_win_over_the_preset() -> None:
    config = TrainRankerConfig(shards=["a"], scores="b", out="c", preset="published", epochs=3, symmetric=True)
    assert (config.recipe().epochs, config.recipe().symmetric, config.recipe().batch_size) == (3, True, 4096)
