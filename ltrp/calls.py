"""The stages as functions: thin callers of what the commands call, `pipeline.runs`.

What takes long to import is imported with the call.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ltrp.arguments import plain_item, takes_settings_of
from ltrp.watching import Callback, watch_of
from pipeline.config import ExecutionConfig, TrainingExecutionConfig
from pipeline.progress.watch import Watch, counting
from stages.settings.coverage import CoverageConfig
from stages.settings.evaluate_ranker import EvaluateRankerConfig
from stages.settings.evaluate_task import EvaluateTaskConfig
from stages.settings.export_scores import ExportScoresConfig
from stages.settings.pretrain_mae import PretrainMaeConfig
from stages.settings.rank import RankConfig
from stages.settings.score import ScoreConfig
from stages.settings.shard import ShardConfig
from stages.settings.train_ranker import TrainRankerConfig
from stages.settings.train_task import TrainTaskConfig

if TYPE_CHECKING:
    from pipeline.shard_run import Outcome
    from stages.comparison.compared import Compared
    from stages.comparison.result import TaskResult
    from stages.export_scores import ExportSummary
    from stages.pretrain_mae import PretrainMaeSummary
    from stages.ranking.evaluation import Evaluation
    from stages.shard import ShardSummary
    from stages.train_ranker import TrainRankerSummary


class ShardsFailed(ValueError):  # noqa: N818
    """Some shards failed, or not one of their samples can be used; the others are in the store, and the same call goes
    on with what is missing."""

    def __init__(self, outcome: Outcome) -> None:
        empty = [f"not one sample of them can be used, so that {outcome.out} holds nothing"] if outcome.is_empty else []
        super().__init__("\n".join([*outcome.lines(), *empty]))
        self.outcome = outcome


@takes_settings_of(ShardConfig)
def shard(config: ShardConfig, watch: Watch) -> ShardSummary:
    """Packs images into webdataset tars with an index; makes what is missing."""
    from pipeline.runs.shard import run_shard

    return run_shard(config, watch)


@takes_settings_of(PretrainMaeConfig, TrainingExecutionConfig)
def pretrain_mae(config: PretrainMaeConfig, execution: TrainingExecutionConfig, watch: Watch) -> PretrainMaeSummary:
    """Trains a masked autoencoder on shards, or goes on with it."""
    from pipeline.runs.pretrain_mae import run_pretrain_mae

    return run_pretrain_mae(config, execution, watch)


@takes_settings_of(ScoreConfig, ExecutionConfig)
def score(config: ScoreConfig, execution: ExecutionConfig, watch: Watch) -> Outcome:
    """Scores every patch of every image with a frozen MAE, but for what is scored.

    In this process, unless `executor` is "ray". Raises ShardsFailed if any shard fails.
    """
    from pipeline.runs.score import run_score

    return _whole(run_score(config, execution, watch))


@takes_settings_of(TrainRankerConfig, TrainingExecutionConfig)
def train_ranker(config: TrainRankerConfig, execution: TrainingExecutionConfig, watch: Watch) -> TrainRankerSummary:
    """Trains a ranker from cached scores, or goes on with it."""
    from pipeline.runs.train_ranker import run_train_ranker

    return run_train_ranker(config, execution, watch)


@takes_settings_of(EvaluateRankerConfig)
def evaluate_ranker(config: EvaluateRankerConfig, watch: Watch) -> Evaluation:
    """Says how good a ranker is on images that it has not seen, and how good it could be."""
    from pipeline.runs.evaluate_ranker import run_evaluate_ranker

    return run_evaluate_ranker(config, watch)


@takes_settings_of(RankConfig, ExecutionConfig)
def rank(config: RankConfig, execution: ExecutionConfig, watch: Watch) -> Outcome:
    """Ranks every patch of every image, but for what is ranked.

    In this process, unless `executor` is "ray". Raises ShardsFailed if any shard fails.
    """
    from pipeline.runs.rank import run_rank

    return _whole(run_rank(config, execution, watch))


@takes_settings_of(CoverageConfig)
def coverage(config: CoverageConfig, watch: Watch) -> Compared:
    """Says how much of each category the kept patches cover."""
    from pipeline.runs.coverage import run_coverage

    return run_coverage(config, watch)


@takes_settings_of(TrainTaskConfig, TrainingExecutionConfig)
def train_task(config: TrainTaskConfig, execution: TrainingExecutionConfig, watch: Watch) -> Compared:
    """Trains downstream models on kept patches and, with `eval_shards`, judges and compares them."""
    from pipeline.runs.train_task import run_train_task

    return run_train_task(config, execution, watch)


@takes_settings_of(EvaluateTaskConfig)
def evaluate_task(config: EvaluateTaskConfig, watch: Watch) -> TaskResult:
    """Says how good a downstream model is on kept patches, and what it costs."""
    from pipeline.runs.evaluate_task import run_evaluate_task

    return run_evaluate_task(config, watch)


def export_scores(
    store: str | os.PathLike[str],
    *,
    to: str,
    out: str | os.PathLike[str],
    shards: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = (),
    keep_ratio: float | None = None,
    progress: bool = True,
    callback: Callback = None,
) -> ExportSummary:
    """Writes the scores or ranks of a store as "parquet", "csv", "npz", "coco" or "fiftyone", shard by shard. `shards`
    are the store's tars, for "coco" and "fiftyone", if they have moved."""
    from stages.export_scores import export_scores as run

    tars = [os.fspath(each) for each in ([shards] if isinstance(shards, str | os.PathLike) else shards)]
    ratio = plain_item(keep_ratio)
    config = ExportScoresConfig(store=os.fspath(store), to=to, out=os.fspath(out), shards=tars, keep_ratio=ratio)
    with watch_of(progress, callback).display("export-scores", "images") as display:
        return run(config, counting(display))


def _whole(outcome: Outcome) -> Outcome:
    if outcome.failures or outcome.is_empty:
        raise ShardsFailed(outcome)
    return outcome
