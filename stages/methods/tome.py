"""`tome`: token merging (Bolya et al., ToMe, ICLR 2023): patches that stand for many others first.

In each block, between attention and MLP, the r most similar pairs of tokens are merged: every second token finds the
one among the others whose key, mean of the heads, is most similar to its own (bipartite soft matching); the r most
similar are merged into those that they found, by a mean weighted with the number of patches that each stands for; and
attention counts a token as often as it stands for patches (proportional attention). All as published. Registers are
not merged, as CLS is not.

A token that others are merged into keeps the name of its own patch. First come the patches whose tokens are left at
the end, by how many patches they stand for; then those that were merged away, the last first, and of one block the
most similar last. So the first k patches are those that have a token of their own when k are left. LTRP's published
code merges anew for each k, and keeps a random one of each token's patches. Here r is what leaves a quarter of the
patches: 13 of 196 in each of 12 blocks.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from stages.compute.autocast import full_precision
from stages.methods.vision_transformer import FrozenViT
from stages.methods.vit_method import ViTMethod
from stages.samples.sample_view import SampleView
from stages.tasks.encoders.dropping import query_key_value

MERGED = 0.75
"""Part of the patches that are merged away on the way through the blocks."""
NO_PATCH = -1


class TokenMerging(ViTMethod):
    """0 … M-1 for the M patches that are merged away, in that order; for the others M plus how many they stand for."""

    def __init__(self, model: FrozenViT) -> None:
        super().__init__(model)
        self.settings = {**model.settings, "method.merged": MERGED}

    def score(self, images: Tensor, views: Sequence[SampleView]) -> Tensor:
        vit, n_patches = self.model.vit, self.grid.n_patches
        a_block = math.ceil(MERGED * n_patches / len(vit.blocks))
        tokens = self.model.embed(images)
        groups = Groups.begin(len(images), vit.num_prefix_tokens, n_patches, tokens.device)
        scores = torch.zeros(len(images), n_patches, device=tokens.device)
        away = 0
        for block in vit.blocks:
            seen = block.norm1(tokens)
            _, keys, _ = query_key_value(block.attn, seen)
            tokens = tokens + block.ls1(block.attn(seen, attn_mask=groups.size.log()[:, None, None]))
            tokens, groups, gone = merge(tokens, groups, keys.mean(dim=1), a_block)
            count = gone.shape[1]
            scores.scatter_(1, gone, away + torch.arange(count, device=tokens.device).expand_as(gone).float())
            away += count
            tokens = tokens + block.ls2(block.mlp(block.norm2(tokens)))
        left = groups.patch != NO_PATCH
        rows = torch.arange(len(images), device=tokens.device)[:, None].expand_as(left)
        scores[rows[left], groups.patch[left]] = away + groups.size[left]
        return scores


@dataclasses.dataclass(frozen=True)
class Groups:
    """What N tokens stand for."""

    size: Tensor
    """(B, N) float: how many tokens of the beginning"""
    patch: Tensor
    """(B, N) int64: the patch that each is called after; NO_PATCH for CLS and registers"""

    @classmethod
    def begin(cls, n_images: int, n_prefix: int, n_patches: int, device: torch.device) -> Groups:
        patch = torch.cat([torch.full((n_prefix,), NO_PATCH), torch.arange(n_patches)]).to(device)
        return cls(torch.ones(n_images, len(patch), device=device), patch.expand(n_images, -1))


def merge(tokens: Tensor, groups: Groups, keys: Tensor, count: int) -> tuple[Tensor, Groups, Tensor]:
    """One step of bipartite soft matching: tokens (B, N, D) and their keys (B, N, d) → tokens (B, N - r, D), what they
    stand for, and the patches of those that were merged away (B, r) int64, the most similar first; r is `count`, or as
    many as can be merged in a step if these are fewer."""
    fixed = groups.patch == NO_PATCH
    # Where those that are fixed lie is the same in all images.
    r = min(count, (tokens.shape[1] - int(fixed[0].sum())) // 2, int((~fixed[0, ::2]).sum()))
    directions = normalize(keys.float(), dim=-1)
    with full_precision(tokens.device):
        similarity = directions[:, ::2] @ directions[:, 1::2].transpose(-2, -1)
    similarity = similarity.masked_fill(fixed[:, ::2, None] | fixed[:, None, 1::2], -math.inf)
    best, partner = similarity.max(dim=-1)
    order = best.argsort(dim=-1, descending=True, stable=True)
    source, stays = order[:, :r], order[:, r:].sort(dim=-1).values
    into = partner.gather(1, source)

    def summed(values: Tensor) -> Tensor:
        """(B, N, d) → (B, N - r, d), sums over what is merged."""
        first, second = values[:, ::2], values[:, 1::2]
        moved = first.gather(1, source[..., None].expand(-1, -1, values.shape[-1]))
        second = second.scatter_add(1, into[..., None].expand_as(moved), moved)
        return torch.cat([first.gather(1, stays[..., None].expand(-1, -1, values.shape[-1])), second], dim=1)

    size = summed(groups.size[..., None])
    merged = summed(tokens * groups.size[..., None]) / size
    first, second = groups.patch[:, ::2], groups.patch[:, 1::2]
    patch = torch.cat([first.gather(1, stays), second], dim=1)
    return merged.to(tokens.dtype), Groups(size[..., 0], patch), first.gather(1, source)
