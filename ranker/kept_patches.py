"""Any vision transformer, seeing only the patches that a ranker puts first.

Shapes: B images, L patches, k of them kept, D width.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers import PatchEmbed
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from ranker.patch_ranker import PatchRanker
from ranker.selection import refuse_no_number

Channels: TypeAlias = Sequence[float] | Tensor | np.ndarray[Any, Any]


class KeptPatches(nn.Module):
    """A vision transformer that sees the best patches of each image alone.

    `vit` is one of timm's `VisionTransformer` (ViT, DeiT 3, CLIP, SigLIP, DINOv2 with registers or without) or `Eva`
    (EVA-02, DINOv3), or a model of transformers with `embeddings` of patches (ViT, DeiT, DINOv2 with registers or
    without, the vision towers of CLIP and SigLIP, and classifiers that hold one). Patches are dropped after their
    position was added, and everything else that is not a patch stays, so that with `ratio` 1 the output is that of
    `vit` itself. Outside of this module `vit` works as before, and several of these can share it. Gradients flow to
    `vit`; none flow to the ranker.

    The ranker sees the same images at its own resolution: what must agree is the grid. One of head 'token' takes the
    grid of any `vit`, best close to the one that it was trained with.

    With `spread` it sees the best of all parts of an image, which suits a `vit` that was trained on whole images and is
    not fine-tuned on kept patches.

    `mean` and `std` are what images were normalised with, three numbers each; by default those that timm notes of
    `vit`, else ImageNet's. Images that are uint8 are normalised with them here.

    Raises TypeError for a `vit` of another kind and a ratio that is no number, and ValueError for a ratio that is not
    in (0, 1] and for a `mean` or `std` of other than three numbers.
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
        mean: Channels | None = None,
        std: Channels | None = None,
    ) -> None:
        super().__init__()
        refuse_no_number("ratio", ratio)
        if not 0 < ratio <= 1:
            raise ValueError(f"ratio: expected a number in (0, 1], got {ratio}")
        self.vit, self.ranker, self.ratio, self.spread = vit, ranker, ratio, spread
        noted = getattr(vit, "pretrained_cfg", None) or {}
        for name, given, usual in (("mean", mean, IMAGENET_DEFAULT_MEAN), ("std", std, IMAGENET_DEFAULT_STD)):
            values = given if given is not None else noted.get(name) or usual
            self.register_buffer(name, _three_numbers(name, values), persistent=False)
        self._patch_size = _attach(vit)

    def keep(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W), as for `vit` or uint8 → the patches that it will see (B, k) int64, sorted, in raster
        order.

        Raises TypeError and ValueError as `PatchRanker.keep`, also where the ranker cannot rank that many patches.
        """
        is_float = isinstance(images, Tensor) and images.is_floating_point()
        if not is_float or images.ndim != 4 or images.shape[1] != 3:  # uint8, or what the ranker refuses
            return self.ranker.keep(images, self.ratio, self._patch_size, spread=self.spread)
        pixels = (images * self.std + self.mean).float()
        normalised = (pixels - self.ranker.mean) / self.ranker.std
        return self.ranker.keep(normalised, self.ratio, self._patch_size, spread=self.spread)

    def forward(self, images: Tensor, *args: Any, **kwargs: Any) -> Any:
        """What `vit` makes of the kept patches of images (B, 3, H, W) as for `keep`; the other arguments are for
        `vit`."""
        kept = self.keep(images)
        if images.dtype == torch.uint8:
            images = ((images.float() / 255 - self.mean) / self.std).to(_float_type(self.vit))
        n_patches = (images.shape[-2] // self._patch_size[0]) * (images.shape[-1] // self._patch_size[1])
        dropping = _Dropping(kept, n_patches)
        before, _NOW.dropping = _NOW.dropping, dropping
        try:
            answer = self.vit(images, *args, **kwargs)
        finally:
            _NOW.dropping = before
        if not dropping.is_done:
            raise TypeError("vit: expected what this was made with, or a copy of it, got a model that saw all patches")
        return answer


class _Dropping:
    """What is dropped of the images that a model looks at in this thread, at this moment."""

    def __init__(self, kept: Tensor, n_patches: int) -> None:
        self.kept, self.n_patches, self.is_done = kept, n_patches, False

    def __call__(self, tokens: Tensor, prefix: int) -> Tensor:
        """(B, prefix + L, D) → (B, prefix + k, D). Raises TypeError for tokens that are not one for each patch."""
        found = tokens.shape[1] - prefix
        if found != self.n_patches:
            raise TypeError(f"vit: expected a token for each of {self.n_patches} patches, got {found} tokens")
        self.is_done = True
        if self.kept.shape[1] == found:
            return tokens
        patches = tokens[:, prefix:].gather(1, self.kept[..., None].expand(-1, -1, tokens.shape[-1]))
        return torch.cat([tokens[:, :prefix], patches], dim=1)


class _Now(threading.local):
    """Not an attribute of the model, which threads, replicas and several `KeptPatches` may share."""

    dropping: _Dropping | None = None


_NOW = _Now()


class _TimmPatchDrop(nn.Module):
    """In the place of timm's own module that drops patches at random while a model is trained; it still does where no
    patches are chosen."""

    def __init__(self, prefix: int, random: nn.Module | None) -> None:
        super().__init__()
        self.prefix, self.random = prefix, random

    def forward(self, tokens: Tensor) -> Tensor:
        if dropping := _NOW.dropping:
            return dropping(tokens, self.prefix)
        return tokens if self.random is None else self.random(tokens)


class _TimmPatchDropWithIndices(_TimmPatchDrop):
    """The same for models that have rotary positions to choose as well."""

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor | None]:  # type: ignore[override]
        if dropping := _NOW.dropping:
            return dropping(tokens, self.prefix), dropping.kept
        return (tokens, None) if self.random is None else self.random(tokens)


class _AfterEmbeddings:
    """Drops tokens of a model of transformers; a class, so that `deepcopy` and `pickle` carry it along."""

    def __call__(self, _: nn.Module, args: tuple[Any, ...], tokens: Any) -> Any:
        dropping = _NOW.dropping
        if dropping is None:
            return tokens
        if not isinstance(tokens, Tensor):
            raise TypeError(f"vit: expected embeddings that are one tensor, got {type(tokens).__name__}")
        return dropping(tokens, tokens.shape[1] - dropping.n_patches)


def _attach(vit: nn.Module) -> tuple[int, int]:
    """Makes `vit` drop what it is told to, once for all that wrap it; returns the height and width of a patch."""
    if isinstance(vit, VisionTransformer | Eva):
        if not isinstance(vit.patch_embed, PatchEmbed):
            kind = type(vit.patch_embed).__name__
            raise TypeError(f"vit: expected patches of the image itself, got those of a network's features ({kind})")
        if not isinstance(vit.patch_drop, _TimmPatchDrop):
            drop = _TimmPatchDropWithIndices if isinstance(vit, Eva) else _TimmPatchDrop
            vit.patch_drop = drop(vit.num_prefix_tokens, vit.patch_drop)
        return _pair(vit.patch_embed.patch_size)
    for module in vit.modules():
        embeddings = getattr(module, "embeddings", None)
        if not isinstance(embeddings, nn.Module):
            continue
        for name in ("patch_embeddings", "patch_embedding"):
            if isinstance(patches := getattr(embeddings, name, None), nn.Module):
                convolution = getattr(patches, "projection", patches)
                if not any(isinstance(hook, _AfterEmbeddings) for hook in embeddings._forward_hooks.values()):
                    embeddings.register_forward_hook(_AfterEmbeddings())
                return _pair(convolution.kernel_size)
    raise TypeError(
        "vit: expected timm's VisionTransformer or Eva, or a model of transformers with embeddings of patches, got "
        f"{type(vit).__name__}"
    )


def _three_numbers(name: str, values: Any) -> Tensor:
    """Numbers for each channel, of any shape → (3, 1, 1) float32, a copy; raises ValueError for another number of
    them."""
    try:
        numbers = torch.as_tensor(values, dtype=torch.float32).detach().clone()
    except (TypeError, ValueError, RuntimeError):
        numbers = None
    if numbers is None or numbers.numel() != 3:
        raise ValueError(f"{name}: expected three numbers, one for each channel, got {values!r}")
    return numbers.view(3, 1, 1)


def _float_type(vit: nn.Module) -> torch.dtype:
    """The type of the weights of `vit`, which is that of the images that it takes."""
    return next((each.dtype for each in vit.parameters() if each.is_floating_point()), torch.float32)


def _pair(size: Any) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (int(size[0]), int(size[1]))
