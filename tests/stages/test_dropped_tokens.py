"""`rank --method evit` and `dynamicvit`: from trained folders and published files to scores, and what is refused."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
import torch
from dropping_encoders import dropping_encoder
from task_models import GRID, SIZE
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from stages.images.normalisation import normalise
from stages.methods.dropped_tokens import DroppedTokens
from stages.methods.load_method import load_method
from stages.settings.rank import RankConfig
from stages.tables import TASKS
from stages.tasks.architecture import EncoderConfig
from stages.tasks.encoders.dropping import TokenDropping
from stages.tasks.models import SavedTask, save_task
from stages.tasks.runs import TaskRun
from stages.tasks.task import Classes, TaskOptions
from storage.dense_scores import PatchGrid
from storage.locations import locate

METHODS = ("evit", "dynamicvit")
IMAGES = torch.randint(0, 256, (3, 3, SIZE, SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
PLAIN = EncoderConfig(image_size=SIZE, patch_size=SIZE // GRID, width=32, depth=4, heads=2)


def loaded(name: str, model: Path, **settings: Any) -> DroppedTokens:
    method = load_method(name, RankConfig(shards=["a"], out="b", method=name, model=str(model), **settings))
    assert isinstance(method, DroppedTokens)
    return method


def scores_of(method: DroppedTokens) -> Tensor:
    return method.to(torch.device("cpu")).score(IMAGES, [])


def write_classifier(folder: Path, encoder: str, task: str = "classify") -> Path:
    config = PLAIN
    if encoder != "plain":
        config = PLAIN.dropping_tokens(TokenDropping(encoder=encoder, keep_rate=0.5, blocks=(2, 3)))
    classes, options = Classes((0, 1), ("cat", "dog")), TaskOptions(image_size=SIZE)
    torch.manual_seed(0)
    model = TASKS[task].model(config.build(), classes, options)
    if encoder != "plain":
        weights = dropping_encoder(encoder, 0.5, blocks=(2, 3)).state_dict()
        model.encoder.load_state_dict(weights)
    saved = SavedTask(task, TaskRun("full", 1.0, 0), "ltrp", config, classes, options, {}, None)
    save_task(locate(folder), model, saved)
    return folder


@pytest.mark.parametrize("name", METHODS)
def test_scores_are_those_of_the_trained_encoder(name: str, tmp_path: Path) -> None:
    method = loaded(name, write_classifier(tmp_path, name))
    expected = dropping_encoder(name, 0.5, blocks=(2, 3)).order(normalise(IMAGES))
    assert torch.equal(scores_of(method), expected)
    assert method.grid == PatchGrid(SIZE, SIZE // GRID)
    assert (method.settings["encoder.keep_rate"], method.settings["encoder.drop_blocks"]) == (0.5, [2, 3])
    assert len(expected.unique()) > 3 * 50, "hardly any two patches tie"


@pytest.mark.parametrize("name", METHODS)
def test_other_weights_and_numbers_are_other_settings(name: str, tmp_path: Path) -> None:
    first = loaded(name, write_classifier(tmp_path, name)).settings
    assert loaded(name, write_classifier(tmp_path / "same", name)).settings == first
    other = dropping_encoder(name, 0.5, blocks=(2, 3), seed=1)
    changed = DroppedTokens.__subclasses__()[METHODS.index(name)](PLAIN, other).settings
    assert {each for each in first if first[each] != changed[each]} == {"model.weights"}


class Predictor(nn.Module):
    """Of the published DynamicViT, by its names."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_conv = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())
        halves = [nn.Linear(width, width // 2), nn.GELU(), nn.Linear(width // 2, width // 4), nn.GELU()]
        self.out_conv = nn.Sequential(*halves, nn.Linear(width // 4, 2), nn.LogSoftmax(dim=-1))


def published(name: str, options: argparse.Namespace | None = None, predictors: int = 3) -> dict[str, Any]:
    """What the published codes save: DeiT's names with a head, and predictors and options beside them."""
    torch.manual_seed(3)
    vit = VisionTransformer(img_size=32, patch_size=8, num_classes=10, embed_dim=96, depth=4, num_heads=3)
    nn.init.normal_(vit.pos_embed)
    weights = vit.state_dict()
    if name == "dynamicvit":
        own = nn.ModuleList(Predictor(96) for _ in range(predictors))
        weights |= {f"score_predictor.{each}": tensor for each, tensor in own.state_dict().items()}
    return {"model": weights, **({"args": options} if options else {})}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("rate", [None, 0.5])
def test_published_files_are_read_by_their_names(name: str, rate: float | None, tmp_path: Path) -> None:
    options = argparse.Namespace(**{"base_keep_rate" if name == "evit" else "base_rate": rate}) if rate else None
    torch.save(published(name, options), tmp_path / "weights.pth")
    method = loaded(name, tmp_path / "weights.pth")
    assert method.grid == PatchGrid(32, 8)
    dropping = method.encoder.dropping
    assert (dropping.encoder, dropping.keep_rate, dropping.blocks) == (name, rate or 0.7, (2, 3, 4))
    weights = published(name)["model"]
    theirs = {name.removeprefix("vit."): each for name, each in method.encoder.state_dict().items()}
    assert theirs.keys() == {name for name in weights if not name.startswith("head.")}
    assert all(torch.equal(each, weights[name]) for name, each in theirs.items())
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    assert method.score(images, []).shape == (2, 16)


def refused(name: str, model: Path, message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message) as raised:
        loaded(name, model)
    assert "\n" not in str(raised.value)


def test_models_of_another_kind_are_refused_in_one_line(tmp_path: Path) -> None:
    plain = write_classifier(tmp_path / "plain", "plain")
    evit = write_classifier(tmp_path / "evit", "evit")
    lists = write_classifier(tmp_path / "lists", "plain", "multilabel")
    asked = "expected a model of train-task classify --encoder"
    refused("evit", plain, f"plain: {asked} evit, got classify with encoder plain")
    refused("dynamicvit", evit, f"evit: {asked} dynamicvit, got classify with encoder evit")
    refused("evit", lists, f"{asked} evit, got multilabel with encoder plain")
    refused("evit", tmp_path / "nothing", "no model of a task there")
    refused("evit", Path("timm:vit_tiny_patch16_224"), "expected a classifier .* got a model of timm, which drops no")
    with pytest.raises(ValueError, match="--method evit: expected --model, a classifier that was trained so, "):
        load_method("evit", RankConfig(shards=["a"], out="b", method="evit"))
    with pytest.raises(ValueError, match="--method evit: expected no --image-size, which it has no use for; got 64"):
        loaded("evit", evit, image_size=64)


def test_files_of_another_kind_are_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    torch.save(published("dynamicvit"), file)
    refused("evit", file, r"weights\.pth: .* with \['score_predictor\.")
    torch.save(published("evit"), file)
    refused("dynamicvit", file, r"weights\.pth: expected the weights of dynamicvit, with score_predictor\.\*")
    torch.save(published("dynamicvit", predictors=2), file)
    refused("dynamicvit", file, r"expected 3 predictors, one for each of the blocks 2,3,4, got 2")
    torch.save({"model": {"fc.weight": torch.zeros(3, 3)}}, file)
    refused("evit", file, r"expected a vision transformer with patch_embed\.proj\.weight")
    file.write_bytes(b"nothing")
    refused("evit", file, r"weights\.pth: ")
