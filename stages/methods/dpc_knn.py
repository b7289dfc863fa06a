"""`dpc-knn`: density peaks (Du, Ding and Jia, 2016): patches that lie amid many like them and far from any denser one.

Patches come in the order of their prominence, density times the distance to the nearest denser patch, so that the
first k are the centres of k clusters. Of raw patches, compared by their normalised pixels, or with `model` of a vision
transformer's last tokens. The published code of LTRP makes k clusters as well, but keeps a random member of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor

from stages.images.normalisation import IMAGENET_STD
from stages.methods.grid import GRID, GridMethod, chosen_grid
from stages.methods.method import MethodConfig
from stages.methods.vision_transformer import FrozenViT, load_vit
from stages.samples.sample_view import SampleView
from stages.selectors.dpc_knn import NEIGHBOURS, dpc_knn
from stages.selectors.topk_cluster import patches_of
from storage.dense_scores import PatchGrid


class DpcKnn(GridMethod):
    """L for the most prominent patch, 1 for the least: prominence itself spans hundreds of orders of magnitude."""

    takes = ("model", *GRID)

    def __init__(self, grid: PatchGrid, model: FrozenViT | None = None) -> None:
        super().__init__(grid)
        self.model = model
        self.settings = {"method.neighbours": NEIGHBOURS}
        if model is not None:
            self.width = model.vit.embed_dim
            self.settings |= model.settings
            self.preprocessing = model.preprocessing

    @classmethod
    def load(cls, config: MethodConfig) -> Self:
        if config.model is None:
            return cls(chosen_grid(config))
        model = load_vit(config)
        return cls(model.grid, model)

    def to(self, device: torch.device) -> Self:
        if self.model is not None:
            self.model.to(device)
        return self

    def score(self, images: Tensor, views: Sequence[SampleView]) -> Tensor:
        if self.model is None:
            pixels = images.permute(0, 2, 3, 1).numpy()
            unit = np.tile(255 * np.array(IMAGENET_STD), self.grid.patch_size**2)
            return torch.stack([_order(patches_of(each, self.grid.patch_size), unit) for each in pixels])
        vit = self.model.vit
        tokens = vit.norm(vit.blocks(self.model.embed(images)))[:, vit.num_prefix_tokens :]
        return torch.stack([_order(each, 1.0) for each in tokens.float().cpu().numpy()])


def _order(points: np.ndarray, unit: float | np.ndarray) -> Tensor:
    """(L, d) → (L,): the more prominent, the higher."""
    order = dpc_knn(points, len(points), unit=unit).centres
    scores = torch.empty(len(points))
    scores[torch.from_numpy(order)] = torch.arange(len(points), 0, -1, dtype=torch.float32)
    return scores
