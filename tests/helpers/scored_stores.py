"""Tars of noise with made-up scores: stores whose every number a test decides."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pictures import encoded
from small_models import SMALL

from stages.density.masks import draw_masks
from stages.images.views import View, evaluation_view, random_view
from stages.settings.choices import Masking
from storage.books import LeftOut
from storage.locations import locate
from storage.patch_store import PatchStore, Settings
from storage.scores import CONTENT
from storage.shard_files import write_shard
from storage.shard_index import ShardEntry, expand_shards

SIDE = 40
Scoring = Callable[[str, np.ndarray], np.ndarray]
"""A key and visible patches (V, M, K), -1 where a list is shorter → scores (V, M, K), of which those are left aside."""


def draws_of(key: str) -> np.random.Generator:
    return np.random.default_rng(int(hashlib.md5(key.encode()).hexdigest()[:8], 16))


def noise_picture(key: str) -> np.ndarray:
    return draws_of(key).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def random_scoring(key: str, visible: np.ndarray) -> np.ndarray:
    return draws_of(key).random(visible.shape)


def lonely_scoring(key: str, visible: np.ndarray) -> np.ndarray:
    """Scores of patches that each have a density of their own, and are the higher the further the nearest other one."""
    row, column = np.divmod(visible, SMALL.grid)
    squared = (row[..., None] - row[..., None, :]) ** 2 + (column[..., None] - column[..., None, :]) ** 2
    nearest = np.where(squared > 0, squared, 99).min(axis=-1)
    return nearest * np.exp(0.3 * draws_of(key).normal(size=SMALL.n_patches)[visible.clip(min=0)])


def settings_of(*, views: int = 1, masks: int = 8, masking: Masking = "partition", ratio: float = 0.75) -> Settings:
    """Those of a store that reading needs, for the patches of `SMALL`."""
    return {
        **{f"mae.{name}": value for name, value in dataclasses.asdict(SMALL).items()},
        "patches": SMALL.n_patches,
        "views": views,
        "masks": masks,
        "masks.kind": masking,
        "masks.ratio": ratio,
        "removal": "decoder",
    }


def write_scored(
    folder: Path, tars: Mapping[str, Sequence[str]], scoring: Scoring = random_scoring, **settings: Any
) -> PatchStore:
    """FOLDER/tars/NAME.tar with pictures of these keys, without an index, and their scores in the store FOLDER/scores.

    A key that begins with "bad" stands for an image that cannot be used: it is skipped.
    """
    store = PatchStore.create_or_open(str(folder / "scores"), CONTENT, settings_of(**settings))
    for name, keys in tars.items():
        write_scored_shard(folder, store, name, keys, scoring)
    return store


def write_scored_shard(
    folder: Path, store: PatchStore, name: str, keys: Sequence[str], scoring: Scoring = random_scoring
) -> None:
    """As `write_scored`, into a store that is there."""
    samples = [(key, {"png": b"bad" if key.startswith("bad") else encoded(noise_picture(key))}) for key in keys]
    entry = write_shard(locate(folder / "tars"), f"{name}.tar", samples)
    used = [key for key in keys if not key.startswith("bad")]
    views = store.settings["views"]
    drawn = [[_view(key, number) for number in range(views)] for key in used]
    visible = np.stack([np.stack([_masks(store.settings, key, view) for view in range(views)]) for key in used])
    score = np.stack([scoring(key, each) for key, each in zip(used, visible, strict=True)]).astype(np.float32)
    store.write_shard(
        name,
        {
            "key": np.array(used, dtype=np.dtypes.StringDType()),
            "box": np.array([[view.box for view in each] for each in drawn], dtype=np.int32),
            "flip": np.array([[view.flip for view in each] for each in drawn]),
            "score": np.where(visible >= 0, score, np.nan).astype(np.float32),
            "visible": visible,
        },
        samples=len(keys),
        left_out=[LeftOut(key, "not an image") for key in keys if key.startswith("bad")],
        tar_bytes=entry.filesize or 0,
        tar_md5=entry.md5sum or "",
    )


def shards_of(folder: Path) -> list[ShardEntry]:
    return expand_shards([str(folder / "tars")])


def _view(key: str, number: int) -> View:
    return random_view(0, key, number, SIDE, SIDE) if number else evaluation_view(SIDE, SIDE)


def _masks(settings: Settings, key: str, view: int) -> np.ndarray:
    return draw_masks(
        0,
        key,
        view,
        masking=settings["masks.kind"],
        n_masks=settings["masks"],
        n_patches=settings["patches"],
        mask_ratio=settings["masks.ratio"],
    )
