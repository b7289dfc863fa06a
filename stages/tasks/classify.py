"""`classify`: the one class of an image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from stages.compute.autocast import full_precision
from stages.images.views import View
from stages.tasks.encoders.distillation import distillation_losses
from stages.tasks.kept_patches import KeptPatchEncoder
from stages.tasks.task import Classes, Targets, TaskModel, TaskOptions, listed_names, stack

if TYPE_CHECKING:
    from storage.shard_files import Sample


class Classify:
    """Field `cls` of a sample: the number of its class."""

    needs = "cls"
    metric_names: tuple[str, ...] = ("top-1", "top-5")
    judges: Literal["which", "presence", "places"] = "which"
    nothing = "no class"
    metric_version = 1
    mixes = True

    def class_names(self, info: Mapping[str, Any]) -> dict[int, str]:
        return listed_names(info, "classes")

    def read_truth(self, sample: Sample, options: TaskOptions) -> int:
        if "cls" not in sample.fields:
            raise ValueError(f"expected a class in the field cls, the sample holds {', '.join(sorted(sample.fields))}")
        text = sample.fields["cls"].decode("ascii", "backslashreplace").strip()
        if not text.isdecimal():
            raise ValueError(f"cls: expected the number of a class, got {text[:40]!r}")
        return int(text)

    def renumber(self, truth: int, number: Callable[[int], int]) -> int:
        return number(truth)

    def ids(self, truth: int) -> set[int]:
        return {truth}

    def shown(self, truth: int, view: View | None, size: int) -> set[int]:
        return {truth}

    def pixels(self, truth: int) -> Counter[int]:
        return Counter()

    def targets(self, truth: int, classes: Classes, view: View, size: int) -> dict[str, np.ndarray]:
        one_hot = np.zeros(len(classes), np.float32)
        one_hot[classes.index(truth)] = 1
        return {"classes": one_hot}

    def collate(self, targets: Sequence[dict[str, np.ndarray]]) -> Targets:
        return stack(targets)

    def model(self, encoder: KeptPatchEncoder, classes: Classes, options: TaskOptions) -> TaskModel:
        loss = partial(cross_entropy, label_smoothing=options.label_smoothing)
        return Classifier(encoder, len(classes), loss, options.head_std)

    def metric(self, classes: Classes, options: TaskOptions) -> TopAccuracy:
        return TopAccuracy(classes)


class Classifier(TaskModel):
    """A norm and a linear layer on the mean of the kept patches' tokens, or on CLS where the encoder wants it. As MAE's
    fine-tuning has it (He et al., 2022), if the encoder has no norm of its own behind its last block."""

    def __init__(
        self,
        encoder: KeptPatchEncoder,
        n_classes: int,
        loss: Callable[[Tensor, Tensor], Tensor],
        head_std: float = 0.02,
    ) -> None:
        """`loss`: of logits (B, C) and the targets "classes" (B, C); `head_std`: of the head's first weights."""
        super().__init__()
        self.encoder = encoder
        self.norm = nn.LayerNorm(encoder.width, eps=1e-6)
        self.head = nn.Linear(encoder.width, n_classes)
        nn.init.trunc_normal_(self.head.weight, std=head_std)
        nn.init.zeros_(self.head.bias)
        self.loss = loss

    def forward(self, images: Tensor, kept: Tensor, targets: Targets | None = None) -> Any:
        """Predictions are logits (B, C)."""
        if targets is None:
            cls, tokens = self.encoder(images, kept)
            with full_precision(images.device):
                return self.logits(cls.float(), tokens.float())
        encoded = self.encoder.encode(images, kept)
        logits = self.logits(encoded.cls, encoded.tokens)
        loss = self.loss(logits, targets["classes"])
        losses = {**encoded.losses, **distillation_losses(logits, encoded, targets)}
        return {"loss": loss + sum(losses.values()), "classes": loss, **losses} if losses else {"loss": loss}

    def logits(self, cls: Tensor, tokens: Tensor) -> Tensor:
        """Of CLS (B, D) and tokens (B, T, D): (B, C)."""
        read = cls if self.encoder.reads == "cls" else tokens.mean(dim=1)
        logits: Tensor = self.head(self.norm(read))
        return logits


class TopAccuracy:
    """The share of images whose class is the likeliest, or among the five likeliest; of five classes or fewer it always
    is among these, which is no number to tell."""

    def __init__(self, classes: Classes) -> None:
        self._classes = classes
        self._label: list[int] = []
        self._place: list[int] = []  # of the true class among the likeliest, from 0

    def update(self, predictions: Tensor, truths: Sequence[int], views: Sequence[View]) -> None:
        label = torch.tensor([self._classes.index(truth) for truth in truths])
        own = predictions.gather(1, label[:, None])
        self._label += label.tolist()
        # Of equal logits the true one counts as the last, so that a constant answer is never right.
        self._place += ((predictions >= own).sum(dim=1) - 1).tolist()

    def compute(self, among: Collection[int] | None = None) -> dict[str, float]:
        places = [
            place for label, place in zip(self._label, self._place, strict=True) if among is None or label in among
        ]
        if not places:
            return {"top-1": np.nan, "top-5": np.nan}
        return {
            f"top-{n}": sum(place < n for place in places) / len(places) if n < len(self._classes) else np.nan
            for n in (1, 5)
        }

    def by_class(self) -> dict[int, float]:
        return {index: self.compute({index})["top-1"] for index in sorted(set(self._label))}
