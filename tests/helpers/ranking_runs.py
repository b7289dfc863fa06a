"""Running `rank` in tests: one line from shards to a store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.config import ExecutionConfig
from pipeline.execution.executor import Executor, InProcessExecutor
from pipeline.shard_run import Outcome, run_shards
from stages.methods.load_method import load_method
from stages.rank import RankStage, rank_settings
from stages.settings.rank import RankConfig
from storage.patch_store import PatchStore
from storage.ranks import CONTENT
from storage.shard_index import expand_shards


def rank_config(shards: Path, ranker: Path | None, out: Path, **settings: Any) -> RankConfig:
    """`ranker` is None for other methods."""
    ranker_ = None if ranker is None else str(ranker)
    return RankConfig(shards=[str(shards)], ranker=ranker_, out=str(out), **{"precision": "fp32", **settings})


def rank_in_process(
    config: RankConfig, executor: Executor | None = None, **execution: Any
) -> tuple[PatchStore, Outcome]:
    """What the `rank` command does, in this process if no `executor` is given."""
    assert config.precision != "auto"
    settings = rank_settings(config, load_method(config.method, config), config.precision)
    store = PatchStore.create_or_open(config.out, CONTENT, settings)
    workers = executor or InProcessExecutor("cpu", threads=1)
    stage = RankStage(config, config.precision)
    return store, run_shards(stage, store, expand_shards(config.shards), lambda: workers, ExecutionConfig(**execution))
