"""Methods that look at pixels, or at nothing: `random`, `centre`, `gradient`, `contrast` and `dpc-knn`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist
from vit_methods import VIEWS, Asked, frozen_vit, random_images, ranks_of, views_of

from stages.images.normalisation import normalise
from stages.methods.centre import Centre
from stages.methods.contrast import Contrast
from stages.methods.dpc_knn import DpcKnn
from stages.methods.gradient import Gradient
from stages.methods.random_order import RandomOrder
from stages.tables import METHODS
from storage.dense_scores import PatchGrid

GRID = PatchGrid(32, 8)


def test_random_orders_belong_to_seed_key_and_view_and_are_all_different() -> None:
    images = random_images(2)
    method = RandomOrder(GRID, 0)
    both = method.score(images, views_of(["a", "b"]))
    assert all(sorted(row) == list(range(16)) for row in both.tolist())
    assert torch.equal(method.score(images[:1], views_of(["b"], shard="z")), both[1:])
    for other in (
        RandomOrder(GRID, 1).score(images, views_of(["a", "b"])),
        method.score(images, views_of(["a", "b"], 1)),
    ):
        assert not (other == both).all(dim=1).any()


def test_random_favours_no_patch() -> None:
    keys = [f"key{number}" for number in range(2000)]
    scores = RandomOrder(PatchGrid(4, 2), 0).score(torch.empty(2000, 3, 4, 4), views_of(keys))
    first = np.bincount(scores.argmax(dim=1), minlength=4) / 2000
    np.testing.assert_allclose(first, 0.25, atol=0.04)


@pytest.mark.parametrize("side", [3, 4])
def test_the_nearer_to_the_centre_the_sooner(side: int) -> None:
    scores = Centre(PatchGrid(8 * side, 8)).score(random_images(2, 8 * side), VIEWS)
    middle = (side - 1) / 2
    distance = [math.hypot(row - middle, column - middle) for row in range(side) for column in range(side)]
    assert scores.shape == (2, side**2)
    assert ranks_of(scores)[0].tolist() == np.argsort(np.argsort(distance, kind="stable")).tolist()


def test_edges_and_colours_are_found_where_they_are() -> None:
    images = torch.full((1, 3, 32, 32), 100, dtype=torch.uint8)
    images[0, :, 8:16, 19:21] = 255  # a stripe within the patch of row 1, column 2
    images[0, 0, 24:, :8] = 255  # red in row 3, column 0, whose edges lie in its neighbours too
    assert int(Gradient(GRID).score(images, VIEWS).argmax()) == 6
    assert int(Contrast(GRID).score(images, VIEWS).argmax()) == 12


def order_by_hand(points: np.ndarray) -> list[int]:
    """Patches by falling prominence, as Du, Ding and Jia define it, in double precision with SciPy's distances."""
    distance = cdist(points, points) / math.sqrt(points.shape[1])
    density = [math.exp(-np.mean(np.sort(row)[:5] ** 2)) for row in distance]
    prominence = []
    for point, own in enumerate(density):
        denser = [distance[point, other] for other, its in enumerate(density) if its > own]
        prominence.append(own * (min(denser) if denser else distance[point].max()))
    return np.argsort(-np.array(prominence)).tolist()


def test_the_most_prominent_patches_come_first() -> None:
    images = random_images(3)
    parts = normalise(images).unfold(2, 8, 8).unfold(3, 8, 8).permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)
    scores = DpcKnn(GRID).score(images, VIEWS)
    for row, points in zip(scores, parts.double().numpy(), strict=True):
        assert row.argsort(descending=True).tolist() == order_by_hand(points)


@torch.no_grad()
def test_with_a_model_its_last_tokens_are_the_points() -> None:
    model, images = frozen_vit(), random_images(3)
    tokens = model.vit.forward_features(model.normalise(images))[:, 1:].double().numpy()
    scores = DpcKnn(model.grid, model).score(images, VIEWS)
    for row, points in zip(scores, tokens, strict=True):
        assert row.argsort(descending=True).tolist() == order_by_hand(points)


def test_patches_that_are_equal_are_ordered_all_the_same() -> None:
    scores = DpcKnn(GRID).score(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), VIEWS)
    assert all(sorted(row) == list(range(1, 17)) for row in scores.tolist())


@pytest.mark.parametrize("name", ["random", "centre", "gradient", "contrast", "dpc-knn"])
@pytest.mark.parametrize(
    ("asked", "grid"),
    [({}, PatchGrid(112, 8)), ({"image_size": 64}, PatchGrid(64, 8)), ({"patch_size": 16}, PatchGrid(112, 16))],
)
def test_they_work_in_any_grid_by_default_in_that_of_the_ranker_that_comes_along(
    name: str, asked: dict[str, Any], grid: PatchGrid
) -> None:
    assert METHODS[name].load(Asked(**asked)).grid == grid
    with pytest.raises(ValueError, match=r"^--image-size: expected a multiple of the patch size 8, got 33$"):
        METHODS[name].load(Asked(image_size=33))
