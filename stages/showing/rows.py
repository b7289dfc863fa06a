"""The rows of `show`: an image, and what each source of scores makes of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import torch
from PIL import Image

from ranker.selection import top_patches
from stages.density.mae import MaeConfig, MaskedAutoencoder
from stages.images.drawing import heat_overlay, only_patches
from stages.images.page import labelled_grid
from stages.images.views import View, render
from stages.samples.named import ShownImage
from stages.settings.show import ShowConfig
from stages.showing.removal import draw_removal, framed_as_chosen, removal_caption, removal_labels
from stages.showing.score_source import ScoreSource

DRAWN = 448
"""Pixels along a side of a picture at most: a photograph is looked at in more of them than a ranker sees."""
SMALLEST = 160
"""And at least, however many there are."""
WIDTH = 2800
"""Of a page, in pixels, where pictures can be made small enough."""
HIGH = 1.25
"""Times its width, where images are put beside each other rather than on a higher page."""


@dataclasses.dataclass(frozen=True)
class Row:
    """Pictures side by side, each (H, W, 3) uint8, and a line about them."""

    title: str
    pictures: list[np.ndarray]


@dataclasses.dataclass(frozen=True)
class PageLayout:
    """`across` images beside each other, pictures of at most `side` pixels a side."""

    across: int
    side: int

    @classmethod
    def of(cls, n_images: int, n_pictures: int, across: int | None) -> PageLayout:
        """For so many images with so many pictures each."""
        if across is None:
            fits = (each for each in range(1, n_images) if math.ceil(n_images / each) <= HIGH * each * n_pictures)
            across = next(fits, n_images)
        side = WIDTH // (min(across, n_images) * n_pictures)
        return cls(across, min(max(side, SMALLEST), DRAWN))


def picture_labels(
    config: ShowConfig, sources: Sequence[ScoreSource], has_removal: bool
) -> tuple[list[str], list[str]]:
    """Of each picture of a row: the source that it is of, and what it shows."""
    own = ["scores"] * config.maps + [f"{ratio:.3g} kept" for ratio in config.ratios]
    labelled = [("", "image"), *((source.name, label) for source in sources for label in own)]
    if has_removal:
        labelled += [("", label) for label in removal_labels(config.mask_ratio)]
    groups, labels = map(list, zip(*labelled, strict=True))
    return groups, labels


def draw_row(
    config: ShowConfig,
    sources: Sequence[ScoreSource],
    mae: MaskedAutoencoder | None,
    shown: ShownImage,
    image: Image.Image,
    view: View,
    side: int,
) -> Row:
    """A view of an image; then of each source its score map over the view, and what remains at each keep ratio; and the
    removal of a patch if there is an MAE. Each model sees the view at its own size; people see it in whole pixels for
    each patch, as many as fit into `side`."""
    scored = [source.scores(shown, image, view) for source in sources]
    grids = [source.grid.side for source in sources]
    crops = {each: render(image, view, each * max(1, side // each)) for each in grids}
    first, grid = scored[0], grids[0]
    chosen = None
    if mae is not None:
        chosen = int(np.nanargmax(first)) if config.patch is None else config.patch[0] * grid + config.patch[1]

    def framed(picture: np.ndarray) -> np.ndarray:
        """Where that patch lies, in the pictures of the grid that it is of."""
        return picture if chosen is None else framed_as_chosen(picture, chosen, grid)

    pictures = [framed(crops[grid])]
    for each, scores in zip(grids, scored, strict=True):
        if config.maps:
            heat = heat_overlay(crops[each], scores.reshape(each, each))
            pictures.append(framed(heat) if each == grid else heat)
        order = torch.from_numpy(np.nan_to_num(scores, nan=-np.inf))
        pictures += [only_patches(crops[each], top_patches(order, ratio).tolist(), each) for ratio in config.ratios]
    if mae is None or chosen is None:
        return Row(shown.name, pictures)
    said, removal = draw_removal(
        mae,
        render(image, view, mae.config.image_size),
        shown.key,
        chosen,
        mask_ratio=config.mask_ratio,
        seed=config.seed,
    )
    row, column = divmod(chosen, grid)
    rank = 1 + int((first > first[chosen]).sum())
    title = f"{shown.name}: patch in row {row}, column {column}; rank {rank} of {grid**2} by {sources[0].name}; {said}"
    return Row(title, [*pictures, *removal])


def draw_page(
    config: ShowConfig, sources: Sequence[ScoreSource], rows: Sequence[Row], mae: MaeConfig | None, across: int
) -> Image.Image:
    """All rows, with a caption that says what is seen."""
    groups, labels = picture_labels(config, sources, mae is not None)
    caption = ["Kept: the patches that score highest."]
    if mae is not None:
        caption.append(removal_caption(mae))
    return labelled_grid(
        [row.pictures for row in rows],
        labels,
        "\n".join(caption),
        [row.title for row in rows],
        groups=groups,
        across=across,
        scale=("lowest score of the image", "highest") if config.maps else None,
    )
