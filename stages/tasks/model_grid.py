"""The images and patches that a task's model sees: the grid of the scores, at a resolution of its own."""

from __future__ import annotations

import timm
import torch
from timm.models.vision_transformer import VisionTransformer

from stages.samples.ranked import RankSource
from stages.settings.train_task import TrainTaskConfig
from stages.training.encoders import TIMM
from storage.dense_scores import PatchGrid
from storage.settings import Settings


def model_grid(config: TrainTaskConfig, source: RankSource, begun: Settings | None = None) -> PatchGrid:
    """What the models of `config` see of images whose scores `source` has. `begun`: settings that a training there was
    begun with. Raises ValueError for sizes that make another grid."""
    sizes, ranked = {"image_size": config.image_size, "patch_size": config.patch_size}, source.grid
    grid = fitting_grid(ranked, source.url, init=config.init, **sizes)
    if begun and not any(sizes.values()) and begun.get("encoder.image_size") == ranked.image_size:
        return ranked  # before resolutions could differ, timm's models had that of the ranks
    return grid


def fitting_grid(
    ranked: PatchGrid, where: str, *, image_size: int | None, patch_size: int | None, init: str | None
) -> PatchGrid:
    """`ranked` is the grid of the scores that `where` has. Of the two sizes one decides the other; without both, a
    model of timm whose own grid is the same has its own sizes, and any other those of the scores.

    Raises ValueError for sizes that make another grid.
    """
    if image_size is None and patch_size is None:
        own = _timm_grid(init.removeprefix(TIMM)) if init and init.startswith(TIMM) else None
        return own if own and own.side == ranked.side else ranked
    side = ranked.side
    if image_size is None:
        assert patch_size is not None
        return PatchGrid(patch_size * side, patch_size)
    if patch_size is None:
        if image_size % side:
            raise ValueError(
                f"image_size: expected a multiple of {side}, for the {side} x {side} patches that {where} has scores "
                f"of, got {image_size}"
            )
        return PatchGrid(image_size, image_size // side)
    if image_size % patch_size:
        raise ValueError(f"image_size: expected a multiple of patch_size {patch_size}, got {image_size}")
    grid = PatchGrid(image_size, patch_size)
    if grid.side != side:
        raise ValueError(
            f"image_size {image_size}, patch_size {patch_size}: expected the {side} x {side} patches that {where} has "
            f"scores of, got {grid.side} x {grid.side}"
        )
    return grid


def _timm_grid(name: str) -> PatchGrid | None:
    """That a model of timm was made for; None where it is no vision transformer of squares."""
    try:
        with torch.device("meta"):  # shapes alone
            vit = timm.create_model(name, pretrained=False, num_classes=0)
    except (RuntimeError, ValueError, TypeError):
        return None  # whoever builds it says what is wrong
    if not isinstance(vit, VisionTransformer):
        return None
    (height, width), (high, wide) = vit.patch_embed.img_size, vit.patch_embed.patch_size
    return PatchGrid(height, high) if height == width and high == wide and height % high == 0 else None
