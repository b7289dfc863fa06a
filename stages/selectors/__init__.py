"""Selectors: ways of choosing which patches are kept."""

from __future__ import annotations

from stages.selectors.centre import centre
from stages.selectors.full import full
from stages.selectors.lowest import lowest
from stages.selectors.random_patches import random_patches
from stages.selectors.selector import Selector
from stages.selectors.topk import topk
from stages.selectors.topk_cluster import topk_cluster

SELECTORS: dict[str, Selector] = {
    "topk": topk,
    "topk+cluster": topk_cluster,
    "random": random_patches,
    "centre": centre,
    "lowest": lowest,
    "full": full,
}
"""By name."""

USES_SCORES = frozenset({"topk", "topk+cluster", "lowest"})
"""Those that look at scores; the others serve without a store."""

DRAWS = frozenset({"random"})
"""Those that look at random numbers: every draw keeps others."""

VERSIONS = {"topk+cluster": 2}
"""Of those that have come to choose other patches; the first of any is not noted."""
