"""Stage `shard`: images → webdataset tars with an index.

- OUT/NAME-000000.tar ...: the samples (stages.sources.sample_fields)
- OUT/index.json, written last: name, count, size and checksum of each tar (storage.shard_index)
- OUT/left_out.json: every image that is in no tar, with the reason
- OUT/sharding/plan.json: what was asked for, so that running again continues this and nothing else
- OUT/sharding/NAME-000000.json ...: the receipt of each finished tar

Which image goes to which tar is decided by the listing alone, before any is opened: an image that cannot be
used makes its tar smaller and changes no other. So a tar depends on nothing but its images and the settings,
and can be made again, byte for byte, after any interruption and with any number of workers.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.compute.prefetch import prefetch
from stages.images.decoding import UnusableImage
from stages.images.orientation import UPRIGHT
from stages.settings.shard import ShardConfig
from stages.sources.sample_fields import PackedSample, sample_fields
from stages.sources.sample_keys import safe_keys
from stages.sources.source import Item, Source, find_images
from storage.locations import Location, is_temporary, locate
from storage.shard_files import write_shard
from storage.shard_index import INDEX_NAME, ShardEntry, index_bytes

PLAN = "sharding/plan.json"
LEFT_OUT = "left_out.json"
FORMAT = 1  # of tars and plan: to be raised when the same settings make other tars
NOT_IN_PLAN = {
    "out",
    "workers",
    "images",
    "coco",
    "masks",
}  # what the last three hold is in the plan, not where it lies

Report = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class LeftOutImage:
    path: str
    reason: str


@dataclass(frozen=True)
class ShardSummary:
    """`images` = `samples` + the number `left_out`. `ignored` files are no images by their names. `written`
    tars were made by this run; the others were there. `orientation`: how many images in tars have which by their EXIF,
    1 excepted; in `unoriented` tars, of an earlier version, nobody has looked."""

    out: str
    images: int
    samples: int
    left_out: tuple[LeftOutImage, ...]
    ignored: int
    shards: tuple[ShardEntry, ...]
    written: int
    orientation: dict[str, int]
    unoriented: int


@dataclass(frozen=True)
class PlannedShard:
    """A tar and the images meant for it, with their keys."""

    name: str
    images: list[tuple[str, Item]]

    @property
    def receipt(self) -> str:
        return f"sharding/{self.name.removesuffix('.tar')}.json"


@dataclass(frozen=True)
class Receipt:
    """What a finished tar holds, and what not. `orientation` as in `ShardSummary`; None in receipts of versions that
    did not look."""

    entry: ShardEntry
    left_out: tuple[LeftOutImage, ...]
    orientation: dict[str, int] | None = None


def run_shard(config: ShardConfig, report: Report) -> ShardSummary:
    """Make the tars that are missing, then the list of what was left out and the index.

    `report` hears of "plan" {images, ignored, shards, done}, and after each tar of "shard" {name, samples,
    left_out, bytes}. Raises ValueError if a source is not what it should be, if the output folder holds
    something else, or was made with other settings or from other images.
    """
    out = locate(config.out)
    folder = out.local_path()
    if config.images is not None and folder is not None and folder.resolve() == Path(config.images).resolve():
        raise ValueError(f"out: {config.out} is the folder of images; give another one")
    source = find_images(config)
    name = config.name or _name_of(out)
    shards = plan_shards(config, source, name)
    _agree_on_plan(out, config, source, name)
    receipts = _read_receipts(out, shards)
    missing = [shard for shard in shards if shard.name not in receipts]
    counts = {
        "images": len(source.items),
        "ignored": source.ignored,
        "shards": len(shards),
        "done": len(receipts),
    }
    report("plan", counts)
    for shard, receipt in _make(out, missing, config, source.facts.get("classes", [])):
        noted = dataclasses.replace(receipt, entry=dataclasses.replace(receipt.entry, url=shard.name))
        out.write(shard.receipt, _json(dataclasses.asdict(noted)))
        receipts[shard.name] = receipt
        entry = receipt.entry
        facts = {"samples": entry.nsamples, "left_out": len(receipt.left_out), "bytes": entry.filesize}
        report("shard", {"name": shard.name, **facts})

    entries = [receipts[shard.name].entry for shard in shards]
    left_out = sorted(
        (image for shard in shards for image in receipts[shard.name].left_out), key=lambda each: each.path
    )
    samples = sum(entry.nsamples or 0 for entry in entries)
    assert samples + len(left_out) == len(source.items), "books do not close"
    info = {**source.facts, "images": len(source.items), "left_out": len(left_out)}
    orientation = sum((Counter(receipt.orientation) for receipt in receipts.values()), Counter[str]())
    if orientation:
        info["orientation"] = dict(sorted(orientation.items()))
    _write_if_new(out, LEFT_OUT, _json([dataclasses.asdict(image) for image in left_out]))
    if samples == 0:
        raise ValueError(f"none of the {len(left_out)} images can be used: {out.url}/{LEFT_OUT} says why")
    for path in out.walk():
        if is_temporary(path.rpartition("/")[2]):  # of a run that was killed
            out.delete(path)
    _write_if_new(out, INDEX_NAME, index_bytes(name, info, entries))
    return ShardSummary(
        out.url,
        len(source.items),
        samples,
        tuple(left_out),
        source.ignored,
        tuple(entries),
        len(missing),
        dict(sorted(orientation.items())),
        sum(receipt.orientation is None for receipt in receipts.values()),
    )


def plan_shards(config: ShardConfig, source: Source, name: str) -> list[PlannedShard]:
    """Which image goes to which tar, in which order: known before any image is opened."""
    keys = safe_keys([item.path for item in source.items])
    images = list(zip(keys, source.items, strict=True))
    if config.shuffle:
        images.sort(key=lambda image: hashlib.sha256(f"{config.seed}/{image[0]}".encode()).digest())
    return [
        PlannedShard(f"{name}-{number:06}.tar", images[start : start + config.shard_size])
        for number, start in enumerate(range(0, len(images), config.shard_size))
    ]


def _make(
    out: Location, shards: list[PlannedShard], config: ShardConfig, classes: list[str]
) -> Iterator[tuple[PlannedShard, Receipt]]:
    """Write the tars one after the other, while threads prepare the samples that come next. Decoding is most
    of the work and frees Python's lock."""

    def prepare(image: tuple[str, Item]) -> PackedSample | str:
        """A sample, or why there is none."""
        _, item = image
        try:
            return sample_fields(
                item.path,
                item.load(),
                classes,
                min_side=config.min_side,
                max_pixels=config.max_pixels,
                max_side=config.max_side,
                orientation=config.orientation,
                drawn_on=config.drawn_on,
            )
        except UnusableImage as error:
            return str(error)
        except MemoryError:
            return "not enough memory to read it"

    workers = config.workers or os.cpu_count() or 1
    images = (image for shard in shards for image in shard.images)
    with closing(prefetch(prepare, images, threads=workers, ahead=2 * workers)) as prepared:
        for shard in shards:
            left_out: list[LeftOutImage] = []
            orientation = Counter[str]()
            entry = write_shard(out, shard.name, _usable(shard.images, prepared, left_out, orientation))
            yield shard, Receipt(entry, tuple(left_out), dict(sorted(orientation.items())))


def _usable(
    images: list[tuple[str, Item]],
    prepared: Iterator[PackedSample | str],
    left_out: list[LeftOutImage],
    orientation: Counter[str],
) -> Iterator[tuple[str, dict[str, bytes]]]:
    # `images` first: what `prepared` yields after them belongs to the next tar
    for (key, item), sample in zip(images, prepared, strict=False):
        if isinstance(sample, str):
            left_out.append(LeftOutImage(item.path, reason=sample))
        else:
            if sample.orientation != UPRIGHT:
                orientation[str(sample.orientation)] += 1
            yield key, sample.fields


def _agree_on_plan(out: Location, config: ShardConfig, source: Source, name: str) -> None:
    """Note what is asked for in the output folder, or refuse if something else was asked for there before."""
    listing = hashlib.sha256(_json(source.facts))
    for item in source.items:
        listing.update(f"{item.path}\0{item.stamp}\n".encode("utf-8", "surrogateescape"))
    settings = {**config.model_dump(exclude=NOT_IN_PLAN), "name": name}
    plan = {
        "format": FORMAT,
        **settings,
        "number of images": len(source.items),
        "images": listing.hexdigest()[:16],
    }
    if out.exists(PLAN):
        defaults = {name: field.default for name, field in ShardConfig.model_fields.items() if name in settings}
        before = {**defaults, **json.loads(out.read(PLAN))}  # an earlier version may not have known a setting
        differing = [key for key in sorted({*before, *plan}) if before.get(key) != plan.get(key)]
        if differing:
            what = "; ".join(f"{key}: {before.get(key)!r} then, {plan.get(key)!r} now" for key in differing)
            raise ValueError(
                f"{out.url} was made from other images or with other settings ({what}): "
                "give another --out, or delete this one"
            )
        return
    if tars := [name for name in out.names() if name.endswith(".tar")]:
        raise ValueError(
            f"{out.url} holds tars that were not made by this command, such as {tars[0]}: give another --out"
        )
    out.write(PLAN, _json(plan))


def _read_receipts(out: Location, shards: list[PlannedShard]) -> dict[str, Receipt]:
    """The receipts of the tars that are there, by name."""
    names = {*out.names(), *(f"sharding/{name}" for name in out.names("sharding"))}
    receipts = {}
    for shard in shards:
        if shard.name in names and shard.receipt in names:
            content = json.loads(out.read(shard.receipt))
            entry = ShardEntry(**{**content["entry"], "url": f"{out.url}/{shard.name}"})
            if out.size(shard.name) == entry.filesize:
                left_out = tuple(LeftOutImage(**image) for image in content["left_out"])
                receipts[shard.name] = Receipt(entry, left_out, content.get("orientation"))
    return receipts


def _write_if_new(out: Location, path: str, data: bytes) -> None:
    if not out.exists(path) or out.read(path) != data:
        out.write(path, data)


def _name_of(out: Location) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", out.url.rstrip("/").rpartition("/")[2])


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()
