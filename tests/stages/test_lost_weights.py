"""Trained models whose weights are gone, while all else says that they are finished: refused, with what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from glances import gfnet_config, train_gfnet
from ranked_tars import write_tar
from ranker_training import Told, ranker_config, train_in_process
from task_runs import QUARTER, painted, task_config, train_task

from stages.pretrain_mae import PretrainMae, run_pretrain_mae
from stages.settings.pretrain_mae import PretrainMaeConfig
from stages.train_gfnet import TrainGfnet
from stages.train_ranker import TrainRanker
from stages.train_task import TrainTask
from stages.training.processes import SingleProcess
from stages.training.run import TrainingStage, steps_done

HERE = SingleProcess(torch.device("cpu"))
SMALL: dict[str, Any] = {
    **{"image_size": 32, "patch_size": 8, "width": 16, "depth": 1, "heads": 2},
    **{"decoder_width": 16, "decoder_depth": 1, "decoder_heads": 2},
}


def mae(given: Callable[[str], Path]) -> tuple[Callable[[], object], TrainingStage[Any]]:
    shards = [str(given("scene_shards"))]
    config = PretrainMaeConfig(shards=shards, out="out", steps=2, batch_size=4, warmup_steps=1, **SMALL)
    return lambda: run_pretrain_mae(config, HERE, Told()), PretrainMae(config, HERE)


def ranker(given: Callable[[str], Path]) -> tuple[Callable[[], object], TrainingStage[Any]]:
    config = ranker_config(given("scene_shards"), given("scores"), Path("out"), epochs=1, warmup_epochs=0)
    return lambda: train_in_process(config), TrainRanker(config, HERE)


def task(given: Callable[[str], Path]) -> tuple[Callable[[], object], TrainingStage[Any]]:
    config = task_config(given("ranked"), given("small_mae"), Path("out"), epochs=1, warmup_epochs=0)
    train_task(config)
    return lambda: train_task(config), TrainTask(config, QUARTER, HERE)


def gfnet(given: Callable[[str], Path]) -> tuple[Callable[[], object], TrainingStage[Any]]:
    write_tar(Path(), "a", [f"k{number}" for number in range(6)], painted(range(16)))
    config = gfnet_config(Path("tars"), Path("out"), epochs=1)
    train_gfnet(config)
    return lambda: train_gfnet(config), TrainGfnet(config, "finetune", HERE)


@pytest.mark.parametrize(
    ("make", "file"),
    [
        (mae, "out/mae.safetensors"),
        (ranker, "out/ranker.safetensors"),
        (task, "out/topk-0.25-seed0/task.safetensors"),
        (gfnet, "out/gfnet.safetensors"),
    ],
)
def test_a_model_that_lost_its_weights_is_refused_and_trained_anew_as_advised(
    make: Any, file: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    train, stage = make(request.getfixturevalue)
    train()
    weights, description = Path(file), Path(file).with_suffix(".json")
    before = weights.read_bytes()
    weights.unlink()
    missing = rf"{file}: missing: expected .* delete {description.name} to train it anew$"
    with pytest.raises(ValueError, match=missing):
        train()
    with pytest.raises(ValueError, match=missing):  # as a plan does
        steps_done(stage, 1)
    assert not weights.exists()
    description.unlink()
    train()
    assert weights.read_bytes() == before
