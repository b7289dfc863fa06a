"""Stage `shard`: images → webdataset tars with an index.

- OUT/NAME-000000.tar ...: the samples (stages.sources.sample_fields)
- OUT/index.json, written last: name, count, size and checksum of each tar (storage.shard_index)
- OUT/left_out.json: every image that is in no tar, with the reason
- OUT/skipped_objects.json, where there are any: every wrong annotation of an object, with the reason
- OUT/sharding/: what was asked for (stages.sharding.plan), the receipt of each finished tar
  (stages.sharding.receipts), and the lock of the run under way (storage.driver_lock)

Which image goes to which tar is decided by the listing alone, before any is opened: an image that cannot be
used makes its tar smaller and changes no other. So a tar depends on nothing but its images and the settings,
and can be made again, byte for byte, after any interruption and with any number of workers.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from stages.settings.shard import ShardConfig
from stages.sharding.mask_colours import note_differing_colours
from stages.sharding.plan import PlannedShard, plan_shards, refuse_other_plan, write_plan
from stages.sharding.receipts import LeftOutImage, Receipt, read_receipts, write_receipt
from stages.sharding.tars import make_tars
from stages.sources.sample_fields import PackedSample, sample_fields
from stages.sources.source import Item, SkippedObject, Source
from stages.sources.table import find_images
from stages.sources.wording import some_of
from stages.tabular import Tabular
from storage.driver_lock import DriverLock
from storage.locations import Location, is_temporary, locate
from storage.shard_index import INDEX_NAME, ShardEntry, index_bytes
from storage.text import counted, printable
from storage.training_folder import remove_empty_folders

LEFT_OUT = "left_out.json"
SKIPPED_OBJECTS = "skipped_objects.json"
NOT_IN_PLAN = {"out", "workers", "images", "coco", "masks", "csv", "voc"}
"""What the last five hold is in the plan, not where it lies."""

Report = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True, repr=False)
class ShardSummary(Tabular):
    """`images` = `samples` + the number `left_out`. `ignored` files are no images by their names. `written`
    tars were made by this run; the others were there. `notes` are lines for people: what the source is, and what is odd
    about it. `orientation`: how many images in tars have which by their EXIF, 1 excepted; in `unoriented` tars, of an
    earlier version, nobody has looked."""

    out: str
    images: int
    samples: int
    left_out: tuple[LeftOutImage, ...]
    ignored: int
    shards: tuple[ShardEntry, ...]
    written: int
    orientation: dict[str, int]
    unoriented: int
    notes: tuple[str, ...] = ()
    skipped_objects: tuple[SkippedObject, ...] = ()

    def lines(self) -> list[str]:
        tars, skipped = counted(len(self.shards), "tar"), counted(len(self.left_out), "image")
        return [
            f"{self.samples} of {counted(self.images, 'image')} in {tars} ({self.written} new) in {self.out}; "
            f"{skipped} skipped."
        ]

    def rows(self) -> list[dict[str, Any]]:
        """A row for each tar, as the index has it."""
        return [asdict(shard) for shard in self.shards]


@dataclass(frozen=True)
class ShardPlan:
    """What there is to pack, and how much of it is packed."""

    tars: int
    tars_done: int
    images_to_pack: int
    notes: tuple[str, ...]


def plan_shard(config: ShardConfig) -> ShardPlan:
    """Writes nothing. Raises ValueError as `run_shard`, before any image is opened."""
    out = locate(config.out)
    source, shards, settings, defaults = _planned(config)
    begun = refuse_other_plan(out, source, settings, defaults)
    done = read_receipts(out, shards, verify=False, report=lambda name, whole: None) if begun else {}
    to_pack = sum(len(shard.images) for shard in shards if shard.name not in done)
    return ShardPlan(len(shards), len(done), to_pack, tuple(source.notes))


def _planned(config: ShardConfig) -> tuple[Source, list[PlannedShard], dict[str, Any], dict[str, Any]]:
    """The source, which of its images goes to which tar, and the settings that decide it, as they are and by
    default."""
    out = locate(config.out)
    folder = out.local_path()
    if config.images is not None and folder and os.path.realpath(folder) == os.path.realpath(config.images):
        raise ValueError(f"out: {config.out} is the folder of images; give another one")
    source = find_images(config.model_dump())
    name = config.name or _name_of(out)
    shards = plan_shards(source, name, shard_size=config.shard_size, shuffle=config.shuffle, seed=config.seed)
    settings = {**config.model_dump(exclude=NOT_IN_PLAN), "name": name}
    return source, shards, settings, {name: field.default for name, field in ShardConfig.model_fields.items()}


def run_shard(config: ShardConfig, report: Report, *, verify: bool = False) -> ShardSummary:
    """Make the tars that are missing, then the list of what was skipped and the index. To `verify` reads the tars that
    are there, and makes again what is not as it was written.

    `report` hears of "plan" {images, ignored, shards, done, notes}, after each tar whose bytes were compared of
    "verified" {name, whole}, after each tar that was made of "shard" {name, samples, left_out, bytes}, and at the end,
    if there is something odd about what the tars hold, of "notes" {notes}. Raises ValueError if a source is not what it
    should be, if the output folder holds something else, was made with other settings or from other images, or is
    another run's at this moment.
    """
    out = locate(config.out)
    source, shards, settings, defaults = _planned(config)
    classes = source.facts.get("classes", [])

    def pack(item: Item) -> PackedSample:
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

    with ExitStack() as stack:
        stack.callback(remove_empty_folders, out.child("sharding/books"))
        lock = DriverLock(out.child("sharding"))
        begun = refuse_other_plan(out, source, settings, defaults)
        is_finished = begun and not verify and out.exists(INDEX_NAME)  # as far as can be told without a receipt
        if not is_finished:
            stack.enter_context(lock)
            if not refuse_other_plan(out, source, settings, defaults):
                write_plan(out, source, settings)
        receipts = read_receipts(
            out, shards, verify=verify, report=lambda name, whole: report("verified", {"name": name, "whole": whole})
        )
        missing = [shard for shard in shards if shard.name not in receipts]
        if missing and is_finished:
            stack.enter_context(lock)
        notes = (*source.notes, *_note_wrong_objects(shards, receipts))
        counts = {"images": len(source.items), "ignored": source.ignored, "shards": len(shards)}
        report("plan", {**counts, "done": len(receipts), "notes": notes})
        for shard, receipt in make_tars(out, missing, pack, config.workers or os.cpu_count() or 1):
            if lock.lost:
                raise ConnectionError(f"{out.url}: another run took over; this one stops")
            write_receipt(out, shard, receipt)
            receipts[shard.name] = receipt
            entry = receipt.entry
            facts = {"samples": entry.nsamples, "left_out": len(receipt.left_out), "bytes": entry.filesize}
            report("shard", {"name": shard.name, **facts})

        entries = [receipts[shard.name].entry for shard in shards]
        left_out = sorted(
            (image for shard in shards for image in receipts[shard.name].left_out), key=lambda each: each.path
        )
        samples = sum(entry.nsamples or 0 for entry in entries)
        assert samples + len(left_out) == len(source.items), "sample counts do not add up"
        info = {**source.facts, "images": len(source.items), "left_out": len(left_out)}
        orientation = sum((Counter(receipt.orientation) for receipt in receipts.values()), Counter[str]())
        if orientation:
            info["orientation"] = dict(sorted(orientation.items()))
        _write_if_new(out, LEFT_OUT, _json([asdict(image) for image in left_out]))
        if source.skipped_objects:
            _write_if_new(out, SKIPPED_OBJECTS, _json([asdict(each) for each in source.skipped_objects]))
        if samples == 0:
            raise ValueError(
                f"none of the {counted(len(left_out), 'image')} can be used: {out.url}/{LEFT_OUT} says why; "
                f"{printable(left_out[0].path)}: {left_out[0].reason}"
            )
        for path in out.walk() if missing or not is_finished else []:
            if is_temporary(path.rpartition("/")[2]):  # of a run that was killed
                out.delete(path)
        _write_if_new(out, INDEX_NAME, index_bytes(settings["name"], info, entries))
    if odd := note_differing_colours(each for shard in shards for each in receipts[shard.name].mask_colours):
        report("notes", {"notes": odd})
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
        (*notes, *odd),
        source.skipped_objects,
    )


def _note_wrong_objects(shards: list[PlannedShard], receipts: dict[str, Receipt]) -> list[str]:
    """Of tars that an earlier version made: later stages refuse wrong objects, and count repeated ones."""
    older = [
        shard.name
        for shard in shards
        if shard.name in receipts and receipts[shard.name].skipped_objects != shard.skipped_objects
    ]
    if not older:
        return []
    tars = counted(len(older), "tar of an earlier version holds", "tars of an earlier version hold")
    return [f"{tars} objects that are skipped now; --verify makes them again: {some_of(older)}"]


def _write_if_new(out: Location, path: str, data: bytes) -> None:
    if not out.exists(path) or out.read(path) != data:
        out.write(path, data)


def _name_of(out: Location) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", out.url.rstrip("/").rpartition("/")[2])


def _json(content: Any) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()
