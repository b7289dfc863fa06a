"""What tests of trainings of tasks share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from stages.tasks.batches import TaskBatch


@pytest.fixture(scope="session")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve scenes, beside one that cannot be used, with ranks of two views each."""
    from ranked_tars import write_ranked
    from task_runs import TARS

    folder = tmp_path_factory.mktemp("ranked")
    write_ranked(folder, {**TARS, "c": ["bad", "c1"]}, views=2)
    return folder


@pytest.fixture(scope="session")
def deeper_mae(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two blocks, so that one can be dropped."""
    from random_maes import DEEPER, random_mae

    from stages.density.mae_checkpoints import save_mae

    folder = tmp_path_factory.mktemp("deeper")
    save_mae(random_mae(DEEPER), str(folder), {})
    return folder


@pytest.fixture
def report_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stages.train_task.REPORT_EVERY", 1)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[TaskBatch]:
    """All batches that a model is trained on."""
    from stages.tasks.batches import TaskBatches

    batches, found = TaskBatches.batches, []

    def noting(self: TaskBatches, *args: Any, **kwargs: Any) -> Iterator[TaskBatch]:
        for batch in batches(self, *args, **kwargs):
            found.append(batch)
            yield batch

    monkeypatch.setattr(TaskBatches, "batches", noting)
    return found
