"""`npz`: OUT/SHARD.npz with the arrays of `storage.patch_values`, which NumPy reads without unpickling anything."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from stages.exporting.export import Export, format_with

SUFFIX = ".npz"


@format_with()
def to_npz(export: Export) -> Iterator[int]:
    """A file for each shard, each written at once: `key` (n,), `mean`, `spread`, `count` and `rank` (n, V, L), `box`
    (n, V, 4) and `flip` (n, V)."""
    export.refuse_others({f"{shard}{SUFFIX}" for shard in export.shards}, f"files {SUFFIX}")
    place, through = export.place, 0
    for shard, values in export.values():
        arrays = {field.name: getattr(values, field.name) for field in dataclasses.fields(values)}
        arrays["key"] = np.array(values.key.tolist(), dtype=np.str_)
        with place.writer(f"{shard}{SUFFIX}") as file:
            np.savez_compressed(file, **arrays)
        through += len(values.key)
        yield through
