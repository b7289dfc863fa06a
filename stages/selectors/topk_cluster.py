"""`topk+cluster`: most patches by their scores, the others so that context survives (the paper's `ltrp_cluster`).

From the paper: 70% of the kept patches are those with the highest scores; the remaining 30% are representatives of the
largest DPC-KNN clusters of raw patches that hold none of those. As in the published code, there are as many clusters as
patches are kept, patches are compared by their normalised pixels, and 70% are rounded down: 34, 68 and 102 of 49, 98
and 147. The top patches lie in at most as many clusters as they are, so that there are always enough that hold none.

The published code draws a cluster's representative at random, leaves out a cluster if just this one is a top patch, and
so keeps others each time that it looks at an image. Here it is the cluster's centre, the peak of density, and clusters
with any top patch are left out, as the paper says; of clusters of one size the more prominent comes first. Of a single
patch, where 70% are none, the published code fails, and the best is kept here.
"""

from __future__ import annotations

import numpy as np

from stages.images.normalisation import IMAGENET_STD
from stages.selectors.dpc_knn import dpc_knn
from stages.selectors.selector import Candidates, selector
from stages.selectors.topk import topk

TOP_SHARE = 0.7


@selector(uses_scores=True, version=2)
def topk_cluster(candidates: Candidates, count: int) -> np.ndarray:
    """Scores as `topk` takes them."""
    top = topk(candidates, max(1, int(TOP_SHARE * count)))
    patches = patches_of(candidates.pixels, candidates.patch_size)
    assert len(patches) == len(candidates.score)
    clusters = dpc_knn(patches, count, unit=np.tile(255 * np.array(IMAGENET_STD), patches.shape[1] // 3))
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
