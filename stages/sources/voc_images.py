"""A folder in Pascal VOC's layout as a source.

JPEGImages/NAME.jpg             images
Annotations/NAME.xml            their objects
ImageSets/Main/train.txt ...    lists of names, one a line
SegmentationClass/NAME.png      masks, of the images of the lists in ImageSets/Segmentation
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from stages.images.decoding import UnusableImage
from stages.sources.boxes_beyond import BoxesBeyond, numbers
from stages.sources.files import FoundFile, list_files, local_folder
from stages.sources.listed_files import ImageNames
from stages.sources.look_alikes import note_look_alikes
from stages.sources.mask_files import MaskFiles
from stages.sources.source import Example, Item, SkippedObject, Source
from stages.sources.text_files import read_text
from stages.sources.voc import BACKGROUND, CLASSES, VocAnnotation, VocObject, read_voc
from stages.sources.wording import some_of
from storage.locations import checked_path
from storage.text import counted, printable

IMAGES, ANNOTATIONS, SETS, MASKS = "JPEGImages", "Annotations", "ImageSets", "SegmentationClass"
MAIN, SEGMENTATION = "Main", "Segmentation"
_FLAGS = ("1", "0", "-1")
_NO_MASK_NAMES = (
    "The names of the values of masks are unknown, since the objects do not show that the classes are VOC's own: "
    "--class-names gives them."
)


def from_voc(voc: str, voc_set: str | None) -> Source:
    """The images of a list, or all that have an annotation. Categories are VOC's own where no other name occurs, else
    all names that occur in the order of the alphabet, from 1."""
    folder = _voc_folder(voc)
    listing = list_files(folder / IMAGES)
    known = ImageNames(listing.images)
    annotated = {path.removesuffix(".xml") for path in list_files(folder / ANNOTATIONS).paths if path.endswith(".xml")}
    with_masks = voc_set is not None and PurePosixPath(voc_set).parts[0] == SEGMENTATION

    def is_there(name: str) -> bool:
        return name in annotated or known.find(name) is not None

    names = sorted(annotated) if voc_set is None else read_set(folder, voc_set, is_there)
    paths = {name: known.find(name) for name in names}
    read = {name: _read_annotation(folder, name, name in annotated) for name in names}
    ids = _categories(read.values())
    masks = MaskFiles(folder / MASKS) if with_masks else None
    items, skipped = [], []
    digest = hashlib.sha256()
    beyond = BoxesBeyond()
    for name in names:
        annotation, file = read[name], FoundFile.at(folder / IMAGES, paths[name] or f"{name}.jpg")
        stamps = [file.stamp]
        mask = None
        if masks is not None:
            mask = masks.named(name)
            stamps.append(mask.stamp)
        digest.update(repr((name, annotation)).encode("utf-8", "surrogateescape"))
        wrong = annotation.skipped if isinstance(annotation, VocAnnotation) else ()
        skipped += [SkippedObject(file.path, which, reason) for which, reason in wrong]
        objects = annotation.distinct if isinstance(annotation, VocAnnotation) else ()
        if isinstance(annotation, VocAnnotation) and annotation.size:
            for each in objects:
                beyond.add(each.box, annotation.size, partial(_told_box, each, file.path))
        load = partial(_load, file, annotation, ids, mask)
        items.append(Item(file.path, " ".join(stamps), load, len(wrong), frozenset(ids[each.name] for each in objects)))
    facts: dict[str, Any] = {
        "kind": "voc",
        "categories": [{"id": id_, "name": name} for name, id_ in ids.items()],
        "annotations_sha256": digest.hexdigest(),
    }
    n_objects = sum(len(each.distinct) for each in read.values() if isinstance(each, VocAnnotation))
    values_are_known = n_objects > 0 and tuple(ids) == CLASSES
    if with_masks and values_are_known:
        facts["mask_classes"] = [BACKGROUND, *CLASSES]
    notes = [
        f"Pascal VOC, {voc_set or 'all annotated images'}: {counted(len(ids), 'category', 'categories')}, "
        f"{counted(n_objects, 'object')}{', with masks' * with_masks}.",
        *note_look_alikes(ids, "category", "categories"),
        *beyond.notes("xmin, ymin, xmax, ymax, counted from 1"),
        *([_NO_MASK_NAMES] if with_masks and not values_are_known else []),
        *([] if voc_set is not None else _note_without(listing.images, annotated)),
        *listing.notes,
        *listing.unlisted,
    ]
    ordered = sorted(items, key=lambda item: item.path)
    return Source(ordered, facts, len(listing.paths) - len(listing.images), tuple(notes), tuple(skipped))


def read_set(folder: Path, name: str, is_there: Callable[[str], bool]) -> list[str]:
    """The names of a list: `train` is Main/train, of which lists of one class, such as Main/cat_train, say 1 behind the
    names that show it. A line that is as a whole the name of something there has no such flag. Raises ValueError naming
    the line, or the lists that there are."""
    path = name if "/" in name else f"{MAIN}/{name}"
    file = folder / SETS / checked_path(f"{path}.txt", str(folder / SETS))
    if not file.exists():
        there = sorted(each.removesuffix(".txt") for each in list_files(folder / SETS).paths if each.endswith(".txt"))
        raise ValueError(f"voc_set: no list {file}; there are {some_of(there) if there else 'none'}")
    names: dict[str, int] = {}
    for number, line in enumerate(read_text("voc_set", file).splitlines(), 1):
        try:
            image, is_listed = _read_line(line.strip(), is_there)
            if not is_listed:
                continue
            if image in names:
                raise ValueError(f"{printable(image)} is in line {names[image]} already")
            names[checked_path(image, str(folder / IMAGES))] = number
        except ValueError as error:
            raise ValueError(f"{file}: line {number}: {error}") from None
    if not names:
        raise ValueError(f"{file}: expected names of images, got none")
    return list(names)


def _read_line(line: str, is_there: Callable[[str], bool]) -> tuple[str, bool]:
    """The name, which may have spaces where it is that of something there, and whether the list has it."""
    if not line:
        return "", False
    if is_there(line):
        return line, True
    name, *flag = line.rsplit(maxsplit=1)
    if flag and flag[0] not in _FLAGS:
        name, flag = line, []
    if len(name.split()) > 1 and not is_there(name):
        raise ValueError(f"expected a name, or a name and 1, 0 or -1, got {line[:40]!a}, which names no image")
    return name, not flag or flag[0] == "1"


def _voc_folder(path: str) -> Path:
    folder = local_folder("voc", path)
    missing = [name for name in (IMAGES, ANNOTATIONS) if not (folder / name).is_dir()]
    if not missing:
        return folder
    years = sorted(each.parent.name for each in folder.glob(f"*/{IMAGES}"))
    hint = f"; {some_of(years)} below it {'has' if len(years) == 1 else 'have'} it" if years else ""
    raise ValueError(f"voc: expected a folder with {missing[0]}, got {path}{hint}")


def _read_annotation(folder: Path, name: str, is_there: bool) -> VocAnnotation | str:
    """Or why it cannot be used."""
    if not is_there:
        return "annotation: none"
    try:
        return read_voc(FoundFile.at(folder / ANNOTATIONS, f"{name}.xml").read())
    except ValueError as error:
        return f"annotation: {error}"


def _told_box(found: VocObject, path: str) -> str:
    x, y, width, height = found.box
    return f"object {found.number} of {printable(path)}, {numbers((x + 1, y + 1, x + width, y + height))}"


def _categories(annotations: Iterable[VocAnnotation | str]) -> dict[str, int]:
    """The ids of all names."""
    found = {each.name for one in annotations if isinstance(one, VocAnnotation) for each in one.objects}
    names: Sequence[str] = CLASSES if found <= set(CLASSES) else sorted(found)
    return {name: number for number, name in enumerate(names, 1)}


def _note_without(images: Sequence[str], annotated: Collection[str]) -> list[str]:
    """What of the folder is in no tar, where no list says what should be."""
    without = [path for path in images if str(PurePosixPath(path).with_suffix("")) not in annotated]
    images_are = counted(len(without), "image has no annotation, and is", "images have no annotation, and are")
    return [f"{images_are} in no tar: {some_of(without)}"] if without else []


def _load(file: FoundFile, annotation: VocAnnotation | str, ids: dict[str, int], mask: FoundFile | None) -> Example:
    data = file.read()
    size, objects = None, None
    if isinstance(annotation, VocAnnotation):
        size, objects = annotation.size, [each.written(ids[each.name]) for each in annotation.distinct]
    elif mask is None:
        raise UnusableImage(annotation)
    if mask is None:
        return Example(file.extension, data, objects=objects, size=size)
    try:
        return Example(file.extension, data, objects=objects, mask=mask.read(), size=size)
    except UnusableImage as error:
        raise UnusableImage(f"mask: {error}") from None
