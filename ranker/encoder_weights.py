"""A vision transformer that starts from a trained encoder: an MAE's, or one of timm.

Names are those that timm and facebookresearch/mae share. What such files hold beside the encoder is left aside: an
MAE's decoder, and heads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from timm.layers import resample_abs_pos_embed, resample_patch_embed
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from ranker.named_tensors import refuse_unusable
from ranker.positions import sincos_positions

BESIDE_THE_ENCODER = ("decoder", "mask_token", "head", "fc_norm")
PROJECTION, POSITIONS = "patch_embed.proj.weight", "pos_embed"


def load_encoder(model: VisionTransformer, weights: Mapping[str, Tensor], where: str) -> None:
    """Puts an encoder's patch embedding, CLS token, blocks and last norm into `model`, whose head stays as it is.

    Position embeddings stay too where the encoder has the same ones, MAE's of the same grid; others are taken, and
    resampled for another grid, as the patch embedding is for another patch size. Of a timm model that averages
    tokens, which has no `norm`, `fc_norm` is taken for it. The number of heads cannot be seen in weights: it must be
    the encoder's.

    Raises ValueError, naming `where`, the tensor, what was expected and what it got, for an encoder of another width or
    depth, tensors that are missing or unknown, and values that are not finite; `model` is then as it was.
    """
    expected = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith("head.")}
    encoder = _encoder_part(weights)
    _refuse_other_names(expected, encoder, where)
    refuse_unusable(encoder, where)
    encoder = {name: tensor.detach().float().cpu() for name, tensor in encoder.items()}
    encoder[PROJECTION] = _fitting_projection(encoder[PROJECTION], model, where)
    encoder[POSITIONS] = _fitting_positions(encoder[POSITIONS], model, where)
    for name, tensor in encoder.items():
        _refuse_shape(name, tensor, tuple(expected[name].shape), where)
    model.load_state_dict(encoder, strict=False)


def _encoder_part(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    has_norm = "norm.weight" in weights
    encoder = {}
    for name, tensor in weights.items():
        if name.startswith("fc_norm.") and not has_norm:
            name = name.removeprefix("fc_")
        if not name.startswith(BESIDE_THE_ENCODER):
            encoder[name] = tensor
    return encoder


def _refuse_other_names(expected: Mapping[str, Tensor], encoder: Mapping[str, Tensor], where: str) -> None:
    depth, found = _depth(expected), _depth(encoder)
    if found != depth:
        raise ValueError(f"{where}: blocks: expected {depth}, got {found}")
    missing, unknown = sorted(expected.keys() - encoder.keys()), sorted(encoder.keys() - expected.keys())
    if missing or unknown:
        raise ValueError(
            f"{where}: expected the encoder of an MAE or of a timm vision transformer with a CLS token, got one "
            f"without {missing[:3]} and with {unknown[:3]}"
        )


def _depth(weights: Mapping[str, Tensor]) -> int:
    return len({name.split(".")[1] for name in weights if name.startswith("blocks.")})


def _fitting_projection(weight: Tensor, model: VisionTransformer, where: str) -> Tensor:
    """(width, 3, p, p), p of the encoder → of the ranker."""
    width, patch = model.embed_dim, model.patch_embed.patch_size[0]
    if weight.ndim != 4 or not all(weight.shape):
        raise ValueError(f"{where}: {PROJECTION}: expected ({width}, 3, p, p), got {tuple(weight.shape)}")
    _refuse_shape(PROJECTION, weight, (width, 3, *weight.shape[2:]), where)
    resampled: Tensor = resample_patch_embed(weight, [patch, patch])
    return resampled


def _fitting_positions(positions: Tensor, model: VisionTransformer, where: str) -> Tensor:
    """(1, 1 + g², width), g of the encoder → of the ranker."""
    width, grid = model.embed_dim, model.patch_embed.grid_size[0]
    own = math.isqrt(max(0, positions.shape[1] - 1)) if positions.ndim == 3 else 0
    if own == 0 or positions.shape != (1, 1 + own**2, width):
        raise ValueError(f"{where}: {POSITIONS}: expected (1, 1 + g², {width}), got {tuple(positions.shape)}")
    if own != grid:
        resampled: Tensor = resample_abs_pos_embed(positions, [grid, grid], old_size=[own, own])
        return resampled
    fixed = sincos_positions(grid, width)
    # Files in half precision differ from the formula by less than this.
    return fixed if torch.allclose(positions, fixed, rtol=0, atol=1e-2) else positions


def _refuse_shape(name: str, tensor: Tensor, expected: tuple[int, ...], where: str) -> None:
    if tuple(tensor.shape) != expected:
        raise ValueError(f"{where}: {name}: expected {expected}, got {tuple(tensor.shape)}")
