"""The commands: one table, one thin file each. What a command runs lies in `pipeline.runs`, imported when it does."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Row:
    """A command, which stands in the module of its name in `pipeline.commands` (or in `module`)."""

    help: str
    config: str | None = None
    """MODULE:CLASS of its settings, if it is a stage: they make its options, and a section of pipeline.yaml."""
    execution: str | None = None
    """The section that says where it runs."""
    run: str | None = None
    """MODULE:FUNCTION of the settings and, if there is one, that section; skips what is done, returns an exit
    status."""
    module: str | None = None


COMMANDS = {
    "shard": Row(
        "Pack images into webdataset tars with an index.",
        "stages.settings.shard:ShardConfig",
        run="pipeline.runs.shard:run_shard_command",
    ),
    "pretrain-mae": Row(
        "Train a masked autoencoder on shards.",
        "stages.settings.pretrain_mae:PretrainMaeConfig",
        "training_execution",
        "pipeline.runs.pretrain_mae:run_pretrain_mae_command",
    ),
    "score": Row(
        "Score every patch of every image with a frozen MAE (stage one).",
        "stages.settings.score:ScoreConfig",
        "execution",
        "pipeline.runs.score:run_score",
    ),
    "train-ranker": Row(
        "Train a model that ranks patches from cached scores (stage two).",
        "stages.settings.train_ranker:TrainRankerConfig",
        "training_execution",
        "pipeline.runs.train_ranker:run_train_ranker_command",
    ),
    "evaluate-ranker": Row(
        "Say how good a ranker is, and how good it could be.",
        "stages.settings.evaluate_ranker:EvaluateRankerConfig",
        run="pipeline.runs.evaluate_ranker:run_evaluate_ranker_command",
    ),
    "rank": Row(
        "Rank every patch of every image with a trained ranker.",
        "stages.settings.rank:RankConfig",
        "execution",
        "pipeline.runs.rank:run_rank",
    ),
    "show": Row("Draw what a ranker sees in images."),
    "coverage": Row(
        "Say how much of each category the kept patches cover.",
        "stages.settings.coverage:CoverageConfig",
        run="pipeline.runs.coverage:run_coverage_command",
    ),
    "train-task": Row(
        "Train downstream models on kept patches, at several keep ratios.",
        "stages.settings.train_task:TrainTaskConfig",
        "training_execution",
        "pipeline.runs.train_task:run_train_task_command",
    ),
    "evaluate-task": Row(
        "Say how good a downstream model is on kept patches, and what it costs.",
        "stages.settings.evaluate_task:EvaluateTaskConfig",
        run="pipeline.runs.evaluate_task:run_evaluate_task_command",
    ),
    "compare": Row("Put the results of tasks into tables and plots."),
    "export": Row("Write a ranker as a program that runs without this project."),
    "run": Row("Run the stages that a pipeline.yaml has sections for."),
    "demo": Row("Run everything on built-in scenes."),
    "status": Row("Say what is done, running, failed and missing in a store."),
    "verify": Row("Prove that a store is whole, or say what is damaged."),
}
"""In the order of the flow."""
