"""What is left to pack."""

from __future__ import annotations

import os

from pipeline.planning.place_of_work import PlaceOfWork
from pipeline.planning.plan import Part, Plan
from stages.settings.shard import ShardConfig
from stages.shard import plan_shard
from storage.text import counted


def plan_tars(config: ShardConfig) -> Plan:
    """Raises ValueError as `stages.shard.plan_shard`."""
    found = plan_shard(config)
    place = PlaceOfWork("in-process", None, 1, "cpu")
    threads = f"images are prepared in {counted(config.workers or os.cpu_count() or 1, 'thread')}"
    part = Part("shard", config.out, "tars", found.tars, found.tars_done, found.images_to_pack)
    return Plan("shard", place, (part,), (*found.notes, threads))
