"""DynamicViT: small predictors before some blocks say of each token whether it is needed (Rao et al., DynamicViT:
Efficient Vision Transformers with Dynamic Token Sparsification, NeurIPS 2021).

In training decisions are drawn (Gumbel-softmax, straight through) and all tokens stay, but no other token attends to
one that was dropped, so that gradients reach the predictors; a loss holds the part that is kept after each predictor to
`keep_rate` to the power of 1, 2, 3. In evaluation the tokens with the likeliest "keep" stay, that part of the first
number rounded down, and the others are gone. Names of weights, the constant in the masked softmax and the weights of
losses are those of the published code (raoyongming/DynamicViT).

Beside the labels it may learn from a teacher (`stages.tasks.encoders.distillation`); without one the loss of the ratio
alone is added. Not here: the published recipe's lower learning rate of the transformer (a layer decay does the like).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from timm.layers import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn
from torch.nn.functional import gumbel_softmax

from ranker.named_tensors import refuse_misfits, shapes_of
from stages.tasks.encoders.dropping import Note, TokenDropping, TokenDroppingEncoder, query_key_value, take, think
from stages.tasks.kept_patches import Encoded

RATIO_WEIGHT = 2.0
EPSILON = 1e-6
OWN = "score_predictor."


class Predictor(nn.Module):
    """Of tokens N, D wide: half of each token's features beside the mean of the other half over those in use."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.in_conv = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU())
        self.out_conv = nn.Sequential(
            nn.Linear(width, width // 2),
            nn.GELU(),
            nn.Linear(width // 2, width // 4),
            nn.GELU(),
            nn.Linear(width // 4, 2),
            nn.LogSoftmax(dim=-1),
        )
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, tokens: Tensor, used: Tensor) -> Tensor:
        """Tokens (B, N, D), used (B, N) 0 or 1 → logarithms of the probabilities of keep and drop (B, N, 2)."""
        own, others = self.in_conv(tokens).chunk(2, dim=-1)
        weights = used.to(others.dtype)[..., None]
        shared = (others * weights).sum(dim=1, keepdim=True) / weights.sum(dim=1, keepdim=True)
        decided: Tensor = self.out_conv(torch.cat([own, shared.expand_as(own)], dim=-1)).float()
        return decided


class DynamicVitEncoder(TokenDroppingEncoder):
    """`note` is told before each block that drops, with the probability of "keep" as what a patch is needed.

    Shapes: B images, k kept patches, of which T are left at the end, and all while it is trained; D width.
    """

    takes_teacher: ClassVar[bool] = True
    own: ClassVar[tuple[str, ...]] = (OWN,)

    def __init__(self, vit: VisionTransformer, dropping: TokenDropping) -> None:
        """Raises ValueError as `TokenDroppingEncoder`, and for a width that predictors cannot halve twice."""
        super().__init__(vit, dropping)
        if self.width % 4:
            raise ValueError(f"encoder {dropping.encoder}: expected a width that is a multiple of 4, got {self.width}")
        self.score_predictor = nn.ModuleList(Predictor(self.width) for _ in dropping.blocks)

    def load_own(self, weights: Mapping[str, Tensor], where: str) -> None:
        """Predictors, under their published names."""
        theirs = {name.removeprefix(OWN): each for name, each in weights.items()}
        count = len({name.partition(".")[0] for name in theirs})
        if count != len(self.score_predictor):
            raise ValueError(
                f"{where}: expected {len(self.score_predictor)} predictors, one for each of the blocks "
                f"{','.join(map(str, self.dropping.blocks))}, got {count}"
            )
        expected = shapes_of(lambda: nn.ModuleList(Predictor(self.width) for _ in range(count)))
        refuse_misfits(expected, theirs, where)
        self.score_predictor.load_state_dict(theirs)

    @property
    def keep_ratios(self) -> list[float]:
        """Parts of the first tokens that are left after each block that drops."""
        return [self.dropping.keep_rate**number for number in range(1, len(self.dropping.blocks) + 1)]

    def forward(self, images: Tensor, kept: Tensor, note: Note | None = None) -> tuple[Tensor, Tensor]:
        if self.training:
            return self.encode(images, kept)[:2]
        vit, prefix = self.vit, self.vit.num_prefix_tokens
        x, patches, ratios, predictors = self.embed(images, kept), kept, iter(self.keep_ratios), self.score_predictor
        for number, block in enumerate(vit.blocks, start=1):
            if number in self.dropping.blocks:
                predictor = predictors[self.dropping.blocks.index(number)]
                logs = predictor(x[:, prefix:], torch.ones_like(patches))[..., 0]
                if note is not None:
                    note(patches, logs.exp())
                count = max(1, int(kept.shape[1] * next(ratios)))
                best = logs.argsort(dim=1, descending=True, stable=True)[:, :count]
                x = torch.cat([x[:, :prefix], take(x[:, prefix:], best)], dim=1)
                patches = take(patches, best)
            x = block(x)
        x = vit.norm(x)
        return x[:, 0], x[:, prefix:]

    def encode(self, images: Tensor, kept: Tensor) -> Encoded:
        """As `forward`; in training with all tokens, those that are used at the end, and the loss of the ratio."""
        if not self.training:
            return Encoded(*self(images, kept))
        vit, prefix = self.vit, self.vit.num_prefix_tokens
        x = self.embed(images, kept)
        used, decisions = x.new_ones(kept.shape), list[Tensor]()
        for number, block in enumerate(vit.blocks, start=1):
            if number in self.dropping.blocks:
                predictor = self.score_predictor[len(decisions)]
                drawn = gumbel_softmax(predictor(x[:, prefix:], used), hard=True)[..., 0]
                used = drawn * used
                decisions.append(used)
            x = think(block, attend_to(block, x, used, prefix)) if decisions else block(x)
        x = vit.norm(x)
        loss = RATIO_WEIGHT * ratio_loss(decisions, self.keep_ratios)
        return Encoded(x[:, 0], x[:, prefix:], {"keep ratio": loss}, used.detach())


def attend_to(block: Block, x: Tensor, used: Tensor, prefix: int) -> Tensor:
    """The first half of a block on tokens (B, N, D): attended to are the first `prefix` of them, those of the patches
    that are `used` (B, N - prefix), and each by itself."""
    attention: Attention = block.attn
    normed = block.norm1(x)
    query, key, value = query_key_value(attention, normed)
    policy = nn.functional.pad(used.float(), (prefix, 0), value=1.0)
    weights = masked_softmax((query * attention.scale) @ key.transpose(2, 3), policy)
    mixed = attention.attn_drop(weights.to(value.dtype)) @ value
    attended = attention.proj_drop(attention.proj(mixed.transpose(1, 2).flatten(2)))
    halfway: Tensor = x + block.drop_path1(block.ls1(attended))
    return halfway


def masked_softmax(logits: Tensor, policy: Tensor) -> Tensor:
    """Of (B, H, N, N) over the keys whose policy (B, N) is 1, and over each query itself, in float32. By the published
    constant the others get about a millionth. Gradients flow to the policy."""
    n = policy.shape[1]
    eye = torch.eye(n, device=policy.device)
    allowed = policy[:, None, None] * (1 - eye) + eye
    logits = logits.float()
    powers = (logits - logits.amax(dim=-1, keepdim=True).detach()).exp() * allowed
    return (powers + EPSILON / n) / (powers.sum(dim=-1, keepdim=True) + EPSILON)


def ratio_loss(decisions: list[Tensor], ratios: list[float]) -> Tensor:
    """Mean squared difference of the part of tokens that each image keeps, of decisions (B, N) 0 or 1 after each
    predictor, from the ratio that is wanted there."""
    parts = torch.stack([decided.float().mean(dim=1) for decided in decisions])  # (predictors, B)
    wanted = torch.tensor(ratios, device=parts.device)[:, None]
    return (parts - wanted).square().mean()
