"""Random erasing, mixup and CutMix of batches."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from stages.compute.global_draws import global_draws
from stages.tasks.batch_augmentation import erase, mix

SIDE = 16


def images_of(count: int, value: float | None = None) -> Tensor:
    """Each of one value, its own number if none is given."""
    numbers = torch.arange(count, dtype=torch.float32) if value is None else torch.full((count,), value)
    return numbers.view(-1, 1, 1, 1).expand(-1, 3, SIDE, SIDE).clone()


def names(count: int, seed: int = 0) -> list[tuple[str | int, ...]]:
    return [(seed, f"key {number}", 3) for number in range(count)]


def test_rectangles_of_so_many_images_become_noise() -> None:
    images = images_of(400, 9.0)
    erase(images, 0.25, names(400))
    changed = (images != 9).all(dim=1)
    erased = changed.flatten(1).any(dim=1)
    assert 0.17 < erased.float().mean() < 0.33
    for each in changed[erased]:
        rows, columns = each.any(dim=1).nonzero(), each.any(dim=0).nonzero()
        height, width = (int(places.max() - places.min()) + 1 for places in (rows, columns))
        assert each.sum() == height * width, "one rectangle"
        assert 0.01 < height * width / SIDE**2 < 0.4
    noise = images[:, :, :, :][changed[:, None].expand(-1, 3, -1, -1)]
    assert abs(noise.mean()) < 0.05
    assert abs(noise.std() - 1) < 0.05


def test_what_is_erased_belongs_to_the_image_and_torch_goes_on_where_it_was() -> None:
    images = images_of(40, 9.0)
    torch.manual_seed(1)
    before, python = torch.get_rng_state(), random.getstate()
    erase(images, 0.5, names(40))
    assert torch.equal(torch.get_rng_state(), before)
    assert random.getstate() == python
    torch.rand(5)
    alone = images_of(10, 9.0)
    erase(alone, 0.5, names(40)[30:])
    assert torch.equal(alone, images[30:])
    other = images_of(40, 9.0)
    erase(other, 0.5, names(40, seed=1))
    assert not torch.equal(other, images)


def test_nothing_is_erased_unless_asked_for() -> None:
    images = images_of(20)
    erase(images, 0.0, names(20))
    assert torch.equal(images, images_of(20))


def one_hot(count: int) -> Tensor:
    return torch.eye(count)


@pytest.mark.parametrize("count", [2, 6, 7])
def test_mixup_takes_of_each_image_a_share_and_of_that_of_the_batch_read_backwards_the_rest(count: int) -> None:
    images, classes = images_of(count), one_hot(count)
    mix(images, classes, 0.8, 0.0, (0, 5))
    with global_draws(0, 5, "mix"):
        np.random.rand()  # whether it mixes at all
        share = np.random.beta(0.8, 0.8)
    even = count // 2 * 2
    for number in range(even):
        other = even - 1 - number
        torch.testing.assert_close(images[number], share * images_of(count)[number] + (1 - share) * other)
        torch.testing.assert_close(
            classes[number], share * one_hot(count)[number] + (1 - share) * one_hot(count)[other]
        )
    assert torch.equal(images[even:], images_of(count)[even:])
    assert torch.equal(classes[even:], one_hot(count)[even:])


def test_cutmix_gives_each_image_a_rectangle_of_another_and_its_classes_by_area() -> None:
    seen = set()
    for number in range(10):
        images, classes = images_of(4), one_hot(4)
        mix(images, classes, 0.0, 1.0, (0, number))
        for image in range(4):
            own = (images[image, 0] == image).float().mean().item()
            other = (images[image, 0] == 3 - image).float().mean().item()
            assert own + other == 1
            expected = own * one_hot(4)[image] + other * one_hot(4)[3 - image]
            torch.testing.assert_close(classes[image], expected)
            seen.add(round(own, 3))
    assert len(seen) > 5


def test_with_both_some_batches_are_mixed_and_others_cut() -> None:
    kinds = set()
    for number in range(20):
        images = images_of(2)
        mix(images, one_hot(2), 0.8, 1.0, (0, number))
        whole = set(images[0].unique().tolist())
        kinds.add("cut" if whole <= {0.0, 1.0} else "mixed")
    assert kinds == {"cut", "mixed"}


@pytest.mark.parametrize(("count", "options"), [(1, (0.8, 1.0)), (4, (0.0, 0.0))])
def test_one_image_alone_and_what_is_not_to_be_mixed_stay_as_they_are(count: int, options: Any) -> None:
    images, classes = images_of(count), one_hot(count)
    mix(images, classes, *options, (0,))
    assert torch.equal(images, images_of(count))
    assert torch.equal(classes, one_hot(count))


def test_several_categories_of_an_image_are_mixed_as_they_are() -> None:
    classes = torch.tensor([[1.0, 1.0, 0.0], [0.0, 1.0, 1.0]])
    mix(images_of(2), classes, 0.8, 0.0, (3,))
    assert torch.allclose(classes[:, 1], torch.ones(2)), "both have it"
    torch.testing.assert_close(classes[0], classes[1].flip(0))
