"""What a transformer's block attends with."""

from __future__ import annotations

from timm.models.vision_transformer import Attention
from torch import Tensor


def queries_and_keys(attention: Attention, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens (B, N, D), after the block's first norm → queries and keys of each head (B, H, N, D / H); the softmax of
    `attention.scale` times their products is the attention."""
    heads = attention.qkv(tokens).unflatten(-1, (3, attention.num_heads, attention.head_dim)).permute(2, 0, 3, 1, 4)
    return attention.q_norm(heads[0]), attention.k_norm(heads[1])
