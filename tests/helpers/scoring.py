"""Running `score` in tests: one line from shards to a store, and comparing stores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.config import ExecutionConfig
from pipeline.execution.executor import InProcessExecutor
from pipeline.progress.event_file import EVENTS_FILE
from pipeline.shard_run import Outcome, run_shards
from stages.density.mae_checkpoints import load_mae
from stages.score import ScoreStage, score_settings
from stages.settings.score import ScoreConfig
from storage.patch_store import PatchStore
from storage.scores import CONTENT
from storage.shard_index import expand_shards


def score_config(shards: Path, mae: Path, out: Path, **settings: Any) -> ScoreConfig:
    """Two rounds of masks that show a quarter of the patches."""
    given = {"mask_ratio": 0.75, "precision": "fp32", **settings}
    return ScoreConfig(shards=[str(shards)], mae=str(mae), out=str(out), **given)


def score_in_process(config: ScoreConfig, **execution: Any) -> tuple[PatchStore, Outcome]:
    """What the `score` command does, in this process."""
    assert config.precision != "auto"
    checkpoint = load_mae(config.mae)
    store = PatchStore.create_or_open(config.out, CONTENT, score_settings(config, checkpoint, config.precision))
    stage = ScoreStage(config, config.precision)
    settings = ExecutionConfig(executor="in-process", **execution)
    executor = InProcessExecutor("cpu", threads=1)
    return store, run_shards(stage, store, expand_shards(config.shards), lambda: executor, settings)


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below `folder` but what tells of runs, with its bytes: equal for stores that are the same bit for
    bit."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != EVENTS_FILE]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
