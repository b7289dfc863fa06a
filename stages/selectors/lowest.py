"""`lowest`: the patches with the lowest scores, the control that a good scoring has to beat clearly."""

from __future__ import annotations

import numpy as np

from stages.selectors.selector import Candidates, selector


@selector(uses_scores=True)
def lowest(candidates: Candidates, count: int) -> np.ndarray:
    """Of equal scores the first in raster order. A patch without a score is kept after all others, here as well."""
    order = np.argsort(candidates.score, kind="stable")
    return np.sort(order[:count])
