"""The encoder of a task: of a size by name, an MAE's, or a vision transformer of timm."""

from __future__ import annotations

import dataclasses
import math
from functools import partial
from typing import Any

import timm
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ranker.bounds import refuse_impossible
from ranker.encoder_weights import POSITIONS, PROJECTION, load_encoder
from ranker.network import SIZES
from ranker.positions import sincos_positions
from stages.density.mae import PRESETS
from stages.tables import ENCODERS
from stages.tasks.encoders.dropping import TokenDropping, TokenDroppingEncoder
from stages.tasks.kept_patches import KeptPatchEncoder
from stages.training.encoders import TIMM, read_encoder
from storage.dense_scores import PatchGrid

HEADS = {preset.width: preset.heads for preset in PRESETS.values()} | {
    size["width"]: size["heads"] for size in SIZES.values()
}
"""By width, of MAEs whose files do not tell it."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Architecture of an encoder for images of a grid: `timm`'s model of that name, or MAE's with the other numbers."""

    image_size: int
    patch_size: int
    timm: str | None = None
    width: int | None = None
    depth: int | None = None
    heads: int | None = None
    drop_path: float = 0.0
    final_norm: bool = True
    """Whether there is a norm behind the last block. The heads of all tasks begin with one of their own, which takes
    its place otherwise (as MAE's fine-tuning has it)."""
    dropping: TokenDropping | None = None
    """Of an encoder that drops tokens on its way; None: the plain one."""

    def __post_init__(self) -> None:
        numbers = {name: getattr(self, name) for name in ("image_size", "patch_size", "width", "depth", "heads")}
        refuse_impossible("encoder", {name: value for name, value in numbers.items() if value is not None})
        if self.image_size % self.patch_size:
            raise ValueError(
                f"encoder image_size: expected a multiple of patch_size {self.patch_size}, got {self.image_size}"
            )
        if self.width and self.heads and self.width % self.heads:
            raise ValueError(f"encoder width: expected a multiple of {self.heads} heads, got {self.width}")
        if not 0 <= self.drop_path < 1:
            raise ValueError(f"encoder drop_path: expected at least 0 and less than 1, got {self.drop_path!r}")

    def build(self) -> KeptPatchEncoder:
        """With random weights. Raises ValueError for what is no vision transformer with a CLS token."""
        return self._finish(self._timm(pretrained=False) if self.timm else self._mae())

    def begin(self, weights: dict[str, Tensor] | None, where: str) -> KeptPatchEncoder:
        """With pretrained weights, those of timm's model or `weights` from `where`. Raises ValueError as `build`, and
        for weights that do not fit."""
        if weights is None:
            return self._finish(self._timm(pretrained=True))
        vit = self._mae()
        own = {name: each for name, each in weights.items() if name.startswith(self._own_names())}
        load_encoder(vit, {name: each for name, each in weights.items() if name not in own}, where)
        encoder = self._finish(vit)
        if own and isinstance(encoder, TokenDroppingEncoder):
            encoder.load_own(own, where)
        return encoder

    def dropping_tokens(self, dropping: TokenDropping) -> EncoderConfig:
        """The same with tokens dropped on the way. Raises ValueError for blocks that it does not have."""
        with torch.device("meta"):
            depth = self.depth or len(self._timm(pretrained=False).blocks)
        return dataclasses.replace(self, dropping=dropping.settled(depth))

    def _own_names(self) -> tuple[str, ...]:
        return ENCODERS[self.dropping.encoder].own if self.dropping else ()

    def _finish(self, vit: VisionTransformer) -> KeptPatchEncoder:
        if not self.final_norm:
            vit.norm = nn.Identity()
        if self.dropping is None:
            return KeptPatchEncoder(vit)
        kind: Any = ENCODERS[self.dropping.encoder]
        if not issubclass(kind, TokenDroppingEncoder):
            raise ValueError(f"encoder: expected one that drops tokens, got {self.dropping.encoder}")
        encoder: KeptPatchEncoder = kind(vit, self.dropping)
        return encoder

    def _timm(self, pretrained: bool) -> VisionTransformer:
        # timm resamples position and patch embeddings to these sizes.
        sizes = {"img_size": self.image_size, "patch_size": self.patch_size}
        try:
            vit = timm.create_model(self.timm, pretrained, num_classes=0, drop_path_rate=self.drop_path, **sizes)
        except (RuntimeError, ValueError, TypeError, OSError) as error:  # unknown; no download; not of patches
            raise ValueError(f"{TIMM}{self.timm}: expected a vision transformer of timm: {error}") from None
        if not isinstance(vit, VisionTransformer):
            raise ValueError(f"{TIMM}{self.timm}: expected a VisionTransformer of timm, got {type(vit).__name__}")
        return vit

    def _mae(self) -> VisionTransformer:
        if not (self.width and self.depth and self.heads):
            raise ValueError("encoder: expected its width, depth and heads, or the name of one of timm's")
        vit = VisionTransformer(
            img_size=self.image_size,
            patch_size=self.patch_size,
            num_classes=0,
            embed_dim=self.width,
            depth=self.depth,
            num_heads=self.heads,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            drop_path_rate=self.drop_path,
        )
        vit.pos_embed = nn.Parameter(
            sincos_positions(self.image_size // self.patch_size, self.width), requires_grad=False
        )
        return vit


def begin_encoder(
    grid: PatchGrid,
    *,
    size: str,
    init: str | None,
    drop_path: float = 0.0,
    final_norm: bool = True,
    dropping: TokenDropping | None = None,
) -> tuple[EncoderConfig, KeptPatchEncoder, str | None]:
    """Architecture, model and the checksum of the weights that it starts from: random ones of `size`, or those of
    `init` as `stages.training.encoders.read_encoder` takes it, which then decides the architecture.

    Raises FileNotFoundError, or ValueError naming the file, what was expected and what it got.
    """
    sizes: dict[str, Any] = {"image_size": grid.image_size, "patch_size": grid.patch_size}
    sizes |= {"drop_path": drop_path, "final_norm": final_norm}

    def configured(**shape: Any) -> EncoderConfig:
        config = EncoderConfig(**sizes, **shape)
        return config.dropping_tokens(dropping) if dropping else config

    if init is None:
        config = configured(**SIZES[size])
        return config, config.build(), None
    if init.startswith(TIMM):
        config = configured(timm=init.removeprefix(TIMM))
        return config, config.begin(None, init), f"{init} of timm {timm.__version__}"
    found = read_encoder(init)
    config = configured(**_shape(found.weights, found.heads, init))
    return config, config.begin(found.weights, init), found.sha256


def published_config(weights: dict[str, Tensor], where: str) -> EncoderConfig:
    """Of a vision transformer's weights under timm's names, all sizes of which they show but for the heads. Raises
    ValueError, naming `where`, for others."""
    projection, positions = weights.get(PROJECTION), weights.get(POSITIONS)
    if projection is None or positions is None or projection.ndim != 4 or positions.ndim != 3:
        raise ValueError(
            f"{where}: expected a vision transformer with {PROJECTION} (width, 3, p, p) and {POSITIONS} "
            f"(1, 1 + patches, width), got {', '.join(sorted(weights)[:3])}, …"
        )
    patch, grid = projection.shape[-1], math.isqrt(max(0, positions.shape[1] - 1))
    return EncoderConfig(image_size=patch * grid, patch_size=patch, **_shape(weights, None, where))


def _shape(weights: dict[str, Any], heads: int | None, where: str) -> dict[str, Any]:
    if "cls_token" not in weights or weights["cls_token"].ndim != 3:
        raise ValueError(f"{where}: expected the weights of an MAE's encoder, found no cls_token (1, 1, width)")
    width = weights["cls_token"].shape[-1]
    depth = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
    if not (heads := heads or HEADS.get(width)):
        raise ValueError(f"{where}: expected an encoder of a known width ({sorted(HEADS)}), got {width}")
    return {"width": width, "depth": depth, "heads": heads}
