"""When an encoder drops tokens on its way, and how many; and what such encoders have in common.

Each stands in a file of this folder, and in a line of `ENCODERS` in `stages.tables`.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

import torch
from timm.layers import Attention
from timm.models.vision_transformer import Block, VisionTransformer
from torch import Tensor, nn

from stages.settings.choices import EncoderName
from stages.tasks.kept_patches import KeptPatchEncoder
from storage.settings import Settings

KEEP_RATE = 0.7
"""EViT's and DynamicViT's usual one."""
FUSED = -1
"""In the place of a patch's index, for a token that stands for several."""
Note = Callable[[Tensor, Tensor], None]
"""Is told, wherever tokens may be dropped, which patches are there (B, n) int64, and how much each is needed (B, n),
from 0 to 1."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenDropping:
    """At which blocks an encoder drops tokens, and the part that it keeps at each."""

    encoder: EncoderName
    keep_rate: float
    blocks: tuple[int, ...] = ()
    """Counted from 1, as in both papers; none: the usual ones, once `settled`."""

    def settings(self) -> Settings:
        """As settings of a training name it."""
        return {
            "encoder.name": self.encoder,
            "encoder.keep_rate": self.keep_rate,
            "encoder.drop_blocks": list(self.blocks),
        }

    def settled(self, depth: int) -> TokenDropping:
        """For an encoder of `depth` blocks. Raises ValueError as `refuse_misfits`."""
        settled = dataclasses.replace(self, blocks=self.blocks or usual_blocks(depth))
        settled.refuse_misfits(depth)
        return settled

    def refuse_misfits(self, depth: int) -> None:
        """Raises ValueError for what an encoder of `depth` blocks cannot do."""
        if not 0 < self.keep_rate <= 1:
            raise ValueError(f"encoder keep_rate: expected more than 0 and at most 1, got {self.keep_rate!r}")
        fits = self.blocks and list(self.blocks) == sorted(set(self.blocks))
        if not (fits and self.blocks[0] >= 1 and self.blocks[-1] <= depth):
            raise ValueError(
                f"encoder drop_blocks: expected blocks from 1 to {depth}, each once and in order, got "
                f"{','.join(map(str, self.blocks)) or 'none'}"
            )


def usual_blocks(depth: int) -> tuple[int, ...]:
    """Those of both papers for 12 blocks, 4, 7 and 10: after a quarter, a half and three quarters of them."""
    return tuple(sorted({1 + depth * quarter // 4 for quarter in (1, 2, 3)} & set(range(1, depth + 1))))


class TokenDroppingEncoder(KeptPatchEncoder, abc.ABC):
    """One that drops tokens at some of its blocks. Its classifier reads CLS, as in both papers: which tokens matter is
    learnt through CLS."""

    reads: ClassVar[Literal["patches", "cls"]] = "cls"

    def __init__(self, vit: VisionTransformer, dropping: TokenDropping) -> None:
        """Raises ValueError for blocks that are not timm's usual ones, and as `TokenDropping.refuse_misfits`."""
        super().__init__(vit)
        for block in vit.blocks:
            attention: Any = getattr(block, "attn", None)
            plain = type(block) is Block and type(attention) is Attention and attention.gate is None
            if not (plain and isinstance(attention.norm, nn.Identity)):
                raise ValueError(
                    f"encoder {dropping.encoder}: expected a vision transformer of timm's usual blocks, got "
                    f"{type(block).__name__} with {type(attention).__name__}"
                )
        dropping.refuse_misfits(len(vit.blocks))
        self.dropping = dropping

    def load_own(self, weights: Mapping[str, Tensor], where: str) -> None:
        """Takes weights beside the transformer's, whose names begin with `own`. Raises ValueError, naming `where`, for
        those that do not fit."""
        raise NotImplementedError

    @torch.no_grad()
    def order(self, images: Tensor) -> Tensor:
        """Of a model in evaluation: normalised images (B, 3, S, S) → scores of all patches (B, L) float32: how many of
        the blocks that drop a patch had outlived when it was seen last, and how much it was needed then, which is less
        than 1."""
        n_patches, outlived = self.grid**2, 0
        scores = torch.zeros(len(images), n_patches + 1, device=images.device)

        def note(patches: Tensor, need: Tensor) -> None:
            nonlocal outlived
            # Patches that go on are written again. Fused tokens have the last place, which is nobody's.
            scores.scatter_(1, patches % (n_patches + 1), outlived + need.clamp(0, 1 - 1e-6))
            outlived += 1

        self(images, torch.arange(n_patches, device=images.device).expand(len(images), -1), note)
        return scores[:, :-1]

    @abc.abstractmethod
    def forward(self, images: Tensor, kept: Tensor, note: Note | None = None) -> tuple[Tensor, Tensor]:
        """Normalised images (B, 3, S, S), kept (B, k) int64 → CLS (B, D) and the tokens that are left (B, T, D), after
        the last norm."""


def query_key_value(attention: Attention, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(B, N, D) → three of (B, H, N, D / H), the queries not scaled."""
    heads: Any = attention.qkv(x).unflatten(2, (3, attention.num_heads, attention.head_dim))
    query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
    return attention.q_norm(query), attention.k_norm(key), value


def cls_attention(attention: Attention, x: Tensor) -> Tensor:
    """(B, N, D), normed as the block has it → how much CLS attends to each token, mean of heads (B, N) float32."""
    query, key, _ = query_key_value(attention, x)
    logits = (query[:, :, :1] * attention.scale) @ key.transpose(2, 3)
    paid: Tensor = logits.float().softmax(dim=-1).mean(dim=1)
    return paid[:, 0]


def attend(block: Block, x: Tensor) -> Tensor:
    """The first half of a block."""
    attended: Tensor = x + block.drop_path1(block.ls1(block.attn(block.norm1(x))))
    return attended


def think(block: Block, x: Tensor) -> Tensor:
    """The second half of a block."""
    thought: Tensor = x + block.drop_path2(block.ls2(block.mlp(block.norm2(x))))
    return thought


def take(values: Tensor, indices: Tensor) -> Tensor:
    """Of (B, N, ...) those at (B, n) → (B, n, ...)."""
    places = indices.reshape(*indices.shape, *[1] * (values.ndim - 2)).expand(-1, -1, *values.shape[2:])
    return values.gather(1, places)
