"""`detect`: a box around every object."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torchmetrics.detection import MeanAveragePrecision
from torchvision.models.detection.fcos import FCOS, FCOSHead  # type: ignore[import-untyped]

from stages.images.views import View
from stages.tasks.kept_patches import KeptPatchEncoder
from stages.tasks.objects import Object, category_names, read_objects, visible_boxes
from stages.tasks.task import Classes, Targets, TaskModel, TaskOptions
from stages.tasks.token_grid import TokenGrid
from storage.shard_files import Sample

PADDING = -1
"""Label of what is no box, so that images with different numbers of boxes make a batch."""
SCALES = (0.5, 1.0, 2.0)
"""Strides of the pyramid's levels, in patches."""
HEAD_DEPTH = 2
"""Half of FCOS's: its cost is the same however few patches are kept."""
LEAST_SCORE = 0.05
MOST_DETECTIONS = 100
"""Of an image, as COCO counts them."""
LOSSES = {"classification": "classification", "bbox_regression": "box regression", "bbox_ctrness": "centerness"}
"""torchvision's names and ours."""

Objects = tuple[Object, ...]


class Detect:
    """Field `json` of a sample: its objects. Crowds are not trained on, and finding them counts neither for nor
    against."""

    name = "detect"
    needs = "json with objects"
    metric_names: tuple[str, ...] = ("mAP", "mAP@50", "mAP@75")
    mixes = False

    def class_names(self, info: Mapping[str, Any]) -> dict[int, str]:
        return category_names(info)

    def read_truth(self, sample: Sample, options: TaskOptions) -> Objects:
        return read_objects(sample)

    def ids(self, truth: Objects) -> set[int]:
        return {each.category for each in truth}

    def targets(self, truth: Objects, classes: Classes, view: View, size: int) -> dict[str, np.ndarray]:
        """ "boxes" (n, 4) float32 of left, top, right, bottom in pixels of the rendered view, "labels" (n,) int64."""
        single = tuple(each for each in truth if not each.is_crowd)
        labels = np.array([classes.index(each.category) for each in single], np.int64)
        boxes, chosen = visible_boxes(single, view, size)
        return {"boxes": boxes, "labels": labels[chosen]}

    def collate(self, targets: Sequence[dict[str, np.ndarray]]) -> Targets:
        """ "boxes" (B, n, 4) and "labels" (B, n), `PADDING` behind an image's last."""
        most = max(len(each["labels"]) for each in targets)
        boxes, labels = torch.zeros(len(targets), most, 4), torch.full((len(targets), most), PADDING)
        for place, each in enumerate(targets):
            boxes[place, : len(each["boxes"])] = torch.from_numpy(each["boxes"])
            labels[place, : len(each["labels"])] = torch.from_numpy(each["labels"])
        return {"boxes": boxes, "labels": labels}

    def model(self, encoder: KeptPatchEncoder, classes: Classes, options: TaskOptions) -> TaskModel:
        return Detector(encoder, len(classes), options.image_size)

    def metric(self, classes: Classes, options: TaskOptions) -> BoxPrecision:
        return BoxPrecision(classes, options.image_size)


class Pyramid(nn.Module):
    """Features at `SCALES` from one grid, as ViTDet has them (Li et al., ECCV 2022)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.out_channels = width
        # With an odd number of patches a side the coarsest level reaches beyond the image, so that strides are exact.
        resize = (nn.ConvTranspose2d(width, width, 2, stride=2), nn.Identity(), nn.MaxPool2d(2, ceil_mode=True))
        self.levels = nn.ModuleList(
            nn.Sequential(each, nn.Conv2d(width, width, 3, padding=1), LayerNorm2d(width)) for each in resize
        )

    def forward(self, grid: Tensor) -> list[Tensor]:
        """(B, E, g, g) → one (B, E, n, n) for each level, finest first."""
        return [level(grid) for level in self.levels]


class Detector(TaskModel):
    """FCOS (Tian et al., ICCV 2019) as torchvision has it, on the grid of tokens."""

    def __init__(self, encoder: KeptPatchEncoder, n_classes: int, size: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.tokens = TokenGrid(encoder.grid, encoder.width)
        width = self.tokens.width
        self.fcos = FCOS(
            Pyramid(width),
            n_classes,
            head=FCOSHead(width, 1, n_classes, HEAD_DEPTH),
            score_thresh=LEAST_SCORE,
            detections_per_img=MOST_DETECTIONS,
        )
        self.size = size

    def forward(self, images: Tensor, kept: Tensor, targets: Targets | None = None) -> Any:
        """Predictions are a dictionary for each image, best first: "boxes" (n, 4) as in the targets, "scores" (n,) and
        "labels" (n,)."""
        _, tokens = self.encoder(images, kept)
        # FCOS's own forward resizes and normalises images, and would not hand on what is kept.
        features = self.fcos.backbone(self.tokens(tokens, kept))
        # Box arithmetic needs float32, also under autocast.
        said = {name: values.float() for name, values in self.fcos.head(features).items()}
        counts = [each.shape[-1] ** 2 for each in features]
        levels = [
            location_boxes(each.shape[-1], scale * self.encoder.patch_size, images.device)
            for each, scale in zip(features, SCALES, strict=True)
        ]
        if targets is None:
            parts = {name: list(values.split(counts, dim=1)) for name, values in said.items()}
            return self.fcos.postprocess_detections(
                parts, [levels] * len(images), [(self.size, self.size)] * len(images)
            )
        losses = self.fcos.compute_loss(_unpad(targets), said, [torch.cat(levels)] * len(images), counts)
        return {"loss": sum(losses.values()), **{ours: losses[theirs] for theirs, ours in LOSSES.items()}}


def location_boxes(side: int, stride: float, device: torch.device) -> Tensor:
    """(side², 4): for each place of a level, a square as wide as its stride around its centre, which FCOS calls an
    anchor. torchvision's own lie half a stride up and left, and mirroring would change what they can reach."""
    centre = (torch.arange(side, device=device) + 0.5) * stride
    y, x = (each.flatten() for each in torch.meshgrid(centre, centre, indexing="ij"))
    return torch.stack([x, y, x, y], dim=1) + stride / 2 * torch.tensor([-1, -1, 1, 1], device=device)


def _unpad(targets: Targets) -> list[dict[str, Tensor]]:
    return [
        {"boxes": boxes[labels != PADDING], "labels": labels[labels != PADDING]}
        for boxes, labels in zip(targets["boxes"], targets["labels"], strict=True)
    ]


class BoxPrecision:
    """COCO's average precision: over IoU from 0.5 to 0.95 and at two of them, the mean of the classes that occur.

    True boxes are those that the view shows enough of, as in training. They are compared in pixels of the rendered
    view, whose scale does not change how boxes overlap.
    """

    def __init__(self, classes: Classes, size: int) -> None:
        self._classes = classes
        self._size = size
        self._metric = MeanAveragePrecision(extended_summary=True, backend="pycocotools")
        self._metric.warn_on_many_detections = False

    def update(
        self, predictions: Sequence[dict[str, Tensor]], truths: Sequence[Objects], views: Sequence[View]
    ) -> None:
        targets = []
        for truth, view in zip(truths, views, strict=True):
            boxes, chosen = visible_boxes(truth, view, self._size)
            seen = [truth[index] for index in chosen]
            targets.append(
                {
                    "boxes": torch.from_numpy(boxes),
                    "labels": torch.tensor([self._classes.index(each.category) for each in seen], dtype=torch.int64),
                    "iscrowd": torch.tensor([each.is_crowd for each in seen], dtype=torch.int64),
                }
            )
        self._metric.update(list(predictions), targets)

    def compute(self, among: Collection[int] | None = None) -> dict[str, float]:
        found = [values for index, values in self._precisions().items() if among is None or index in among]
        means = np.mean(found, axis=0).tolist() if found else [np.nan] * 3
        return dict(zip(Detect.metric_names, means, strict=True))

    def by_class(self) -> dict[int, float]:
        return {index: values[0] for index, values in self._precisions().items()}

    def _precisions(self) -> dict[int, tuple[float, float, float]]:
        """Of each class that occurs: over all IoU, at 0.5 and at 0.75."""
        if not self._metric.update_called:
            return {}
        found = self._metric.compute()
        # (IoU, recall, class, area, most detections), -1 for a class that does not occur.
        precision = found["precision"][..., 0, -1]
        classes = found["classes"].reshape(-1).tolist()
        by_class = {index: precision[..., place].mean(dim=1) for place, index in enumerate(classes)}
        return {
            index: (float(values.mean()), float(values[0]), float(values[5]))
            for index, values in by_class.items()
            if values[0] > -1
        }
