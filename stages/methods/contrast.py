"""`contrast`: how far the mean colour of a patch is from that of the view: global contrast, the simplest saliency
(after Achanta et al., Frequency-tuned Salient Region Detection, CVPR 2009; in RGB instead of Lab, and without their
smoothing, for which the mean over a patch stands)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from stages.methods.grid import GridMethod
from stages.ranking.comparators import colour_contrast
from stages.samples.sample_view import SampleView


class Contrast(GridMethod):
    """Distances of mean colours."""

    def score(self, images: Tensor, views: Sequence[SampleView]) -> Tensor:
        return colour_contrast(images, self.grid.patch_size)
