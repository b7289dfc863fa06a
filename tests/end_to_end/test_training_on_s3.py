"""A training that is killed goes on from its checkpoints in a bucket, to the same weights bit for bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from trainings_in_buckets import ALONE, SETTINGS, train, train_until_killed, upload, weights_in

from storage.locations import Location


@pytest.mark.parametrize("command", SETTINGS)
def test_a_training_that_is_killed_goes_on_from_the_bucket_to_the_same_weights(
    command: str, s3_folder: Location, scene_shards: Path, scores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data = {"shards": upload(scene_shards, s3_folder.child("tars"))}
    if command == "train-ranker":
        data["scores"] = upload(scores, s3_folder.child("scores"))
    alone, killed = s3_folder.child("alone"), s3_folder.child("killed")
    train(command, alone, **data, **ALONE)
    train_until_killed(2, command, killed, **data)
    assert killed.names("checkpoints")
    assert "resuming after step 4 of" in train(command, killed, **data, **ALONE)
    assert killed.names("checkpoints") == []
    undisturbed, resumed = weights_in(alone), weights_in(killed)
    assert undisturbed.keys() == resumed.keys()
    assert all(torch.equal(weight, resumed[name]) for name, weight in undisturbed.items())
