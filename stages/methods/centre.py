"""`centre`: the patches nearest to the centre of the view, whatever is in it: photographers put there what matters."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from stages.methods.grid import GridMethod
from stages.samples.sample_view import SampleView
from stages.selectors.centre import squared_distances


class Centre(GridMethod):
    """Minus the squared distance of a patch's middle from that of the view."""

    def score(self, images: Tensor, views: Sequence[SampleView]) -> Tensor:
        return -torch.from_numpy(squared_distances(self.grid.side)).double().expand(len(images), -1)
