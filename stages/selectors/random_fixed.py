"""`random-fixed`: any patches, each as likely as another, and of a view always the same.

Whatever is drawn anew in each epoch augments what a model sees; this is the control without that.
"""

from __future__ import annotations

import numpy as np

from stages.compute.randomness import permutation
from stages.selectors.selector import Candidates, selector


@selector(uses_scores=False, draws=True, fixed=True)
def random_fixed(candidates: Candidates, count: int) -> np.ndarray:
    """The same draws give patches that a larger `count` keeps too."""
    return np.sort(permutation(candidates.draws, len(candidates.score))[:count])
