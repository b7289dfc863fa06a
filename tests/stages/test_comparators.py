"""What a ranker has to beat, each worked out by hand on tiny images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from stages.ranking.comparators import colour_contrast, gradient_energy, position_scores, random_scores


def image_of(rows: list[list[float]], colour: tuple[int, int, int] = (1, 1, 1)) -> Tensor:
    """(1, 3, S, S) uint8"""
    values = torch.tensor(rows, dtype=torch.float64)
    return torch.stack([values * channel for channel in colour])[None].to(torch.uint8)


def test_random_order_belongs_to_seed_and_key_whatever_the_batch() -> None:
    both = random_scores(0, ["a", "b"], 16)
    assert both.shape == (2, 16)
    torch.testing.assert_close(random_scores(0, ["b"], 16)[0], both[1], rtol=0, atol=0)
    assert not torch.equal(both[0], both[1])
    assert not torch.equal(random_scores(1, ["a"], 16)[0], both[0])
    assert len(both.unique()) == 32


def test_random_order_favours_no_position() -> None:
    scores = random_scores(0, [f"key{number}" for number in range(2000)], 4)
    first = np.bincount(scores.argmax(dim=1), minlength=4) / 2000
    np.testing.assert_allclose(first, 0.25, atol=0.04)


def test_the_position_prior_is_the_same_for_all_images() -> None:
    found = position_scores([0.5, 0.25, float("nan"), 1.0], 3)
    assert found.shape == (3, 4)
    np.testing.assert_array_equal(found, [[0.5, 0.25, np.nan, 1.0]] * 3)


def test_gradient_energy_of_an_edge_by_hand() -> None:
    """Of each row, the two pixels beside the edge see a difference of 10; nothing changes downwards."""
    images = image_of([[0, 10, 10, 10]] * 4)
    torch.testing.assert_close(gradient_energy(images, 2), torch.tensor([[100.0, 0, 100, 0]]).double())
    images = image_of([[0, 0, 10, 10]] * 4)
    torch.testing.assert_close(gradient_energy(images, 2), torch.tensor([[50.0, 50, 50, 50]]).double())


def test_gradient_energy_of_a_single_pixel_by_hand() -> None:
    rows = [[0.0] * 6 for _ in range(6)]
    rows[1][1] = 30
    energy = gradient_energy(image_of(rows), 3)
    # Its four neighbours see 30, it sees nothing of itself; all of them lie in the first patch of nine pixels.
    torch.testing.assert_close(energy, torch.tensor([[4 * 900 / 9, 0, 0, 0]]).double(), rtol=1e-6, atol=0)


def test_gradient_energy_weighs_colours_as_the_eye_does() -> None:
    rows = [[0.0, 0, 100, 100]] * 4
    energies = [float(gradient_energy(image_of(rows, colour), 4)) for colour in ((1, 0, 0), (0, 1, 0), (0, 0, 1))]
    expected = [(weight * 100) ** 2 / 2 for weight in (0.299, 0.587, 0.114)]
    assert energies == pytest.approx(expected, rel=1e-4)


def test_gradient_energy_looks_across_and_down_and_comes_in_raster_order() -> None:
    rows = [[0.0] * 4 for _ in range(4)]
    rows[3][2] = 50
    across, down = image_of(rows), image_of([list(row) for row in zip(*rows, strict=True)])
    assert int(gradient_energy(across, 2).argmax()) == 3
    torch.testing.assert_close(gradient_energy(across, 2)[0, [0, 2, 1, 3]], gradient_energy(down, 2)[0])


def test_an_even_image_has_neither_edges_nor_contrast() -> None:
    images = image_of([[77] * 6] * 6)
    assert (gradient_energy(images, 3) == 0).all()
    torch.testing.assert_close(colour_contrast(images, 3), torch.zeros(1, 4).double(), rtol=0, atol=1e-4)


def test_colour_contrast_is_the_distance_from_the_images_mean_colour() -> None:
    red: list[list[float]] = [[40, 40, 0, 0], [40, 40, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    images = image_of(red, (1, 0, 0)) + image_of(red, (0, 2, 0))
    mean = np.array([10, 20, 0])
    expected = [np.linalg.norm(np.array([40, 80, 0]) - mean), *[np.linalg.norm(mean)] * 3]
    torch.testing.assert_close(colour_contrast(images, 2), torch.tensor([expected]).double())


def test_each_image_is_looked_at_by_itself() -> None:
    images = torch.randint(0, 256, (3, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for comparator in (gradient_energy, colour_contrast):
        alone = torch.cat([comparator(image[None], 4) for image in images])
        assert alone.shape == (3, 4)
        torch.testing.assert_close(comparator(images, 4), alone)
