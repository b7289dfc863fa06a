"""Runs `rank`."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.config import ExecutionConfig
from pipeline.execution.executor import Executor
from pipeline.progress.watch import Watch
from pipeline.shard_run import Outcome, absolute, executor_when_needed, run_shards, stored_settings
from stages.methods.load_method import load_method
from stages.methods.method import Method
from stages.rank import RankStage, rank_settings
from stages.settings.choices import Precision
from stages.settings.rank import RankConfig
from storage.patch_store import PatchStore
from storage.ranks import CONTENT
from storage.settings import Settings
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
    stored = stored_settings(config.out, CONTENT)
    if stored is None:
        executor()  # before there is a store: nothing is left of a run that cannot begin
    precision = chosen_precision(config, method, stored, lambda: executor().device())
    store = PatchStore.create_or_open(config.out, CONTENT, rank_settings(config, method, precision))
    name = [] if config.method == DEFAULT else [config.method]
    arithmetic = [] if method.width is None else [precision]
    told = [counted(len(shards), "shard"), *name, method.described, *arithmetic, counted(config.views, "view")]
    watch.say(f"{', '.join(told)} → {config.out}")
    return run_shards(RankStage(config, precision), store, shards, executor, execution, watch)


def chosen_precision(
    config: RankConfig, method: Method, stored: Settings | None, device: Callable[[], str] = lambda: "cpu"
) -> Precision:
    """Where nobody asks for one, that of the store that there is; without any, the one that suits the `device`."""
    if config.precision != "auto":
        return config.precision
    if method.width is None:
        return "fp32"
    if stored is None:
        return "fp16" if device() == "cuda" else "fp32"
    return stored.get("precision") or "fp32"  # of another program's, or of a method without a network: refused anyway
