from __future__ import annotations

import math

import pytest
import torch

from stages.glancing.places import corners, cut_out, glance, order_of_looks, snap


def test_windows_are_the_pixels_at_their_corners() -> None:
    images = torch.randn(3, 3, 32, 32)
    at = corners(torch.tensor([[0.0, 0.0], [1.0, 0.5], [0.37, 0.99]]), 32, 12)
    assert at.tolist() == [[0, 0], [20, 10], [int(0.37 * 20), int(0.99 * 20)]]
    windows = cut_out(images, at, 12)
    for image, (row, column), window in zip(images, at.tolist(), windows, strict=True):
        assert torch.equal(window, image[:, row : row + 12, column : column + 12])


def test_a_glance_keeps_corners_and_what_is_even() -> None:
    image = torch.zeros(1, 3, 32, 32)
    image[..., 0, 0] = 1.0
    assert glance(image, 8)[0, 0, 0, 0] == pytest.approx(1.0)
    torch.testing.assert_close(glance(torch.full((1, 3, 32, 32), 0.3), 8), torch.full((1, 3, 8, 8), 0.3))


@pytest.mark.parametrize(("size", "window", "patch"), [(32, 16, 4), (112, 48, 8), (224, 96, 16), (24, 24, 8)])
def test_snapped_windows_hold_whole_patches_and_are_the_nearest_that_do(size: int, window: int, patch: int) -> None:
    torch.manual_seed(0)
    locations = torch.rand(200, 2)
    at = corners(snap(locations, size, window, patch), size, window)
    assert not (at % patch).any()
    assert (at >= 0).all()
    assert (at <= size - window).all()
    assert ((at - locations * (size - window)).abs() <= patch / 2 + 1e-4).all()


def test_patches_come_in_the_order_of_looks_then_from_the_middle() -> None:
    """Beside brute force, of 8 x 8 patches of 4 pixels and windows of 16."""
    torch.manual_seed(1)
    looks = [snap(torch.rand(5, 2), 32, 16, 4) for _ in range(3)]
    scores = order_of_looks(looks, 32, 16, 4)
    for image in range(5):
        at = [corners(look, 32, 16)[image].tolist() for look in looks]
        for patch in range(64):
            y, x = (patch // 8 + 0.5) * 4, (patch % 8 + 0.5) * 4
            away = [math.dist((y, x), (row + 8, column + 8)) / (32 * math.sqrt(2)) for row, column in at]
            shown = [n for n, (row, column) in enumerate(at) if row < y < row + 16 and column < x < column + 16]
            expected = 3 - shown[0] + 1 - away[shown[0]] if shown else 1 - min(away)
            assert scores[image, patch].item() == pytest.approx(expected, abs=1e-5)
    assert (scores > 3).sum(dim=1).tolist() == [16] * 5, "all of the first window"
