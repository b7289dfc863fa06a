"""Augmentation of single images by timm's and torchvision's parts, as timm's `create_transform` puts them together.

What is drawn belongs to the identity that is given with an image, whoever draws in other threads.
"""

from __future__ import annotations

import re

import numpy as np
from PIL import Image
from timm.data.auto_augment import RandAugment, rand_augment_transform
from torchvision.transforms import functional

from stages.compute.global_draws import global_draws
from stages.compute.randomness import draws_for, permutation, uniform
from stages.images.normalisation import IMAGENET_MEAN

NO_AUGMENT = "none"
POLICY = re.compile(r"rand(-(m|n|mmax|inc)\d+|-(p|mstd)\d+(\.\d+)?|-t(weights|3aw?))*")
"""The sections of a policy's name."""


def rand_augment(policy: str, size: int) -> RandAugment:
    """RandAugment (Cubuk et al., NeurIPS 2020) for images of `size` pixels a side, by timm's name of a policy, such as
    rand-m9-mstd0.5-inc1. Raises ValueError for a name that timm does not know."""
    # What create_transform gives it for bicubic interpolation.
    settings = {
        "translate_const": int(size * 0.45),
        "img_mean": tuple(min(255, round(255 * each)) for each in IMAGENET_MEAN),
        "interpolation": Image.Resampling.BICUBIC,
    }
    try:
        if not POLICY.fullmatch(policy):  # timm passes over what it does not know
            raise ValueError(policy)
        return rand_augment_transform(policy, settings)
    except (AssertionError, KeyError, ValueError) as error:
        raise ValueError(
            f"auto_augment: expected '{NO_AUGMENT}' or a RandAugment as timm names it, such as rand-m9-mstd0.5-inc1, "
            f"got {policy!r}"
        ) from error


class ImageAugmentation:
    """RandAugment, then jitter of colours, of images of `size` pixels a side."""

    def __init__(self, size: int, auto_augment: str = NO_AUGMENT, color_jitter: float = 0.0) -> None:
        """`color_jitter`: how far factors of brightness, contrast and saturation may be from 1. Raises ValueError as
        `rand_augment`."""
        self._policy = rand_augment(auto_augment, size) if auto_augment != NO_AUGMENT else None
        self._jitter = color_jitter

    def __call__(self, pixels: np.ndarray, *identity: str | int) -> np.ndarray:
        """(S, S, 3) uint8 → the same shape and type."""
        if self._policy is None and not self._jitter:
            return pixels
        image = Image.fromarray(pixels)
        if self._policy is not None:
            with global_draws(*identity, "auto augment"):
                image = self._policy(image)
        if self._jitter:
            image = jitter_colours(image, self._jitter, *identity)
        return np.asarray(image)


def jitter_colours(image: Image.Image, strength: float, *identity: str | int) -> Image.Image:
    """As torchvision's `ColorJitter(strength, strength, strength)`, which draws from PyTorch's global numbers alone."""
    draws = draws_for(*identity, "colour jitter")
    low, high = max(0.0, 1 - strength), 1 + strength
    adjust = [functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation]
    factors = [uniform(draws, low, high) for _ in adjust]
    for number in permutation(draws, len(adjust)):
        image = adjust[number](image, factors[number])
    return image
