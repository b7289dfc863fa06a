"""What stages that work shard by shard ask of a store: access before they compute, and what is committed already."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from ranking_runs import rank_config, rank_in_process
from scoring import score_config, score_in_process
from unreliable_s3 import UnreliableS3, always

from stages.rank import RankStage
from stages.score import ScoreStage
from stages.stage import Receipt, ShardStage
from storage.patch_store import PatchStore
from storage.shard_index import expand_shards


def finished(kind: str, shards: Path, mae: Path, ranker: Path, out: Any) -> tuple[PatchStore, ShardStage]:
    """A store with all shards, and the stage that made it, not yet set up."""
    if kind == "score":
        scoring = score_config(shards, mae, out)
        return score_in_process(scoring)[0], ScoreStage(scoring, "fp32")
    ranking = rank_config(shards, ranker, out)
    return rank_in_process(ranking)[0], RankStage(ranking, "fp32")


@pytest.mark.parametrize("kind", ["score", "rank"])
def test_what_is_committed_has_the_receipt_that_it_had_and_what_is_not_has_none(
    kind: str, scene_shards: Path, small_mae: Path, small_ranker: Path, tmp_path: Path
) -> None:
    store, stage = finished(kind, scene_shards, small_mae, small_ranker, tmp_path / "store")
    stage.setup("cpu", 1)
    first, second, *_ = expand_shards([str(scene_shards)])
    (receipt,) = [told for told in stage.process(first) if isinstance(told, Receipt)]
    assert stage.committed(first) == receipt == Receipt(first.name, 4, 4, {})
    store.books.mark_damaged(first.name, ["a flipped bit"])
    assert stage.committed(first) is None
    store.place.delete(f"books/records/{second.name}.json")
    assert stage.committed(second) is None


@pytest.mark.parametrize("kind", ["score", "rank"])
def test_a_worker_that_may_not_write_says_so_before_it_computes(
    kind: str, scene_shards: Path, small_mae: Path, small_ranker: Path, s3_bucket: str, faulty_s3: UnreliableS3
) -> None:
    out = f"{s3_bucket}/{uuid.uuid4().hex}"
    _, stage = finished(kind, scene_shards, small_mae, small_ranker, out)
    faulty_s3.fault = always("denied", "PUT")
    with pytest.raises(OSError, match=rf"{out}/books: cannot write, read and delete .*access denied \(403"):
        stage.setup("cpu", 1)
