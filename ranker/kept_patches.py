"""Any vision transformer, seeing only the patches that a ranker puts first.

Shapes: B images, L patches, k of them kept, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ranker.patch_ranker import PatchRanker


class KeptPatches(nn.Module):
    """A vision transformer that sees the best patches of each image alone.

    `vit` is one of timm's `VisionTransformer` (ViT, DeiT 3, CLIP, SigLIP, DINOv2 with registers or without) or `Eva`
    (EVA-02, DINOv3), or a model of transformers with `embeddings` of patches (ViT, DeiT, DINOv2 with registers or
    without, the vision towers of CLIP and SigLIP, and classifiers that hold one). Patches are dropped after their
    position was added, and everything else that is not a patch stays, so that with `ratio` 1 the output is that of
    `vit` itself. Outside of this module `vit` works as before. Gradients flow to `vit`; none flow to the ranker.

    The ranker sees the same images at its own resolution: what must agree is the grid. One of head 'token' takes the
    grid of any `vit`, best close to the one that it was trained with.

    With `spread` it sees the best of all parts of an image, which suits a `vit` that was trained on whole images and is
    not fine-tuned on kept patches.

    `mean` and `std` are what images were normalised with; by default those that timm notes of `vit`, else ImageNet's.
    Raises TypeError for a `vit` of another kind, and ValueError for a ratio that is not in (0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        vit: nn.Module,
        ranker: PatchRanker,
        ratio: float,
        *,
        spread: bool = False,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if not 0 < ratio <= 1:
            raise ValueError(f"ratio: expected a number in (0, 1], got {ratio}")
        self.vit, self.ranker, self.ratio, self.spread = vit, ranker, ratio, spread
        self._drop = _Drop()
        self._patch_size = _attach(vit, self._drop)
        noted = getattr(vit, "pretrained_cfg", None) or {}
        for name, given, usual in (("mean", mean, IMAGENET_DEFAULT_MEAN), ("std", std, IMAGENET_DEFAULT_STD)):
            values = torch.tensor(given or noted.get(name) or usual)
            self.register_buffer(name, values.view(3, 1, 1), persistent=False)

    def keep(self, images: Tensor) -> Tensor:
        """Images as for `vit` (B, 3, H, W) → the patches that it will see (B, k) int64, sorted, in raster order.

        Raises ValueError where the ranker cannot rank that many patches.
        """
        pixels = (images * self.std + self.mean).float()
        normalised = (pixels - self.ranker.mean) / self.ranker.std
        return self.ranker.keep(normalised, self.ratio, self._patch_size, spread=self.spread)

    def forward(self, images: Tensor, *args: Any, **kwargs: Any) -> Any:
        """What `vit` makes of the kept patches of images (B, 3, H, W); the other arguments are for `vit`."""
        self._drop.kept = self.keep(images)
        try:
            return self.vit(images, *args, **kwargs)
        finally:
            self._drop.kept = None


class _Drop:
    """Takes the tokens of the patches that are not `kept` (B, k) out of (B, prefix + L, D), if there are such."""

    kept: Tensor | None = None

    def __call__(self, tokens: Tensor, prefix: int) -> Tensor:
        if self.kept is None or prefix + self.kept.shape[1] == tokens.shape[1]:
            return tokens
        patches = tokens[:, prefix:].gather(1, self.kept[..., None].expand(-1, -1, tokens.shape[-1]))
        return torch.cat([tokens[:, :prefix], patches], dim=1)


class _TimmPatchDrop(nn.Module):
    """In the place of timm's own module that drops patches at random while a model is trained."""

    def __init__(self, drop: _Drop, prefix: int) -> None:
        super().__init__()
        self.drop, self.prefix = drop, prefix

    def forward(self, tokens: Tensor) -> Tensor:
        return self.drop(tokens, self.prefix)


class _TimmPatchDropWithIndices(_TimmPatchDrop):
    """The same for models that have rotary positions to choose as well."""

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor | None]:  # type: ignore[override]
        return self.drop(tokens, self.prefix), self.drop.kept


def _attach(vit: nn.Module, drop: _Drop) -> tuple[int, int]:
    """Lets `drop` have the tokens of `vit`; returns the height and width of a patch."""
    if isinstance(vit, VisionTransformer | Eva):
        kind = _TimmPatchDropWithIndices if isinstance(vit, Eva) else _TimmPatchDrop
        vit.patch_drop = kind(drop, vit.num_prefix_tokens)
        return _pair(vit.patch_embed.patch_size)
    for module in vit.modules():
        embeddings = getattr(module, "embeddings", None)
        if not isinstance(embeddings, nn.Module):
            continue
        for name in ("patch_embeddings", "patch_embedding"):
            if isinstance(patches := getattr(embeddings, name, None), nn.Module):
                convolution = getattr(patches, "projection", patches)
                patch_size = _pair(convolution.kernel_size)
                embeddings.register_forward_hook(_after_embeddings(drop, patch_size), with_kwargs=True)
                return patch_size
    raise TypeError(
        "vit: expected timm's VisionTransformer or Eva, or a model of transformers with embeddings of patches, got "
        f"{type(vit).__name__}"
    )


def _after_embeddings(drop: _Drop, patch_size: tuple[int, int]) -> Any:
    def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], tokens: Any) -> Any:
        if drop.kept is None:
            return tokens
        if not isinstance(tokens, Tensor):
            raise TypeError(f"vit: expected embeddings that are one tensor, got {type(tokens).__name__}")
        images = args[0] if args else kwargs["pixel_values"]
        n_patches = (images.shape[-2] // patch_size[0]) * (images.shape[-1] // patch_size[1])
        return drop(tokens, tokens.shape[1] - n_patches)

    return hook


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
