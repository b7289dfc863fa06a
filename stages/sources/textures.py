"""Textures of the built-in scenes: how much of its second colour a surface shows, 0 to 1, at coordinates (u, v), with
details that come again after `period` and edges that are one `pixel` wide. As scenes, they are drawn with the
operations that IEEE 754 rounds the same everywhere.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from stages.compute.randomness import Draws, uniform

Floats = npt.NDArray[np.float64]


def gradient(u: Floats, v: Floats, period: float, pixel: float, draws: Draws) -> Floats:
    return np.clip(0.5 + u / period, 0.0, 1.0)


def noise(u: Floats, v: Floats, period: float, pixel: float, draws: Draws) -> Floats:
    """Random values on a lattice, smoothly interpolated."""
    cells = 2 + int(1.5 / period)
    lattice = draws.random_raw((cells, cells)) * 2.0**-64
    u, v = (u + 0.75) / period, (v + 0.75) / period  # a turned unit square reaches no farther than 0.71
    column, row = u.astype(np.intp), v.astype(np.intp)
    u, v = u - column, v - row
    u, v = u * u * (3.0 - 2.0 * u), v * v * (3.0 - 2.0 * v)
    upper = lattice[row, column] * (1.0 - u) + lattice[row, column + 1] * u
    lower = lattice[row + 1, column] * (1.0 - u) + lattice[row + 1, column + 1] * u
    return upper * (1.0 - v) + lower * v


def stripes(u: Floats, v: Floats, period: float, pixel: float, draws: Draws) -> Floats:
    across = u / period + uniform(draws)
    return cover((np.abs(across - np.floor(across) - 0.5) - 0.25) * period, pixel)


def checks(u: Floats, v: Floats, period: float, pixel: float, draws: Draws) -> Floats:
    one, other = stripes(u, v, period, pixel, draws), stripes(v, u, period, pixel, draws)
    return one + other - 2.0 * one * other


def dots(u: Floats, v: Floats, period: float, pixel: float, draws: Draws) -> Floats:
    u, v = u / period + uniform(draws), v / period + uniform(draws)
    u, v = u - np.floor(u) - 0.5, v - np.floor(v) - 0.5
    return cover((np.sqrt(u * u + v * v) - 0.3) * period, pixel)


def mosaic(u: Floats, v: Floats, period: float, pixel: float, draws: Draws) -> Floats:
    """Square tiles, each of a random shade; the same ones come again after sixteen."""
    tiles = draws.random_raw((16, 16)) * 2.0**-64
    row, column = np.floor(v / period).astype(np.intp), np.floor(u / period).astype(np.intp)
    return np.asarray(tiles[row % 16, column % 16])


def grid(u: Floats, v: Floats, period: float, pixel: float, draws: Draws) -> Floats:
    """Thin lines both ways."""
    u, v = u / period + uniform(draws), v / period + uniform(draws)
    u, v = np.abs(u - np.floor(u) - 0.5), np.abs(v - np.floor(v) - 0.5)
    return cover((np.minimum(u, v) - 0.14) * period, pixel)


def zigzag(u: Floats, v: Floats, period: float, pixel: float, draws: Draws) -> Floats:
    turn = v / (2.0 * period) + uniform(draws)
    return stripes(u + 2.0 * period * np.abs(turn - np.floor(turn) - 0.5), v, period, pixel, draws)


def circles(u: Floats, v: Floats, period: float, pixel: float, draws: Draws) -> Floats:
    """Around the middle of the object."""
    return stripes(np.sqrt(u * u + v * v), v, period, pixel, draws)


def cover(distance: Floats, pixel: float) -> Floats:
    """How much of a pixel lies inside an edge whose signed distance from the pixel's centre is given."""
    return np.clip(0.5 - distance / pixel, 0.0, 1.0)


Texture = tuple[Callable[[Floats, Floats, float, float, Draws], Floats], float, float]
"""With its shortest and longest period, in sides of the image."""
Textures = dict[str, Texture]
BACKGROUNDS: Textures = {
    "gradient": (gradient, 1.0, 2.0),
    "clouds": (noise, 0.2, 0.5),
    "stripes": (stripes, 0.08, 0.18),
    "checks": (checks, 0.11, 0.22),
    "speckle": (noise, 0.02, 0.04),
}
TEXTURES: Textures = {
    "plain": (gradient, 0.3, 0.6),
    "stripes": (stripes, 0.06, 0.12),
    "checks": (checks, 0.09, 0.16),
    "dots": (dots, 0.07, 0.12),
}
# Of objects whose texture tells their shape.
OWN_TEXTURES: Textures = {
    "disc": (gradient, 0.3, 0.6),
    "ring": (stripes, 0.06, 0.1),
    "crescent": (checks, 0.1, 0.16),
    "square": (dots, 0.08, 0.12),
    "bar": (mosaic, 0.03, 0.05),
    "cross": (grid, 0.08, 0.12),
    "triangle": (zigzag, 0.08, 0.12),
    "star": (circles, 0.08, 0.12),
}
