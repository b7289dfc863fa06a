"""`coco`: one annotation file in COCO's format, with the kept patches of each image as a mask.

An annotation's segmentation is run-length coded over the stored image, and holds the patches that `topk` keeps of the
evaluation crop. `file_name` is the image's name in its tar, which `tar` names in a field of its own.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from stages.exporting.export import Export, format_with
from stages.exporting.placed import PlacedImage, placed_images

ENDING = ".json"
CATEGORY = {"id": 1, "name": "kept", "supercategory": "patches"}


@format_with("shards", "keep_ratio")
def to_coco(export: Export) -> Iterator[int]:
    """One file, written at once. Annotations wait in a temporary file until all images are written."""
    from ranker.selection import kept_count

    if not export.out.endswith(ENDING) or export.place.names():
        raise ValueError(f"{export.out}: expected the name of a file that ends in {ENDING}")
    patches = export.grid.n_patches
    count = kept_count(patches, export.keep_ratio)
    facts = {
        "description": f"{count} of {patches} patches of each image, by a store of {export.store.content}",
        "keep_ratio": export.keep_ratio,
        "settings": export.store.settings,
    }
    through = 0
    with export.place.writer("") as file, tempfile.TemporaryFile() as annotations:
        file.write(b'{"info": %s, "licenses": [], "categories": [%s],\n"images": [' % (_json(facts), _json(CATEGORY)))
        for through, image in enumerate(placed_images(export), start=1):
            between = b"\n" if through == 1 else b",\n"
            file.write(between + _json(_image(through, image)))
            annotations.write(between + _json(_annotation(through, image, count)))
            if through % 64 == 0:
                yield through
        file.write(b'],\n"annotations": [')
        _append(annotations, file)
        file.write(b"]}\n")
    yield through


def _image(number: int, image: PlacedImage) -> dict[str, Any]:
    return {
        "id": number,
        "file_name": f"{image.key}.{image.field}",
        "width": image.width,
        "height": image.height,
        "tar": image.tar,
        "key": image.key,
    }


def _annotation(number: int, image: PlacedImage, count: int) -> dict[str, Any]:
    from pycocotools import mask

    coded = mask.encode(np.asfortranarray(image.spread_out((image.rank < count).astype(np.uint8))))
    return {
        "id": number,
        "image_id": number,
        "category_id": CATEGORY["id"],
        "segmentation": {"size": coded["size"], "counts": coded["counts"].decode("ascii")},
        "area": int(mask.area(coded)),
        "bbox": mask.toBbox(coded).tolist(),
        "iscrowd": 0,
    }


def _append(annotations: Any, file: BinaryIO) -> None:
    annotations.seek(0)
    shutil.copyfileobj(annotations, file)


def _json(value: object) -> bytes:
    return json.dumps(value).encode()
