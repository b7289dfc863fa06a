"""OUT/sharding/NAME-000000.json: that a tar is finished, what it holds and what not.

A tar counts as finished if it has a receipt and the receipt's size. Its bytes are read, to compare their checksum, if
that is asked for, and if the tar was written after its receipt.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, NonNegativeInt, ValidationError

from stages.images.decoding import UnusableImage
from stages.sharding.mask_colours import MaskColour
from stages.sharding.plan import PlannedShard
from stages.sources.files import UNREADABLE
from stages.sources.source import Item
from storage.json_files import json_object
from storage.locations import Location
from storage.shard_index import ShardEntry
from storage.text import counted
from storage.wrong_fields import first_wrong_field

CHUNK = 1 << 20
NO_MEMORY = "not enough memory to read it"


@dataclass(frozen=True)
class LeftOutImage:
    path: str
    reason: str


@dataclass(frozen=True)
class Receipt:
    """What a finished tar holds, and what not. `skipped_objects` counts wrong annotations of its images, which tars of
    earlier versions hold; `orientation` how many of its images have which orientation by their EXIF, 1 excepted, and is
    None where an earlier version did not look; `mask_colours` are those of masks with palettes, none where an earlier
    version did not look."""

    entry: ShardEntry
    left_out: tuple[LeftOutImage, ...]
    skipped_objects: int = 0
    orientation: dict[str, int] | None = None
    mask_colours: tuple[MaskColour, ...] = ()


class _Entry(BaseModel):
    model_config = ConfigDict(strict=True)

    url: str
    nsamples: NonNegativeInt
    filesize: NonNegativeInt
    md5sum: str = Field(pattern="^[0-9a-f]{32}$")


class _LeftOut(BaseModel):
    path: InstanceOf[str]  # names that are not UTF-8 are no `str` to pydantic
    reason: InstanceOf[str]


class _MaskColour(BaseModel):
    model_config = ConfigDict(strict=True)

    value: NonNegativeInt
    colour: str = Field(pattern="^#[0-9a-f]{6}$")
    masks: NonNegativeInt
    first: InstanceOf[str]


class _Receipt(BaseModel):
    model_config = ConfigDict(strict=True)

    entry: _Entry
    left_out: list[_LeftOut]
    skipped_objects: NonNegativeInt = 0
    orientation: dict[str, NonNegativeInt] | None = None
    mask_colours: list[_MaskColour] = []


def write_receipt(out: Location, shard: PlannedShard, receipt: Receipt) -> None:
    """Notes that the tar is finished."""
    noted = replace(receipt, entry=replace(receipt.entry, url=shard.name))
    content = asdict(noted)
    if not receipt.skipped_objects:
        del content["skipped_objects"]
    if receipt.orientation is None:
        del content["orientation"]
    if not receipt.mask_colours:
        del content["mask_colours"]
    out.write(shard.receipt, (json.dumps(content, indent=1, sort_keys=True) + "\n").encode())


def read_receipts(
    out: Location, shards: Sequence[PlannedShard], *, verify: bool, report: Callable[[str, bool], None]
) -> dict[str, Receipt]:
    """The receipts of the tars that are finished, by name; `report` hears of each tar whose bytes were compared, and
    whether they are what they were.

    To `verify` reads every tar. Then one that lacks images which could not be read and can be now, one that holds wrong
    objects, and one whose receipt is damaged (otherwise a ValueError naming it) are not finished either.
    """
    names = {*out.names(), *(f"sharding/{name}" for name in out.names("sharding"))}
    receipts = {}
    for shard in shards:
        if shard.name not in names or shard.receipt not in names:
            continue
        try:
            receipt = _read(out, shard)
        except ValueError as error:
            if verify:
                continue
            raise ValueError(f"{error}; delete this file, and its tar is made again") from None
        if out.size(shard.name) != receipt.entry.filesize:
            continue
        written_later = _was_written_later(out, shard)
        if verify or written_later:
            whole = _md5(out, shard.name) == receipt.entry.md5sum
            report(shard.name, whole)
            if not whole or (verify and _would_differ(shard, receipt)):
                continue
            if written_later:
                write_receipt(out, shard, receipt)  # so that it is not read each time
        receipts[shard.name] = receipt
    return receipts


def _read(out: Location, shard: PlannedShard) -> Receipt:
    url = f"{out.url}/{shard.receipt}"
    try:
        found = _Receipt.model_validate(json_object(out.read(shard.receipt), url))
    except ValidationError as error:
        raise ValueError(f"{url}: not the receipt of a tar: {first_wrong_field(error)}") from None
    planned = {item.path for _, item in shard.images}
    if found.entry.url != shard.name:
        raise ValueError(f"{url}: expected the receipt of {shard.name}, got that of {found.entry.url!a}")
    samples, left_out = found.entry.nsamples, [LeftOutImage(each.path, each.reason) for each in found.left_out]
    if samples + len(left_out) != len(planned) or not planned.issuperset(each.path for each in left_out):
        raise ValueError(
            f"{url}: sample counts do not add up: expected {counted(len(planned), 'image')}, got "
            f"{counted(samples, 'sample')} and {counted(len(left_out), 'image')} skipped"
        )
    entry = ShardEntry(f"{out.url}/{shard.name}", samples, found.entry.filesize, found.entry.md5sum)
    colours = tuple(MaskColour(**dict(each)) for each in found.mask_colours)
    return Receipt(entry, tuple(left_out), found.skipped_objects, found.orientation, colours)


def _was_written_later(out: Location, shard: PlannedShard) -> bool:
    """Than its receipt, as far as a local disk tells; an object store is not asked."""
    tar, receipt = out.local_path(shard.name), out.local_path(shard.receipt)
    return tar is not None and receipt is not None and tar.stat().st_mtime_ns > receipt.stat().st_mtime_ns


def _md5(out: Location, name: str) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with out.open(name) as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _would_differ(shard: PlannedShard, receipt: Receipt) -> bool:
    """Whether it would hold more images or fewer objects, were it made now."""
    if receipt.skipped_objects != shard.skipped_objects:
        return True
    unreadable = {each.path for each in receipt.left_out if UNREADABLE in each.reason or each.reason == NO_MEMORY}
    return any(item.path in unreadable and _is_readable(item) for _, item in shard.images)


def _is_readable(item: Item) -> bool:
    try:
        item.load()
    except UnusableImage:
        return False
    return True
