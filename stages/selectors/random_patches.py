"""`random`: any patches, each as likely as another."""

from __future__ import annotations

import numpy as np

from stages.compute.randomness import permutation
from stages.selectors.selector import Candidates, selector


@selector(uses_scores=False, draws=True)
def random_patches(candidates: Candidates, count: int) -> np.ndarray:
    """The same draws give patches that a larger `count` keeps too."""
    return np.sort(permutation(candidates.draws, len(candidates.score))[:count])
