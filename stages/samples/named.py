"""The images that a user names for a picture: files, folders of images, tars."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import PurePosixPath
from typing import TypeVar

from PIL import Image

from stages.images.decoding import decode_image
from stages.sources.sample_keys import safe_keys
from storage.locations import locate
from storage.shard_files import IMAGE_FIELDS, Sample, read_shard
from storage.shard_index import ShardEntry, expand_shards

Item = TypeVar("Item")
_NOT_THE_FILES_FAULT = {errno.EMFILE, errno.ENFILE, errno.ENOMEM}


class UnusableShown(ValueError):  # noqa: N818
    """Why one of them cannot be shown, with its name."""


@dataclasses.dataclass(frozen=True)
class ShownImage:
    """An image that was found. Its `key` is the one that `shard` gives it, and with that the masks of `score`."""

    name: str
    """What a picture calls it."""
    url: str
    """Where it lies."""
    key: str
    read: Callable[[], bytes]
    tar: ShardEntry | None = None
    """That it is of. Samples of tars are seen as they are stored, as `score` and `rank` see them, and files as their
    EXIF orientation says."""

    def decode(self) -> Image.Image:
        """The image as 8-bit RGB. Raises `UnusableShown`, and OSError where it is not this image's fault: a bucket does
        not answer, which each further one would wait for anew, or this process has no more memory or open files."""
        try:
            return decode_image(self.read(), upright=self.tar is None)
        except FileNotFoundError:
            reason = "no such file"  # any more, or a link that leads nowhere
        except OSError as error:
            if error.errno is None or error.errno in _NOT_THE_FILES_FAULT:  # a bucket's have no number
                raise
            reason = error.strerror or str(error)
        except ValueError as error:
            reason = str(error)
        raise UnusableShown(f"{self.url}: {reason}")


def find_shown(paths: Sequence[str], count: int, except_url: str) -> list[ShownImage]:
    """At most `count` images, evenly spread over `paths`: images, folders of images, or tars in any form that
    `expand_shards` takes, local or in an object store. Those of tars are the first of each.

    An image at `except_url` in a folder is passed over. Raises FileNotFoundError or ValueError naming the path where
    nothing is found, and ValueError where an image that is named lies at `except_url`.
    """
    return evenly([image for path in paths for image in _find(path, count, except_url)], count)


def evenly(items: Sequence[Item], count: int) -> list[Item]:
    """At most `count` of the items, the first among them, in their order."""
    count = min(count, len(items))
    return [items[number * len(items) // count] for number in range(count)]


def _find(path: str, count: int, except_url: str) -> list[ShownImage]:
    place = locate(path)
    if path.endswith((".tar", ".json")) or (any(sign in path for sign in "*?[{") and not place.exists()):
        return list(_of_shards(path, count))
    if place.exists():
        if place.url == except_url:
            raise ValueError(
                f"{path}: is an image to show, and would be overwritten: choose another name for the picture"
            )
        name = PurePosixPath(place.url).name
        return [ShownImage(name, place.url, safe_keys([name])[0], place.read)]
    files = place.walk()
    if not files:
        raise FileNotFoundError(f"{path}: no such file or folder, or an empty one")
    images = [file for file in files if _is_image(file) and f"{place.url}/{file}" != except_url]
    if images:
        keys = safe_keys(images)
        return [
            ShownImage(file, f"{place.url}/{file}", key, partial(place.read, file))
            for file, key in zip(images, keys, strict=True)
        ]
    if any(file.endswith(".tar") for file in files):
        return list(_of_shards(path, count))
    expected = ", ".join(f".{name}" for name in IMAGE_FIELDS)
    raise ValueError(f"{path}: expected files that end in {expected} or .tar, found none among {len(files)}")


def _of_shards(spec: str, count: int) -> Iterator[ShownImage]:
    shards = evenly(expand_shards([spec]), count)
    for shard in shards:
        for sample in islice(read_shard(shard), -(-count // len(shards))):
            url = f"{shard.url}: {sample.key}"
            yield ShownImage(f"{shard.name}/{sample.key}", url, sample.key, partial(_image_of, sample), shard)


def _is_image(path: str) -> bool:
    parts = PurePosixPath(path)
    return parts.suffix[1:].lower() in IMAGE_FIELDS and not any(part.startswith(".") for part in parts.parts)


def _image_of(sample: Sample) -> bytes:
    return sample.image
