"""RandAugment and jitter of colours: as timm and torchvision do them, with draws that belong to the image."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import permutations

import numpy as np
import pytest
import torch
from PIL import Image, ImageEnhance
from timm.data import create_transform

from stages.compute.global_draws import global_draws
from stages.images import augmentation
from stages.images.augmentation import ImageAugmentation, jitter_colours, rand_augment

POLICY = "rand-m9-mstd0.5-inc1"
SIZE = 32
PIXELS = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def test_rand_augment_is_that_of_timms_create_transform() -> None:
    _, published, _ = create_transform(
        SIZE, is_training=True, auto_augment=POLICY, interpolation="bicubic", separate=True
    )
    changed = 0
    for epoch in range(20):
        with global_draws(7, "key", epoch, "auto augment"):
            expected = np.asarray(published(Image.fromarray(PIXELS)))
        found = ImageAugmentation(SIZE, POLICY)(PIXELS, 7, "key", epoch)
        np.testing.assert_array_equal(found, expected)
        changed += not np.array_equal(found, PIXELS)
    assert changed > 5


def test_what_is_drawn_belongs_to_the_identity_whatever_others_draw_meanwhile() -> None:
    augment = ImageAugmentation(SIZE, POLICY, color_jitter=0.4)
    expected = [augment(PIXELS, 0, "key", epoch).tobytes() for epoch in range(24)]
    assert len(set(expected)) > 20
    before = torch.get_rng_state()
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda epoch: augment(PIXELS, 0, "key", epoch).tobytes(), range(24)))
    assert found == expected
    assert torch.equal(torch.get_rng_state(), before)
    assert augment(PIXELS, 1, "key", 0).tobytes() != expected[0]


def test_without_any_an_image_stays_as_it_is() -> None:
    assert ImageAugmentation(SIZE)(PIXELS, 0) is PIXELS


def test_jitter_takes_brightness_contrast_and_saturation_times_factors_in_any_order(monkeypatch) -> None:
    """By Pillow's own."""
    factors = [0.7, 1.2, 1.4]
    enhancers = [ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color]
    image = Image.fromarray(PIXELS)
    for order in permutations(range(3)):
        given = iter(factors)
        monkeypatch.setattr(augmentation, "uniform", lambda draws, low, high, given=given: next(given))
        monkeypatch.setattr(augmentation, "permutation", lambda draws, length, order=order: np.array(order))
        expected = image
        for number in order:
            expected = enhancers[number](expected).enhance(factors[number])
        np.testing.assert_array_equal(np.asarray(jitter_colours(image, 0.4, 0)), np.asarray(expected))


def test_factors_of_jitter_lie_around_one_as_far_as_asked_for(monkeypatch) -> None:
    drawn: list[tuple[float, float]] = []
    monkeypatch.setattr(augmentation, "uniform", lambda draws, low, high: drawn.append((low, high)) or 1.0)
    for strength in (0.4, 1.5):
        jitter_colours(Image.fromarray(PIXELS), strength, 0)
    assert drawn == [(0.6, 1.4)] * 3 + [(0.0, 2.5)] * 3


@pytest.mark.parametrize(
    "policy",
    ["", "augmix-m3", "rand-m9-mstd", "rand-m9-bogus", "rand-x3", "rand-m9-tnone", "original", "rand-m9.5", "../rand"],
)
def test_a_policy_that_timm_does_not_know_is_refused_by_name(policy: str) -> None:
    with pytest.raises(ValueError, match=r"auto_augment: expected 'none' or a RandAugment as timm names it, .* got"):
        rand_augment(policy, SIZE)


@pytest.mark.parametrize("policy", ["rand", POLICY, "rand-m9-n3-mstd0.5", "rand-m9-p0.7-mmax12", "rand-m2-t3a"])
def test_policies_that_timm_knows_are_taken(policy: str) -> None:
    rand_augment(policy, SIZE)(Image.fromarray(PIXELS))
