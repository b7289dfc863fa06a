"""Encoders to start from: an MAE of ours or of others, with or without its decoder, or a model of timm."""

from __future__ import annotations

import argparse
import pickle
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from small_models import SMALL, SMALL_RANKER
from torch import Tensor, nn

from ranker.encoder_weights import load_encoder
from ranker.network import PatchRankingTransformer
from stages.density.mae import MaskedAutoencoder
from stages.density.mae_checkpoints import load_mae
from stages.training.encoders import read_encoder

OF_THE_DECODER = ("decoder", "mask_token")


def weights_of(seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return MaskedAutoencoder(SMALL).state_dict()


def encoder_of(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in weights.items() if not name.startswith(OF_THE_DECODER)}


def assert_starts_a_ranker(init: str, weights: dict[str, Tensor]) -> None:
    encoder = read_encoder(init)
    assert encoder.where == init
    model = PatchRankingTransformer(SMALL_RANKER)
    load_encoder(model, encoder.weights, encoder.where)
    for name, tensor in model.state_dict().items():
        assert name.startswith("head.") or torch.equal(tensor, weights[name]), name


def test_an_mae_of_ours(small_mae: Path) -> None:
    assert_starts_a_ranker(str(small_mae), load_mae(str(small_mae)).weights)


@pytest.mark.parametrize("with_decoder", [True, False])
@pytest.mark.parametrize("under_model", [True, False])
def test_a_file_of_facebookresearch_with_or_without_its_decoder(
    with_decoder: bool, under_model: bool, tmp_path: Path
) -> None:
    weights = weights_of() if with_decoder else encoder_of(weights_of())
    content = {"model": weights, "args": argparse.Namespace(lr=0.1), "epoch": 799} if under_model else weights
    torch.save(content, tmp_path / "mae_pretrain.pth")
    assert_starts_a_ranker(str(tmp_path / "mae_pretrain.pth"), weights)


def test_a_model_of_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    vit = timm.models.VisionTransformer(img_size=32, patch_size=8, embed_dim=16, depth=1, num_heads=2, num_classes=5)
    asked: list[tuple[str, bool]] = []

    def create_model(name: str, pretrained: bool) -> nn.Module:
        asked.append((name, pretrained))
        return vit

    monkeypatch.setattr(timm, "create_model", create_model)
    assert_starts_a_ranker("timm:vit_small.mae", vit.state_dict())
    assert asked == [("vit_small.mae", True)]


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_a_file_of_a_wrapped_encoder_or_of_safetensors(prefix: str, tmp_path: Path) -> None:
    weights = encoder_of(weights_of())
    torch.save({"state_dict": {prefix + name: tensor for name, tensor in weights.items()}}, tmp_path / "wrapped.pth")
    assert_starts_a_ranker(str(tmp_path / "wrapped.pth"), weights)
    safetensors.torch.save_file(weights, tmp_path / "x.safetensors")
    assert_starts_a_ranker(str(tmp_path / "x.safetensors"), weights)


@pytest.mark.parametrize(
    ("key", "part", "beside", "heads"),
    [
        ("teacher", "backbone.", {"head.mlp.0.weight": 3}, None),
        (
            "state_dict",
            "module.base_encoder.",
            {"module.momentum_encoder.cls_token": 1, "module.predictor.0.weight": 2},
            12,
        ),
    ],
    ids=["DINO", "MoCo v3"],
)
def test_a_file_of_a_whole_training_holds_its_encoder(
    key: str, part: str, beside: dict[str, int], heads: int | None, tmp_path: Path
) -> None:
    """MoCo v3's small transformer has twice the usual heads, which its weights do not show."""
    weights = encoder_of(weights_of())
    other = {name: torch.zeros(size) for name, size in beside.items()}
    torch.save({key: {**{part + name: each for name, each in weights.items()}, **other}}, tmp_path / "whole.pth")
    assert_starts_a_ranker(str(tmp_path / "whole.pth"), weights)
    assert read_encoder(str(tmp_path / "whole.pth")).heads == heads


def test_a_counter_beside_the_encoder_is_no_harm_but_weights_without_values_are_refused(tmp_path: Path) -> None:
    torch.save({**weights_of(), "decoder.steps": torch.tensor(3)}, tmp_path / "x.pth")
    assert_starts_a_ranker(str(tmp_path / "x.pth"), weights_of())
    torch.save({**weights_of(), "decoder.gone": torch.zeros(3, device="meta")}, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"x\.pth: decoder\.gone: expected numbers in .* got a tensor without"):
        read_encoder(str(tmp_path / "x.pth"))


def test_a_part_of_a_folder_is_refused_with_the_folder(small_mae: Path) -> None:
    with pytest.raises(ValueError, match="expected a folder, got one of its files"):
        read_encoder(str(small_mae / "mae.safetensors"))


def test_the_checksum_is_of_the_values_however_they_are_stored(tmp_path: Path) -> None:
    weights = weights_of()
    parameters = {name: nn.Parameter(tensor) for name, tensor in reversed(weights.items())}
    for name, content in {"plain": weights, "model": {"model": parameters}, "other": weights_of(1)}.items():
        torch.save(content, tmp_path / f"{name}.pth")
    plain, model, other = (read_encoder(str(tmp_path / f"{name}.pth")).sha256 for name in ("plain", "model", "other"))
    assert plain == model != other
    assert len(plain) == 64


class Runs:
    def __reduce__(self) -> Any:
        return print, ("run by unpickling",)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no checkpoint", "not a checkpoint of tensors that can be read safely: "),
        (b"", "not a checkpoint of tensors that can be read safely: "),
        (b"PK\x03\x04 half a file", "not a checkpoint of tensors that can be read safely: "),
        (pickle.dumps(Runs(), protocol=2), "not a checkpoint of tensors that can be read safely: "),
        ({"model": {"epoch": 3}}, "expected tensors by name, under a key such as 'model' or not, got model$"),
        ({"model": {3: "x"}}, "expected tensors by name, .* got model$"),
        ([torch.zeros(3)], "expected a dictionary of tensors, got list"),
        ({}, "expected tensors by name, .* got nothing$"),
    ],
    ids=["text", "empty", "cut", "a program", "no tensors", "one tensor", "a list", "nothing"],
)
def test_a_file_without_an_encoder_is_refused_in_one_line(
    content: Any, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file.pth"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    with pytest.raises(ValueError, match=rf"file\.pth: {message}") as refused:
        read_encoder(str(file))
    assert "\n" not in str(refused.value)
    assert "run by" not in capsys.readouterr().out


@pytest.mark.parametrize("init", ["missing.pth", "missing"])
def test_what_is_not_there_is_said_to_be_missing(init: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=init):
        read_encoder(str(tmp_path / init))


@pytest.mark.parametrize("name", ["no_such_model", "vit_tiny_patch16_224.no_such_tag", ""])
def test_a_name_that_timm_does_not_know_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^timm:{name}: expected a pretrained model of timm: "):
        read_encoder(f"timm:{name}")


@pytest.mark.parametrize("error", [OSError("no network"), ValueError("bad repo id"), RuntimeError("No pretrained")])
def test_a_download_that_fails_is_told_with_the_name(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def create_model(*_: Any, **__: Any) -> nn.Module:
        raise error

    monkeypatch.setattr(timm, "create_model", create_model)
    with pytest.raises(ValueError, match=f"^timm:vit: expected a pretrained model of timm: {error}"):
        read_encoder("timm:vit")
