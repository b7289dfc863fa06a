"""Images beside the numbers of their patches, and where these patches lie in them: for formats that are about images.

Of several views it is the evaluation crop.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np

from stages.exporting.export import Export
from stages.images.decoding import decode_image, image_size
from stages.images.orientation import Size
from stages.images.views import View, seen_part
from stages.samples.joined import join_store, match_samples
from storage.patch_values import read_values
from storage.shard_files import IMAGE_FIELDS


@dataclasses.dataclass(frozen=True, eq=False)
class PlacedImage:
    """An image of a tar, with the L numbers of its evaluation crop."""

    tar: str
    key: str
    field: str
    """Of the image in its tar, such as "jpg"."""
    data: bytes
    width: int
    height: int
    view: View
    side: int
    """Patches along one side of the view."""
    mean: np.ndarray
    rank: np.ndarray

    def spread_out(self, values: np.ndarray) -> np.ndarray:
        """A value for each patch (L,) → for each pixel of the stored image (height, width), 0 outside the view. A pixel
        belongs to the patch that its centre lies in."""
        rows, columns = seen_part(self.view, self.width, self.height)
        row = _patch_of(np.arange(rows.start, rows.stop) - self.view.top, self.view.height, self.side)
        column = _patch_of(np.arange(columns.start, columns.stop) - self.view.left, self.view.width, self.side)
        if self.view.flip:
            column = self.side - 1 - column
        pixels = np.zeros((self.height, self.width), values.dtype)
        pixels[rows, columns] = values.reshape(self.side, self.side)[row[:, None], column]
        return pixels


def placed_images(export: Export) -> Iterator[PlacedImage]:
    """In the order of shards and tars.

    Raises ValueError naming a tar that is not known, is not the one that was read, or has an image that cannot be.
    """
    side = export.grid.side
    for entry in join_store(export.entries(), export.store):
        values = read_values(export.store, entry.name)
        rows = {key: row for row, key in enumerate(values.key.tolist())}
        for sample, row in match_samples(export.store, entry, rows):
            size = _size(sample.image)
            left, top, width, height = values.box[row, 0].tolist()
            view = View(left, top, width, height, bool(values.flip[row, 0]))
            field = next(name for name in IMAGE_FIELDS if name in sample.fields)
            numbers = values.mean[row, 0], values.rank[row, 0]
            yield PlacedImage(entry.name, sample.key, field, sample.image, *size, view, side, *numbers)


def _size(data: bytes) -> Size:
    """Of the pixels as models saw them: by the header, but for TIFF, which is turned as it is read."""
    return decode_image(data).size if data[:2] in (b"II", b"MM") else image_size(data)


def _patch_of(pixel: np.ndarray, length: int, side: int) -> np.ndarray:
    """Pixels of a view that is `length` of them long → the patches that their centres lie in."""
    return (2 * pixel + 1) * side // (2 * length)
