"""`segment`: the class of every pixel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, grid_sample, interpolate

from stages.compute.autocast import full_precision
from stages.images.decoding import UnusableImage, decode_mask, image_size, mask_size, orientation_hint
from stages.images.views import View, overhangs, seen_part
from stages.tasks.kept_patches import KeptPatchEncoder
from stages.tasks.task import IGNORED, Classes, Targets, TaskModel, TaskOptions, listed_names, stack
from stages.tasks.token_grid import TokenGrid
from storage.shard_files import Sample


class Segment:
    """Field `seg.png` of a sample: a mask as large as the image, value = class."""

    needs = "seg.png"
    metric_names: tuple[str, ...] = ("mIoU", "pixel accuracy")
    judges: Literal["which", "presence", "places"] = "which"
    nothing = "no pixel that counts"
    metric_version = 1
    mixes = False

    def class_names(self, info: Mapping[str, Any]) -> dict[int, str]:
        return listed_names(info, "mask_classes")

    def read_truth(self, sample: Sample, options: TaskOptions) -> np.ndarray:
        """The mask (height, width) uint8 with the values that `TaskOptions.mask_values` gives it, and `IGNORED` in
        place of the ignored classes."""
        if "seg.png" not in sample.fields:
            held = ", ".join(sorted(sample.fields))
            raise ValueError(f"expected a mask in the field seg.png, the sample holds {held}")
        size = image_size(sample.image)
        try:
            mask = np.asarray(decode_mask(sample.fields["seg.png"], size))
        except UnusableImage as error:
            raise ValueError(f"seg.png: {error}{_orientation_hint(sample, size)}") from None
        ignored = [id_ for id_ in options.ignore_classes if 0 <= id_ < IGNORED]
        if not ignored and not options.mask_values:
            return mask
        table = np.arange(256, dtype=np.uint8)
        for value, meant in options.mask_values:
            table[value] = meant
        table[np.isin(table, ignored)] = IGNORED
        known: np.ndarray = table[mask]
        return known

    def renumber(self, truth: np.ndarray, number: Callable[[int], int]) -> np.ndarray:
        table = np.arange(256, dtype=np.uint8)
        for id_ in self.ids(truth):
            if not 0 <= (own := number(id_)) < IGNORED:
                raise ValueError(f"expected classes of masks from 0 to {IGNORED - 1}, got {own}")
            table[id_] = own
        known: np.ndarray = table[truth]
        return known

    def ids(self, truth: np.ndarray) -> set[int]:
        return set(self.pixels(truth)) - {IGNORED}

    def shown(self, truth: np.ndarray, view: View | None, size: int) -> set[int]:
        if view is None:
            return self.ids(truth)
        return self.ids(truth[seen_part(view, *truth.shape[::-1])])

    def pixels(self, truth: np.ndarray) -> Counter[int]:
        counts = np.bincount(truth.ravel())
        return Counter({value: int(counts[value]) for value in np.flatnonzero(counts).tolist()})

    def targets(self, truth: np.ndarray, classes: Classes, view: View, size: int) -> dict[str, np.ndarray]:
        seen = _seen_in(truth, view, size)
        return {"mask": _to_indices(seen[:, ::-1] if view.flip else seen, classes)}

    def collate(self, targets: Sequence[dict[str, np.ndarray]]) -> Targets:
        return stack(targets)

    def model(self, encoder: KeptPatchEncoder, classes: Classes, options: TaskOptions) -> TaskModel:
        return Segmenter(encoder, len(classes), options.image_size, options.label_smoothing)

    def metric(self, classes: Classes, options: TaskOptions) -> ConfusionMatrix:
        return ConfusionMatrix(classes)


class Segmenter(TaskModel):
    """Four times as many classified places a side as there are patches: the grid of tokens is doubled twice."""

    def __init__(self, encoder: KeptPatchEncoder, n_classes: int, size: int, label_smoothing: float) -> None:
        super().__init__()
        self.encoder = encoder
        self.tokens = TokenGrid(encoder.grid, encoder.width)
        width = self.tokens.width
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(width, width // 2, 2, stride=2),
            LayerNorm2d(width // 2),
            nn.GELU(),
            nn.ConvTranspose2d(width // 2, width // 2, 2, stride=2),
            LayerNorm2d(width // 2),
            nn.GELU(),
            nn.Conv2d(width // 2, n_classes, 1),
        )
        self.size = size
        self.label_smoothing = label_smoothing

    def forward(self, images: Tensor, kept: Tensor, targets: Targets | None = None) -> Any:
        """Predictions are logits (B, C, 4g, 4g)."""
        _, tokens = self.encoder(images, kept)
        features = self.decoder[:-1](self.tokens(tokens, kept))
        if targets is None:
            with full_precision(images.device):
                return self.decoder[-1](features.float())
        logits = self.decoder[-1](features)
        mask = targets["mask"].long()
        total = cross_entropy(
            interpolate(logits.float(), self.size, mode="bilinear"),
            mask,
            ignore_index=IGNORED,
            label_smoothing=self.label_smoothing,
            reduction="sum",
        )
        # Not the mean that torch takes: of no pixels at all that is not a number.
        return {"loss": total / (mask != IGNORED).sum().clamp(min=1)}


class ConfusionMatrix:
    """IoU of each class over the pixels of all images together, and the share of pixels that are right, at the masks'
    own resolution."""

    def __init__(self, classes: Classes) -> None:
        self._classes = classes
        self._counts = np.zeros((len(classes), len(classes)), np.int64)  # (true, predicted)

    def update(self, predictions: Tensor, truths: Sequence[np.ndarray], views: Sequence[View]) -> None:
        n_classes = len(self._classes)
        for logits, mask, view in zip(predictions, truths, views, strict=True):
            true = _to_indices(mask[seen_part(view, *mask.shape[::-1])], self._classes)
            said = _likeliest(logits, true.shape, _places_in(view, mask.shape))
            counted = true != IGNORED
            pairs = true[counted].astype(np.int64) * n_classes + said[counted]
            self._counts += np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)

    def compute(self, among: Collection[int] | None = None) -> dict[str, float]:
        chosen = sorted(range(len(self._classes)) if among is None else among)
        ious = [iou for index, iou in self.by_class().items() if index in chosen]
        if not ious:
            return {"mIoU": np.nan, "pixel accuracy": np.nan}
        right = self._counts.diagonal()[chosen].sum() / self._counts[chosen].sum()
        return {"mIoU": float(np.mean(ious)), "pixel accuracy": float(right)}

    def by_class(self) -> dict[int, float]:
        true, said = self._counts.sum(axis=1), self._counts.sum(axis=0)
        hit = self._counts.diagonal()
        return {index: float(hit[index] / (true + said - hit)[index]) for index in np.flatnonzero(true).tolist()}


def _orientation_hint(sample: Sample, size: tuple[int, int]) -> str:
    try:
        found = mask_size(sample.fields["seg.png"])
    except UnusableImage:
        return ""
    return "" if found == size else orientation_hint(sample.image, found)


def _seen_in(truth: np.ndarray, view: View, size: int) -> np.ndarray:
    """A mask as a view rendered with `size` a side shows it: its nearest values, `IGNORED` beyond the image."""
    height, width = truth.shape
    if not overhangs(view, width, height):
        box = (view.left, view.top, view.left + view.width, view.top + view.height)
        return np.asarray(Image.fromarray(truth).resize((size, size), Image.Resampling.NEAREST, box=box))
    centres = (np.arange(size) + 0.5) / size
    rows = np.floor(view.top + centres * view.height).astype(int)
    columns = np.floor(view.left + centres * view.width).astype(int)
    inside = np.outer((rows >= 0) & (rows < height), (columns >= 0) & (columns < width))
    nearest = truth[rows.clip(0, height - 1)][:, columns.clip(0, width - 1)]
    return np.where(inside, nearest, np.uint8(IGNORED))


def _places_in(view: View, shape: tuple[int, ...]) -> Tensor | None:
    """Of a view that reaches beyond its mask (H, W): where in it the pixels that there are lie, (1, h, w, 2) as
    `grid_sample` takes them. None for one that does not."""
    height, width = shape
    if not overhangs(view, width, height):
        return None
    rows, columns = seen_part(view, width, height)
    y = (torch.arange(rows.start, rows.stop) + 0.5 - view.top) / view.height
    x = (torch.arange(columns.start, columns.stop) + 0.5 - view.left) / view.width
    return torch.stack(torch.meshgrid(2 * x - 1, 2 * y - 1, indexing="xy"), dim=-1)[None]


def _likeliest(logits: Tensor, shape: tuple[int, ...], places: Tensor | None) -> np.ndarray:
    """(C, h, w) → class index (H, W) of the logits resized to `shape`, or as they are at `places`; one class at a time:
    a photograph's pixels times all classes may not fit into memory."""
    best, index = torch.full(shape, -torch.inf), torch.zeros(shape, dtype=torch.int64)
    for number, each in enumerate(logits.float()):
        if places is None:
            resized = interpolate(each[None, None], shape, mode="bilinear")[0, 0]
        else:
            resized = grid_sample(each[None, None], places.to(each.device), padding_mode="border", align_corners=False)[
                0, 0
            ]
        index[resized > best] = number
        best = torch.maximum(best, resized)
    return index.numpy()


def _to_indices(mask: np.ndarray, classes: Classes) -> np.ndarray:
    """Values of a mask → indices of classes, uint8. Raises ValueError for a value that is no class."""
    if classes.ids[0] < 0 or classes.ids[-1] >= IGNORED:
        raise ValueError(
            f"expected classes of masks from 0 to {IGNORED - 1}, got {classes.ids[0]} to {classes.ids[-1]}"
        )
    for id_ in set(np.flatnonzero(np.bincount(mask.ravel())).tolist()) - {IGNORED}:
        classes.index(id_)
    table = np.full(256, IGNORED, np.uint8)
    table[list(classes.ids)] = np.arange(len(classes))
    classified: np.ndarray = table[mask]
    return classified
