"""Scores of patches from any other method, written as a store of ranks, which `verify`, `status`, `coverage`,
`train-task` and `evaluate-task` take as they take one of `rank`.

    shards = expand_shards(["work/shards"])
    store = create_ranks("work/other", shards, selector="other", image_size=224, patch_size=16, crop=0.875)
    for shard in shards:
        write_ranks(store, shard, keys, boxes, scores)

Run again it goes on: shards that are done are written anew with what is given, others stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from storage.books import LeftOut, ShardRecord
from storage.patch_store import PatchStore
from storage.ranks import CONTENT, check_ranks
from storage.settings import whole_number
from storage.shard_files import read_shard
from storage.shard_index import ShardEntry
from storage.text import counted, printable

NOT_GIVEN = "no scores were given for it"


def create_ranks(
    path: str,
    shards: Sequence[ShardEntry],
    *,
    selector: str,
    image_size: int,
    patch_size: int,
    crop: float | str | None = None,
    views: int = 1,
) -> PatchStore:
    """A store at `path` for the scores of all of `shards`, made if missing.

    `selector`: what tables call the method. Views are resized to `image_size` pixels a side and cut into patches of
    `patch_size`. `crop`: which part of the short side view 0, the evaluation crop, takes, or that it is all of the
    image, as a "stretch" or in a "letterbox". Raises ValueError for sizes that do not fit, and when the store there was
    made with other settings.
    """
    sizes = {"ranker.image_size": image_size, "ranker.patch_size": patch_size, "views": views}
    for name in sizes:
        whole_number(sizes, name, path)
    if image_size % patch_size:
        raise ValueError(f"{path}: expected an image_size that patches of {patch_size} pixels fill, got {image_size}")
    settings = {"selector": selector, "patches": (image_size // patch_size) ** 2, "views.crop": crop, **sizes}
    store = PatchStore.create_or_open(path, CONTENT, settings)
    store.books.open_for(shards)
    return store


def write_ranks(
    store: PatchStore,
    shard: ShardEntry,
    keys: Sequence[str],
    boxes: np.ndarray,
    scores: np.ndarray,
    flips: np.ndarray | None = None,
) -> ShardRecord:
    """Writes the scores of one shard of `create_ranks`, in any order of its samples.

    `keys`: n keys of samples in the tar. `boxes` (n, 4) or (n, V, 4): left, top, width and height of each view, in
    pixels of the stored image. `scores` (n, L) or (n, V, L): of each patch in raster order, higher for what to keep
    first. `flips` (n, V): whether a view is mirrored after the crop; by default none is.

    The tar is read once more, for its checksum. Its samples that have no scores are noted as skipped. Raises ValueError
    for a key that is not in the tar, one that is given twice, arrays of other shapes, and scores that are not numbers.
    """
    views, patches = store.settings["views"], store.settings["patches"]
    n, where = len(keys), f"scores of {shard.url}"
    given = {
        "box": (np.asarray(boxes), (n, views, 4), np.int32),
        "score": (np.asarray(scores), (n, views, patches), np.float32),
        "flip": (np.zeros((n, views), bool) if flips is None else np.asarray(flips), (n, views), bool),
    }
    for name, (values, shape, _) in given.items():
        if values.shape not in (shape, (n, *shape[2:]) if views == 1 else shape):
            raise ValueError(f"{where}: {name}: expected shape {shape} for {counted(n, 'key')}, got {values.shape}")
    rows = {key: row for row, key in enumerate(keys)}
    if len(rows) < n:
        twice = next(key for row, key in enumerate(keys) if rows[key] != row)
        raise ValueError(f"{where}: expected each key once, got '{printable(twice)}' twice")

    tar = read_shard(shard)
    in_tar = [sample.key for sample in tar]
    if unknown := rows.keys() - set(in_tar):
        raise ValueError(f"{where}: expected keys of the tar, got '{printable(min(unknown))}'")
    order = [rows[key] for key in in_tar if key in rows]
    arrays = {
        "key": np.array([keys[row] for row in order], dtype=object),
        **{name: values.reshape(shape)[order].astype(kind) for name, (values, shape, kind) in given.items()},
    }
    if findings := check_ranks(arrays, store.settings)[1]:
        raise ValueError(f"{where}: {findings[0]}")
    return store.write_shard(
        shard.name,
        arrays,
        samples=tar.nsamples,
        left_out=[LeftOut(key, NOT_GIVEN) for key in in_tar if key not in rows],
        tar_bytes=tar.nbytes,
        tar_md5=tar.md5,
    )
