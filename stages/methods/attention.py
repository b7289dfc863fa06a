"""`attention`: what CLS attends to in the last block, mean of the heads (as LTRP's published code takes MoCo v3's
transformer; attention as a saliency map: Caron et al., DINO, ICCV 2021, figure 1).

Any vision transformer with a CLS token serves: a classifier, DINO's, an MAE's encoder. What CLS gives to itself and to
registers is left aside, and nothing is scaled: an order needs neither.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from stages.compute.autocast import full_precision
from stages.methods.vision_transformer import FrozenViT
from stages.methods.vit_method import ViTMethod
from stages.samples.sample_view import SampleView
from stages.tasks.encoders.dropping import query_key_value


class ClsAttention(ViTMethod):
    """Attention of CLS, mean of the heads."""

    needs_cls = True

    def score(self, images: Tensor, views: Sequence[SampleView]) -> Tensor:
        return cls_attention(self.model, images).mean(dim=1)


def cls_attention(model: FrozenViT, images: Tensor) -> Tensor:
    """uint8 (B, 3, S, S) → what CLS attends to in the last block (B, H, L): of each head, which gives 1 in all, the
    part that goes to patches."""
    vit, tokens = model.vit, model.embed(images)
    *before, last = vit.blocks
    for block in before:
        tokens = block(tokens)
    queries, keys, _ = query_key_value(last.attn, last.norm1(tokens))
    with full_precision(tokens.device):
        products = (last.attn.scale * queries[:, :, :1].float()) @ keys.float().transpose(-2, -1)
        attention: Tensor = products.softmax(dim=-1)[:, :, 0, vit.num_prefix_tokens :]
    return attention
