"""A ranker that starts from the encoder of an MAE or of a timm model."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from ranker.encoder_weights import load_encoder
from ranker.network import SIZES, PatchRankingTransformer, RankerConfig
from ranker.positions import sincos_positions
from stages.density.mae import MaeConfig, MaskedAutoencoder

CONFIG = RankerConfig(image_size=32, patch_size=8, width=16, depth=2, heads=2)
MAE_CONFIG = MaeConfig(
    image_size=32,
    patch_size=8,
    width=16,
    depth=2,
    heads=2,
    decoder_width=12,
    decoder_depth=1,
    decoder_heads=2,
)


def moved(model: torch.nn.Module) -> dict[str, Tensor]:
    """Its weights, of which none is left as it was made, but for fixed positions."""
    return {
        name: value + (0.1 * torch.randn_like(value) if "pos_embed" not in name else 0.0)
        for name, value in model.state_dict().items()
    }


def mae_weights(**changes: Any) -> dict[str, Tensor]:
    torch.manual_seed(0)
    return moved(MaskedAutoencoder(dataclasses.replace(MAE_CONFIG, **changes)))


def timm_weights(**changes: Any) -> dict[str, Tensor]:
    torch.manual_seed(0)
    settings = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 2, "num_heads": 2, "num_classes": 5}
    return moved(VisionTransformer(**{**settings, **changes}))


def ranker_of(**changes: Any) -> PatchRankingTransformer:
    torch.manual_seed(1)
    return PatchRankingTransformer(dataclasses.replace(CONFIG, **changes))


def started(weights: dict[str, Tensor], **changes: Any) -> dict[str, Tensor]:
    """The weights of a ranker that starts from others."""
    model = ranker_of(**changes)
    head = [parameter.clone() for parameter in model.head.parameters()]
    load_encoder(model, weights, "mae.pth")
    assert all(torch.equal(one, other) for one, other in zip(head, model.head.parameters(), strict=True))
    return model.state_dict()


def assert_all_but_the_head_are(ranker: dict[str, Tensor], encoder: dict[str, Tensor], *but: str) -> None:
    for name, value in ranker.items():
        assert name.startswith("head.") or name in but or torch.equal(value, encoder[name]), name


@pytest.mark.parametrize("with_decoder", [True, False])
def test_an_mae_gives_everything_but_the_head(with_decoder):
    weights = mae_weights()
    if not with_decoder:
        weights = {name: value for name, value in weights.items() if not name.startswith(("decoder", "mask_token"))}
    ranker = started(weights)
    assert_all_but_the_head_are(ranker, weights)
    assert torch.equal(ranker["pos_embed"], sincos_positions(4, 16))


def test_a_timm_model_gives_its_learned_positions_too():
    weights = timm_weights()
    assert_all_but_the_head_are(started(weights), weights)


def test_the_encoder_gives_the_same_tokens_in_the_ranker():
    vit = VisionTransformer(img_size=32, patch_size=8, embed_dim=16, depth=2, num_heads=2, num_classes=0).eval()
    model = ranker_of(norm_eps=1e-6).eval()
    load_encoder(model, vit.state_dict(), "vit.pth")
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(model.forward_features(images), vit.forward_features(images))


def test_the_norm_of_a_timm_model_that_averages_tokens_is_taken():
    weights = timm_weights(global_pool="avg")
    assert "norm.weight" not in weights
    ranker = started(weights)
    assert torch.equal(ranker["norm.weight"], weights["fc_norm.weight"])
    assert_all_but_the_head_are(ranker, weights, "norm.weight", "norm.bias")


def test_a_norm_beside_another_of_the_head_is_the_encoders():
    weights = {**timm_weights(), "fc_norm.weight": torch.zeros(16), "fc_norm.bias": torch.zeros(16)}
    assert_all_but_the_head_are(started(weights), weights)


def test_fixed_positions_in_half_precision_are_still_the_fixed_ones():
    weights = {name: value.half() for name, value in mae_weights().items()}
    assert torch.equal(started(weights)["pos_embed"], sincos_positions(4, 16))


def test_timms_own_tiny_model_starts_a_tiny_ranker():
    weights = timm.create_model("vit_tiny_patch16_224", pretrained=False).state_dict()
    sizes: dict[str, Any] = SIZES["tiny"]
    model = PatchRankingTransformer(RankerConfig(**sizes))
    load_encoder(model, weights, "timm")
    for name, value in model.state_dict().items():
        assert name.startswith("head.") or torch.equal(value, weights[name]), name


@pytest.mark.parametrize("scale", [1.0, 0.5], ids=["fixed", "learned"])
def test_positions_of_another_grid_are_resampled(scale):
    weights = {**timm_weights(img_size=48), "pos_embed": scale * sincos_positions(6, 16) + 1 - scale}
    positions = started(weights)["pos_embed"]
    assert torch.equal(positions[:, 0], weights["pos_embed"][:, 0])
    corners, those_of_encoder = positions[0, [1, 4, 13, 16]], weights["pos_embed"][0, [1, 6, 31, 36]]
    distances = torch.cdist(corners, those_of_encoder)
    assert distances.argmin(dim=1).tolist() == [0, 1, 2, 3]


def test_the_patch_embedding_is_resampled_for_another_patch_size():
    """So that a patch seen at twice the size gives the same token."""
    weights = mae_weights()
    ranker = started(weights, image_size=64, patch_size=16)
    assert_all_but_the_head_are(ranker, weights, "patch_embed.proj.weight")
    small = torch.randn(1, 3, 8, 8)
    large = torch.nn.functional.interpolate(small, size=(16, 16), mode="bicubic", antialias=True)
    came = (ranker["patch_embed.proj.weight"] * large).sum((1, 2, 3))
    torch.testing.assert_close(came, (weights["patch_embed.proj.weight"] * small).sum((1, 2, 3)), rtol=1e-3, atol=1e-3)


def test_it_works_with_the_head_for_every_token_and_on_a_model_that_trains():
    model = ranker_of(head="token").train()
    load_encoder(model, mae_weights(), "mae.pth")
    assert model.training
    assert not model.pos_embed.requires_grad
    assert model(torch.randn(1, 3, 32, 32)).requires_grad


def changed(name: str, value: Tensor | None) -> dict[str, Tensor]:
    weights = {**mae_weights(), name: value}
    return {name: tensor for name, tensor in weights.items() if tensor is not None}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (mae_weights(width=24), r"patch_embed\.proj\.weight: expected \(16, 3, 8, 8\), got \(24, 3, 8, 8\)"),
        (mae_weights(depth=3), "blocks: expected 2, got 3"),
        (mae_weights(depth=1), "blocks: expected 2, got 1"),
        (timm_weights(in_chans=1), r"patch_embed\.proj\.weight: expected \(16, 3, 8, 8\), got \(16, 1, 8, 8\)"),
        (timm_weights(mlp_ratio=2), r"blocks\.0\.mlp\.fc1\.weight: expected \(64, 16\), got \(32, 16\)"),
        (timm_weights(class_token=False, global_pool="avg"), r"without \['cls_token'\] and with \[\]"),
        (timm_weights(reg_tokens=2), r"without \[\] and with \['reg_token'\]"),
        (timm_weights(init_values=0.1), r"with \['blocks\.0\.ls1\.gamma', 'blocks\.0\.ls2\.gamma', "),
        (timm_weights(no_embed_class=True), r"pos_embed: expected \(1, 1 \+ g², 16\), got \(1, 16, 16\)"),
        (changed("norm.bias", None), r"without \['norm\.bias'\]"),
        (changed("pos_embed", None), r"without \['pos_embed'\]"),
        (changed("blocks.1.attn.qkv.bias", None), r"without \['blocks\.1\.attn\.qkv\.bias'\]"),
        (changed("pos_embed", torch.zeros(3)), r"pos_embed: expected \(1, 1 \+ g², 16\), got \(3,\)"),
        (changed("pos_embed", torch.zeros(1, 18, 16)), r"pos_embed: expected .* got \(1, 18, 16\)"),
        (changed("patch_embed.proj.weight", torch.zeros(16, 192)), r"expected \(16, 3, p, p\), got \(16, 192\)"),
        (
            changed("norm.bias", torch.full((16,), torch.nan)),
            r"norm\.bias: expected finite numbers, got NaN or",
        ),
        ({}, "blocks: expected 2, got 0"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_encoder_that_does_not_fit_is_refused_and_the_ranker_stays_as_it_was(weights, message):
    model = ranker_of()
    with pytest.raises(ValueError, match=rf"^mae\.pth: .*{message}"):
        load_encoder(model, weights, "mae.pth")
    for name, value in ranker_of().state_dict().items():
        assert torch.equal(model.state_dict()[name], value)
