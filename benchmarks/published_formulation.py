"""Scores the way the published code computes them: what benchmarks hold ours against."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from timm.models.vision_transformer import Block
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stages.density.mae import MaskedAutoencoder, gather_tokens, masked_indices
from stages.images.normalisation import normalise


@torch.inference_mode()
def published_scores(mae: MaskedAutoencoder, images: Tensor, visible: Tensor) -> Tensor:
    """uint8 (B, 3, S, S) at sorted (B, K) → float32 (B, K), the way the published code goes.

    It encodes the visible patches once and decodes them to the anchor. Then, for one visible patch after the
    other, the decoder runs on the whole sequence of CLS and L tokens in raster order, of all images of the
    batch at once, with a mask added to the logits of every head that keeps the removed token from attending
    and from being attended to. All L patches are read out; the mean absolute difference is over those masked.
    """
    n_patches, length = mae.config.n_patches, 1 + mae.config.n_patches
    pixels = normalise(images)
    masked = masked_indices(visible, n_patches)
    is_masked = torch.zeros(len(images), n_patches, device=images.device).scatter_(1, masked, 1.0)
    latent = mae.decoder_embed(mae.encode(gather_tokens(mae.embed(pixels), visible))).float()
    patches = mae.mask_token.repeat(len(images), n_patches, 1)
    patches.scatter_(1, visible[..., None].expand(-1, -1, patches.shape[2]), latent[:, 1:])
    tokens = torch.cat([latent[:, :1], patches], dim=1) + mae.decoder_pos_embed

    def decode(mask: Tensor | None) -> Tensor:
        x = tokens
        for block in mae.decoder_blocks:
            x = explicit_block(block, x, mask)
        return mae.decoder_pred(mae.decoder_norm(x))[:, 1:]

    anchor = decode(None)
    scores = []
    for removed in (1 + visible).T:
        mask = torch.zeros(len(images), 1, length, length, device=images.device)
        at = torch.arange(len(images), device=images.device)
        mask[at, 0, removed, :] = mask[at, 0, :, removed] = -torch.inf
        mask[at, 0, removed, removed] = 0  # of nothing at all the softmax is not a number
        difference = (decode(mask) - anchor).abs().mean(dim=-1)
        scores.append((difference * is_masked).sum(1) / is_masked.sum(1))
    return torch.stack(scores, dim=1)


def explicit_block(block: Block, x: Tensor, mask: Tensor | None) -> Tensor:
    """timm's block as it was when the published code was written: attention as three visible steps."""
    attention = block.attn
    q, k, v = attention.qkv(block.norm1(x)).unflatten(2, (3, attention.num_heads, -1)).permute(2, 0, 3, 1, 4)
    logits = (q @ k.transpose(-2, -1)) * attention.scale
    if mask is not None:
        logits = logits + mask
    attended = (logits.softmax(dim=-1) @ v).transpose(1, 2).flatten(2)
    x = x + attention.proj(attended)
    return x + block.mlp(block.norm2(x))
