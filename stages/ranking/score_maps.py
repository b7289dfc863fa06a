"""Pictures of scores: what a person looks at to see whether they make sense."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, islice

import numpy as np
from PIL import Image

from ranker import PatchRanker
from ranker.selection import top_patches
from stages.images.decoding import decode_image
from stages.images.drawing import heat_overlay, only_patches
from stages.images.page import labelled_grid
from stages.images.views import View, render
from stages.ranking.evaluation_images import evaluation_batches
from stages.samples.scored import SplitShards
from storage.patch_store import PatchStore
from storage.scores import patch_statistics, read_scores
from storage.shard_files import read_shard
from storage.shard_index import ShardEntry

BESIDE = 3
"""Samples in a row of the picture."""


def draw_score_maps(store: PatchStore, shard: ShardEntry, count: int) -> Image.Image:
    """View 0 of the first `count` samples of a shard that is done, and the mean score of each patch over it."""
    scores = read_scores(store, shard.name)
    size, n_patches = store.settings["mae.image_size"], store.settings["patches"]
    means = patch_statistics(scores, n_patches).mean[:, 0]
    rows = {key: row for row, key in enumerate(scores.key.tolist())}
    grid = round(n_patches**0.5)
    pictures: list[list[np.ndarray]] = []
    for sample in islice((sample for sample in read_shard(shard) if sample.key in rows), count):
        row = rows[sample.key]
        left, top, width, height = scores.box[row, 0].tolist()
        view = render(decode_image(sample.image), View(left, top, width, height), size)
        pictures.append([view, heat_overlay(view, means[row].reshape(grid, grid))])
    while len(pictures) % BESIDE:
        pictures.append([np.full((size, size, 3), 255, np.uint8)] * 2)
    beside = [[*chain(*pictures[start : start + BESIDE])] for start in range(0, len(pictures), BESIDE)]
    return labelled_grid(
        beside,
        ["image", "mean score"] * BESIDE,
        "Bright patches change the reconstruction most when they are taken away.",
    )


def draw_held_out(
    store: PatchStore, part: SplitShards, ranker: PatchRanker, ratios: Sequence[float] = (0.5, 0.25)
) -> Image.Image:
    """All samples of `part`, a row each: what the MAE says of it, what the ranker says that did not see it, and what
    remains at each keep ratio. The ranker's grid is the store's."""
    grid = ranker.config.grid
    rows: list[list[np.ndarray]] = []
    for batch in evaluation_batches(store, part):
        scores = ranker.rank(batch.images)
        kept = [top_patches(scores, ratio).tolist() for ratio in ratios]
        means = batch.densities.mean().view(-1, grid, grid).numpy()
        for number, pixels in enumerate(batch.images.permute(0, 2, 3, 1).numpy()):
            maps = [heat_overlay(pixels, values) for values in (means[number], scores[number].view(grid, grid).numpy())]
            rows.append([pixels, *maps, *(only_patches(pixels, patches[number], grid) for patches in kept)])
    return labelled_grid(
        rows,
        ["image", "mean score", "ranker", *(f"{ratio:.3g} kept" for ratio in ratios)],
        "Held-out images. Mean score: of the MAE, over all masks. Kept: the patches that the ranker puts first.",
    )
