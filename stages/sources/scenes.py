"""The built-in scenes: small made-up images that come with the truth for every task.

A scene is a background with one to four objects on it, of eight shapes and very different sizes, that
overlap and are cut by the border. Colours, textures, sizes and rotations are drawn without regard to the
shape, and all shapes of one size have the same area: only the shape itself tells the category, unless each
shape is given a texture of its own, which small models learn to tell apart. Objects carry what cannot be told
from their surroundings; backgrounds are smooth or repeat themselves, some with strong edges, so that how much
a patch matters is not simply how much it varies.

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
from stages.settings.shard import MOST_OBJECTS, SMALLEST_SIDE
from stages.sources.textures import BACKGROUNDS, OWN_TEXTURES, TEXTURES, Floats, Textures, cover

BACKGROUND = "background"

PLACEMENTS = 12  # tries to place all objects of a scene; those that hide too much are passed over
RADII = 0.08, 0.26  # of an object: that of the disc of the same area, in sides of the image
LARGE_RADII = 0.16, 0.26  # of one that is alone
LEAST_VISIBLE = 0.4  # the share of an object's area that must be in view
REACH = 0.36  # of centres from the middle, each way: even the largest object in a corner is visible enough

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


@dataclass(frozen=True, eq=False)
class _Placed:
    category: int
    radius: float
    u: Floats  # coordinates around the object's centre, turned with it, in sides of the image
    v: Floats
    distance: Floats  # to the outline, negative inside, in sides of the image
    visible: npt.NDArray[np.bool_]  # in view and behind no other


def draw_scene(
    seed: int,
    index: int,
    size: int = 64,
    shapes: Sequence[str] = CATEGORIES,
    most_objects: int = MOST_OBJECTS,
    own_textures: bool = False,
) -> Scene:
    """Scene `index` of the endless series that belongs to `seed` and what follows, `size` pixels wide and high.
    Categories are indices into `shapes`, which are some of `CATEGORIES`. With `most_objects` of 1 its object is large;
    with `own_textures` each shape has the texture that `OWN_TEXTURES` gives it."""
    if seed < 0 or index < 0:
        raise ValueError(f"a scene's seed and index must not be negative, got seed {seed} and index {index}")
    if size < SMALLEST_SIDE:
        raise ValueError(f"a scene's size must be at least {SMALLEST_SIDE} pixels, got {size}")
    draws = draws_for("scene", seed, index)
    pixel = 1.0 / size
    x = (np.arange(size, dtype=np.float64) + 0.5)[np.newaxis, :] * pixel - 0.5
    y = x.T
    placed = _place_objects(x, y, shapes, most_objects, draws)

    ground = _ground_colours(draws)
    image = _surface(BACKGROUNDS, ground, x, y, pixel, draws)
    colours = [*ground]
    for each in reversed(placed):
        paint = _object_colours(colours, draws)
        colours.append(paint[0])
        shape = shapes[each.category]
        textures = {shape: OWN_TEXTURES[shape]} if own_textures else TEXTURES
        surface = _surface(textures, paint, each.u, each.v, pixel, draws)
        shade = 0.9 + 0.2 * _turn(each.u, each.v, draws)[0] / each.radius
        rim = 1.0 - 0.4 * cover(-1.5 * pixel - each.distance, pixel)
        image += cover(each.distance, pixel) * (surface * (shade * rim) - image)

    mask = np.zeros((size, size), np.uint8)
    for each in placed:
        mask[each.visible] = each.category + 1
    pixels = (np.clip(image, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8).transpose(1, 2, 0)
    return Scene(np.ascontiguousarray(pixels), mask, tuple(_truth(each) for each in placed))


def _place_objects(x: Floats, y: Floats, shapes: Sequence[str], most: int, draws: Draws) -> list[_Placed]:
    """One to `most` objects, front to back, so that what is placed stays as visible as it is."""
    wanted = 1 + int(uniform(draws, 0, most))
    free = np.ones((y.size, x.size), bool)
    placed: list[_Placed] = []
    for _ in range(PLACEMENTS):
        category = int(uniform(draws, 0, len(shapes)))
        radius = uniform(draws, *(RADII if most > 1 else LARGE_RADII))
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
