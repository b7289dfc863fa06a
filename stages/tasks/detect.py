"""`detect`: a box around every object."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torchvision.models.detection.fcos import FCOS, FCOSHead  # type: ignore[import-untyped]

from stages.compute.autocast import full_precision
from stages.images.views import View
from stages.tasks.box_precision import METRICS, MOST_DETECTIONS, BoxPrecision
from stages.tasks.kept_patches import KeptPatchEncoder
from stages.tasks.objects import LEAST_SIDE, Object, category_names, read_objects, visible_boxes
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
LOSSES = {"classification": "classification", "bbox_regression": "box regression", "bbox_ctrness": "centerness"}
"""torchvision's names and ours."""

Objects = tuple[Object, ...]


class Detect:
    """Field `json` of a sample: its objects. Crowds, and objects of which a view shows less than a quarter, are not
    trained on: like all that is unmarked they are background there. In evaluation, finding them counts neither for nor
    against."""

    needs = "json with objects"
    metric_names: tuple[str, ...] = METRICS
    judges: Literal["which", "presence", "places"] = "places"
    nothing = "no box (crowds do not count, nor boxes of which less than a quarter is visible)"
    metric_version = 2
    """1 took what is barely visible for absent, and IoU thresholds in float32."""
    mixes = False

    def class_names(self, info: Mapping[str, Any]) -> dict[int, str]:
        return category_names(info)

    def read_truth(self, sample: Sample, options: TaskOptions) -> Objects:
        return read_objects(sample)

    def renumber(self, truth: Objects, number: Callable[[int], int]) -> Objects:
        return tuple(dataclasses.replace(each, category=number(each.category)) for each in truth)

    def ids(self, truth: Objects) -> set[int]:
        return {each.category for each in truth}

    def shown(self, truth: Objects, view: View | None, size: int) -> set[int]:
        single = tuple(each for each in truth if not each.is_crowd)
        if view is None:
            return {each.category for each in single if min(each.box[2:]) > LEAST_SIDE}
        _, chosen = visible_boxes(single, view, size)
        return {single[index].category for index in chosen}

    def pixels(self, truth: Objects) -> Counter[int]:
        return Counter()

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
        counts = [each.shape[-1] ** 2 for each in features]
        levels = [
            location_boxes(each.shape[-1], scale * self.encoder.patch_size, images.device)
            for each, scale in zip(features, SCALES, strict=True)
        ]
        if targets is None:
            with full_precision(images.device):
                said = self.fcos.head([each.float() for each in features])
            parts = {name: list(values.split(counts, dim=1)) for name, values in said.items()}
            return self.fcos.postprocess_detections(
                parts, [levels] * len(images), [(self.size, self.size)] * len(images)
            )
        # Box arithmetic needs float32, also under autocast.
        said = {name: values.float() for name, values in self.fcos.head(features).items()}
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
