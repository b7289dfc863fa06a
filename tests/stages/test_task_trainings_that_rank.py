"""`train-task --ranker`: patches are ranked as views come, without a store."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from ranking_runs import rank_config, rank_in_process
from small_models import write_ranker
from task_runs import QUARTER, judge, summary_of, task_config, train_task

from ranker import PatchRanker
from stages.compute.flops import count_flops
from stages.settings.train_task import TrainTaskConfig
from stages.tasks.runs import TaskRun
from stages.tasks.selector_cost import selector_cost
from stages.tasks.throughput import ModelSpeed
from stages.train_task import prepare_task

pytestmark = pytest.mark.usefixtures("report_each_step")


EVERYTHING: dict[str, Any] = {
    "auto_augment": "rand-m9-mstd0.5-inc1",
    "color_jitter": 0.3,
    "random_erasing": 0.5,
    "mixup": 0.8,
    "cutmix": 1.0,
    "ema_decay": 0.9,
    "drop_path": 0.5,
}


def ranked_now(ranked: Path, mae: Path, by: Path, out: Path, **settings: Any) -> TrainTaskConfig:
    """Without a store."""
    return task_config(ranked, mae, out, **{"ranks": None, "ranker": str(by), **settings})


@pytest.mark.parametrize(
    ("task", "settings"),
    [("classify", EVERYTHING), ("segment", {"image_size": 64, "ema_decay": 0.9})],
    ids=["classify", "segment"],
)
def test_a_training_that_ranks_as_it_goes_is_interrupted_and_goes_on_as_if_it_had_not_been(
    task: str, settings: dict[str, Any], ranked: Path, deeper_mae: Path, small_ranker: Path, tmp_path: Path
) -> None:
    run = TaskRun("topk", 0.5, 3)
    settings = {"task": task, **settings}
    whole = train_task(ranked_now(ranked, deeper_mae, small_ranker, tmp_path / "whole", **settings), run)
    config = ranked_now(ranked, deeper_mae, small_ranker, tmp_path / "parts", **settings)
    with pytest.raises(KeyboardInterrupt):
        train_task(config, run, 3)
    second = train_task(config, run)
    curve = {report.step: report.loss for report in whole.reports()}
    assert all(report.loss == curve[report.step] for report in second.reports())
    assert summary_of(second).started_at == 3
    weights = f"{run.name}/task.safetensors"
    assert (tmp_path / "parts" / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()
    assert set(summary_of(whole).left_out) == {"bad"}


def test_a_model_is_judged_by_a_ranker_as_on_what_that_ranker_stores(
    ranked: Path, small_mae: Path, small_ranker: Path, tmp_path: Path
) -> None:
    rank_in_process(rank_config(ranked / "tars", small_ranker, tmp_path / "ranks"))
    train_task(ranked_now(ranked, small_mae, small_ranker, tmp_path / "out"))
    model = tmp_path / "out" / QUARTER.name
    for select in ("topk", "random"):
        stored = judge(ranked, model, ranks=str(tmp_path / "ranks"), select=select)
        now = judge(ranked, model, ranks=None, ranker=str(small_ranker), select=select)
        assert now.metrics == stored.metrics
        assert (
            (now.images, now.selector, now.kept)
            == (stored.images, stored.selector, stored.kept)
            == (
                12,
                {"topk": "ltrp", "random": "random"}[select],
                4,
            )
        )
        assert now.judged_on["views.crop"] == stored.judged_on["views.crop"] == 0.875
        (note,) = now.notes
        assert note.startswith("1 image skipped, the first: bad: not an image")
    assert judge(ranked, model, ranks=None, ranker=str(small_ranker), crop=0.5).judged_on["views.crop"] == 0.5


def test_what_a_ranker_costs_is_paid_at_its_own_resolution(
    ranked: Path, small_mae: Path, small_ranker: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def cost(source: Any, *_: Any, **__: Any) -> tuple[float, float]:
        asked.append(source)
        return 1.0, 1.0

    monkeypatch.setattr("stages.evaluate_task.selector_cost", cost)
    monkeypatch.setattr("stages.evaluate_task.measure", lambda *_, **__: ModelSpeed(*[1.0] * 6))
    train_task(ranked_now(ranked, small_mae, small_ranker, tmp_path / "out", image_size=64))
    judge(ranked, tmp_path / "out" / QUARTER.name, ranks=None, ranker=str(small_ranker), throughput=True)
    assert asked[0].settings["ranker.image_size"] == 32
    flops, _ = selector_cost(asked[0], lambda: None, "cpu", "fp32", batch_size=1, seconds=0.0)
    assert flops == count_flops(PatchRanker.from_pretrained(small_ranker).network, torch.zeros(1, 3, 32, 32))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ranker": None}, "ranks: expected --ranks, or --ranker to rank views as they come; got neither"),
        ({"ranks": "store"}, "ranker: expected none with --ranks store, got"),
        ({"control": "geometry"}, "control: expected 'none' with --ranker"),
        (
            {"image_size": 66},
            "image_size: expected a multiple of 4, for the 4 x 4 patches that .* has scores of, got 66",
        ),
        (
            {"auto_augment": "autumn"},
            "auto_augment: expected 'none' or a RandAugment as timm names it, .* got 'autumn'",
        ),
        (
            {"task": "segment", "random_erasing": 0.2},
            "random_erasing: expected 0 for segment, whose truth lies somewhere",
        ),
        ({"task": "detect", "cutmix": 1.0}, "cutmix: expected 0 for detect, whose truth cannot be mixed, got 1"),
        ({"task": "segment", "auto_augment": "rand-m9"}, "auto_augment: expected none for segment, whose truth lies"),
    ],
    ids=str,
)
def test_what_cannot_be_ranked_or_augmented_is_refused_before_anything_is_read(
    settings: dict[str, Any], message: str, ranked: Path, small_mae: Path, small_ranker: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        prepare_task(ranked_now(ranked, small_mae, small_ranker, tmp_path, **settings), print)
    assert not list(tmp_path.iterdir())


def test_settings_of_trainings_on_stores_name_nothing_of_those_that_rank_as_they_go(
    ranked: Path, small_mae: Path, small_ranker: Path, tmp_path: Path
) -> None:
    later = {*EVERYTHING, "min_scale", "ranker.weights", "ranker.precision"} - {"mixup", "drop_path"}
    for name, make in (("store", task_config), ("now", partial(ranked_now, by=small_ranker))):
        with pytest.raises(KeyboardInterrupt):
            train_task(make(ranked, small_mae, out=tmp_path / name), stop_at=1)
    stored, now = (
        json.loads((tmp_path / name / QUARTER.name / "training.json").read_text()) for name in ("store", "now")
    )
    assert not later & stored.keys()
    assert (now["views"], now["min_scale"]) == ("fresh", 0.2)
    assert {"ranker.weights", "ranker.precision"} <= now.keys()
    assert not {"scores", "views.crop"} & now.keys()
    other = write_ranker(tmp_path / "other", seed=1)
    with pytest.raises(ValueError, match=r"ranker\.weights: '.*' in the folder, '.*' now"):
        train_task(ranked_now(ranked, small_mae, other, tmp_path / "now"))
