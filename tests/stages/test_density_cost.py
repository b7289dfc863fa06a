"""What scoring costs, against what torch counts."""

from __future__ import annotations

import pytest
from random_maes import SHAPES, random_images, random_mae, random_visible
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from stages.density.cost import density_flops
from stages.density.mae import PRESETS
from stages.density.removal import REMOVALS
from stages.density.scorer import DensityScorer


@pytest.mark.parametrize("removal", REMOVALS)
@pytest.mark.parametrize(("config", "n_visible"), SHAPES.values(), ids=SHAPES)
def test_flops_are_what_torch_counts_while_scoring(config, n_visible, removal):
    scorer = DensityScorer(random_mae(config), removal=removal)
    counter = FlopCounterMode(display=False)
    with counter, sdpa_kernel(SDPBackend.MATH):  # it does not know what the fused attention costs
        scorer(random_images(config, 1), random_visible(config, 1, n_visible))
    assert density_flops(config, n_visible, removal) == counter.get_total_flops()


def test_flops_of_the_base_model_are_a_little_less_than_twenty_decoder_passes():
    """The published formulation costs 216 GFLOP: an encoder pass of 3.4 and twenty decoder passes of 10.7."""
    assert 200e9 < density_flops(PRESETS["base"], 19) < 216e9
