"""What is left to train."""

from __future__ import annotations

from typing import Any

import torch

from pipeline.config import TrainingExecutionConfig
from pipeline.planning.place_of_work import PlaceOfWork, place_of_training
from pipeline.planning.plan import Part, Plan
from stages.glancing.learning import STEPS
from stages.pretrain_mae import PretrainMae
from stages.settings.pretrain_mae import PretrainMaeConfig
from stages.settings.train_gfnet import TrainGfnetConfig
from stages.settings.train_ranker import TrainRankerConfig
from stages.settings.train_task import TrainTaskConfig
from stages.tasks.runs import plan_runs
from stages.train_gfnet import TrainGfnet
from stages.train_ranker import TrainRanker
from stages.train_task import TrainTask
from stages.training.processes import SingleProcess
from stages.training.run import TrainingStage, steps_done


def plan_mae(config: PretrainMaeConfig, execution: TrainingExecutionConfig) -> Plan:
    """Raises ValueError as `pretrain-mae` does before it trains."""
    place = place_of_training(execution)
    return Plan("pretrain-mae", place, (_part("MAE", PretrainMae(config, _processes(place))),))


def plan_ranker(config: TrainRankerConfig, execution: TrainingExecutionConfig) -> Plan:
    """Looks through all scores, as the training does first. Raises as `train-ranker` does before it trains."""
    place = place_of_training(execution)
    return Plan("train-ranker", place, (_part("ranker", TrainRanker(config, _processes(place))),))


def plan_task(config: TrainTaskConfig, execution: TrainingExecutionConfig) -> Plan:
    """A part for each model. Reads no truths: what is wrong with these shows when the training begins."""
    place = place_of_training(execution)
    runs = plan_runs(config.select, config.keep_ratio, config.seeds)
    parts = [_part(run.name, TrainTask(config, run, _processes(place), planned=True)) for run in runs]
    notes = ["operations are those of the model alone"] if config.ranker or config.teacher else []
    if config.eval_shards:
        notes.append("each model is judged on the evaluation shards when it is trained")
    return Plan("train-task", place, tuple(parts), tuple(notes))


def plan_gfnet(config: TrainGfnetConfig, execution: TrainingExecutionConfig) -> Plan:
    """A part for each of its steps."""
    place = place_of_training(execution)
    parts = []
    for step in STEPS:
        stage = TrainGfnet(config, step, _processes(place), planned=True)
        parts.append(_part(step, stage, is_next=stage.is_next))
    return Plan("train-gfnet", place, tuple(parts))


def _processes(place: PlaceOfWork) -> SingleProcess:
    """As many as there will be, on such a device; for a cluster it is taken to be this machine's."""
    from stages.compute.devices import resolve_device

    return SingleProcess(torch.device(resolve_device(place.device)), count=place.workers or 1)


def _part(name: str, stage: TrainingStage[Any], *, is_next: bool = True) -> Part:
    outlook = stage.outlook()
    recipe = outlook.recipe
    done = steps_done(stage, recipe.steps) if is_next else 0
    return Part(
        name=name,
        out=stage.place.url,
        unit="steps",
        total=recipe.steps,
        done=done,
        samples=(recipe.steps - done) * recipe.batch_size,
        sample_flops=outlook.image_flops,
    )
