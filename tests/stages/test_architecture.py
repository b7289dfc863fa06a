"""The encoder that a task begins with: of a size, an MAE's, or a vision transformer of timm."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from random_maes import DEEPER, random_mae
from ranked_tars import GRID
from saved_maes import CONFIG, IMAGES, MODEL, VISIBLE, save_as_hugging_face, save_as_ours
from timm.layers import resample_abs_pos_embed, resample_patch_embed
from torch import Tensor, nn

from ranker.network import SIZES
from ranker.positions import sincos_positions
from stages.density.mae import MaskedAutoencoder, gather_tokens
from stages.density.mae_checkpoints import save_mae
from stages.tasks.architecture import HEADS, EncoderConfig, begin_encoder
from stages.tasks.kept_patches import KeptPatchEncoder
from stages.training.encoders import read_encoder

ALL = torch.arange(GRID.n_patches).expand(2, -1)
create_model = timm.create_model


@torch.no_grad()
def encoded_by(encoder: KeptPatchEncoder, kept: Tensor) -> Tensor:
    cls, tokens = encoder.eval()(IMAGES, kept)
    return torch.cat([cls[:, None], tokens], dim=1)


@torch.no_grad()
def encoded_by_mae(mae: MaskedAutoencoder, kept: Tensor) -> Tensor:
    return mae.eval().encode(gather_tokens(mae.embed(IMAGES), kept))


def begin(init: str | None, **options: Any) -> tuple[EncoderConfig, KeptPatchEncoder, str | None]:
    return begin_encoder(GRID, **{"size": "nano", "init": init, **options})


def assert_rebuilds(config: EncoderConfig, encoder: KeptPatchEncoder) -> None:
    """The config, as it is saved, gives a model that the weights fit, with the same result."""
    again = EncoderConfig(**dataclasses.asdict(config)).build()
    assert not torch.equal(encoded_by(again, ALL), encoded_by(encoder, ALL))
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(encoded_by(again, ALL), encoded_by(encoder, ALL))


@pytest.mark.parametrize("size", ["nano", "tiny"])
def test_from_scratch_it_has_the_size_that_is_named(size: Any) -> None:
    torch.manual_seed(0)
    config, encoder, start = begin(None, size=size)
    assert start is None
    vit = encoder.vit
    shape = {"width": vit.embed_dim, "depth": len(vit.blocks), "heads": vit.blocks[0].attn.num_heads}
    assert shape == SIZES[size]
    assert (config.image_size, config.patch_size, config.timm) == (32, 8, None)
    assert torch.equal(vit.pos_embed, sincos_positions(4, shape["width"]))
    assert not vit.pos_embed.requires_grad
    assert_rebuilds(config, encoder)


@pytest.mark.parametrize("kind", ["scratch", "mae", "timm"])
def test_without_a_final_norm_it_is_the_same_up_to_there(kind: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, **options: create_model(name, False, **options))
    save_mae(random_mae(DEEPER), str(tmp_path), {})
    init = {"scratch": None, "mae": str(tmp_path), "timm": "timm:test_vit"}[kind]
    torch.manual_seed(0)
    _, whole, start = begin(init)
    torch.manual_seed(0)
    config, encoder, same = begin(init, final_norm=False)
    assert same == start
    assert encoder.state_dict().keys() == whole.state_dict().keys() - {"vit.norm.weight", "vit.norm.bias"}
    assert torch.equal(whole.vit.norm(encoded_by(encoder, ALL)), encoded_by(whole, ALL))
    assert_rebuilds(config, encoder)


def test_stochastic_depth_rises_through_the_blocks_to_the_rate_that_is_given(tmp_path: Path) -> None:
    for init in (None, save_as_ours(tmp_path / "mae")):
        config, encoder, _ = begin(init, drop_path=0.2)
        rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in encoder.vit.blocks]
        assert (config.drop_path, rates[0], rates[-1]) == (0.2, 0.0, pytest.approx(0.2))
        assert rates == sorted(rates)


@pytest.mark.parametrize("save", [save_as_ours, save_as_hugging_face])
@pytest.mark.parametrize("kept", [ALL, VISIBLE])
def test_an_maes_encoder_computes_what_it_computes_in_the_mae(save, kept, tmp_path: Path) -> None:
    init = save(tmp_path / "mae")
    config, encoder, start = begin(init)
    assert (config.width, config.depth, config.heads) == (CONFIG.width, CONFIG.depth, CONFIG.heads)
    torch.testing.assert_close(encoded_by(encoder, kept), encoded_by_mae(MODEL, kept), atol=1e-5, rtol=1e-4)
    assert start == read_encoder(init).sha256
    assert_rebuilds(config, encoder)


def test_positions_and_patches_of_an_mae_of_another_grid_are_resampled(tmp_path: Path) -> None:
    torch.manual_seed(0)
    mae = MaskedAutoencoder(dataclasses.replace(DEEPER, image_size=96, patch_size=16))
    save_mae(mae, str(tmp_path / "mae"), {})
    config, encoder, _ = begin(str(tmp_path / "mae"))
    assert (config.image_size, config.patch_size, encoder.grid) == (32, 8, 4)
    torch.testing.assert_close(encoder.vit.pos_embed.data, resample_abs_pos_embed(mae.pos_embed.detach(), [4, 4]))
    torch.testing.assert_close(
        encoder.vit.patch_embed.proj.weight, resample_patch_embed(mae.patch_embed.proj.weight.detach(), [8, 8])
    )
    name = "blocks.1.mlp.fc1.weight"
    assert torch.equal(encoder.vit.state_dict()[name], mae.state_dict()[name])


WIDE = dataclasses.replace(DEEPER, width=64)


@pytest.mark.parametrize("with_decoder", [True, False])
def test_of_a_published_file_the_heads_are_known_by_the_width(with_decoder: bool, tmp_path: Path) -> None:
    mae = random_mae(WIDE)
    weights = {name: each for name, each in mae.state_dict().items() if with_decoder or not name.startswith("decoder")}
    torch.save({"model": weights}, tmp_path / "mae.pth")
    config, encoder, _ = begin(str(tmp_path / "mae.pth"))
    assert (config.width, config.depth, config.heads) == (64, 2, 4)
    torch.testing.assert_close(encoded_by(encoder, ALL), encoded_by_mae(mae, ALL), atol=1e-5, rtol=1e-4)


def test_published_widths_have_their_published_heads() -> None:
    assert HEADS == {64: 4, 96: 3, 192: 3, 384: 6, 768: 12, 1024: 16, 1280: 16}


def other(**changed: Tensor | None) -> dict[str, Tensor]:
    """Weights of `WIDE` with some in the place of others, or taken away; "__" stands for "." in their names."""
    weights = {**random_mae(WIDE).state_dict(), **{name.replace("__", "."): each for name, each in changed.items()}}
    return {name: each for name, each in weights.items() if each is not None}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (other(cls_token=None), "expected the weights of an MAE's encoder, found no cls_token"),
        (other(cls_token=torch.zeros(1, 1, 48)), "expected an encoder of a known width .*, got 48"),
        (
            other(cls_token=torch.tensor(1.0)),
            r".* found no cls_token \(1, 1, width\)",
        ),
        (other(cls_token=torch.zeros(1, 1, 192)), "patch_embed.proj.weight: expected "),
        (other(norm__bias=None), r"expected the encoder of an MAE .* got one without \['norm.bias'\]"),
        (other(norm__bias=torch.full((64,), torch.nan)), "norm.bias: expected finite numbers, got NaN or infinity"),
    ],
)
def test_other_weights_are_refused_in_one_line(weights, message, tmp_path: Path) -> None:
    torch.save(weights, tmp_path / "mae.pth")
    with pytest.raises(ValueError, match=rf"mae\.pth: {message}") as refused:
        begin(str(tmp_path / "mae.pth"))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("init", ["missing.pth", "missing"])
def test_what_is_not_there_is_said_to_be_missing(init: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=init):
        begin(str(tmp_path / init))


TINY = "vit_tiny_patch16_224"


@pytest.fixture
def donor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """What stands in for the download of `TINY`: two of its blocks, with random weights."""
    torch.manual_seed(0)
    vit = create_model(TINY, False, depth=2)
    nn.init.normal_(vit.pos_embed)
    safetensors.torch.save_file(vit.state_dict(), tmp_path / "tiny.safetensors")

    def create(name: str, pretrained: bool = False, **options: Any) -> nn.Module:
        there = {"file": str(tmp_path / "tiny.safetensors"), "num_classes": 1000}
        return create_model(name, pretrained, depth=2, pretrained_cfg_overlay=there, **options)

    monkeypatch.setattr(timm, "create_model", create)
    return vit


def test_a_model_of_timm_starts_from_its_weights_resampled_for_this_grid(donor) -> None:
    config, encoder, start = begin(f"timm:{TINY}")
    assert (config.timm, config.width, config.image_size, config.patch_size) == (TINY, None, 32, 8)
    assert start == f"timm:{TINY} of timm {timm.__version__}"
    weights = encoder.vit.state_dict()
    expected = {name: each for name, each in donor.state_dict().items() if not name.startswith("head.")}
    expected["pos_embed"] = resample_abs_pos_embed(expected["pos_embed"], [4, 4], old_size=[14, 14])
    name = "patch_embed.proj.weight"
    expected[name] = resample_patch_embed(expected[name], [8, 8])
    assert weights.keys() == expected.keys()
    for name, each in expected.items():
        torch.testing.assert_close(weights[name], each, msg=name)
    assert_rebuilds(config, encoder)


@pytest.mark.parametrize(
    ("name", "prefix"), [(TINY, 1), ("deit_tiny_distilled_patch16_224", 2), ("vit_small_patch14_reg4_dinov2", 5)]
)
def test_on_all_patches_it_is_timms_own_model(name: str, prefix: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def create(name: str, pretrained: bool, **options: Any) -> nn.Module:
        torch.manual_seed(0)
        return create_model(name, False, depth=1, **options)

    monkeypatch.setattr(timm, "create_model", create)
    config, encoder, _ = begin(f"timm:{name}", drop_path=0.1)
    own = create_model(name, False, depth=1, num_classes=0, img_size=32, patch_size=8).eval()
    own.load_state_dict(encoder.vit.state_dict())
    with torch.no_grad():
        expected = own.forward_features(IMAGES)
    assert expected.shape[1] == prefix + GRID.n_patches
    found = encoded_by(encoder, ALL)
    torch.testing.assert_close(found[:, 0], expected[:, 0])
    torch.testing.assert_close(found[:, 1:], expected[:, prefix:])
    assert encoded_by(encoder, VISIBLE).shape == (2, 1 + 4, encoder.width)
    assert config.drop_path == 0.1


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("vit_enormous", "timm:vit_enormous: expected a vision transformer of timm: "),
        ("resnet10t", "timm:resnet10t: expected a vision transformer of timm: "),
        ("eva02_tiny_patch14_224", "timm:eva02_tiny_patch14_224: expected a VisionTransformer of timm, got Eva"),
        ("vit_wee_patch16_reg1_gap_256", "expected a vision transformer with a CLS token, .* and no CLS token"),
    ],
)
def test_what_is_no_vision_transformer_with_a_cls_token_is_refused(name, message, monkeypatch) -> None:
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, **options: create_model(name, False, **options))
    with pytest.raises(ValueError, match=message) as refused:
        begin(f"timm:{name}")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("error", [RuntimeError("No pretrained weights exist"), OSError("no network")])
def test_a_download_that_fails_is_told(error: Exception, monkeypatch) -> None:
    def create(*_: Any, **__: Any) -> nn.Module:
        raise error

    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(ValueError, match=f"timm:{TINY}: expected a vision transformer of timm: {error}"):
        begin(f"timm:{TINY}")
