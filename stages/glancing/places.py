"""Where a network looks: windows of an image, and the patches that lie in them.

A location is (row, column) from 0 to 1: how far the window's upper left corner is from that of the image, of all that
the window leaves. Shapes: B images of S x S pixels, windows of W x W, patches of p x p in a grid of g x g = L.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate


def glance(images: Tensor, window: int) -> Tensor:
    """The whole of images (B, 3, S, S) in (B, 3, W, W), resampled as the published code does."""
    return interpolate(images, (window, window), mode="bicubic", align_corners=True)


def corners(locations: Tensor, size: int, window: int) -> Tensor:
    """Locations (B, 2) → pixels of the upper left corners (B, 2) int64."""
    # A little more, lest rounding take a pixel from a location that holds whole patches.
    return (locations * (size - window) + 1e-3).floor().clamp(max=size - window).long()


def cut_out(images: Tensor, corners: Tensor, window: int) -> Tensor:
    """The windows (B, 3, W, W) at corners (B, 2) of images (B, 3, S, S)."""
    places = [(int(row), int(column)) for row, column in corners.tolist()]
    return torch.stack(
        [
            image[:, row : row + window, column : column + window]
            for image, (row, column) in zip(images, places, strict=True)
        ]
    )


def snap(locations: Tensor, size: int, window: int, patch: int) -> Tensor:
    """The nearest locations at which a window holds whole patches."""
    steps = (size - window) // patch
    return (locations * steps).round() / max(1, steps)


def order_of_looks(looks: Sequence[Tensor], size: int, window: int, patch: int) -> Tensor:
    """Locations that hold whole patches (B, 2), in the order of the looks → scores of the patches (B, L) float32.

    A patch that the first of n looks showed first has between n and n + 1, one that the second showed first between
    n - 1 and n, and so on, the more the nearer it is to the middle of that window; one that none showed has between 0
    and 1, the more the nearer it is to the middle of any.
    """
    n, grid = len(looks), size // patch
    middles = (torch.arange(grid, device=looks[0].device) + 0.5) * patch
    rows, columns = middles.repeat_interleave(grid), middles.repeat(grid)
    scores = torch.full((len(looks[0]), grid**2), -1.0, device=looks[0].device)
    nearest = torch.full_like(scores, torch.inf)
    for number, locations in enumerate(looks):
        middle = (locations * (size - window)).round() + window / 2
        down, right = rows - middle[:, :1], columns - middle[:, 1:]
        distance = (down.square() + right.square()).sqrt() / (size * 2**0.5)  # less than 1
        is_shown = (down.abs() < window / 2) & (right.abs() < window / 2)
        scores = torch.where(is_shown & (scores < 0), n - number + 1 - distance, scores)
        nearest = torch.minimum(nearest, distance)
    return torch.where(scores < 0, 1 - nearest, scores)
