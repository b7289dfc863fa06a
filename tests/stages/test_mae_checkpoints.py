"""Checkpoints of every family, made here at small size and read back; our own family, and its checksums."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
from checksums import forget_checksums
from random_maes import random_mae
from saved_maes import (
    CONFIG,
    FAMILIES,
    MODEL,
    published_names,
    reconstruction,
    save_as_facebook,
    save_as_hugging_face,
    save_as_ours,
)

from stages.density.mae import MaeConfig
from stages.density.mae_checkpoints import MaeCheckpoint, load_mae, save_mae


@pytest.fixture(params=FAMILIES)
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The same model, saved in each of the families."""
    return FAMILIES[request.param](tmp_path)


def test_every_family_gives_the_model_that_was_saved(saved):
    checkpoint = load_mae(saved)
    assert checkpoint.build().state_dict().keys() == MODEL.state_dict().keys()
    assert torch.equal(reconstruction(checkpoint.build()), reconstruction(MODEL))


def test_one_model_has_one_checksum_in_every_family_and_another_has_another(saved, tmp_path):
    ours = load_mae(save_as_ours(tmp_path / "reference"))
    assert load_mae(saved).sha256 == ours.sha256
    other = {**ours.weights, "decoder_pred.bias": ours.weights["decoder_pred.bias"].clone()}
    other["decoder_pred.bias"][0] += 1e-6
    assert MaeCheckpoint(ours.config, other, ours.family).sha256 != ours.sha256


@pytest.mark.parametrize("family", ["ours", "facebook", "hugging face"])
def test_a_path_may_be_relative(family, tmp_path, monkeypatch):
    path = FAMILIES[family](tmp_path)
    monkeypatch.chdir(tmp_path)
    assert load_mae(os.path.relpath(path)).config == CONFIG


def test_our_family_keeps_the_architecture_and_how_it_was_trained(tmp_path):
    config = MaeConfig(
        image_size=24,
        patch_size=6,
        width=16,
        heads=2,
        depth=1,
        decoder_width=8,
        decoder_heads=1,
        norm_eps=1e-3,
    )
    model = random_mae(config)
    save_mae(model, str(tmp_path / "mae"), {"steps": 7, "seed": 3})
    checkpoint = load_mae(str(tmp_path / "mae"))
    assert checkpoint.config == config
    assert checkpoint.family == "ltrp-pipeline"
    assert all(torch.equal(tensor, checkpoint.weights[name]) for name, tensor in model.state_dict().items())
    description = json.loads((tmp_path / "mae" / "mae.json").read_text())
    assert (description["steps"], description["seed"]) == (7, 3)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod.", "model."])
@pytest.mark.parametrize("key", ["model", "state_dict", "model_ema"])
def test_weights_that_were_saved_from_a_wrapper_are_those_of_the_model(prefix, key, tmp_path):
    """Of DistributedDataParallel, torch.compile, both, and a module that holds the model."""
    path = save_as_facebook(tmp_path / "mae_visualize_x.pth")
    torch.save({key: {prefix + name: tensor for name, tensor in MODEL.state_dict().items()}}, path)
    checkpoint = load_mae(path)
    assert torch.equal(reconstruction(checkpoint.build()), reconstruction(MODEL))
    assert checkpoint.sha256 == load_mae(save_as_ours(tmp_path / "ours")).sha256


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_a_hugging_face_model_may_come_from_a_wrapper_too(prefix, tmp_path):
    path = save_as_hugging_face(tmp_path / "hub")
    weights = {prefix + name: tensor for name, tensor in published_names(MODEL.state_dict()).items()}
    safetensors.torch.save_file(weights, tmp_path / "hub" / "model.safetensors")
    assert torch.equal(reconstruction(load_mae(path).build()), reconstruction(MODEL))


def test_weights_of_facebook_may_be_safetensors(tmp_path):
    path = save_as_facebook(tmp_path / "mae_visualize_x.safetensors")
    safetensors.torch.save_file(MODEL.state_dict(), path)
    assert torch.equal(reconstruction(load_mae(path).build()), reconstruction(MODEL))


# Our files carry checksums


def flip(file: Path, place: int) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("place", [0, 5, 100, -5000, -1])
def test_a_flipped_bit_in_our_weights_is_refused_by_name(place, tmp_path):
    ours = save_as_ours(tmp_path / "mae")
    flip(tmp_path / "mae" / "mae.safetensors", place)
    with pytest.raises(ValueError, match=r"mae\.safetensors: not as it was written: expected SHA-256 "):
        load_mae(ours)


def test_weights_in_another_dtype_than_they_were_saved_in_are_refused_by_name(tmp_path):
    ours = save_as_ours(tmp_path / "mae")
    halves = {name: tensor.half() for name, tensor in MODEL.state_dict().items()}
    safetensors.torch.save_file(halves, tmp_path / "mae" / "mae.safetensors")
    with pytest.raises(ValueError, match=r"mae\.safetensors: not as it was written"):
        load_mae(ours)


def test_an_architecture_that_was_edited_is_refused_where_the_weights_do_not_show_it(tmp_path):
    """Another number of heads fits the same weights, and gives other scores."""
    ours, file = save_as_ours(tmp_path / "mae"), tmp_path / "mae" / "mae.json"
    edited = file.read_text().replace('"heads": 4', '"heads": 8')
    assert edited != file.read_text()
    file.write_text(edited)
    with pytest.raises(ValueError, match=r"^\S+/mae\.json: not as it was written: expected SHA-256 "):
        load_mae(ours)
    forget_checksums(file)
    assert load_mae(ours).config.heads == 8


def test_an_mae_of_an_earlier_version_has_no_checksums_and_is_read(tmp_path):
    ours = save_as_ours(tmp_path / "mae")
    before = load_mae(ours).sha256
    forget_checksums(tmp_path / "mae" / "mae.json")
    assert load_mae(ours).sha256 == before
