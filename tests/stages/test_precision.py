"""Scores in sixteen bits."""

from __future__ import annotations

import pytest
import torch
from random_maes import DEEPER, random_images, random_mae, random_visible

from ranker.metrics import kendall_tau
from stages.density.precision import fastest_trusted
from stages.density.removal import REMOVALS
from stages.density.scorer import DensityScorer


@pytest.mark.parametrize(("precision", "least_tau"), [("fp16", 0.97), ("bf16", 0.9)])
@pytest.mark.parametrize("removal", REMOVALS)
def test_scores_in_sixteen_bits_rank_nearly_as_in_fp32(removal, precision, least_tau):
    model, images, visible = random_mae(DEEPER), random_images(DEEPER, 16), random_visible(DEEPER, 16, 8)
    exact = DensityScorer(model, removal=removal)(images, visible)
    rounded = DensityScorer(model, removal=removal, precision=precision)(images, visible)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    assert kendall_tau(exact, rounded).mean() > least_tau


def test_the_precision_of_a_cpu_is_one_that_its_scorer_takes():
    precision = fastest_trusted(torch.device("cpu"))
    assert precision in ("fp32", "bf16")
    DensityScorer(random_mae(DEEPER), precision=precision)(random_images(DEEPER, 1), random_visible(DEEPER, 1, 5))
