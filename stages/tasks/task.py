"""What a downstream task is: the truth that it reads from a sample, its model, and how that is judged.

Each task stands in a file of this folder, and in a line of `stages.tables`.

Shapes: B images of S x S pixels, L patches of which k are kept, C classes.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from stages.images.views import View
from stages.tasks.kept_patches import KeptPatchEncoder

if TYPE_CHECKING:
    from storage.shard_files import Sample

IGNORED = 255
"""Of masks and their targets: pixels that count nowhere."""
Truth = Any
"""What a task knows of an image, in its own terms."""
Targets = dict[str, Tensor]
"""Of a batch, by name, each with a first dimension of B."""


@dataclasses.dataclass(frozen=True)
class Classes:
    """The classes (or categories) of a task: `ids` as they stand in the tars, ascending; index c of the model means
    `ids[c]`."""

    ids: tuple[int, ...]
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labels(self) -> tuple[str, ...]:
        """The names, with the id behind those that several have: no two are the same."""
        labels = self.names
        while len(set(labels)) < len(labels):
            counts = Counter(labels)
            labels = tuple(
                f"{label} ({id_})" if counts[label] > 1 else label for id_, label in zip(self.ids, labels, strict=True)
            )
        return labels

    def index(self, id_: int) -> int:
        """Raises ValueError for an id that is not among them."""
        try:
            return self.ids.index(id_)
        except ValueError:
            raise ValueError(
                f"class {id_}: expected one of {len(self.ids)}, from {self.ids[0]} to {self.ids[-1]}"
            ) from None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskOptions:
    """What only some tasks look at."""

    image_size: int
    label_smoothing: float = 0.0
    multilabel_loss: Literal["asymmetric", "bce"] = "asymmetric"
    ignore_classes: tuple[int, ...] = ()
    """Of masks: pixels that count nowhere."""
    mask_values: tuple[tuple[int, int], ...] = ()
    """Values of masks, and those that they mean."""
    head_std: float = 0.02
    """Of a linear head's first weights."""


class TaskModel(nn.Module):
    """An encoder of kept patches under the head of a task."""

    encoder: KeptPatchEncoder

    def forward(self, images: Tensor, kept: Tensor, targets: Targets | None = None) -> Any:
        """Normalised images (B, 3, S, S) and the indices (B, k) int64 of the patches that are kept.

        With `targets` a scalar "loss" and any other scalars to report, by name; without, the predictions that
        the task's `Metric` takes.
        """
        raise NotImplementedError


class Metric(Protocol):
    """Gathers predictions on evaluation views, and judges them."""

    def update(self, predictions: Any, truths: Sequence[Truth], views: Sequence[View]) -> None:
        """Of one batch, on the CPU; `views` are what the model saw of each image, never mirrored."""

    def compute(self, among: Collection[int] | None = None) -> dict[str, float]:
        """Each metric by name over all classes, or `among` those of these indices alone; NaN where there is none."""

    def by_class(self) -> dict[int, float]:
        """The first of the metrics for each class index that has one."""


class Task(Protocol):
    """One way of using patches."""

    needs: str
    """The fields of a sample that the truth comes from, for messages."""
    metric_names: tuple[str, ...]
    """Of `Metric.compute`; the first is the one that comparisons draw."""
    judges: Literal["which", "presence", "places"]
    """Which class it is of several; whether each is there; or where things are."""
    nothing: str
    """What is not there, for messages, where nothing can be learnt or judged."""
    metric_version: int
    """Goes up whenever the same predictions come to be judged otherwise."""
    mixes: bool
    """Whether `targets` has "classes" (C,) float32, of the image as a whole, that may be mixed with those of another;
    and so whether images may be augmented in any way."""

    def class_names(self, info: Mapping[str, Any]) -> dict[int, str]:
        """Names by id, as far as the `info` of an index of shards has them. Raises ValueError for something else in
        their place."""

    def read_truth(self, sample: Sample, options: TaskOptions) -> Truth:
        """What is known of an image, with ids as in the tar. Raises ValueError, without the sample's name, that says
        what was expected and what it got."""

    def renumber(self, truth: Truth, number: Callable[[int], int]) -> Truth:
        """With other ids; `number` raises ValueError for one that has none."""

    def ids(self, truth: Truth) -> set[int]:
        """Those that occur in it."""

    def shown(self, truth: Truth, view: View | None, size: int) -> set[int]:
        """Those that a view, rendered with `size` pixels a side, or else the whole image shows enough of to be learnt
        or judged."""

    def pixels(self, truth: Truth) -> Counter[int]:
        """Of a mask, by value; none of a task without masks."""

    def targets(self, truth: Truth, classes: Classes, view: View, size: int) -> dict[str, np.ndarray]:
        """What a model is to say of a view that is rendered with `size` pixels a side. Raises ValueError for an id that
        is not among the classes."""

    def collate(self, targets: Sequence[dict[str, np.ndarray]]) -> Targets:
        """Those of a batch."""

    def model(self, encoder: KeptPatchEncoder, classes: Classes, options: TaskOptions) -> TaskModel:
        """With a new head."""

    def metric(self, classes: Classes, options: TaskOptions) -> Metric: ...


def missing_from(task: Any) -> list[str]:
    """What it lacks to be a `Task`."""
    named = [*Task.__annotations__, *(name for name in vars(Task) if not name.startswith("_"))]
    return [name for name in named if not hasattr(task, name)]


def stack(targets: Sequence[dict[str, np.ndarray]]) -> Targets:
    """`Task.collate` for arrays of one shape."""
    return {name: torch.from_numpy(np.stack([each[name] for each in targets])) for name in targets[0]}


def listed_names(info: Mapping[str, Any], field: str) -> dict[int, str]:
    """`Task.class_names` where a list has that of class 0 first. Raises ValueError for something else there."""
    names = info.get(field) or []
    if not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ValueError(f"info of the index: {field}: expected a list of names, got {str(names)[:40]!r}")
    return dict(enumerate(names))
