"""How far reconstructions are apart."""

from __future__ import annotations

import pytest
import torch

from stages.tables import DISTANCES


@pytest.mark.parametrize("name", DISTANCES)
def test_equal_reconstructions_are_at_the_least_distance_and_it_grows_with_the_difference(name):
    anchor = torch.randn(2, 7, 48, generator=torch.Generator().manual_seed(0))
    direction = torch.randn(2, 1, 7, 48, generator=torch.Generator().manual_seed(1))
    steps = torch.cat([size * direction for size in (0, 1e-6, 1e-3, 0.1, 1)], dim=1)
    distances = DISTANCES[name](anchor, steps)
    assert distances.shape == (2, 5)
    assert distances.isfinite().all()
    assert (distances.diff(dim=1) > 0).all()
