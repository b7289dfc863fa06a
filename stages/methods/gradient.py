"""`gradient`: how much happens in a patch: the energy of its luminance's gradient, as edge detectors begin with it."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from stages.methods.grid import GridMethod
from stages.ranking.comparators import gradient_energy
from stages.samples.sample_view import SampleView


class Gradient(GridMethod):
    """As `evaluate-ranker` holds it against a ranker."""

    def score(self, images: Tensor, views: Sequence[SampleView]) -> Tensor:
        return gradient_energy(images, self.grid.patch_size)
