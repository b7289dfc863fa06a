"""What scoring costs, against what torch counts."""

from __future__ import annotations

import pytest
from random_maes import SHAPES, random_images, random_mae, random_visible
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from stages.density.cost import density_flops
from stages.density.decoded import decoded_count
from stages.density.mae import PRESETS, masked_indices
from stages.density.removal import REMOVALS
from stages.density.scorer import DensityScorer


@pytest.mark.parametrize("decode", ["full", "cells"])
@pytest.mark.parametrize("removal", REMOVALS)
@pytest.mark.parametrize(("config", "n_visible"), SHAPES.values(), ids=SHAPES)
def test_flops_are_what_torch_counts_while_scoring(config, n_visible, removal, decode):
    scorer = DensityScorer(random_mae(config), removal=removal)
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH):  # it does not know what the fused attention costs
        visible = random_visible(config, 1, n_visible)
        decoded = masked_indices(visible, config.n_patches)[:, : decoded_count(decode, config.n_patches, n_visible)]
        scorer(random_images(config, 1), visible, decoded)
    assert density_flops(config, n_visible, removal, decode) == counter.get_total_flops()


def test_flops_of_the_base_model_are_a_little_less_than_twenty_decoder_passes():
    """The published formulation costs 216 GFLOP: an encoder pass of 3.4 and twenty decoder passes of 10.7."""
    assert 200e9 < density_flops(PRESETS["base"], 19) < 216e9


def test_cells_cost_a_third():
    share = density_flops(PRESETS["base"], 19, decode="cells") / density_flops(PRESETS["base"], 19)
    assert share == pytest.approx(1 / 3, abs=0.01)
