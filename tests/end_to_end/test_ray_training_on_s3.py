"""Two workers of Ray Train with everything in a bucket: checkpoints are written there, and gone on from."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dying_workers
import pytest
import ray.cloudpickle
import torch
from dying_workers import second_worker_dies
from trainings_in_buckets import ALONE, TWO, train, train_until_killed, upload, weights_in

from stages.settings.pretrain_mae import PretrainMaeConfig
from stages.training.processes import Processes
from storage.locations import Location, locate

# Workers cannot import these files: their functions travel as they are.
for module in (sys.modules[__name__], dying_workers):
    ray.cloudpickle.register_pickle_by_value(module)

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pipeline.yaml here."""
    monkeypatch.chdir(tmp_path)


def test_a_worker_that_dies_costs_steps_since_the_checkpoint_in_the_bucket_and_not_one_bit(
    s3_folder: Location, scene_shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = upload(scene_shards, s3_folder.child("tars"))
    two, disturbed = s3_folder.child("two"), s3_folder.child("disturbed")
    train("pretrain-mae", two, shards=shards, **TWO)
    monkeypatch.setattr("pipeline.runs.pretrain_mae.train", dying_once)
    assert "resuming after step 4 of 6" in train("pretrain-mae", disturbed, shards=shards, **TWO)
    assert disturbed.exists("died")
    for place in (two, disturbed):
        assert place.names("checkpoints") == []
        assert place.names("ray-train") == [], "Ray Train's own notes are gone"
    torch.testing.assert_close(weights_in(disturbed), weights_in(two), rtol=0, atol=0)


def dying_once(config: PretrainMaeConfig, processes: Processes, tell: Callable[[Any], None]) -> None:
    """The second worker dies in its sixth batch, as if it had been killed."""
    from stages.density.mae_batches import MaeBatches
    from stages.pretrain_mae import run_pretrain_mae

    with second_worker_dies(MaeBatches, 5, processes, lambda: bool(locate(config.out).create("died", b""))):
        run_pretrain_mae(config, processes, tell)


def test_two_workers_go_on_from_the_bucket_where_one_was_killed(
    s3_folder: Location, scene_shards: Path, scores: Path
) -> None:
    data = {
        "shards": upload(scene_shards, s3_folder.child("tars")),
        "scores": upload(scores, s3_folder.child("scores")),
    }
    alone, changing = s3_folder.child("alone"), s3_folder.child("changing")
    train("train-ranker", alone, **data, **ALONE)
    train_until_killed(2, "train-ranker", changing, **data)
    assert "resuming after step 4 of" in train("train-ranker", changing, **data, **TWO)
    assert changing.names("checkpoints") == []
    torch.testing.assert_close(weights_in(changing), weights_in(alone), rtol=1e-3, atol=1e-4)  # other sums, rounded
