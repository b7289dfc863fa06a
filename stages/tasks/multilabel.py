"""`multilabel`: all categories that occur in an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from stages.images.views import View
from stages.tasks.asymmetric_loss import asymmetric_loss
from stages.tasks.classify import Classifier
from stages.tasks.kept_patches import KeptPatchEncoder
from stages.tasks.objects import category_names, read_categories
from stages.tasks.task import Classes, Targets, TaskModel, TaskOptions, stack
from storage.shard_files import Sample


class Multilabel:
    """Field `json` of a sample: its categories. Those of the whole image, also where a crop cuts some off, as is usual
    for COCO."""

    needs = "json with categories or objects"
    metric_names: tuple[str, ...] = ("mAP", "F1")
    judges: Literal["which", "presence", "places"] = "presence"
    nothing = "no category"
    metric_version = 2
    """1 ranked sigmoids."""
    mixes = True

    def class_names(self, info: Mapping[str, Any]) -> dict[int, str]:
        return category_names(info)

    def read_truth(self, sample: Sample, options: TaskOptions) -> frozenset[int]:
        return read_categories(sample)

    def renumber(self, truth: frozenset[int], number: Callable[[int], int]) -> frozenset[int]:
        return frozenset(map(number, truth))

    def ids(self, truth: frozenset[int]) -> set[int]:
        return set(truth)

    def shown(self, truth: frozenset[int], view: View | None, size: int) -> set[int]:
        return set(truth)

    def pixels(self, truth: frozenset[int]) -> Counter[int]:
        return Counter()

    def targets(self, truth: frozenset[int], classes: Classes, view: View, size: int) -> dict[str, np.ndarray]:
        return {"classes": _of_classes(truth, classes).astype(np.float32)}

    def collate(self, targets: Sequence[dict[str, np.ndarray]]) -> Targets:
        return stack(targets)

    def model(self, encoder: KeptPatchEncoder, classes: Classes, options: TaskOptions) -> TaskModel:
        return Classifier(encoder, len(classes), LOSSES[options.multilabel_loss], options.head_std)

    def metric(self, classes: Classes, options: TaskOptions) -> AveragePrecision:
        return AveragePrecision(classes)


def binary_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """(B, C) and (B, C) → scalar: sum over classes, mean over images, as the asymmetric loss."""
    return binary_cross_entropy_with_logits(logits.float(), targets, reduction="sum") / len(logits)


LOSSES = {"asymmetric": asymmetric_loss, "bce": binary_cross_entropy}
"""By `TaskOptions.multilabel_loss`."""


class AveragePrecision:
    """mAP: the mean of the classes' average precision, of those that occur. F1: of all answers above 0.5, counted over
    images and classes together."""

    def __init__(self, classes: Classes) -> None:
        self._classes = classes
        self._logits: list[Tensor] = []
        self._present: list[np.ndarray] = []

    def update(self, predictions: Tensor, truths: Sequence[frozenset[int]], views: Sequence[View]) -> None:
        self._logits.append(predictions.double())
        self._present += [_of_classes(truth, self._classes) for truth in truths]

    def compute(self, among: Collection[int] | None = None) -> dict[str, float]:
        chosen = sorted(range(len(self._classes)) if among is None else among)
        precision = [value for index, value in self.by_class().items() if index in chosen]
        if not precision:
            return {"mAP": np.nan, "F1": np.nan}
        present, said = np.stack(self._present)[:, chosen], (torch.cat(self._logits)[:, chosen] > 0).numpy()
        return {
            "mAP": float(np.mean(precision)),
            "F1": float(2 * (present & said).sum() / (present.sum() + said.sum())),
        }

    def by_class(self) -> dict[int, float]:
        if not self._logits:
            return {}
        logits, present = torch.cat(self._logits), torch.from_numpy(np.stack(self._present))
        return {
            index: average_precision(logits[:, index], present[:, index])
            for index in present.any(dim=0).nonzero()[:, 0].tolist()
        }


def average_precision(logits: Tensor, present: Tensor) -> float:
    """(N,) and (N,) bool → over recall, with the images of equal logits taken together."""
    # It imports metrics of all kinds, which takes as long as importing PyTorch.
    from torchmetrics.functional.classification import binary_average_precision

    # The places among all logits stand for these: torchmetrics would take the sigmoid, which is 1 from 37 up.
    _, places = torch.unique(logits, return_inverse=True)
    return float(binary_average_precision(places.double() / len(places), present.long()))


def _of_classes(truth: Collection[int], classes: Classes) -> np.ndarray:
    """(C,) bool"""
    present = np.zeros(len(classes), bool)
    present[[classes.index(id_) for id_ in truth]] = True
    return present
