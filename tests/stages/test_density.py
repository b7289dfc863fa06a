"""Scores against the published code's numbers, and against the method written out plainly."""

from __future__ import annotations

import math
from collections.abc import Set
from typing import Any

import numpy as np
import pytest
import torch
from random_maes import DEEPER, SHAPES, random_images, random_mae, random_visible
from repository import GOLDEN
from torch import Tensor

from stages.density.decoded import draw_decoded
from stages.density.mae import MaeConfig, MaskedAutoencoder, masked_indices
from stages.density.removal import REMOVALS
from stages.density.scorer import DensityScorer
from stages.tables import DISTANCES


class PlainMae:
    """The MAE in float64, written out from its weights: no batch, no shared work, an explicit softmax."""

    def __init__(self, model: MaskedAutoencoder) -> None:
        self.config = model.config
        self.weights = {name: tensor.double() for name, tensor in model.state_dict().items()}

    def linear(self, x: Tensor, name: str) -> Tensor:
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def norm(self, x: Tensor, name: str) -> Tensor:
        centred = x - x.mean(-1, keepdim=True)
        scaled = centred / (centred.square().mean(-1, keepdim=True) + self.config.norm_eps).sqrt()
        return scaled * self.weights[f"{name}.weight"] + self.weights[f"{name}.bias"]

    def block(self, x: Tensor, name: str, heads: int, mask: Tensor) -> Tensor:
        width = x.shape[1]
        size = width // heads
        q, k, v = self.linear(self.norm(x, f"{name}.norm1"), f"{name}.attn.qkv").split(width, dim=1)
        attended = []
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            logits = q[:, part] @ k[:, part].T / math.sqrt(size) + mask
            attended.append(logits.softmax(dim=1) @ v[:, part])
        x = x + self.linear(torch.cat(attended, dim=1), f"{name}.attn.proj")
        hidden = self.linear(self.norm(x, f"{name}.norm2"), f"{name}.mlp.fc1")
        hidden = hidden * (1 + torch.erf(hidden / math.sqrt(2))) / 2
        return x + self.linear(hidden, f"{name}.mlp.fc2")

    def reconstruct(self, image: Tensor, visible: list[int], without: Set[int] = frozenset()) -> Tensor:
        """uint8 (3, S, S) → (L, P). The decoder's tokens of `without` neither attend nor are attended to."""
        config = self.config
        mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).double()[..., None, None]
        pixels = (image.double() / 255 - mean) / std
        grid, p = config.grid, config.patch_size
        patches = [pixels[:, r * p : r * p + p, c * p : c * p + p].flatten() for r in range(grid) for c in range(grid)]
        embedding = self.weights["patch_embed.proj.weight"].flatten(1)
        positions = self.weights["pos_embed"][0]
        tokens = [self.weights["cls_token"][0, 0] + positions[0]]
        for patch in visible:
            tokens.append(embedding @ patches[patch] + self.weights["patch_embed.proj.bias"] + positions[1 + patch])
        x = torch.stack(tokens)
        for number in range(config.depth):
            x = self.block(x, f"blocks.{number}", config.heads, torch.zeros(1).double())
        latent = self.linear(self.norm(x, "norm"), "decoder_embed")
        x = self.weights["mask_token"][0].repeat(1 + config.n_patches, 1)
        x[[0] + [1 + patch for patch in visible]] = latent
        x = x + self.weights["decoder_pos_embed"][0]
        mask = torch.zeros(len(x), len(x)).double()
        for patch in without:
            mask[1 + patch, :] = mask[:, 1 + patch] = -math.inf
        for patch in without:
            mask[1 + patch, 1 + patch] = 0  # it sees itself alone: softmax of nothing is not a number
        for number in range(config.decoder_depth):
            x = self.block(x, f"decoder_blocks.{number}", config.decoder_heads, mask)
        return self.linear(self.norm(x, "decoder_norm"), "decoder_pred")[1:]


def plain_reconstructions(
    mae: PlainMae, image: Tensor, visible: list[int], removal: str, decoded: list[int] | None = None
) -> tuple[Tensor, list[Tensor]]:
    """At the patches masked from the start, or those `decoded`: the anchor (N, P), and (N, P) without each visible
    patch. What is masked and not decoded is in no decoder."""
    masked = [patch for patch in range(mae.config.n_patches) if patch not in visible]
    compared = masked if decoded is None else decoded
    absent = set(masked) - set(compared)
    removed = []
    for patch in visible:
        if removal == "decoder":
            reconstruction = mae.reconstruct(image, visible, without={patch, *absent})
        else:
            reconstruction = mae.reconstruct(image, [other for other in visible if other != patch], without=absent)
        removed.append(reconstruction[compared])
    return mae.reconstruct(image, visible, without=absent)[compared], removed


def plain_distance(name: str, a: np.ndarray, b: np.ndarray) -> float:
    """Between reconstructions (N, P), the anchor first."""
    value_range = a.max() - a.min()
    if name == "l1":
        return np.abs(a - b).mean()
    if name == "l2":
        return ((a - b) ** 2).mean()
    if name == "psnr":
        return -20 * math.log10(value_range / math.sqrt(((a - b) ** 2).mean()))
    c1, c2 = (0.01 * value_range) ** 2, (0.03 * value_range) ** 2
    similarities = []
    for one, two in zip(a, b, strict=True):
        for channel in range(3):
            x, y = one[channel::3], two[channel::3]
            luminance = (2 * x.mean() * y.mean() + c1) / (x.mean() ** 2 + y.mean() ** 2 + c1)
            covariance = ((x - x.mean()) * (y - y.mean())).mean()
            similarities.append(luminance * (2 * covariance + c2) / (x.var() + y.var() + c2))
    return 1 - float(np.mean(similarities))


@pytest.mark.skipif(not GOLDEN.exists(), reason=f"the published code's numbers are not there: {GOLDEN}")
def test_anchor_and_scores_are_those_of_the_published_code():
    golden = np.load(GOLDEN)
    names = (
        "image_size",
        "patch_size",
        "width",
        "depth",
        "heads",
        "decoder_width",
        "decoder_depth",
        "decoder_heads",
    )
    config = MaeConfig(**dict(zip(names, golden["config"].tolist(), strict=True)))
    mae = MaskedAutoencoder(config).eval()
    mae.load_state_dict({n[4:]: torch.from_numpy(golden[n]) for n in golden.files if n.startswith("mae.")})
    images, visible = torch.from_numpy(golden["images"]), torch.from_numpy(golden["visible"]).long()
    with torch.inference_mode():
        pixels, masked = mae.reconstruct(images, visible)
        anchor, removed = REMOVALS["decoder"](mae, images, visible)
        anchor_pixels, removed0 = mae.decoder_pred(anchor), mae.decoder_pred(removed[:, 0])
        difference = mae.decoder_pred(anchor)[:, None] - mae.decoder_pred(removed)
        scores = DISTANCES["l1"](anchor_pixels, difference)
    at_masked = masked[..., None].expand(-1, -1, config.patch_values)
    expected_anchor = torch.from_numpy(golden["anchor"]).gather(1, at_masked)
    torch.testing.assert_close(pixels, expected_anchor, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(anchor_pixels, expected_anchor, rtol=1e-5, atol=1e-5)
    expected_removed = torch.from_numpy(golden["removed0"]).gather(1, at_masked)
    torch.testing.assert_close(removed0, expected_removed, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(scores, torch.from_numpy(golden["scores_l1"]), rtol=1e-5, atol=0)


@pytest.mark.parametrize("removal", REMOVALS)
@pytest.mark.parametrize(("config", "n_visible"), SHAPES.values(), ids=SHAPES)
def test_scores_are_those_of_the_method_written_out_plainly(config, n_visible, removal):
    model = random_mae(config)
    images, visible = random_images(config, 3), random_visible(config, 3, n_visible)
    plain = PlainMae(model)
    expected: dict[Any, list[list[float]]] = {name: [] for name in DISTANCES}
    for image, shown in zip(images, visible.tolist(), strict=True):
        anchor, removed = plain_reconstructions(plain, image, shown, removal)
        for name, scores in expected.items():
            scores.append([plain_distance(name, anchor.numpy(), without.numpy()) for without in removed])
    for name, scores in expected.items():
        ours = DensityScorer(model, removal=removal, distance=name)(images, visible)
        assert ours.dtype == torch.float32
        rtol = 5e-5 if name == "ssim" else 1e-5  # the variance of a few pixels passes on more of their rounding
        assert ours.numpy() == pytest.approx(np.array(scores), rel=rtol, abs=0), name


@pytest.mark.parametrize("removal", REMOVALS)
@pytest.mark.parametrize(("config", "n_visible"), SHAPES.values(), ids=SHAPES)
def test_with_few_patches_decoded_scores_are_those_of_a_decoder_that_has_no_others(config, n_visible, removal):
    model = random_mae(config)
    images, visible = random_images(config, 3), random_visible(config, 3, n_visible)
    decoded = [draw_decoded(0, str(n), 0, visible[n : n + 1].numpy(), config.n_patches)[0] for n in range(3)]
    plain = PlainMae(model)
    expected = []
    for image, shown, compared in zip(images, visible.tolist(), decoded, strict=True):
        anchor, removed = plain_reconstructions(plain, image, shown, removal, compared.tolist())
        expected.append([plain_distance("l1", anchor.numpy(), without.numpy()) for without in removed])
    ours = DensityScorer(model, removal=removal, micro_batch=2)(images, visible, torch.from_numpy(np.stack(decoded)))
    assert ours.numpy() == pytest.approx(np.array(expected), rel=1e-5, abs=0)


@pytest.mark.parametrize("removal", REMOVALS)
def test_to_decode_every_masked_patch_is_to_score_in_full(removal):
    model, images, visible = random_mae(DEEPER), random_images(DEEPER, 3), random_visible(DEEPER, 3, 5)
    scorer = DensityScorer(model, removal=removal)
    assert torch.equal(scorer(images, visible, masked_indices(visible, 16)), scorer(images, visible))


def test_the_two_removals_give_different_scores():
    model, images, visible = random_mae(DEEPER), random_images(DEEPER, 1), random_visible(DEEPER, 1, 5)
    decoder, encoder = (DensityScorer(model, removal=removal)(images, visible) for removal in ("decoder", "encoder"))
    assert (decoder / encoder - 1).abs().max() > 0.01
