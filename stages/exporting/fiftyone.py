"""`fiftyone`: a folder that FiftyOne imports, each image with its scores as a heat map.

    import fiftyone
    fiftyone.Dataset.from_dir("OUT", dataset_type=fiftyone.types.LegacyFiftyOneDataset)

- OUT/samples.json: for each image its file, key and tar, and the heat map in the field `density`
- OUT/metadata.json: what the scores are, and the settings that made them
- OUT/data/TAR/KEY.EXT: the images, byte for byte as they lie in the tars
- OUT/fields/density/TAR/KEY.png: heat maps, 8 bits a pixel: 255 for the image's highest score, 1 for its lowest, 0
  outside the evaluation crop and where there is none

FiftyOne's newer layout, `FiftyOneDataset`, is its database's own documents, which change with its versions; this one is
plain JSON of which it makes them itself, and every version reads it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

from stages.exporting.export import Export, format_with
from stages.exporting.placed import PlacedImage, placed_images

FIELD = "density"
HIGHEST = 255


@format_with("shards")
def to_fiftyone(export: Export) -> Iterator[int]:
    """`samples.json` is written last, at once."""
    export.refuse_others({"samples.json", "metadata.json", "data", "fields"}, "a dataset")
    store, place, through = export.store, export.place, 0
    info = {"content": store.content, "settings": json.dumps(store.settings)}  # its database takes no dots in names
    with place.writer("samples.json") as samples:
        samples.write(b'{"samples": [')
        for through, image in enumerate(placed_images(export), start=1):
            sample = _sample(image)
            place.write(sample["filepath"], image.data)
            place.write(sample[FIELD]["map_path"], _heat_map(image))
            samples.write((b"\n" if through == 1 else b",\n") + json.dumps(sample).encode())
            if through % 64 == 0:
                yield through
        samples.write(b"]}\n")
        place.write("metadata.json", (json.dumps({"media_type": "image", "info": info}, indent=1) + "\n").encode())
    yield through


def _sample(image: PlacedImage) -> dict[str, Any]:
    path = f"fields/{FIELD}/{image.tar}/{image.key}.png"
    return {
        "filepath": f"data/{image.tar}/{image.key}.{image.field}",
        "tags": [],
        "key": image.key,
        "tar": image.tar,
        FIELD: {"_cls": "Heatmap", "tags": [], "map_path": path, "range": [0, HIGHEST]},
    }


def _heat_map(image: PlacedImage) -> bytes:
    """A PNG."""
    mean = image.mean.astype(np.float64)
    low, high = np.nanmin(mean), np.nanmax(mean)
    level = 1 + (mean - low) * ((HIGHEST - 1) / (high - low) if high > low else 0)
    pixels = image.spread_out(np.nan_to_num(level.round(), nan=0).astype(np.uint8))
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return written.getvalue()
