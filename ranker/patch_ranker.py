"""A trained ranker in people's own code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from ranker.image_checks import refuse_infinite, refuse_other_than_tensors
from ranker.network import PatchRankingTransformer, RankerConfig
from ranker.pretrained import RankerCheckpoint, read_ranker
from ranker.selection import spread_patches, top_patches


class PatchRanker(nn.Module):
    """Ranks the patches of images with frozen weights; move it with `.to(device)`.

    `facts` holds what `train-ranker` noted of its training; empty for a published ranker.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, checkpoint: RankerCheckpoint) -> None:
        super().__init__()
        self.network: PatchRankingTransformer = checkpoint.build().requires_grad_(False)
        self.facts: dict[str, Any] = checkpoint.facts
        for name, values in (("mean", IMAGENET_DEFAULT_MEAN), ("std", IMAGENET_DEFAULT_STD)):
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)
        self.eval()

    @classmethod
    def from_pretrained(cls, path: str | Path) -> PatchRanker:
        """The ranker in the folder that `train-ranker` wrote, or a published LTRP checkpoint (.pth), or one by name:
        that of the package, "ltrp-small-112", or "hf://OWNER/NAME" on the Hugging Face hub.

        Raises FileNotFoundError, or ValueError naming the file, what was expected and what it got.
        """
        return cls(read_ranker(path))

    @property
    def config(self) -> RankerConfig:
        """Its architecture: `image_size`, `patch_size`, `grid`, `n_patches`, ..."""
        return self.network.config

    def train(self, mode: bool = True) -> PatchRanker:
        """Stays in evaluation mode, also as a part of a model that is trained."""
        return super().train(False)

    @torch.no_grad()  # not inference_mode: scores made in it could not be used where gradients are wanted
    def rank(self, images: Tensor, patch_size: int | tuple[int, int] | None = None) -> Tensor:
        """Images (B, 3, S, S) → scores of their patches in raster order (B, L) float32, higher for those that matter
        more; scores of different images do not compare.

        Images are uint8, or floats that ImageNet's mean and standard deviation have been taken out of. A ranker with
        head 'token' takes any height and width that are multiples of the patch size.

        With `patch_size` (one number, or height and width), that of a model which sees the same images at another
        resolution, scores are of its patches: the images are resized so that the ranker sees the same grid.

        Raises TypeError for images that are no tensor, and ValueError for those of another shape or type, for NaN and
        infinity (not while it is compiled), and for a grid that the ranker does not rank.
        """
        refuse_other_than_tensors(images)
        given = images
        if patch_size is not None:
            images = self._resized(images, patch_size)
        self._refuse_unfit(images)
        if images.shape[0] == 0:
            patch = self.config.patch_size
            n_patches = (images.shape[2] // patch) * (images.shape[3] // patch)
            return images.new_empty((0, n_patches), dtype=torch.float32)
        refuse_infinite(given)
        if images.dtype == torch.uint8:
            images = (images.float() / 255 - self.mean) / self.std
        scores: Tensor = self.network(images.to(self.network.cls_token.dtype)).float()
        return scores

    def keep(
        self, images: Tensor, ratio: float, patch_size: int | tuple[int, int] | None = None, *, spread: bool = False
    ) -> Tensor:
        """Images and `patch_size` as for `rank` → indices of the patches to keep (B, k) int64, sorted; k is `ratio` of
        L, rounded, and at least 1.

        They are the best; with `spread` the best of all parts of the image, as a model wants them that was trained on
        whole images. Raises as `rank`, TypeError for a ratio that is no number, and ValueError for one not in (0, 1].
        """
        scores = self.rank(images, patch_size)
        if not spread:
            return top_patches(scores, ratio)
        size = self.config.patch_size if patch_size is None else patch_size
        width = size if isinstance(size, int) else size[1]
        return spread_patches(scores, ratio, images.shape[-1] // width)

    forward = rank

    def _resized(self, images: Tensor, patch_size: int | tuple[int, int]) -> Tensor:
        """Images of a model with patches of that size → normalised, in the ranker's patches, the same grid of them."""
        high, wide = (patch_size, patch_size) if isinstance(patch_size, int) else patch_size
        config = self.config
        fits = images.ndim == 4 and images.shape[1] == 3 and min(high, wide) >= 1
        if not (fits and images.shape[2] >= high and images.shape[3] >= wide):
            raise ValueError(
                f"images: expected shape (B, 3, H, W) of at least one patch of {high} x {wide}, got "
                f"{tuple(images.shape)}"
            )
        rows, columns = images.shape[2] // high, images.shape[3] // wide
        if config.head == "cls" and (rows, columns) != (config.grid, config.grid):
            raise ValueError(
                f"images: {images.shape[2]} x {images.shape[3]} pixels in patches of {high} x {wide} are {rows} x "
                f"{columns} patches: expected the {config.grid} x {config.grid} of the ranker (one of head 'token' "
                "takes any)"
            )
        seen = images[..., : rows * high, : columns * wide]
        size = (rows * config.patch_size, columns * config.patch_size)
        if seen.shape[2:] == size or not (images.dtype == torch.uint8 or images.is_floating_point()):
            return seen
        if seen.shape[0] == 0:  # which `interpolate` refuses
            return seen.new_empty((0, 3, *size))
        pixels = seen.float() / 255 if images.dtype == torch.uint8 else seen.float() * self.std + self.mean
        pixels = nn.functional.interpolate(pixels, size, mode="bicubic", antialias=True).clamp(0, 1)
        return (pixels - self.mean) / self.std

    def _refuse_unfit(self, images: Tensor) -> None:
        size, patch = self.config.image_size, self.config.patch_size
        if images.dtype != torch.uint8 and not images.is_floating_point():
            raise ValueError(f"images: expected uint8, or floats that are normalised, got {images.dtype}")
        if self.config.head == "token":
            expected = f"(B, 3, H, W) with H and W multiples of {patch}"
            fits = images.ndim == 4 and images.shape[1] == 3
            fits = fits and all(side > 0 and side % patch == 0 for side in images.shape[2:])
        else:
            expected = f"(B, 3, {size}, {size})"
            fits = images.ndim == 4 and tuple(images.shape[1:]) == (3, size, size)
        if not fits:
            raise ValueError(f"images: expected shape {expected}, got {tuple(images.shape)}")
