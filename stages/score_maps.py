"""Pictures of scores: what a person looks at to see whether they make sense."""

from __future__ import annotations

from itertools import chain, islice

import numpy as np
from PIL import Image

from stages.images import decode_image
from stages.pictures import heat_overlay, labelled_grid
from stages.views import View, render
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
