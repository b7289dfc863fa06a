"""A ranker beside the numbers that give its own a meaning."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from stages.images.normalisation import normalise
from stages.ranking.comparators import colour_contrast, gradient_energy, position_scores, random_scores
from stages.ranking.evaluation_images import EvaluationBatch
from stages.ranking.mask_agreement import halves
from stages.ranking.quality import Estimate, ceiling, estimate, quality
from stages.report import Curves, Report
from storage.patch_store import Settings

RANKER = "ranker"
CEILING = "other masks"
SELECTED_BY = "in mask: kendall"
"""The metric by which the best weights are chosen."""


class Comparison:
    """Qualities of several scorings of the same images, gathered batch by batch."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, list[np.ndarray]]] = defaultdict(lambda: defaultdict(list))

    def add(self, scoring: str, found: dict[str, np.ndarray]) -> None:
        """`found`: metric → a value for each image."""
        for metric, values in found.items():
            self._values[scoring][metric].append(values)

    def estimates(self) -> dict[str, dict[str, Estimate]]:
        """Scoring → metric → mean with its interval, where an image says anything."""
        return self._all_estimates({scoring: self._joined(scoring) for scoring in self._values})

    def advantages(self, scoring: str) -> dict[str, dict[str, Estimate]]:
        """By how much `scoring` is better than each other one, image by image."""
        own = self._joined(scoring)
        others = {other: self._joined(other) for other in self._values if other != scoring}
        return self._all_estimates(
            {
                other: {metric: own[metric] - values for metric, values in found.items()}
                for other, found in others.items()
            }
        )

    def _joined(self, scoring: str) -> dict[str, np.ndarray]:
        return {metric: np.concatenate(values) for metric, values in self._values[scoring].items()}

    def _all_estimates(self, found: dict[str, dict[str, np.ndarray]]) -> dict[str, dict[str, Estimate]]:
        estimated = {
            scoring: {metric: each for metric, values in metrics.items() if (each := estimate(values)).n}
            for scoring, metrics in found.items()
        }
        return {scoring: metrics for scoring, metrics in estimated.items() if metrics}


def add_comparators(
    comparison: Comparison,
    batch: EvaluationBatch,
    settings: Settings,
    *,
    position_prior: Sequence[float] | None,
    top: float,
    seed: int,
) -> None:
    """Random order, position prior, gradient energy, colour contrast and the noise ceiling, on one batch of a store
    with `settings`."""
    n_patches, patch_size = settings["patches"], settings["mae.patch_size"]
    scorings = {"random": random_scores(seed, batch.keys, n_patches)}
    if position_prior is not None:
        scorings["position prior"] = position_scores(position_prior, len(batch.keys))
    scorings["gradient energy"] = gradient_energy(batch.images, patch_size)
    scorings["colour contrast"] = colour_contrast(batch.images, patch_size)
    for name, dense in scorings.items():
        comparison.add(name, quality(dense, batch.densities, top))
    comparison.add(CEILING, ceiling(batch.densities, halves(settings), top))


@torch.inference_mode()
def rank_images(model: nn.Module, images: Tensor, device: torch.device) -> Tensor:
    """uint8 images (B, 3, S, S) → scores of whole images (B, L), on the CPU. Leaves the model in evaluation mode."""
    scores: Tensor = model.eval()(normalise(images.to(device))).double().cpu()
    return scores


@dataclasses.dataclass(frozen=True)
class ValidationReport(Report):
    """How good a ranker is after `step` of `steps`, on images that it was not trained on."""

    event: ClassVar[str | None] = "validation"
    epoch: int
    step: int
    steps: int
    qualities: dict[str, dict[str, Estimate]]
    """Scoring → metric → mean over images. The comparators' stand beside the ranker's."""
    is_best: bool = False

    @property
    def selected_by(self) -> float:
        return self.qualities[RANKER][SELECTED_BY].mean

    @property
    def line(self) -> str:
        means = {name: found[SELECTED_BY].mean for name, found in self.qualities.items() if SELECTED_BY in found}
        own = f"{means.pop(RANKER):.3f}"
        beside = ", ".join(f"{name} {mean:.3f}" for name, mean in means.items())
        best = ", the best so far" if self.is_best else ""
        return f"epoch {self.epoch}: Kendall's tau inside held-out masks {own}{best} ({beside})"

    @property
    def curves(self) -> Curves:
        values = {
            f"{scoring}/{metric}": each.mean
            for scoring, found in self.qualities.items()
            for metric, each in found.items()
        }
        return Curves(self.step, values)


class RankerValidation:
    """Validation images in memory, on which the comparators are looked at once and the ranker again and again."""

    def __init__(
        self,
        batches: Sequence[EvaluationBatch],
        settings: Settings,
        *,
        position_prior: Sequence[float],
        top: float,
        seed: int,
    ) -> None:
        self._batches = batches
        self._top = top
        comparison = Comparison()
        for batch in batches:
            add_comparators(comparison, batch, settings, position_prior=position_prior, top=top, seed=seed)
        self._comparators = comparison.estimates()

    def report(self, model: nn.Module, device: torch.device, *, epoch: int, step: int, steps: int) -> ValidationReport:
        """Raises ValueError when the ranker gives no numbers, or all patches the same."""
        comparison = Comparison()
        for batch in self._batches:
            scores = rank_images(model, batch.images, device)
            if not scores.isfinite().all():
                raise ValueError(f"the ranker's scores of {batch.keys[0]} or its neighbours are infinite or NaN")
            comparison.add(RANKER, quality(scores, batch.densities, self._top))
        found = comparison.estimates()
        if SELECTED_BY not in found.get(RANKER, {}):
            raise ValueError(f"the ranker gives all patches of each image the same score at step {step}")
        return ValidationReport(epoch, step, steps, {**found, **self._comparators})
