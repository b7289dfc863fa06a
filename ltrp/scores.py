"""Scores or ranks of a store in memory, as arrays, maps and tables."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from storage.dense_scores import PatchGrid, open_dense, patch_grid
from storage.patch_values import PatchValues, read_values

if TYPE_CHECKING:
    import pandas
    import xarray


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Scores:
    """Of n images in V views, the evaluation crop first, in L patches of a grid of g x g."""

    store: str
    shard: np.ndarray
    """(n,) strings: the tar that each image is in."""
    values: PatchValues
    grid: PatchGrid

    def __len__(self) -> int:
        return len(self.values.key)

    def __repr__(self) -> str:
        views = self.values.mean.shape[1]
        return (
            f"Scores of {len(self)} images, {views} views of {self.grid.side} x {self.grid.side} patches: {self.store}"
        )

    @property
    def keys(self) -> list[str]:
        """Of the images in their tars."""
        found: list[str] = self.values.key.tolist()
        return found

    @property
    def maps(self) -> np.ndarray:
        """(n, g, g) float32: the mean score of each patch of the evaluation crop; NaN for one that no mask showed."""
        return self.values.mean[:, 0].reshape(-1, self.grid.side, self.grid.side)

    @property
    def ranks(self) -> np.ndarray:
        """(n, g, g) int32: 0 for the patch of the evaluation crop that is kept first."""
        return self.values.rank[:, 0].reshape(-1, self.grid.side, self.grid.side)

    def to_pandas(self) -> pandas.DataFrame:
        """A row for each patch of each view, with the columns of `export-scores`."""
        import pandas

        n, views, patches = self.values.mean.shape
        patch = np.tile(np.arange(patches), n * views)
        numbers = {name: getattr(self.values, name).ravel() for name in ("mean", "spread", "count", "rank")}
        return pandas.DataFrame(
            {
                "shard": np.repeat(self.shard.astype(object), views * patches),
                "key": np.repeat(self.values.key.astype(object), views * patches),
                "view": np.tile(np.repeat(np.arange(views), patches), n),
                "patch": patch,
                "row": patch // self.grid.side,
                "column": patch % self.grid.side,
                **numbers,
            }
        )

    def to_xarray(self) -> xarray.Dataset:
        """`mean`, `spread`, `count` and `rank` by sample, view, row and column; `box` and `flip` of the views."""
        import xarray

        n, views, _ = self.values.mean.shape
        shape = (n, views, self.grid.side, self.grid.side)
        axes = ("sample", "view", "row", "column")
        numbers = {
            name: (axes, getattr(self.values, name).reshape(shape)) for name in ("mean", "spread", "count", "rank")
        }
        return xarray.Dataset(
            {
                **numbers,
                "box": (("sample", "view", "side"), self.values.box),
                "flip": (("sample", "view"), self.values.flip),
            },
            coords={
                "key": ("sample", self.values.key.astype(object)),
                "shard": ("sample", self.shard.astype(object)),
                "side": ["left", "top", "width", "height"],
            },
            attrs={"store": self.store},
        )


def load_scores(store: str | os.PathLike[str], *, shards: str | Sequence[str] | None = None) -> Scores:
    """What is done in a store of `score` or `rank`; of a large one name some `shards`, as `status` lists them.

    Raises FileNotFoundError when there is no store, ValueError when nothing of it is done, a shard is not, or a file is
    not as it was recorded.
    """
    opened = open_dense(os.fspath(store))
    done = opened.books.done()
    if isinstance(shards, str):
        shards = [shards]
    if not (shards is None or (isinstance(shards, Sequence) and shards)):
        raise ValueError(f"shards: expected names of shards, or None for all, got {shards!r}")
    if wrong := [name for name in shards or () if not isinstance(name, str) or name not in done]:
        raise ValueError(f"{opened.place.url}: expected shards that are done, got {wrong[0]!r}")
    names = sorted(done) if shards is None else list(dict.fromkeys(shards))
    if not names:
        raise ValueError(f"{opened.place.url}: expected a store with a shard that is done, got none")
    found = [read_values(opened, name) for name in names]
    values = PatchValues(
        **{
            field.name: np.concatenate([getattr(each, field.name) for each in found])
            for field in dataclasses.fields(PatchValues)
        }
    )
    shard = np.repeat(np.array(names, dtype=object), [len(each.key) for each in found])
    return Scores(opened.place.url, shard, values, patch_grid(opened))
