"""What methods look through: models of ours, of timm, and files of weights; and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from small_models import SMALL, write_ranker
from vit_methods import Asked, random_images, tiny_vit, write_task

from ranker.patch_ranker import PatchRanker
from stages.density.mae_checkpoints import load_mae
from stages.methods.vision_transformer import FrozenViT, load_classifier, load_vit
from storage.dense_scores import PatchGrid

FILE = {"img_size": 32, "patch_size": 8, "embed_dim": 96, "num_heads": 3}
"""As wide as an encoder whose heads are known."""


def loaded(model: Any, **asked: Any) -> FrozenViT:
    return load_vit(Asked(model=str(model), **asked))


@torch.no_grad()
def test_a_model_of_train_task_predicts_as_it_does(tmp_path: Path) -> None:
    model, images = write_task(tmp_path), random_images()
    found, classifier = load_classifier(Asked(model=str(tmp_path)), "grad-cam")
    assert found.grid == PatchGrid(32, 8)
    pixels = found.normalise(images)
    torch.testing.assert_close(classifier(pixels), model(pixels, torch.arange(16).expand(3, -1)))
    assert not any(parameter.requires_grad for parameter in found.parameters())
    assert loaded(tmp_path).settings == found.settings
    write_task(tmp_path / "other", seed=1)
    assert loaded(tmp_path / "other").settings != found.settings


@torch.no_grad()
def test_a_ranker_and_an_mae_are_looked_through_as_they_are(small_mae: Path, tmp_path: Path) -> None:
    images = random_images()
    ranker = PatchRanker.from_pretrained(write_ranker(tmp_path / "ranker"))
    found = loaded(tmp_path / "ranker")
    torch.testing.assert_close(found.vit(found.normalise(images)), ranker.rank(images))
    mae, encoder = load_mae(str(small_mae)).build(), loaded(small_mae)
    pixels = encoder.normalise(images)
    tokens = encoder.vit.norm(encoder.vit.blocks(encoder.embed(images)))
    torch.testing.assert_close(tokens, mae.encode(mae.embed(pixels)), rtol=1e-4, atol=1e-5)
    assert (found.classifier, encoder.classifier) == (None, None)
    assert encoder.grid == PatchGrid(SMALL.image_size, SMALL.patch_size)
    assert loaded(small_mae, image_size=48, patch_size=16).grid == PatchGrid(48, 16)


@pytest.mark.parametrize("kind", ["pth", "safetensors"])
@torch.no_grad()
def test_a_file_of_weights_under_timms_names_is_a_classifier_if_it_has_a_head(kind: str, tmp_path: Path) -> None:
    """As DeiT's published files are: under the key model, with a head."""
    vit, file = tiny_vit(**FILE), tmp_path / f"deit.{kind}"
    weights = {name: tensor.contiguous() for name, tensor in vit.state_dict().items()}
    if kind == "pth":
        torch.save({"model": weights}, file)
    else:
        safetensors.torch.save_file(weights, file)
    found, classifier = load_classifier(Asked(model=str(file)), "grad-cam")
    images = found.normalise(random_images())
    torch.testing.assert_close(classifier(images), vit(images), rtol=1e-4, atol=1e-5)
    assert found.grid == PatchGrid(32, 8)
    assert loaded(file, image_size=64, patch_size=8).grid == PatchGrid(64, 8)


@pytest.mark.parametrize("without", ["head", "norm"])
def test_a_file_without_a_head_or_with_one_on_the_mean_is_no_classifier(without: str, tmp_path: Path) -> None:
    vit = tiny_vit(**FILE) if without == "head" else tiny_vit(**FILE, global_pool="avg")
    weights = {name: tensor for name, tensor in vit.state_dict().items() if not name.startswith(f"{without}.")}
    torch.save(weights, tmp_path / "dino.pth")
    assert loaded(tmp_path / "dino.pth").classifier is None
    with pytest.raises(
        ValueError, match=r"^--method grad-cam: expected a classifier, got .*dino\.pth, which has no head"
    ):
        load_classifier(Asked(model=str(tmp_path / "dino.pth")), "grad-cam")


@torch.no_grad()
def test_a_model_of_timm_keeps_its_normalisation_and_takes_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []

    def create_model(name: str, **options: Any) -> Any:
        asked.append({"name": name, **options})
        vit = tiny_vit(**{key: value for key, value in options.items() if key != "pretrained"})
        vit.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.5, 1.0)}
        return vit

    monkeypatch.setattr(timm, "create_model", create_model)
    found = loaded("timm:vit_tiny", image_size=64)
    assert asked == [{"name": "vit_tiny", "pretrained": True, "img_size": 64}]
    assert found.grid == PatchGrid(64, 8)
    white = found.normalise(torch.full((1, 3, 64, 64), 255, dtype=torch.uint8))
    torch.testing.assert_close(white[0, :, 0, 0], torch.tensor([2.0, 1.0, 0.5]))
    assert "mean (0.5, 0.5, 0.5) and standard deviation (0.25, 0.5, 1.0)" in found.preprocessing
    assert found.classifier is found.vit


def no_download(name: str, **options: Any) -> Any:
    raise OSError("cannot reach the hub\nafter 5 attempts")


@pytest.mark.parametrize(
    ("create_model", "expected"),
    [
        (no_download, "expected a pretrained vision transformer of timm: cannot reach the hub after 5 attempts"),
        (lambda name, **_: torch.nn.Linear(1, 1), "expected a VisionTransformer of timm, got Linear"),
        (
            lambda name, **_: tiny_vit(img_size=(32, 16)),
            "expected square images and patches, got a grid of 4 x 2 patches of 8 x 8 pixels",
        ),
        (
            lambda name, **_: tiny_vit(attn_layer="diff"),
            "expected a transformer of timm's plain blocks, got Block with DiffAttention",
        ),
    ],
)
def test_what_timm_has_not_or_methods_cannot_look_through_is_one_line(
    create_model: Any, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timm, "create_model", create_model)
    with pytest.raises(ValueError, match=r"^timm:it: ") as refusal:
        loaded("timm:it")
    assert str(refusal.value) == f"timm:it: {expected}"


def test_a_name_that_timm_does_not_know_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"^timm:no_such_model: expected a pretrained vision transformer of timm: "):
        loaded("timm:no_such_model")


def test_sizes_that_a_model_of_ours_does_not_have_are_refused(tmp_path: Path) -> None:
    write_task(tmp_path)
    assert loaded(tmp_path, image_size=32, patch_size=8).grid == PatchGrid(32, 8)
    with pytest.raises(ValueError, match=rf"^--image-size: expected 32, as {tmp_path} has, got 64$"):
        loaded(tmp_path, image_size=64)
    with pytest.raises(ValueError, match=rf"^--patch-size: expected 8, as {tmp_path} has, got 4$"):
        loaded(tmp_path, patch_size=4)


def test_what_is_no_model_is_named(small_ranker: Path, tmp_path: Path) -> None:
    with pytest.raises(
        FileNotFoundError, match=r"none: no vision transformer there: expected a folder of .*, got nothing"
    ):
        loaded(tmp_path / "none")
    torch.save({"model": {"conv.weight": torch.zeros(3)}}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match=r"other\.pth: expected weights under timm's names, found no patch_embed"):
        loaded(tmp_path / "other.pth")
    torch.save(tiny_vit(**FILE).state_dict(), tmp_path / "vit.pth")
    with pytest.raises(ValueError, match=r"^--image-size: expected a multiple of the patch size 8, got 33$"):
        loaded(tmp_path / "vit.pth", image_size=33)
    weights = tiny_vit(**FILE).state_dict()
    torch.save({**weights, "head.weight": torch.zeros(5, 8)}, tmp_path / "head.pth")
    with pytest.raises(ValueError, match=r"head\.pth: head: expected weight \(C, 96\) and bias \(C\), got "):
        loaded(tmp_path / "head.pth")
