"""`topk+cluster`: most patches by their scores, the others so that context survives (the paper's `ltrp_cluster`).

From the paper: 70% of the kept patches are those with the highest scores; the remaining 30% are representatives of the
largest DPC-KNN clusters of raw patches that hold none of those. Our choices, where it leaves them open:

- there are as many clusters as patches are kept. The top patches lie in at most as many clusters as they are, so that
  at least the remaining 30% hold none of them: there are always enough, and nothing has to be filled up;
- a cluster's representative is its centre, the peak of density; of clusters of one size the more prominent comes first;
- patches are compared by their pixels, which are taken in units of the standard deviation that models normalise by.
"""

from __future__ import annotations

import numpy as np

from stages.selectors.dpc_knn import dpc_knn
from stages.selectors.selector import Candidates
from stages.selectors.topk import topk

TOP_SHARE = 0.7
PIXEL_DEVIATION = 255 * 0.226  # mean over the channels of ImageNet's


def topk_cluster(candidates: Candidates, count: int) -> np.ndarray:
    """Scores as `topk` takes them."""
    top = topk(candidates, round(TOP_SHARE * count))
    patches = patches_of(candidates.pixels, candidates.patch_size)
    assert len(patches) == len(candidates.score)
    clusters = dpc_knn(patches, count, unit=PIXEL_DEVIATION)
    free = np.ones(count, bool)
    free[clusters.label[top]] = False
    largest = np.argsort(np.where(free, -clusters.sizes, 0), kind="stable")
    return np.sort(np.concatenate([top, clusters.centres[largest[: count - len(top)]]]))


def patches_of(pixels: np.ndarray, patch_size: int) -> np.ndarray:
    """(S, S, 3) uint8 → (L, P) float32 from 0 to 255, in raster order."""
    grid = len(pixels) // patch_size
    assert pixels.shape == (grid * patch_size, grid * patch_size, 3)
    parts = pixels.reshape(grid, patch_size, grid, patch_size, 3).swapaxes(1, 2)
    return parts.reshape(grid**2, -1).astype(np.float32)
