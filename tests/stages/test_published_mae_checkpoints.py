"""Checkpoints as facebookresearch/mae and the Hugging Face hub have them: what is read, and what is refused."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import pytest
import safetensors.torch
import torch
from saved_maes import (
    CONFIG,
    IMAGES,
    MODEL,
    VISIBLE,
    changed,
    hugging_face_config,
    reconstruction,
    save_as_facebook,
    save_as_hugging_face,
)
from torch import Tensor

from stages.density.mae import MaeConfig, MaskedAutoencoder
from stages.density.mae_checkpoints import load_mae

# facebookresearch/mae


@pytest.mark.parametrize(
    ("name", "args", "pixel_target"),
    [
        ("mae_visualize_vit_small.pth", None, "raw"),
        ("mae_pretrain_vit_small_full.pth", None, "normalized"),
        (
            "checkpoint-799.pth",
            argparse.Namespace(norm_pix_loss=True, lr=1e-4, output_dir="out"),
            "normalized",
        ),
        ("checkpoint-799.pth", argparse.Namespace(norm_pix_loss=False), "raw"),
    ],
)
def test_the_pixel_target_of_a_facebook_file_comes_from_its_options_or_its_name(tmp_path, name, args, pixel_target):
    more = {} if args is None else {"args": args, "epoch": 799, "optimizer": {"state": {0: torch.zeros(3)}}}
    checkpoint = load_mae(save_as_facebook(tmp_path / name, **more))
    assert checkpoint.config.pixel_target == pixel_target
    assert checkpoint.family == "facebookresearch"


def test_the_architecture_of_a_facebook_file_comes_from_its_shapes_and_the_json_beside_it(tmp_path):
    path = tmp_path / "small.pth"
    save_as_facebook(path)
    path.with_name("small.pth.json").write_text(
        '{"heads": 8, "decoder_heads": 3, "norm_eps": 0.01, "pixel_target": "normalized"}'
    )
    expected = {
        **vars(CONFIG),
        "heads": 8,
        "decoder_heads": 3,
        "norm_eps": 0.01,
        "pixel_target": "normalized",
    }
    assert load_mae(str(path)).config == MaeConfig(**expected)


def test_a_facebook_file_with_published_widths_needs_no_numbers_of_heads(tmp_path):
    config = MaeConfig(image_size=32, depth=1, decoder_depth=1, pixel_target="raw")
    torch.save({"model": MaskedAutoencoder(config).state_dict()}, tmp_path / "mae_visualize_vit_base.pth")
    assert load_mae(str(tmp_path / "mae_visualize_vit_base.pth")).config == config


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("patch_embed.proj.weight", None, r"'patch_embed\.proj\.weight' is missing"),
        ("pos_embed", None, "'pos_embed' is missing"),
        ("pos_embed", torch.zeros(3), r"pos_embed: expected 3 dimensions, got \(3,\)"),
        (
            "patch_embed.proj.weight",
            torch.zeros(32, 192),
            r"proj\.weight: expected 4 dimensions, got \(32, 192\)",
        ),
    ],
)
def test_a_facebook_file_without_the_tensors_that_tell_its_shape_is_refused(name, value, message, tmp_path):
    path = save_as_facebook(tmp_path / "mae_visualize_x.pth", changed(name, value))
    with pytest.raises(ValueError, match=message):
        load_mae(path)


@pytest.mark.parametrize(
    ("beside", "message"),
    [
        (
            None,
            r'number of heads; put it into .*x\.pth\.json, for example \{"heads": 12, "decoder_heads": 16',
        ),
        ('{"heads": 4}', r"number of decoder_heads; put it into .*x\.pth\.json"),
        ('{"heads": 5, "decoder_heads": 2}', r"x\.pth\.json: .*MAE width: expected a multiple of 5 heads"),
        (
            '{"heads": 0, "decoder_heads": 2}',
            r"x\.pth\.json: .*MAE heads: expected a whole number above 0, got 0",
        ),
        ('{"heads": "4", "decoder_heads": 2}', r"x\.pth\.json: .*MAE heads: .* got '4'"),
        ('{"heads": 4, "decoder_heads": 2, "head": 3}', r"x\.pth\.json: .*'head'"),
        (
            '{"heads": 4, "decoder_heads": 2, "pixel_target": "RGB"}',
            r"MAE pixel_target: expected .* got 'RGB'",
        ),
        ('{"heads": 4,', r"x\.pth\.json: expected a JSON object, got something else"),
        ("[4, 2]", r"x\.pth\.json: expected a JSON object, got a list"),
    ],
)
def test_numbers_of_heads_that_are_unknown_or_wrong_are_refused_and_the_message_says_how(beside, message, tmp_path):
    path = save_as_facebook(tmp_path / "x.pth")
    if beside is None:
        os.remove(f"{path}.json")
    else:
        Path(f"{path}.json").write_text(beside)
    with pytest.raises(ValueError, match=message):
        load_mae(path)


# The Hugging Face hub, and the implementation of transformers


@pytest.fixture(scope="module")
def transformers():
    return pytest.importorskip("transformers", reason="transformers, a test dependency, is not installed")


@torch.inference_mode()
def hugging_face_reconstruction(theirs) -> Tensor:
    """Their forward with noise that is lowest at `VISIBLE`."""
    noise = torch.ones(2, 16).scatter(1, VISIBLE, 0.0) + torch.linspace(0, 0.1, 16)
    pixels = theirs.eval()(IMAGES, noise=noise)
    assert pixels.mask.sum(1).tolist() == [12, 12]
    return pixels.logits[pixels.mask.bool()].view(2, 12, -1)


@pytest.mark.parametrize("norm_eps", [1e-12, 1e-2])
def test_a_hugging_face_folder_reconstructs_as_transformers_does(transformers, tmp_path, norm_eps):
    config = MaeConfig(**{**vars(CONFIG), "norm_eps": norm_eps})
    published = save_as_hugging_face(tmp_path / "published", config=config)
    theirs, loading = transformers.ViTMAEForPreTraining.from_pretrained(published, output_loading_info=True)
    assert not loading["missing_keys"], "the names here are not the published ones"
    assert not loading["unexpected_keys"], "the names here are not the published ones"
    theirs.save_pretrained(tmp_path / "saved")
    safetensors.torch.save_file(
        {name: tensor.contiguous() for name, tensor in theirs.state_dict().items()},
        write_config(tmp_path / "in memory", config) / "model.safetensors",
    )
    expected = hugging_face_reconstruction(theirs)
    for folder in ("published", "saved", "in memory"):
        checkpoint = load_mae(str(tmp_path / folder))
        assert checkpoint.config == config
        assert checkpoint.family == "huggingface"
        torch.testing.assert_close(reconstruction(checkpoint.build()), expected, rtol=1e-4, atol=1e-5)


def write_config(folder: Path, config: MaeConfig) -> Path:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(hugging_face_config(config)))
    return folder


def test_norm_eps_makes_a_difference_that_the_test_above_would_see():
    other = MaskedAutoencoder(MaeConfig(**{**vars(CONFIG), "norm_eps": 1e-2}))
    other.load_state_dict(MODEL.state_dict())
    assert (reconstruction(other) - reconstruction(MODEL)).abs().max() > 1e-3


def test_a_model_of_the_hub_is_downloaded_without_anything_but_config_and_weights(tmp_path, monkeypatch):
    folder = save_as_hugging_face(tmp_path / "hub")
    asked: list[tuple[str, str | None, list[str]]] = []

    def download(name: str, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, revision, sorted(allow_patterns)))
        return folder

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    files = ["config.json", "mae.json", "mae.safetensors", "model.safetensors", "pytorch_model.bin"]
    for url, revision in (("hf://facebook/vit-mae-small", None), ("hf://facebook/vit-mae-small@v2", "v2")):
        assert torch.equal(reconstruction(load_mae(url).build()), reconstruction(MODEL))
        assert asked.pop() == ("facebook/vit-mae-small", revision, files)


def test_a_hub_that_does_not_answer_is_one_clear_message(monkeypatch):
    def unreachable(*_: object, **__: object) -> str:
        raise ConnectionError("no route to host")

    monkeypatch.setattr("huggingface_hub.snapshot_download", unreachable)
    with pytest.raises(ValueError, match="hf://facebook/x: the Hugging Face hub did not give it: no route to host"):
        load_mae("hf://facebook/x")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_type": "vit"}, "expected model_type 'vit_mae', got 'vit'"),
        ({"intermediate_size": 64}, "expected intermediate_size 128, got 64"),
        ({"decoder_intermediate_size": 64}, "expected decoder_intermediate_size 96, got 64"),
        ({"hidden_act": "relu"}, "expected hidden_act 'gelu', got 'relu'"),
        ({"num_hidden_layers": 3}, r"blocks\.2\.norm1\.weight is missing"),
        ({"num_attention_heads": 5}, r"config\.json: .*MAE width: expected a multiple of 5 heads"),
    ],
)
def test_a_hugging_face_config_that_is_no_maes_is_refused(changes, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        load_mae(save_as_hugging_face(tmp_path / "hub", **changes))


@pytest.mark.parametrize("config", ['{"model_type": "vit_mae"}', '{"model_type": "vit_mae", "hidden_size": "a"}'])
def test_a_hugging_face_config_that_lacks_something_is_refused_with_what_it_lacks(config, tmp_path):
    save_as_hugging_face(tmp_path)
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(ValueError, match=r"config\.json: '\w+' is missing"):
        load_mae(str(tmp_path))
