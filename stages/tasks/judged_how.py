"""What a result says of how it was judged: on what, by which patches, and what a reader has to know of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from stages.comparison.result import way_of_choosing
from stages.samples.ranked import RankSource, StoredRanks
from stages.samples.ranked_now import RankedNow
from stages.samples.scored_by import scorer
from stages.settings.choices import Precision, Select
from stages.tables import SELECTORS
from stages.tasks.models import SavedTask
from stages.tasks.task import Task
from stages.tasks.truths import TruthReader
from storage.shard_checksum import checksum
from storage.shard_index import ShardEntry
from storage.text import counted


def judged_on(shards: Sequence[ShardEntry], source: RankSource) -> dict[str, Any]:
    """What must be the same for two results to be compared."""
    return {"shards.sha256": checksum(shards), "views.crop": source.settings.get("views.crop")}


def judged_how(task: Task, truths: TruthReader) -> dict[str, Any]:
    """What else must be the same; nothing where everything is as it was in the first version."""
    how: dict[str, Any] = {}
    if task.metric_version > 1:
        how["metric.version"] = task.metric_version
    if truths.options.mask_values:
        how["mask_values"] = {str(value): meant for value, meant in truths.options.mask_values}
    moved = {tar: {a: b for a, b in each.numbers.items() if a != b} for tar, each in truths.numbers.items()}
    if any(moved.values()):
        how["classes.moved"] = hashlib.sha256(json.dumps(moved, sort_keys=True).encode()).hexdigest()
    return how


def trained_on(saved: SavedTask, selector: str, select: Select, ratio: float) -> str | None:
    """How patches were chosen in training; None if as they are now."""
    trained = saved.run
    if trained.keep_ratio == 1:
        return None if ratio == 1 else "all patches"
    own = saved.selector if SELECTORS[trained.select].uses_scores else trained.select
    if (own, trained.select, trained.keep_ratio) == (selector, select, ratio):
        return None
    return f"{way_of_choosing(own, trained.select)} at {trained.keep_ratio:g}"


def judging_notes(
    saved: SavedTask, select: Select, trained: str | None, precision: Precision, source: StoredRanks | RankedNow
) -> Iterator[str]:
    version, judged = saved.select_version or 1, SELECTORS[select].version
    if select == saved.run.select and version != judged:
        yield f"trained on patches that version {version} of {select} chose, judged on those of version {judged}"
    if trained is None and saved.scorer and saved.scorer != scorer(source):
        yield "trained on patches that other scores chose than those it is judged on"
    if precision != "fp32":
        yield f"judged in {precision}"
    for key, reason in list(source.skipped.items())[:1]:
        yield f"{counted(len(source.skipped), 'image')} skipped, the first: {key}: {reason}"
