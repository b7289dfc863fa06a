"""`topk`: the patches with the highest scores."""

from __future__ import annotations

import numpy as np

from stages.selectors.selector import Candidates, selector


@selector(uses_scores=True)
def topk(candidates: Candidates, count: int) -> np.ndarray:
    """As `ranker.selection.top_patches`: of equal scores the first in raster order. A patch without a score is kept
    after all others."""
    order = np.argsort(-candidates.score, kind="stable")
    return np.sort(order[:count])
