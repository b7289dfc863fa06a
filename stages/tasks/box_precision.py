"""COCO's average precision of boxes, by pycocotools."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from torch import Tensor

from stages.images.views import View
from stages.tasks.objects import Object, cut_boxes
from stages.tasks.task import Classes

METRICS = ("mAP", "mAP@50", "mAP@75")
MOST_DETECTIONS = 100
"""Of an image, as COCO counts them."""
DECIMALS = 12


class BoxPrecision:
    """The mean of the classes that occur, over IoU from 0.5 to 0.95 and at two of them.

    True boxes are cut at the view's border, and compared in pixels of the rendered view, whose scale does not change
    how boxes overlap. Crowds, and objects that the view shows too little of to train on (`cut_boxes`), are ignored as
    COCO ignores crowds: missing one costs nothing, and what is found inside of it is not counted.
    """

    def __init__(self, classes: Classes, size: int) -> None:
        self._classes = classes
        self._size = size
        self._n_images = 0
        self._true: list[dict[str, Any]] = []  # annotations of COCO
        self._found: list[dict[str, Any]] = []
        self._known: dict[int, tuple[float, float, float]] | None = None

    def update(
        self, predictions: Sequence[dict[str, Tensor]], truths: Sequence[tuple[Object, ...]], views: Sequence[View]
    ) -> None:
        """Predictions are those of `stages.tasks.detect.Detector`."""
        self._known = None
        for answer, truth, view in zip(predictions, truths, views, strict=True):
            self._n_images += 1
            boxes, is_enough = cut_boxes(truth, view, self._size)
            for object_, box, enough in zip(truth, boxes, is_enough, strict=True):
                index = self._classes.index(object_.category)
                ignored = object_.is_crowd or not bool(enough)
                if (box[2:] > box[:2]).all():
                    self._true.append(self._annotation(len(self._true), index, box, iscrowd=int(ignored)))
            answers = zip(answer["boxes"].tolist(), answer["scores"].tolist(), answer["labels"].tolist(), strict=True)
            for box, score, index in answers:
                self._found.append(self._annotation(len(self._found), index, box, iscrowd=0, score=score))

    def compute(self, among: Collection[int] | None = None) -> dict[str, float]:
        found = [values for index, values in self._precisions().items() if among is None or index in among]
        means = np.mean(found, axis=0).tolist() if found else [np.nan] * 3
        return dict(zip(METRICS, means, strict=True))

    def by_class(self) -> dict[int, float]:
        return {index: values[0] for index, values in self._precisions().items()}

    def _annotation(self, number: int, index: int, box: Sequence[float], **fields: Any) -> dict[str, Any]:
        left, top, right, bottom = map(float, box)
        width, height = right - left, bottom - top
        return {
            "id": number + 1,  # pycocotools takes 0 for none
            "image_id": self._n_images,
            "category_id": index,
            "bbox": [left, top, width, height],
            "area": width * height,
            **fields,
        }

    def _precisions(self) -> dict[int, tuple[float, float, float]]:
        """Of each class that occurs: over all IoU, at 0.5 and at 0.75."""
        if self._known is None:
            self._known = self._evaluate() if self._true else {}
        return self._known

    def _evaluate(self) -> dict[int, tuple[float, float, float]]:
        images = [{"id": number + 1} for number in range(self._n_images)]
        categories = [{"id": index} for index in sorted({each["category_id"] for each in self._true})]
        with contextlib.redirect_stdout(io.StringIO()):  # of what it does it tells nothing but that
            evaluation = COCOeval(
                *(_dataset(images, categories, each) for each in (self._true, self._found)), iouType="bbox"
            )
            evaluation.params.areaRng = evaluation.params.areaRng[:1]  # objects of any size
            evaluation.params.maxDets = [MOST_DETECTIONS]
            evaluation.evaluate()
            evaluation.accumulate()
        # (IoU, recall, class, area, most detections), -1 for a class that only occurs where it is ignored.
        # Rounded, since pycocotools' perfect precision is a rounding error below 1.
        precision = evaluation.eval["precision"][..., 0, 0].round(DECIMALS)
        by_class = {each["id"]: precision[..., place].mean(axis=1) for place, each in enumerate(categories)}
        return {
            index: (float(values.mean().round(DECIMALS)), float(values[0]), float(values[5]))
            for index, values in by_class.items()
            if values[0] > -1
        }


def _dataset(images: list[dict[str, Any]], categories: list[dict[str, Any]], annotations: list[dict[str, Any]]) -> COCO:
    coco = COCO()
    coco.dataset = {"images": images, "categories": categories, "annotations": annotations}
    coco.createIndex()
    return coco
