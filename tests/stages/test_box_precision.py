"""COCO's average precision: closed forms, and an independent run of pycocotools."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from task_models import OPTIONS, SIZE, WHOLE

from stages.images.views import View
from stages.tasks.detect import Detect
from stages.tasks.objects import LEAST_VISIBLE, Object
from stages.tasks.task import Classes

TASK = Detect()
FEW = Classes((3, 5, 9), ("a", "b", "c"))


def answer(*found: tuple[tuple[float, ...], float, int]) -> dict[str, torch.Tensor]:
    """Boxes, scores and labels."""
    boxes, scores, labels = zip(*found, strict=True) if found else ((), (), ())
    return {
        "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        "scores": torch.tensor(scores, dtype=torch.float32),
        "labels": torch.tensor(labels, dtype=torch.int64),
    }


TRUTH = (Object(3, (0, 0, 10, 10)), Object(9, (20, 20, 20, 20)), Object(5, (40, 0, 20, 20), is_crowd=True))
FIRST, THIRD = ((0, 0, 10, 10), 0.9, 0), ((20, 20, 40, 40), 0.8, 2)
TOO_WIDE = ((20, 20, 40, 52), 0.8, 2)  # IoU 0.625: right at three of ten thresholds
IN_CROWD = ((42, 2, 50, 10), 0.7, 1)
FALSE = ((0, 50, 10, 60), 0.95, 0)


@pytest.mark.parametrize(
    ("found", "among", "expected"),
    [
        ([FIRST, THIRD], None, (1, 1, 1)),
        ([], None, (0, 0, 0)),
        ([FIRST], None, (0.5, 0.5, 0.5)),
        ([FIRST], {0}, (1, 1, 1)),
        ([FIRST], {1, 2}, (0, 0, 0)),
        ([FIRST, THIRD], {1}, (np.nan, np.nan, np.nan)),
        ([FIRST, THIRD, IN_CROWD], None, (1, 1, 1)),
        ([FIRST, TOO_WIDE], None, (0.65, 1, 0.5)),
        ([FIRST, TOO_WIDE], {2}, (0.3, 1, 0)),
        ([FIRST, THIRD, FALSE], None, (0.75, 0.75, 0.75)),
        ([FIRST, THIRD, FALSE], {2}, (1, 1, 1)),
    ],
)
def test_metrics_over_all_classes_or_some(found, among, expected):
    metric = TASK.metric(FEW, OPTIONS)
    metric.update([answer(*found)], [TRUTH], [WHOLE])
    assert tuple(metric.compute(among).values()) == pytest.approx(expected, nan_ok=True)
    assert set(metric.by_class()) == {0, 2}


def test_truth_is_cut_and_left_out_as_in_training():
    view = View(25, 0, 32, 32)  # shows three quarters of the third and nothing of the first, at twice its size
    metric = TASK.metric(FEW, OPTIONS)
    metric.update([answer(((0, 40, 30, 64), 0.9, 2))], [TRUTH], [view])
    assert metric.by_class() == {2: pytest.approx(1.0)}


@pytest.mark.parametrize("truth", [(), TRUTH[2:]])
def test_where_no_class_occurs_there_is_no_number(truth):
    metric = TASK.metric(FEW, OPTIONS)
    assert np.isnan(list(metric.compute().values())).all()
    metric.update([answer(FIRST)], [truth], [WHOLE])
    assert np.isnan(list(metric.compute().values())).all()
    assert metric.by_class() == {}


PEEKING = Object(3, (60, 0, 40, 10))
"""Of which the whole view shows a tenth."""
ITS_PART = ((60, 0, 64, 10), 0.99, 0)


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("found", [[FIRST], [FIRST, ITS_PART], [ITS_PART, FIRST], [FIRST, ITS_PART, ITS_PART]], ids=len)
def test_an_object_that_is_barely_visible_is_neither_missed_nor_falsely_found(found: list, flip: bool) -> None:
    def turned(boxes: tuple[float, ...]) -> tuple[float, ...]:
        left, top, right, bottom = boxes
        return (SIZE - right, top, SIZE - left, bottom) if flip else boxes

    metric = TASK.metric(FEW, OPTIONS)
    answers = answer(*((turned(box), score, label) for box, score, label in found))
    metric.update([answers], [(TRUTH[0], PEEKING)], [View(0, 0, SIZE, SIZE, flip)])
    assert tuple(metric.compute().values()) == (1, 1, 1)


def test_where_it_is_barely_visible_another_class_is_found_falsely_all_the_same() -> None:
    metric = TASK.metric(FEW, OPTIONS)
    metric.update([answer(THIRD, (ITS_PART[0], 0.99, 2))], [(TRUTH[1], PEEKING)], [WHOLE])
    assert tuple(metric.compute().values()) == (0.5, 0.5, 0.5)
    assert metric.by_class() == {2: 0.5}


def test_a_crowd_of_which_little_is_visible_is_a_crowd() -> None:
    metric = TASK.metric(FEW, OPTIONS)
    crowd = Object(3, (60, 0, 40, 10), is_crowd=True)
    metric.update([answer(FIRST, ITS_PART)], [(TRUTH[0], crowd)], [WHOLE])
    assert tuple(metric.compute().values()) == (1, 1, 1)


def test_what_lies_outside_of_a_view_excuses_nothing() -> None:
    metric = TASK.metric(FEW, OPTIONS)
    outside = Object(3, (64, 0, 40, 10))
    metric.update([answer(FIRST, ITS_PART)], [(TRUTH[0], outside)], [WHOLE])
    assert metric.compute()["mAP"] == 0.5


def coco_numbers(true: list[dict[str, Any]], found: list[dict[str, Any]], n_images: int) -> dict[int | None, Any]:
    """(mAP, mAP@50, mAP@75) as `COCOeval.summarize` says, over all classes (None) and of each alone."""

    def dataset(annotations: list[dict[str, Any]]) -> COCO:
        coco = COCO()
        coco.dataset = {
            "images": [{"id": number} for number in range(n_images)],
            "categories": [{"id": number} for number in range(len(FEW))],
            "annotations": [dict(each, id=number) for number, each in enumerate(annotations, start=1)],
        }
        coco.createIndex()
        return coco

    numbers = {}
    with contextlib.redirect_stdout(io.StringIO()):
        for category in (None, *range(len(FEW))):
            evaluation = COCOeval(dataset(true), dataset(found), "bbox")
            if category is not None:
                evaluation.params.catIds = [category]
            evaluation.evaluate()
            evaluation.accumulate()
            evaluation.summarize()
            numbers[category] = evaluation.stats[:3]
    return numbers


@pytest.mark.parametrize("seed", range(8))
def test_it_is_the_number_of_pycocotools_with_crowds_and_what_is_barely_visible_ignored(seed: int) -> None:
    """Boxes jut out of the view; a box of which less than a quarter is inside is handed to pycocotools as a crowd."""
    generator = np.random.default_rng(seed)
    metric = TASK.metric(FEW, OPTIONS)
    true, answered, n_images, ignored = [], [], 12, 0
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        for image in range(n_images):
            corner, sides = generator.uniform(-16, 58, (9, 2)), generator.uniform(6, 24, (9, 2))
            label, crowds = generator.integers(0, 3, 9), generator.random(9) < 0.15
            objects, boxes = [], []
            for c, (x, y), (w, h), crowd in zip(label, corner, sides, crowds, strict=True):
                objects.append(Object(FEW.ids[c], (x, y, w, h), bool(crowd)))
                left, top, right, bottom = max(x, 0), max(y, 0), min(x + w, SIZE), min(y + h, SIZE)
                if right > left and bottom > top:
                    area = (right - left) * (bottom - top)
                    ignore = crowd or area < LEAST_VISIBLE * w * h or min(right - left, bottom - top) < 1
                    ignored += int(ignore)
                    place = {"image_id": image, "category_id": int(c), "bbox": [left, top, right - left, bottom - top]}
                    true.append({**place, "area": area, "iscrowd": int(ignore)})
                    boxes.append(([left, top, right, bottom], int(c)))
            found: list[tuple[tuple[float, ...], float, int]] = []
            for box, c in [*boxes, *boxes[:3]]:
                moved = (np.array(box) + generator.normal(0, 1.5, 4)).astype(np.float32).astype(np.float64)
                moved[2:] = np.maximum(moved[2:], moved[:2] + 0.5)
                found.append((tuple(moved.tolist()), round(float(generator.uniform()), 1), c))  # scores tie
            metric.update([answer(*found)], [tuple(objects)], [WHOLE])
            for (left, top, right, bottom), score, c in found:
                left, top, right, bottom = np.array([left, top, right, bottom], np.float32).tolist()
                place = {"image_id": image, "category_id": c, "bbox": [left, top, right - left, bottom - top]}
                area = (right - left) * (bottom - top)
                answered.append({**place, "area": area, "iscrowd": 0, "score": float(np.float32(score))})
        mine = {None: metric.compute()} | {index: metric.compute({index}) for index in range(3)}
    assert said.getvalue() == ""
    assert ignored > 10
    for category, expected in coco_numbers(true, answered, n_images).items():
        assert list(mine[category].values()) == pytest.approx(list(expected), abs=1e-9)
    assert metric.by_class() == pytest.approx({index: mine[index]["mAP"] for index in range(3)})
    assert 0.1 < mine[None]["mAP"] < 0.9


def test_more_answers_than_coco_counts_are_those_with_the_highest_scores() -> None:
    metric = TASK.metric(FEW, OPTIONS)
    false = [((50, 50, 60, 60), 0.5 + number / 1000, 0) for number in range(100)]
    metric.update([answer(*false, ((0, 0, 10, 10), 0.4, 0))], [TRUTH[:1]], [WHOLE])
    assert metric.compute()["mAP"] == 0


def test_what_came_between_two_looks_counts() -> None:
    metric = TASK.metric(FEW, OPTIONS)
    metric.update([answer(FIRST)], [TRUTH[:1]], [WHOLE])
    assert metric.compute()["mAP"] == 1
    metric.update([answer()], [TRUTH[:1]], [WHOLE])
    assert metric.compute()["mAP"] == pytest.approx(51 / 101)  # half of the recall, at 101 places
