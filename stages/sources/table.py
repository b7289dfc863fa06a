"""Which sources of images there are. To add one, write a file with its function, and a line here."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from stages.sources.built_in_scenes import from_scenes
from stages.sources.class_limit import limited
from stages.sources.coco_images import from_coco
from stages.sources.image_folder import from_folder
from stages.sources.labelled_images import from_csv
from stages.sources.masked_images import from_masks
from stages.sources.source import Source
from stages.sources.voc_images import from_voc
from storage.shard_files import IMAGE_FIELDS

SOURCES: dict[str, Callable[..., Source]] = {
    "scenes": from_scenes,
    "voc": from_voc,
    "coco": from_coco,
    "csv": from_csv,
    "masks": from_masks,
    "images": from_folder,
}
"""By the setting that chooses it; the first that is set. Parameters are named as the settings that they are."""


def find_images(settings: Mapping[str, Any]) -> Source:
    """The images that the settings of `shard` ask for. ValueError if there are none, or the source is not what it
    should be."""
    chosen = next(name for name in SOURCES if settings[name] is not None)
    find = SOURCES[chosen]
    source = find(**{name: settings[name] for name in inspect.signature(find).parameters})
    if not source.items:
        raise ValueError(
            f"{chosen}: no images in {settings[chosen]} ({source.ignored} other files); "
            f"expected files that end in {', '.join('.' + name for name in IMAGE_FIELDS)}"
        )
    most = settings["count_max"]
    return source if most is None else limited(source, most, settings["seed"], chosen)
