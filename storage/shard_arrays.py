"""What the arrays of a shard have in common, whatever a store holds: one row for each sample that was not skipped.

    key      (n,)            string   the sample's key in its tar
    box      (n, V, 4)       int32    left, top, width, height of the view, in pixels of the stored image
    flip     (n, V)          bool     whether the view is mirrored, after the crop

with V views of each sample; view 0 is the evaluation crop.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Self

import numpy as np

from storage.settings import Settings
from storage.text import printable

LETTERBOX = "letterbox"
"""`views.crop` of stores whose view 0 is the square around an image, and reaches beyond it."""


def may_overhang(settings: Settings) -> bool:
    """Whether boxes of a store may begin left of the image, or above it."""
    return settings.get("views.crop") == LETTERBOX


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardArrays:
    """The arrays of one shard, shapes as above; what a store holds besides is for those that derive from it."""

    key: np.ndarray
    box: np.ndarray
    flip: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> Self:
        """Raises ValueError when these are other arrays."""
        expected = {field.name for field in dataclasses.fields(cls)}
        if arrays.keys() != expected:
            raise ValueError(f"expected arrays {sorted(expected)}, got {printable(sorted(arrays))}")
        return cls(**arrays)

    def _check_shapes(self, views: int, others: Mapping[str, tuple[str, tuple[int, ...]]]) -> list[str]:
        """A line for each array that is not of its kind and shape; `others` has these for all but the common ones."""
        n = len(self.key)
        expected = {"key": ("OTU", (n,)), "box": ("i", (n, views, 4)), "flip": ("b", (n, views)), **others}
        return [
            f"{name}: expected kind {kinds} and shape {shape}, got {found.dtype.kind} and {found.shape}"
            for name, (kinds, shape) in expected.items()
            if (found := getattr(self, name)).dtype.kind not in kinds or found.shape != shape
        ]

    def _check_samples(self, may_overhang: bool) -> list[str]:
        """What is wrong with keys and boxes of the right shapes."""
        findings = []
        if len(set(self.key.tolist())) != len(self.key):
            findings.append("key: two samples have the same one")
        starts, sides = self.box[..., :2].astype(np.int64), self.box[..., 2:].astype(np.int64)
        if (sides <= 0).any() or (starts < (1 - sides if may_overhang else 0)).any():
            findings.append("box: not within an image")
        return findings
