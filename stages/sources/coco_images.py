"""A COCO annotation file as a source: the images that it lists, with their objects."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import partial
from pathlib import Path
from typing import Any

from stages.images.decoding import UnusableImage
from stages.samples.object_fields import CategoryField
from stages.sources.coco import CocoImage, read_coco
from stages.sources.files import FoundFile, is_image, list_files, local_folder
from stages.sources.look_alikes import note_look_alikes
from stages.sources.source import Example, Item, Source
from stages.sources.wording import some_of
from storage.shard_files import IMAGE_FIELDS
from storage.text import counted, printable


def from_coco(images: str, coco: str) -> Source:
    """The images of the folder `images` that the file `coco` lists."""
    folder = local_folder("images", images)
    annotations = read_coco(Path(coco))
    wrong = Counter(each.path for each in annotations.skipped)
    items = []
    for image in annotations.images:
        file = FoundFile.at(folder, image.file_name)
        objects = annotations.objects.get(image.id, [])
        classes = frozenset(each["category"] for each in objects)
        load = partial(_load, file, image, objects)
        items.append(Item(image.file_name, file.stamp, load, wrong[image.file_name], classes))
    listed = {item.path for item in items}
    listing = list_files(folder)
    others = [path for path in listing.paths if path not in listed]
    unlisted = sorted(path for path in others if is_image(path))
    notes = [
        f"COCO annotations: {counted(len(annotations.categories), 'category', 'categories')}, "
        f"{counted(sum(map(len, annotations.objects.values())), 'object')}.",
        *_shared_names(annotations.categories),
        *note_look_alikes([each.name for each in annotations.categories], "category", "categories"),
        *annotations.notes,
    ]
    if unlisted:
        images_are = counted(len(unlisted), "image of the folder is", "images of the folder are")
        notes.append(f"{images_are} not in {printable(Path(coco).name)}, and so in no tar: {some_of(unlisted)}")
    facts = {
        "kind": "coco",
        "categories": [category.model_dump() for category in annotations.categories],
        "annotations_sha256": annotations.digest,
    }
    return Source(
        items, facts, len(others) - len(unlisted), (*notes, *listing.notes, *listing.unlisted), annotations.skipped
    )


def _load(file: FoundFile, image: CocoImage, objects: list[dict[str, Any]]) -> Example:
    if file.extension not in IMAGE_FIELDS:
        raise UnusableImage("not an image by its name")
    return Example(file.extension, file.read(), objects=objects, size=(image.width, image.height))


def _shared_names(categories: list[CategoryField]) -> list[str]:
    ids = defaultdict(list)
    for category in categories:
        ids[category.name].append(str(category.id))
    return [
        f"{len(each)} categories have the name {printable(name)} and stay {len(each)}: ids {', '.join(each)}"
        for name, each in ids.items()
        if len(each) > 1
    ]
