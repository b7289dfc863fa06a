"""Which image goes to which tar, and what was asked for when a folder of tars was begun.

OUT/sharding/plan.json notes the latter, so that running again continues this and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stages.sources.sample_keys import safe_keys
from stages.sources.source import Item, Source
from storage.json_files import read_json_object
from storage.locations import Location
from storage.recognition import refuse_mixing

PLAN = "sharding/plan.json"
FORMAT = 1  # of tars and plan: to be raised when the same settings make other tars


@dataclass(frozen=True)
class PlannedShard:
    """A tar and the images meant for it, with their keys."""

    name: str
    images: list[tuple[str, Item]]

    @property
    def receipt(self) -> str:
        """Where `stages.sharding.receipts` notes that it is finished."""
        return f"sharding/{self.name.removesuffix('.tar')}.json"

    @property
    def skipped_objects(self) -> int:
        """Wrong annotations of its images."""
        return sum(item.skipped_objects for _, item in self.images)


def plan_shards(source: Source, name: str, *, shard_size: int, shuffle: bool, seed: int) -> list[PlannedShard]:
    """Which image goes to which tar, in which order: known before any image is opened."""
    keys = safe_keys([item.path for item in source.items])
    images = list(zip(keys, source.items, strict=True))
    if shuffle:
        images.sort(key=lambda image: hashlib.sha256(f"{seed}/{image[0]}".encode()).digest())
    return [
        PlannedShard(f"{name}-{number:06}.tar", images[start : start + shard_size])
        for number, start in enumerate(range(0, len(images), shard_size))
    ]


def refuse_other_plan(out: Location, source: Source, settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> bool:
    """Whether the folder was begun before, with these settings and images. Writes nothing.

    A plan of an earlier version lacks the settings that there were not yet, which then had their `defaults`. Raises
    ValueError if the folder was begun otherwise, holds tars of others or something else, or has a plan that is none.
    """
    if not out.exists(PLAN):
        if tars := [name for name in out.names() if name.endswith(".tar")]:
            raise ValueError(
                f"{out.url} holds tars that were not made by this command, such as {tars[0]}: give another --out"
            )
        refuse_mixing(out)
        return False
    plan = _plan(source, settings)
    try:
        before = read_json_object(out, PLAN)
    except ValueError as error:
        raise ValueError(f"{error}; it says what the tars there were made of: give another --out") from None
    before = {**{key: value for key, value in defaults.items() if key in plan}, **before}
    differing = [key for key in sorted({*before, *plan}) if before.get(key) != plan.get(key)]
    if differing:
        what = "; ".join(f"{key}: {before.get(key)!r} then, {plan.get(key)!r} now" for key in differing)
        raise ValueError(
            f"{out.url} was made from other images or with other settings ({what}): "
            "give another --out, or delete this one"
        )
    return True


def write_plan(out: Location, source: Source, settings: Mapping[str, Any]) -> None:
    """Notes what is asked for."""
    out.write(PLAN, (json.dumps(_plan(source, settings), indent=1, sort_keys=True) + "\n").encode())


def _plan(source: Source, settings: Mapping[str, Any]) -> dict[str, Any]:
    listing = hashlib.sha256((json.dumps(source.facts, indent=1, sort_keys=True) + "\n").encode())
    for item in source.items:
        listing.update(f"{item.path}\0{item.stamp}\n".encode("utf-8", "surrogateescape"))
    return {
        "format": FORMAT,
        **settings,
        "number of images": len(source.items),
        "images": listing.hexdigest()[:16],
    }
