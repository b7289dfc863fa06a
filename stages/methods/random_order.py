"""`random`: any order, each as likely as another: what every method has to beat.

Of a view the order is always the same, where the selector `random` draws anew each time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor

from stages.compute.randomness import draws_for, permutation
from stages.methods.grid import GridMethod, chosen_grid
from stages.methods.method import MethodConfig
from stages.samples.sample_view import SampleView
from storage.dense_scores import PatchGrid


class RandomOrder(GridMethod):
    """Scores 0 … L-1, drawn from the seed, the sample's key and the number of the view alone."""

    def __init__(self, grid: PatchGrid, seed: int) -> None:
        super().__init__(grid)
        self.seed = seed
        self.settings = {"method.seed": seed}

    @classmethod
    def load(cls, config: MethodConfig) -> Self:
        return cls(chosen_grid(config), config.seed)

    def score(self, images: Tensor, views: Sequence[SampleView]) -> Tensor:
        drawn = [
            permutation(draws_for(self.seed, "random method", view.key, view.number), self.grid.n_patches)
            for view in views
        ]
        return torch.from_numpy(np.stack(drawn)).double()
