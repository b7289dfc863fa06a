"""Runs `rank`."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.config import ExecutionConfig
from pipeline.execution.executor import Executor
from pipeline.progress.watch import Watch
from pipeline.shard_run import Outcome, absolute, executor_when_needed, run_shards, stored_settings
from stages.methods.load_method import load_method
from stages.rank import RankStage, rank_settings
from stages.settings.rank import RankConfig
from storage.patch_store import PatchStore
from storage.ranks import CONTENT
from storage.shard_index import expand_shards
from storage.text import counted

DEFAULT = RankConfig.model_fields["method"].default


def run_rank(config: RankConfig, execution: ExecutionConfig, watch: Watch) -> Outcome:
    """Ranks what is not ranked yet."""
    with executor_when_needed(execution) as executor:
        return rank_shards(config, execution, executor, watch)


def rank_shards(
    config: RankConfig, execution: ExecutionConfig, executor: Callable[[], Executor], watch: Watch
) -> Outcome:
    """The same, on an executor that starts when it is needed."""
    places = {name: getattr(config, name) for name in ("ranker", "model", "scores", "out")}
    config = config.model_copy(update={name: absolute(path) for name, path in places.items() if path is not None})
    shards = expand_shards(config.shards)
    method = load_method(config.method, config)
    method.check_shards(shards)
    precision, stored = config.precision, stored_settings(config.out, CONTENT)
    if stored is None:
        executor()  # before there is a store: nothing is left of a run that cannot begin
    if precision == "auto":
        if method.width is None:
            precision = "fp32"
        elif stored:
            precision = stored["precision"]
        else:
            precision = "fp16" if executor().device() == "cuda" else "fp32"
    store = PatchStore.create_or_open(config.out, CONTENT, rank_settings(config, method, precision))
    name = [] if config.method == DEFAULT else [config.method]
    arithmetic = [] if method.width is None else [precision]
    told = [counted(len(shards), "shard"), *name, method.described, *arithmetic, counted(config.views, "view")]
    watch.say(f"{', '.join(told)} → {config.out}")
    return run_shards(RankStage(config, precision), store, shards, executor, execution, watch)
