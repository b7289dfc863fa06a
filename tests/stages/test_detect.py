from __future__ import annotations

import numpy as np
import pytest
import torch
from task_models import (
    CLASSES,
    GRID,
    OPTIONS,
    SIZE,
    WHOLE,
    all_kept,
    grey_sample,
    images_of,
    json_sample,
    learn,
    scene_sample,
    some_kept,
    targets_of,
    tiny_encoder,
)

from stages.images.views import View
from stages.tasks.detect import PADDING, SCALES, Detect, Pyramid, location_boxes
from stages.tasks.objects import Object, visible_boxes
from stages.tasks.task import Classes

TASK = Detect()
FEW = Classes((3, 5, 9), ("a", "b", "c"))


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"objects": []}, ()),
        ({"objects": [{"category": 5, "bbox": [1, 2.5, 3, 4]}]}, (Object(5, (1, 2.5, 3, 4)),)),
        (
            {"objects": [{"category": 5, "bbox": [-1, 2, 30, 0], "iscrowd": 1, "area": None, "segmentation": "?"}]},
            (Object(5, (0, 2, 12, 0), True),),
        ),
        ({"objects": [{"category": 5, "bbox": [-3, 6, 5, 5]}]}, (Object(5, (0, 6, 2, 2)),)),  # of an image of 12 x 8
        ({"objects": [{"category": 5, "bbox": [20, 1, 5, 5]}]}, (Object(5, (12, 1, 0, 5)),)),
        ({"objects": [], "width": 12, "height": 8}, ()),
        ({"objects": [], "width": None, "height": 8}, ()),
    ],
)
def test_objects_are_read(facts, expected):
    truth = TASK.read_truth(json_sample(facts), OPTIONS)
    assert truth == expected
    assert TASK.ids(truth) == {each.category for each in expected}


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({}, "json: expected a list of objects, found none"),
        ({"categories": [1]}, "json: expected a list of objects, found none"),
        (b'{"objects": [', "json: the whole: expected JSON, got something else: "),
        (b"[" * 100_000, "json: the whole: expected JSON, got something else: "),
        ({"objects": [3]}, "json: objects.0: expected an object, got 3"),
        ({"objects": [{"category": 1}]}, "json: objects.0.bbox: expected a value, got none"),
        (
            {"objects": [{"category": "1", "bbox": [0, 0, 1, 1]}]},
            "json: objects.0.category: expected a valid integer, got '1'",
        ),
        ({"objects": [{"category": 1, "bbox": [0, 0, 1]}]}, "json: objects.0.bbox.3: expected a value, got none"),
        (
            {"objects": [{"category": 1, "bbox": [0, 0, 1, 1, 1]}]},
            "json: objects.0.bbox: expected at most 4 items, got 5",
        ),
        (
            {"objects": [{"category": 1, "bbox": ["0", 0, 1, 1]}]},
            "json: objects.0.bbox.0: expected a valid number, got '0'",
        ),
        (
            {"objects": [{"category": 1, "bbox": [0, 0, 1, -1]}]},
            "json: objects.0.bbox.3: expected at least 0, got -1",
        ),
        (
            {"objects": [{"category": 1, "bbox": [0, 0, 1e300, 1]}]},
            "json: objects.0.bbox.2: expected at most 10000000, got 1e\\+300",
        ),
        (
            b'{"objects": [{"category": 1, "bbox": [0, 0, 1, NaN]}]}',
            "json: objects.0.bbox.3: expected a finite number, got nan",
        ),
        (
            {"objects": [{"category": 1, "bbox": [0, 0, 1, 1], "iscrowd": 2}]},
            "json: objects.0.iscrowd: expected 0 or 1, got 2",
        ),
        (
            {"objects": [], "width": 8, "height": 12},
            "json: expected objects of an image of 8x12, got one of 12x8",
        ),
    ],
)
def test_what_are_no_objects_is_refused(facts, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        TASK.read_truth(json_sample(facts), OPTIONS)


def test_a_sample_without_json_is_refused():
    with pytest.raises(ValueError, match=r"^expected objects in the field json, the sample holds png$"):
        TASK.read_truth(grey_sample(), OPTIONS)


@pytest.mark.parametrize(
    ("box", "view", "expected"),
    [
        ((10, 20, 30, 10), View(0, 0, 64, 64), (10, 20, 40, 30)),
        ((10, 20, 30, 10), View(0, 0, 64, 64, flip=True), (24, 20, 54, 30)),
        ((10, 20, 30, 10), View(10, 10, 32, 32), (0, 20, 60, 40)),
        ((10, 20, 30, 10), View(0, 0, 128, 32), (5, 40, 20, 60)),
        ((10, 20, 30, 10), View(20, 20, 64, 64), (0, 0, 20, 10)),
        ((10, 20, 30, 10), View(20, 20, 64, 64, flip=True), (44, 0, 64, 10)),
        ((10, 20, 40, 10), View(40, 0, 64, 64), (0, 20, 10, 30)),  # a quarter is enough
        ((10, 20, 40, 10), View(41, 0, 64, 64), None),
        ((10, 20, 40, 10), View(60, 0, 64, 64), None),
        ((-20, -20, 30, 30), View(0, 0, 64, 64), None),  # a ninth
        ((-10, -10, 30, 30), View(0, 0, 64, 64), (0, 0, 20, 20)),  # four ninths
        ((10, 20, 0, 10), View(0, 0, 64, 64), None),
        ((10, 20, 1, 1), View(0, 0, 64, 64), (10, 20, 11, 21)),
        ((10, 20, 1, 8), View(0, 0, 128, 128), None),  # half a pixel wide
    ],
)
def test_boxes_are_what_a_view_shows_of_them(box, view, expected):
    boxes, chosen = visible_boxes((Object(3, box),), view, SIZE)
    assert boxes.dtype == np.float32
    assert boxes.tolist() == ([] if expected is None else [list(expected)])
    assert chosen.tolist() == ([] if expected is None else [0])


def test_targets_are_the_visible_boxes_with_their_labels_and_no_crowds():
    truth = (
        Object(9, (0, 0, 8, 8)),
        Object(5, (60, 60, 40, 40)),  # out of view
        Object(3, (0, 0, 64, 64), is_crowd=True),
        Object(3, (8, 16, 8, 8)),
    )
    found = TASK.targets(truth, FEW, View(0, 0, 64, 64, flip=True), SIZE)
    assert found["labels"].tolist() == [2, 0]
    assert found["boxes"].tolist() == [[56, 0, 64, 8], [48, 16, 56, 24]]


def test_boxes_of_a_pixel_as_those_from_0_to_1_are_are_nothing_to_learn():
    normalised, real = Object(3, (0.1, 0.1, 0.8, 1.0)), Object(9, (1, 1, 8, 8))
    assert TASK.shown((normalised, real), None, SIZE) == {9}


def test_a_category_that_is_no_class_is_refused():
    with pytest.raises(ValueError, match="class 4: expected one of 3"):
        TASK.targets((Object(4, (0, 0, 8, 8)),), FEW, WHOLE, SIZE)


def test_a_batch_pads_with_labels_that_are_none():
    truths = [(Object(5, (0, 0, 8, 8)), Object(3, (8, 8, 8, 8))), (), (Object(9, (1, 1, 4, 4)),)]
    batch = TASK.collate([TASK.targets(truth, FEW, WHOLE, SIZE) for truth in truths])
    assert batch["boxes"].shape == (3, 2, 4)
    assert batch["labels"].tolist() == [[1, 0], [PADDING] * 2, [2, PADDING]]


def test_padding_does_not_change_the_loss():
    model, images, kept = TASK.model(tiny_encoder(), FEW, OPTIONS).eval(), images_of([scene_sample(0)]), all_kept(1)
    one = TASK.targets((Object(5, (10, 10, 20, 20)),), FEW, WHOLE, SIZE)
    many = TASK.targets((Object(5, (1, 1, 9, 9)),) * 5, FEW, WHOLE, SIZE)
    padded = {name: values[:1] for name, values in TASK.collate([one, many]).items()}
    alone = model(images, kept, TASK.collate([one]))
    for name, loss in model(images, kept, padded).items():
        torch.testing.assert_close(loss, alone[name])


def test_images_without_boxes_are_trained_on():
    model, images = TASK.model(tiny_encoder(), FEW, OPTIONS), images_of([scene_sample(0)] * 2)
    targets = TASK.collate([TASK.targets((), FEW, WHOLE, SIZE)] * 2)
    losses = learn(model, images, all_kept(2), targets, steps=4, rate=1e-2)
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]


def test_a_few_scenes_are_learnt_and_their_mirror_images_are_not():
    samples = [scene_sample(index) for index in (0, 1)]
    model = TASK.model(tiny_encoder(), CLASSES, OPTIONS)
    images, kept, targets = images_of(samples), some_kept(2, 40), targets_of(TASK, CLASSES, samples)
    learn(model, images, kept, targets, steps=50, rate=2e-3)
    model.eval()
    losses = model(images, kept, targets)
    assert losses["loss"].item() == pytest.approx(sum(losses[name].item() for name in list(losses)[1:]), rel=1e-5)
    assert losses["classification"] < 0.1
    assert losses["box regression"] < 0.3
    with torch.no_grad():
        predictions = model(images, kept)
    truths = [TASK.read_truth(sample, OPTIONS) for sample in samples]
    found = []
    for flip in (False, True):
        metric = TASK.metric(CLASSES, OPTIONS)
        metric.update(predictions, truths, [View(0, 0, SIZE, SIZE, flip)] * 2)
        found.append(metric.compute()["mAP@50"])
    assert found[0] > 0.9
    assert found[1] < 0.5


def test_mirrored_features_reach_mirrored_boxes():
    """So that neither side of an image is favoured: what a place may be responsible for is mirrored with it."""
    for scale in SCALES:
        side = int(GRID / scale)
        boxes = location_boxes(side, scale * SIZE / GRID, torch.device("cpu")).view(side, side, 4)
        mirrored = SIZE - boxes.flip(1)[..., [2, 1, 0, 3]]
        torch.testing.assert_close(mirrored[..., [0, 2]], boxes[..., [0, 2]])
        assert boxes[0, 0].tolist() == [0, 0, SIZE / side, SIZE / side]
        assert boxes[-1, -1].tolist() == [SIZE - SIZE / side] * 2 + [SIZE] * 2
        assert boxes[0, 1, 0] == SIZE / side  # x before y


@pytest.mark.parametrize(("grid", "sides"), [(8, [16, 8, 4]), (7, [14, 7, 4]), (1, [2, 1, 1])])
def test_the_pyramid_has_three_strides(grid, sides):
    levels = Pyramid(32)(torch.randn(1, 32, grid, grid))
    assert [tuple(each.shape) for each in levels] == [(1, 32, side, side) for side in sides]


@pytest.mark.parametrize("patch", [16, 32, 64])
def test_other_grids_are_trained_and_predicted_on(patch):
    model = TASK.model(tiny_encoder(patch_size=patch), CLASSES, OPTIONS)
    samples = [scene_sample(0)]
    kept = torch.arange(model.encoder.grid**2)[None]
    assert model(images_of(samples), kept, targets_of(TASK, CLASSES, samples))["loss"].isfinite()
    (found,) = model(images_of(samples), kept)
    assert found["boxes"].shape == (len(found["scores"]), 4)
    assert found["boxes"].min() >= 0
    assert found["boxes"].max() <= SIZE
