"""Reconstructions without each visible patch in turn, all removals of an image together.

What comes out are the decoder's last hidden states at the masked patches, before the linear read-out to pixels: the
difference of two reconstructions is the read-out of the difference of their hidden states, which is exact, and keeps
its leading digits where the two reconstructions, rounded to 16 bits, would have lost them.

`decoder` is what the paper reports and the default of its code (irsLu/ltrp). `encoder` stands for the code's
`--mask_all`, which cuts the attention to a patch but lets its own residual stream carry it into the decoder; here the
patch is gone.

Shapes: B images, K visible and N masked patches, E decoder width.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from timm.models.vision_transformer import Block
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from stages.density.mae import MaskedAutoencoder, gather_tokens, masked_indices
from stages.settings.choices import Removal


def remove_in_decoder(
    mae: MaskedAutoencoder, images: Tensor, visible: Tensor, decoded: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """The encoder sees all K patches; the decoder's sequence lacks one of them, which is no mask token either.

    Args: normalised images (B, 3, S, S); sorted visible (B, K); the masked patches `decoded` (B, N) that get a mask
    token at all, by default every one.
    Returns: hidden states of the anchor (B, N, E) and of each removal (B, K, N, E).
    """
    masked = masked_indices(visible, mae.config.n_patches) if decoded is None else decoded
    latent = mae.encode(gather_tokens(mae.embed(images), visible))
    tokens = mae.decoder_input(latent, visible, masked)
    n_visible, n_masked = visible.shape[1], masked.shape[1]
    # Which of the tokens [CLS, visible, masked] stay: the same for every image, thanks to that order.
    stays = _all_but_one(n_visible, tokens.device) + 1
    last = torch.arange(1 + n_visible, tokens.shape[1], device=tokens.device).expand(n_visible, -1)
    stays = torch.cat([stays.new_zeros(n_visible, 1), stays, last], dim=1)
    # What enters the first block is the same in all removals, so its projections are computed once.
    projected = _project(mae.decoder_blocks[0], tokens)
    anchor = _decode_masked(mae, tokens, projected, n_masked)
    removed = _decode_masked(mae, tokens[:, stays].flatten(0, 1), projected[:, stays].flatten(0, 1), n_masked)
    return anchor, removed.unflatten(0, (len(images), n_visible))


def remove_in_encoder(
    mae: MaskedAutoencoder, images: Tensor, visible: Tensor, decoded: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """One patch is dropped before the encoder, and a mask token stands in its place in the decoder.

    Arguments and results as `remove_in_decoder`.
    """
    n_visible = visible.shape[1]
    masked = masked_indices(visible, mae.config.n_patches) if decoded is None else decoded
    patches = mae.embed(images)

    def decode(visible: Tensor, patches: Tensor, also_masked: Tensor) -> Tensor:
        latent = mae.encode(gather_tokens(patches, visible))
        masked_last = torch.cat([also_masked, masked.repeat_interleave(len(visible) // len(masked), 0)], dim=1)
        tokens = mae.decoder_input(latent, visible, masked_last)
        return _decode_masked(mae, tokens, _project(mae.decoder_blocks[0], tokens), masked.shape[1])

    anchor = decode(visible, patches, visible[:, :0])
    stays = visible[:, _all_but_one(n_visible, visible.device)].flatten(0, 1)
    removed = decode(stays, patches.repeat_interleave(n_visible, 0), visible.reshape(-1, 1))
    return anchor, removed.unflatten(0, (len(images), n_visible))


REMOVALS: dict[Removal, Callable[..., tuple[Tensor, Tensor]]] = {
    "decoder": remove_in_decoder,
    "encoder": remove_in_encoder,
}


def _all_but_one(length: int, device: torch.device) -> Tensor:
    """(length, length - 1): row `i` counts from 0 to length - 1 and leaves out `i`."""
    row = torch.arange(length - 1, device=device).expand(length, -1)
    return row + (row >= torch.arange(length, device=device)[:, None])


def _decode_masked(mae: MaskedAutoencoder, tokens: Tensor, projected: Tensor, n_masked: int) -> Tensor:
    """Decoder tokens (B, T, E) and their projections in the first block (B, T, 3E) → hidden states of the last
    `n_masked` tokens. The last block computes no others."""
    for block, following in pairwise(mae.decoder_blocks):
        tokens = _block(block, tokens, projected, tokens.shape[1])
        projected = _project(following, tokens)
    decoded: Tensor = mae.decoder_norm(_block(mae.decoder_blocks[-1], tokens, projected, n_masked))
    return decoded


def _project(block: Block, tokens: Tensor) -> Tensor:
    projected: Tensor = block.attn.qkv(block.norm1(tokens))
    return projected


def _block(block: Block, tokens: Tensor, projected: Tensor, n_last: int) -> Tensor:
    """timm's `Block.forward` for the last `n_last` tokens, from tokens (B, T, E) whose q, k, v are known (B, T, 3E)."""
    heads = block.attn.num_heads
    q, k, v = projected.unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    attended = scaled_dot_product_attention(q[:, :, -n_last:], k, v).transpose(1, 2).flatten(2)
    tokens = tokens[:, -n_last:] + block.attn.proj(attended)
    passed_on: Tensor = tokens + block.mlp(block.norm2(tokens))
    return passed_on
