"""The built-in scenes: small made-up images that come with the truth for every task.

A scene is a background with one to four objects on it, of eight shapes and very different sizes, that
overlap and are cut by the border. Colours, textures, sizes and rotations are drawn without regard to the
shape, and all shapes of one size have the same area: only the shape itself tells the category. Objects carry
what cannot be told from their surroundings; backgrounds are smooth or repeat themselves, some with strong
edges, so that how much a patch matters is not simply how much it varies.

A scene depends on (seed, index, size) alone, to the byte on any machine: it is drawn from raw random bits
with the operations that IEEE 754 rounds the same everywhere: + - * / and square roots.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from stages.compute.randomness import Draws, draws_for, uniform
from stages.settings.shard import SMALLEST_SIDE

BACKGROUND = "background"

MOST_OBJECTS = 4
PLACEMENTS = 12  # tries to place all objects of a scene; those that hide too much are passed over
RADII = 0.08, 0.26  # of an object: that of the disc of the same area, in sides of the image
LEAST_VISIBLE = 0.4  # the share of an object's area that must be in view
REACH = 0.36  # of centres from the middle, each way: even the largest object in a corner is visible enough

Floats = npt.NDArray[np.float64]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class SceneObject:
    """Its category (an index into the scene's shapes), the tight box (x, y, width, height) of its visible pixels,
    and their number."""

    category: int
    box: tuple[int, int, int, int]
    area: int


@dataclass(frozen=True, eq=False)
class Scene:
    """`image` (size, size, 3) RGB; `mask` (size, size), 0 for the background, else category + 1 of the object
    in front; `objects` from front to back."""

    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.uint8]
    objects: tuple[SceneObject, ...]

    @property
    def category(self) -> int:
        """The main category: that of the object with the most visible pixels."""
        return max(self.objects, key=lambda each: each.area).category


# Shapes: the signed distance to the outline, negative inside, at coordinates (u, v) around the centroid.
# The numbers are such that each has the area of the unit disc, pi.


def disc(u: Floats, v: Floats) -> Floats:
    return np.sqrt(u * u + v * v) - 1.0


def ring(u: Floats, v: Floats) -> Floats:
    return np.abs(np.sqrt(u * u + v * v) - 1.0) - 0.25


def crescent(u: Floats, v: Floats) -> Floats:
    u = u - 0.518
    bite = 1.1 - np.sqrt((u - 0.73) * (u - 0.73) + v * v)
    return np.maximum(np.sqrt(u * u + v * v) - 1.4, bite)


def square(u: Floats, v: Floats) -> Floats:
    return np.maximum(np.abs(u), np.abs(v)) - 0.8862


def bar(u: Floats, v: Floats) -> Floats:
    return np.maximum(np.abs(u) - 1.6, np.abs(v) - 0.4909)


def cross(u: Floats, v: Floats) -> Floats:
    u, v = np.abs(u), np.abs(v)
    return np.minimum(np.maximum(u - 1.22, v - 0.3816), np.maximum(u - 0.3816, v - 1.22))


def triangle(u: Floats, v: Floats) -> Floats:
    return np.maximum(0.8660254 * np.abs(u) + 0.5 * v, -v) - 0.7776


def star(u: Floats, v: Floats) -> Floats:
    """A pentagram: what is on the inner side of at least four of its five lines."""
    sides = [v, 0.9510565 * u + 0.3090170 * v, 0.5877853 * u - 0.8090170 * v]
    sides += [-0.9510565 * u + 0.3090170 * v, -0.5877853 * u - 0.8090170 * v]
    first = second = np.full_like(u, -math.inf)
    for side in sides:
        first, second = np.maximum(first, side), np.maximum(second, np.minimum(first, side))
    return second - 0.5169  # the second largest of the five


SHAPES: dict[str, Callable[[Floats, Floats], Floats]] = {
    "disc": disc,
    "ring": ring,
    "crescent": crescent,
    "square": square,
    "bar": bar,
    "cross": cross,
    "triangle": triangle,
    "star": star,
}
CATEGORIES: tuple[str, ...] = tuple(SHAPES)


# Textures: how much of its second colour a surface shows, 0 to 1, at coordinates (u, v), with details that
# come again after `period` and edges that are one `pixel` wide.


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
    return _cover((np.abs(across - np.floor(across) - 0.5) - 0.25) * period, pixel)


def checks(u: Floats, v: Floats, period: float, pixel: float, draws: Draws) -> Floats:
    one, other = stripes(u, v, period, pixel, draws), stripes(v, u, period, pixel, draws)
    return one + other - 2.0 * one * other


def dots(u: Floats, v: Floats, period: float, pixel: float, draws: Draws) -> Floats:
    u, v = u / period + uniform(draws), v / period + uniform(draws)
    u, v = u - np.floor(u) - 0.5, v - np.floor(v) - 0.5
    return _cover((np.sqrt(u * u + v * v) - 0.3) * period, pixel)


# Each with its shortest and longest period, in sides of the image.
Textures = dict[str, tuple[Callable[[Floats, Floats, float, float, Draws], Floats], float, float]]
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


@dataclass(frozen=True, eq=False)
class _Placed:
    category: int
    radius: float
    u: Floats  # coordinates around the object's centre, turned with it, in sides of the image
    v: Floats
    distance: Floats  # to the outline, negative inside, in sides of the image
    visible: npt.NDArray[np.bool_]  # in view and behind no other


def draw_scene(seed: int, index: int, size: int = 64, shapes: Sequence[str] = CATEGORIES) -> Scene:
    """Scene `index` of the endless series that belongs to `seed` and `shapes`, `size` pixels wide and high. Categories
    are indices into `shapes`, which are some of `CATEGORIES`."""
    if seed < 0 or index < 0:
        raise ValueError(f"a scene's seed and index must not be negative, got seed {seed} and index {index}")
    if size < SMALLEST_SIDE:
        raise ValueError(f"a scene's size must be at least {SMALLEST_SIDE} pixels, got {size}")
    draws = draws_for("scene", seed, index)
    pixel = 1.0 / size
    x = (np.arange(size, dtype=np.float64) + 0.5)[np.newaxis, :] * pixel - 0.5
    y = x.T
    placed = _place_objects(x, y, shapes, draws)

    ground = _ground_colours(draws)
    image = _surface(BACKGROUNDS, ground, x, y, pixel, draws)
    colours = [*ground]
    for each in reversed(placed):
        paint = _object_colours(colours, draws)
        colours.append(paint[0])
        surface = _surface(TEXTURES, paint, each.u, each.v, pixel, draws)
        shade = 0.9 + 0.2 * _turn(each.u, each.v, draws)[0] / each.radius
        rim = 1.0 - 0.4 * _cover(-1.5 * pixel - each.distance, pixel)
        image += _cover(each.distance, pixel) * (surface * (shade * rim) - image)

    mask = np.zeros((size, size), np.uint8)
    for each in placed:
        mask[each.visible] = each.category + 1
    pixels = (np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8).transpose(1, 2, 0)
    return Scene(np.ascontiguousarray(pixels), mask, tuple(_truth(each) for each in placed))


def _place_objects(x: Floats, y: Floats, shapes: Sequence[str], draws: Draws) -> list[_Placed]:
    """One to four objects, front to back, so that what is placed stays as visible as it is."""
    wanted = 1 + int(uniform(draws, 0, MOST_OBJECTS))
    free = np.ones((y.size, x.size), bool)
    placed: list[_Placed] = []
    for _ in range(PLACEMENTS):
        category = int(uniform(draws, 0, len(shapes)))
        radius = uniform(draws, *RADII)
        centre_x, centre_y = uniform(draws, -REACH, REACH), uniform(draws, -REACH, REACH)
        u, v = _turn(x - centre_x, y - centre_y, draws)
        distance = SHAPES[shapes[category]](u / radius, v / radius) * radius
        visible = (distance < 0.0) & free
        if np.count_nonzero(visible) >= LEAST_VISIBLE * math.pi * (radius * x.size) ** 2:
            placed.append(_Placed(category, radius, u, v, distance, visible))
            free &= ~visible
        if len(placed) == wanted:
            break
    assert placed
    return placed


def _truth(placed: _Placed) -> SceneObject:
    columns, rows = np.flatnonzero(placed.visible.any(axis=0)), np.flatnonzero(placed.visible.any(axis=1))
    left, top = int(columns[0]), int(rows[0])
    box = left, top, int(columns[-1]) + 1 - left, int(rows[-1]) + 1 - top
    return SceneObject(placed.category, box, int(np.count_nonzero(placed.visible)))


def _surface(
    table: Textures, colours: tuple[Colour, Colour], u: Floats, v: Floats, pixel: float, draws: Draws
) -> Floats:
    """(3, size, size): two colours, mixed by one of the table's textures, turned anyhow."""
    texture, shortest, longest = list(table.values())[int(uniform(draws, 0, len(table)))]
    u, v = _turn(u, v, draws)
    share = texture(u, v, uniform(draws, shortest, longest), pixel, draws)
    return np.stack([a + share * (b - a) for a, b in zip(*colours, strict=True)])


def _ground_colours(draws: Draws) -> tuple[Colour, Colour]:
    """Two muted colours of neighbouring hues, one lighter than the other."""
    hue, value = uniform(draws), uniform(draws, 0.2, 0.5)
    first = colorsys.hsv_to_rgb(hue, uniform(draws, 0.1, 0.4), value)
    hue, value = hue + uniform(draws, -0.1, 0.1), value + uniform(draws, 0.25, 0.5)
    return first, colorsys.hsv_to_rgb(hue % 1.0, uniform(draws, 0.05, 0.35), value)


def _object_colours(others: Sequence[Colour], draws: Draws) -> tuple[Colour, Colour]:
    """A strong colour, of four the one that differs most from all others; and a darker or paler companion."""

    def least_difference(colour: Colour) -> float:
        return min(max(abs(a - b) for a, b in zip(colour, other, strict=True)) for other in others)

    strong = [[uniform(draws), uniform(draws, 0.45, 1.0), uniform(draws, 0.45, 1.0)] for _ in range(4)]
    first = max((colorsys.hsv_to_rgb(*each) for each in strong), key=least_difference)
    companion = uniform(draws, 0.0, 0.2) if uniform(draws) < 0.5 else uniform(draws, 0.9, 1.0)
    red, green, blue = (0.4 * part + 0.6 * companion for part in first)
    return first, (red, green, blue)


def _turn(u: Floats, v: Floats, draws: Draws) -> tuple[Floats, Floats]:
    """The coordinates, turned to a random direction: that of a random point of the unit disc."""
    cosine = sine = length = 0.0
    while not 0.1 < length <= 1.0:
        cosine, sine = uniform(draws, -1.0, 1.0), uniform(draws, -1.0, 1.0)
        length = math.sqrt(cosine * cosine + sine * sine)
    cosine, sine = cosine / length, sine / length
    return cosine * u + sine * v, cosine * v - sine * u


def _cover(distance: Floats, pixel: float) -> Floats:
    """How much of a pixel lies inside an edge whose signed distance from the pixel's centre is given."""
    return np.clip(0.5 - distance / pixel, 0.0, 1.0)
