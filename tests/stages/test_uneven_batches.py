"""Where samples are skipped, micro-batches and processes have unequal parts of an update: each sample counts alike."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import pytest
import torch
from ranker_training import ranker_config, train_in_process, weights_of
from torch import Tensor, nn

from stages.ranking.lists import RankerLists
from stages.samples.scored import ScoredSample
from stages.training.loop import Training, TrainingReport
from stages.training.recipe import Recipe

Batch = tuple[Tensor, Tensor]
SKIPPED = ("000000", "000005", "000006")


def by_size(batches: Sequence[Batch]) -> list[float]:
    return [sum(len(x) for x, _ in batches) / len(own) for own, _ in batches]


def trained(batches: list[Batch]) -> tuple[nn.Module, list[TrainingReport]]:
    """By a few updates, each on all of `batches`."""
    torch.manual_seed(0)
    model, reports = nn.Linear(4, 1), list[TrainingReport]()

    def errors(batch: Batch) -> dict[str, Tensor]:
        return {"loss": (model(batch[0]) - batch[1]).square().mean()}

    recipe = Recipe(steps=5, batch_size=8, base_learning_rate=0.3, warmup_steps=1, accumulate=len(batches))
    stream = (batch for several in repeat(batches) for batch in several)
    Training(model, errors, recipe, divisors=by_size).run(
        stream, report=reports.append, report_every=1, save=lambda *_: None, save_every=99
    )
    return model, reports


def test_parts_of_other_sizes_make_the_same_update_and_tell_the_same_loss() -> None:
    x = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    y = x.sum(dim=1, keepdim=True)
    whole, whole_reports = trained([(x, y)])
    parts, reports = trained([(x[:5], y[:5]), (x[5:6], y[5:6]), (x[6:], y[6:])])
    torch.testing.assert_close(parts.state_dict(), whole.state_dict())
    assert [each.loss for each in reports] == pytest.approx([each.loss for each in whole_reports])


def test_images_that_cannot_be_used_count_nowhere_however_updates_are_divided(
    scene_shards: Path, scores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare, refused = RankerLists._prepare, set[str]()

    def refusing(self: RankerLists, sample: ScoredSample, epoch: int) -> Any:
        if sample.key.endswith(SKIPPED):
            refused.add(sample.key)
            raise ValueError("not this one")
        return prepare(self, sample, epoch)

    monkeypatch.setattr(RankerLists, "_prepare", refusing)
    settings: dict[str, Any] = {"batch_size": 4, "epochs": 6}
    one = train_in_process(ranker_config(scene_shards, scores, tmp_path / "one", **settings))
    two = train_in_process(ranker_config(scene_shards, scores, tmp_path / "two", accumulate=2, **settings))
    assert refused
    losses = [[report.loss for report in told.reports()] for told in (one, two)]
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    torch.testing.assert_close(weights_of(tmp_path / "two"), weights_of(tmp_path / "one"), rtol=1e-3, atol=1e-4)
