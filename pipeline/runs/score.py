"""Runs `score`."""

from __future__ import annotations

import torch

from pipeline.config import ExecutionConfig
from pipeline.progress.watch import Watch
from pipeline.shard_run import Outcome, absolute, executor_when_needed, run_shards, stored_settings
from stages.density.mae_checkpoints import load_mae
from stages.density.precision import fastest_trusted
from stages.score import ScoreStage, resumed, score_settings
from stages.settings.score import ScoreConfig
from storage.patch_store import PatchStore
from storage.scores import CONTENT
from storage.shard_index import expand_shards
from storage.text import counted


def run_score(config: ScoreConfig, execution: ExecutionConfig, watch: Watch) -> Outcome:
    """Scores what is not scored yet."""
    config = config.model_copy(update={"mae": absolute(config.mae), "out": absolute(config.out)})
    shards = expand_shards(config.shards)
    checkpoint = load_mae(config.mae)
    with executor_when_needed(execution) as executor:
        stored = stored_settings(config.out, CONTENT)
        if stored is None:
            executor()  # before there is a store: nothing is left of a run that cannot begin
        config, precision = resumed(config, stored), config.precision
        if precision == "auto":
            precision = stored["precision"] if stored else fastest_trusted(torch.device(executor().device()))
        store = PatchStore.create_or_open(config.out, CONTENT, score_settings(config, checkpoint, precision))
        watch.say(
            f"{counted(len(shards), 'shard')}, MAE of {checkpoint.config.n_patches} patches ({checkpoint.family}), "
            f"{precision}, {config.masks_for(checkpoint.config.n_patches)} masks for each of "
            f"{counted(config.views, 'view')} → {config.out}"
        )
        return run_shards(ScoreStage(config, precision), store, shards, executor, execution, watch)
