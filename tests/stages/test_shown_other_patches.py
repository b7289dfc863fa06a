"""Models that are judged on other patches than they were trained on: what results and comparisons call them."""

from __future__ import annotations

from pathlib import Path

from task_runs import judge, task_config, train_task

from stages.comparison.comparison import Spread, compare
from stages.tasks.runs import TaskRun
from storage.locations import locate

HALF = TaskRun("topk", 0.5, 0)


def test_a_model_of_all_patches_that_is_shown_some_is_a_line_of_its_own_and_no_longer_the_full_one(
    ranked: Path, small_mae: Path, tmp_path: Path
) -> None:
    full, half = TaskRun("full", 1.0, 0), HALF
    for run in (full, half):
        train_task(task_config(ranked, small_mae, tmp_path, epochs=1, batch_size=12), run)
    judged = {
        "full": judge(ranked, tmp_path / full.name),
        "shown some": judge(ranked, tmp_path / full.name, select="topk", keep_ratio=0.5, selector="mine"),
        "shown others": judge(ranked, tmp_path / full.name, select="random", keep_ratio=0.5),
        "as trained": judge(ranked, tmp_path / half.name),
        "shown all": judge(ranked, tmp_path / half.name, select="full"),
    }
    for name, result in judged.items():
        locate(tmp_path / name).write("result.json", result.encode())
    (found,) = compare([str(tmp_path / name) for name in judged]).values()
    assert list(found.points) == [
        "full",
        "full (trained on ltrp topk at 0.5)",
        "ltrp topk",
        "mine topk (trained on all patches)",
        "random (trained on all patches)",
    ]
    assert found.full is not None
    top_1 = judged["full"].metrics["top-1"]
    assert top_1 is not None
    assert found.full.metrics["top-1"] == Spread(top_1, None, 1)


def test_scores_are_called_as_asked_and_what_needs_none_by_itself(
    ranked: Path, small_mae: Path, tmp_path: Path
) -> None:
    train_task(task_config(ranked, small_mae, tmp_path, epochs=1, batch_size=12), HALF)
    model = tmp_path / HALF.name
    assert judge(ranked, model).line == "ltrp topk"
    assert judge(ranked, model, selector="theirs").line == "theirs topk (trained on ltrp topk at 0.5)"
    assert judge(ranked, model, selector="theirs", select="random").selector == "random"
