"""Two folders as a source: the images of one, each with the PNG of the same name and subfolder in the other."""

from __future__ import annotations

from functools import partial
from pathlib import PurePosixPath

from stages.images.decoding import UnusableImage
from stages.sources.files import FoundFile, list_files, local_folder
from stages.sources.mask_files import MaskFiles
from stages.sources.source import Example, Item, Source
from storage.text import printable


def from_masks(images: str, masks: str) -> Source:
    """The images of the first folder. Raises ValueError for two that have one mask."""
    folder, mask_folder = local_folder("images", images), local_folder("masks", masks)
    if mask_folder.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"masks: {mask_folder} lies in the folder of images, so that masks would be taken for images")
    listing = list_files(folder).whole()
    masks_there = MaskFiles(mask_folder)
    items = []
    owners: dict[str, str] = {}
    for path in listing.images:
        image = FoundFile.at(folder, path)
        mask = masks_there.named(str(PurePosixPath(path).with_suffix("")))
        if mask.is_there and owners.setdefault(mask.path, path) != path:
            images_are = printable(f"{owners[mask.path]} and {path}")
            raise ValueError(f"masks: expected one image of the mask {printable(mask.path)}, got {images_are}")
        items.append(Item(path, f"{image.stamp} {mask.stamp}", partial(_load, image, mask)))
    notes = ("Images with masks.", *listing.notes)
    return Source(items, {"kind": "masks"}, len(listing.paths) - len(items), notes)


def _load(image: FoundFile, mask: FoundFile) -> Example:
    data = image.read()
    try:
        return Example(image.extension, data, mask=mask.read())
    except UnusableImage as error:
        raise UnusableImage(f"mask: {error}") from None
