"""Where images come from, and what is known about each.

Four sources, chosen by the setting that names them (`SOURCES`): the built-in scenes, a COCO annotation file,
pairs of image and mask folders, and a folder of images, whose subfolders are classes if every image lies in
one.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from PIL import Image

from stages.images.decoding import UnusableImage
from stages.sources.coco import CocoAnnotation, CocoImage, read_coco
from stages.sources.scenes import BACKGROUND, CATEGORIES, draw_scene
from storage.shard_files import IMAGE_FIELDS

if TYPE_CHECKING:
    from stages.shard import ShardConfig


@dataclass(frozen=True)
class Example:
    """One image in the bytes of its source. `size` (width, height) is what objects refer to, if the source
    tells it."""

    extension: str
    image: bytes
    label: int | None = None
    objects: list[dict[str, Any]] | None = None
    mask: bytes | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Item:
    """An image that was found. `stamp` changes when the files behind it do. `load` raises `UnusableImage`
    where they cannot be read."""

    path: str
    stamp: str
    load: Callable[[], Example]


@dataclass(frozen=True)
class Source:
    """All images of a source, by path. `facts` hold its kind and the names of classes and categories;
    `ignored` counts files that are hidden or no images by their names."""

    items: list[Item]
    facts: dict[str, Any]
    ignored: int = 0


def find_images(config: ShardConfig) -> Source:
    """The images that `config` asks for. ValueError if there are none."""
    setting = next(name for name in SOURCES if getattr(config, name) is not None)
    source = SOURCES[setting](config)
    if not source.items:
        raise ValueError(
            f"{setting}: no images in {getattr(config, setting)} ({source.ignored} other files); "
            f"expected files that end in {', '.join('.' + name for name in IMAGE_FIELDS)}"
        )
    return source


def from_scenes(config: ShardConfig) -> Source:
    """The built-in scenes: main category as class, boxes, and masks of 0 for background and 1 + category."""
    assert config.scenes is not None
    draw = partial(_draw_example, config.seed, config.scene_size)
    items = [Item(f"scene-{index:08}.png", "", partial(draw, index)) for index in range(config.scenes)]
    categories = [{"id": number, "name": name} for number, name in enumerate(CATEGORIES)]
    facts = {
        "kind": "scenes",
        "classes": list(CATEGORIES),
        "categories": categories,
        "mask_classes": [BACKGROUND, *CATEGORIES],
    }
    return Source(items, facts)


def from_coco(config: ShardConfig) -> Source:
    """The images that an annotation file lists."""
    assert config.coco is not None
    folder = _folder("images", config.images)
    coco = read_coco(Path(config.coco))
    items = []
    for image in coco.images:
        path = folder / image.file_name
        load = partial(_load_coco, path, image, coco.objects.get(image.id, []))
        items.append(Item(image.file_name, _stamp(path), load))
    listed = {item.path for item in items}
    ignored = sum(path not in listed for path in _files_below(folder))
    categories = [{"id": category.id, "name": category.name} for category in coco.categories]
    return Source(items, {"kind": "coco", "categories": categories, "annotations_sha256": coco.digest}, ignored)


def from_masks(config: ShardConfig) -> Source:
    """The images of one folder, each with the PNG of the same name and subfolder in the other."""
    folder, masks = _folder("images", config.images), _folder("masks", config.masks)
    if masks.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"masks: {masks} lies in the folder of images, so that masks would be taken for images")
    paths, ignored = _image_paths(folder)
    items = []
    for path in paths:
        mask = masks / PurePosixPath(path).with_suffix(".png")
        stamp = f"{_stamp(folder / path)} {_stamp(mask)}"
        items.append(Item(path, stamp, partial(_load_file, folder / path, mask=mask)))
    return Source(items, {"kind": "masks"}, ignored)


def from_folder(config: ShardConfig) -> Source:
    """The images of a folder. If every one lies in a subfolder, the first folder of its path is its class;
    classes are numbered in the order of their names."""
    folder = _folder("images", config.images)
    paths, ignored = _image_paths(folder)
    classes: list[str] = []
    if all("/" in path for path in paths):
        classes = sorted({path.partition("/")[0] for path in paths})
    labels = {name: number for number, name in enumerate(classes)}
    items = [
        Item(
            path,
            _stamp(folder / path),
            partial(_load_file, folder / path, label=labels.get(path.partition("/")[0])),
        )
        for path in paths
    ]
    facts: dict[str, Any] = {"kind": "class folders", "classes": classes} if classes else {"kind": "folder"}
    return Source(items, facts, ignored)


SOURCES: dict[str, Callable[[ShardConfig], Source]] = {
    "scenes": from_scenes,
    "coco": from_coco,
    "masks": from_masks,
    "images": from_folder,
}
"""By the setting that chooses it; the first that is set."""


def _draw_example(seed: int, size: int, index: int) -> Example:
    scene = draw_scene(seed, index, size)
    objects = [
        {"category": each.category, "bbox": list(each.box), "area": each.area, "iscrowd": 0} for each in scene.objects
    ]
    return Example("png", png_bytes(scene.image), scene.category, objects, png_bytes(scene.mask))


def png_bytes(pixels: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _load_coco(path: Path, image: CocoImage, annotations: list[CocoAnnotation]) -> Example:
    if _extension(path.name) not in IMAGE_FIELDS:
        raise UnusableImage("not an image by its name")
    objects = [
        {
            "category": each.category_id,
            **each.model_dump(exclude={"image_id", "category_id"}, exclude_none=True),
        }
        for each in annotations
    ]
    return Example(_extension(path.name), _read(path), objects=objects, size=(image.width, image.height))


def _load_file(path: Path, label: int | None = None, mask: Path | None = None) -> Example:
    image = _read(path)
    return Example(_extension(path.name), image, label, mask=None if mask is None else _read(mask, "mask: "))


def _read(path: Path, what: str = "") -> bytes:
    try:
        if not path.is_file():  # a pipe would block
            raise UnusableImage(f"{what}no such file, or not a plain one")
        return path.read_bytes()
    except PermissionError:
        raise UnusableImage(f"{what}no permission to read it") from None


def _folder(setting: str, path: str | None) -> Path:
    assert path is not None
    if not os.path.isdir(path):
        raise ValueError(f"{setting}: expected a local folder, found none at {path}")
    return Path(path)


def _image_paths(folder: Path) -> tuple[list[str], int]:
    """The images below `folder`, sorted, and the number of other files."""
    files = list(_files_below(folder))
    images = sorted(path for path in files if _extension(path) in IMAGE_FIELDS and not Path(path).name.startswith("."))
    return images, len(files) - len(images)


def _files_below(folder: Path) -> Iterator[str]:
    """Relative paths of all files, those in hidden folders excepted. A folder that is a link is entered once,
    and only if it leads out of `folder`, so that no loop is endless."""
    top = folder.resolve()
    entered: set[Path] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        kept = []
        for name in sorted(folders):
            path = Path(parent, name)
            if path.is_symlink():
                target = path.resolve()
                if target in entered or target.is_relative_to(top) or top.is_relative_to(target):
                    continue
                entered.add(target)
            if not name.startswith("."):
                kept.append(name)
        folders[:] = kept
        yield from (Path(parent, name).relative_to(folder).as_posix() for name in files)


def _stamp(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return "missing"
    return f"{found.st_size} {found.st_mtime_ns}"


def _extension(path: str) -> str:
    return PurePosixPath(path).suffix[1:].lower()
