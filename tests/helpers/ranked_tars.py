"""Tars of scenes with the truth for every task beside a store of made-up scores: what tasks are trained and judged on.

write_ranked(tmp_path, {"a": ["a1", "bad", "a2"], "b": ["b1"]}, views=2)
TrainTaskConfig(task="segment", shards=[str(tmp_path / "tars")], ranks=str(tmp_path / "ranks"), ...)

Views are rendered with 32 pixels a side, in a grid of 4 x 4 patches of 8.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scored_stores import settings_of
from small_models import SMALL, SMALL_RANKER

from stages.images.views import View, evaluation_view, random_view
from stages.settings.shard import MAX_PIXELS
from stages.sources.built_in_scenes import from_scenes
from stages.sources.sample_fields import sample_fields
from stages.sources.scenes import CATEGORIES
from storage import ranks, scores
from storage.books import LeftOut
from storage.dense_scores import PatchGrid
from storage.locations import locate
from storage.patch_store import PatchStore
from storage.shard_files import write_shard
from storage.shard_index import INDEX_NAME, ShardEntry, expand_shards, index_bytes

SIDE = 40
"""Of the stored images, in pixels."""
GRID = PatchGrid(SMALL.image_size, SMALL.patch_size)
SCENES = from_scenes(scenes=500, scene_size=SIDE, seed=0)
INFO = SCENES.facts
"""Of the index: names of the classes, of the categories, and of a mask's values."""

Content = Literal["ranks", "scores"]
Change = Callable[[str, dict[str, bytes]], Mapping[str, bytes]]
"""A key and the fields of its sample → those that it gets instead."""


def write_ranked(
    folder: Path,
    tars: Mapping[str, Sequence[str]],
    *,
    views: int = 1,
    content: Content = "ranks",
    change: Change = lambda key, fields: fields,
    info: dict[str, Any] | None = INFO,
    settings: Mapping[str, Any] | None = None,
) -> PatchStore:
    """FOLDER/tars/NAME.tar with scenes of these keys and an index with `info` (none where that is None), and in the
    store FOLDER/ranks, whatever its `content`, `score_of` each of their `views`.

    Image and truth depend on the key alone. One that begins with "bad" stands for an image that cannot be used: its
    tar holds nothing else of it, and in the store it is skipped. `settings`: of the store, instead of its own.
    """
    entries = [write_tar(folder, name, keys, change) for name, keys in tars.items()]
    if info is not None:
        locate(folder / "tars").write(INDEX_NAME, index_bytes("scenes", info, entries))
    store = PatchStore.create_or_open(str(folder / "ranks"), content, {**_settings(content, views), **(settings or {})})
    for entry, keys in zip(entries, tars.values(), strict=True):
        write_scores(store, entry, keys)
    return store


def write_tar(folder: Path, name: str, keys: Sequence[str], change: Change = lambda key, fields: fields) -> ShardEntry:
    """FOLDER/tars/NAME.tar alone, as in `write_ranked`."""
    samples = [(key, {"png": b"bad"} if key.startswith("bad") else change(key, scene_fields(key))) for key in keys]
    return write_shard(locate(folder / "tars"), f"{name}.tar", samples)


def write_scores(store: PatchStore, entry: ShardEntry, keys: Sequence[str]) -> None:
    """Those of one tar with samples of these keys, into a store that is there."""
    used = [key for key in keys if not key.startswith("bad")]
    views = range(store.settings["views"])
    drawn = [[view_of(key, number) for number in views] for key in used]
    score = np.array([[score_of(key, number) for number in views] for key in used], np.float32)
    arrays = {
        "key": np.array(used, dtype=np.dtypes.StringDType()),
        "box": np.array([[view.box for view in each] for each in drawn], np.int32),
        "flip": np.array([[view.flip for view in each] for each in drawn]),
        "score": score,
    }
    if store.content == scores.CONTENT:  # four masks show each patch once, so that scores are read as they are here
        masks = np.arange(GRID.n_patches, dtype=np.int16).reshape(store.settings["masks"], -1)
        arrays["visible"] = np.broadcast_to(masks, (*score.shape[:2], *masks.shape))
        arrays["score"] = score.reshape(arrays["visible"].shape)
    store.write_shard(
        entry.name,
        arrays,
        samples=len(keys),
        left_out=[LeftOut(key, "not an image") for key in keys if key.startswith("bad")],
        tar_bytes=entry.filesize or 0,
        tar_md5=entry.md5sum or "",
    )


def shards_of(folder: Path) -> list[ShardEntry]:
    return expand_shards([str(folder / "tars")])


@cache
def _scene_fields(number: int) -> dict[str, bytes]:
    return sample_fields(
        f"{number}.png", SCENES.items[number].load(), list(CATEGORIES), min_side=1, max_pixels=MAX_PIXELS, max_side=None
    ).fields


def scene_fields(key: str) -> dict[str, bytes]:
    """png, cls, seg.png and json (`stages.sources.sample_fields`)."""
    return dict(_scene_fields(_number(key) % len(SCENES.items)))


def view_of(key: str, number: int) -> View:
    return random_view(0, key, number, SIDE, SIDE) if number else evaluation_view(SIDE, SIDE)


def score_of(key: str, view: int) -> np.ndarray:
    """(L,) float32: those of a view are all different."""
    return np.random.default_rng([_number(key), view]).permutation(GRID.n_patches).astype(np.float32)


def _number(key: str) -> int:
    return int(hashlib.md5(key.encode()).hexdigest()[:8], 16)


def _settings(content: Content, views: int) -> dict[str, Any]:
    if content == scores.CONTENT:
        return {**settings_of(views=views, masks=4), "distance": "l1"}
    assert content == ranks.CONTENT
    architecture = {f"ranker.{name}": value for name, value in dataclasses.asdict(SMALL_RANKER).items()}
    return {**architecture, "patches": GRID.n_patches, "views": views}
