from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from task_models import (
    GRID,
    MASK_CLASSES,
    OPTIONS,
    SIZE,
    WHOLE,
    grey_sample,
    images_of,
    learn,
    scene_sample,
    some_kept,
    targets_of,
    tiny_encoder,
)

from stages.images.views import View, render
from stages.sources.built_in_scenes import png_bytes
from stages.tasks.segment import Segment
from stages.tasks.task import IGNORED, Classes, TaskOptions

TASK = Segment()
FEW = Classes((0, 3, 9), ("ground", "cat", "dog"))
MASK = np.zeros((8, 12), np.uint8)
MASK[:4, 6:] = 3
MASK[6:, :2] = 9
MASK[0, 0] = IGNORED


def mask_sample(mask: np.ndarray):
    return grey_sample(12, 8, seg_png=png_bytes(mask))


@pytest.mark.parametrize(
    ("ignored", "expected", "ids"),
    [((), MASK, {0, 3, 9}), ((9, 300, -1), np.where(MASK == 9, IGNORED, MASK), {0, 3}), ((0, 3, 9), None, set())],
)
def test_the_mask_is_read(ignored, expected, ids):
    truth = TASK.read_truth(mask_sample(MASK), TaskOptions(image_size=SIZE, ignore_classes=ignored))
    assert truth.dtype == np.uint8
    assert np.array_equal(truth, np.full_like(MASK, IGNORED) if expected is None else expected)
    assert TASK.ids(truth) == ids


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "expected a mask in the field seg.png, the sample holds png"),
        ({"seg_png": b""}, "seg.png: zero bytes"),
        ({"seg_png": b"GIF89a"}, "seg.png: not an image of a known format"),
        ({"seg_png": png_bytes(MASK[:, :11])}, "seg.png: the mask is 11x8, the image 12x8"),
        ({"seg_png": png_bytes(MASK.T)}, "seg.png: the mask is 8x12, the image 12x8"),
        ({"seg_png": png_bytes(np.stack([MASK] * 3, axis=2))}, "seg.png: expected a mask of 8-bit greyscale or with a"),
        ({"seg_png": png_bytes(MASK)[:-30]}, "seg.png: (truncated|damaged)"),
        ({"seg_png": png_bytes(MASK), "png": b"no image"}, "not an image of a known format"),
    ],
)
def test_what_is_no_mask_is_refused(fields, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        TASK.read_truth(grey_sample(12, 8, **fields), OPTIONS)


def test_names_come_from_the_index():
    assert TASK.class_names({"mask_classes": ["ground", "cat"]}) == {0: "ground", 1: "cat"}
    assert TASK.class_names({"classes": ["cat"]}) == {}


def test_targets_are_the_crop_with_indices_for_values():
    mask = TASK.targets(MASK, FEW, View(0, 0, 8, 8), 8)["mask"]
    assert mask.dtype == np.uint8
    expected = {0: 0, 3: 1, 9: 2, IGNORED: IGNORED}
    assert mask.tolist() == [[expected[value] for value in row] for row in MASK[:, :8].tolist()]


@pytest.mark.parametrize("size", [4, 16, 64])
def test_targets_lie_where_the_rendered_image_shows_their_classes(size):
    view = View(2, 1, 10, 6)
    mask = TASK.targets(MASK, FEW, view, size)["mask"]
    shown = render(Image.fromarray(np.stack([np.where(MASK == 3, 255, 0).astype(np.uint8)] * 3, 2)), view, size)
    assert np.mean((shown[..., 0] > 127) == (mask == 1)) > 0.9


def test_a_mirrored_view_has_mirrored_targets():
    view = View(2, 1, 10, 6)
    straight = TASK.targets(MASK, FEW, view, 16)["mask"]
    mirrored = TASK.targets(MASK, FEW, View(2, 1, 10, 6, flip=True), 16)["mask"]
    assert np.array_equal(mirrored, straight[:, ::-1])
    assert not np.array_equal(mirrored, straight)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (Classes((0, 3), ("a", "b")), "class 9: expected one of 2, from 0 to 3"),
        (Classes(tuple(range(300)), ("x",) * 300), "expected classes of masks from 0 to 254, got 0 to 299"),
    ],
)
def test_values_that_are_no_class_are_refused(classes, message):
    with pytest.raises(ValueError, match=f"^{message}$"):
        TASK.targets(MASK, classes, View(0, 0, 12, 8), 16)


def test_a_few_scenes_are_learnt():
    samples = [scene_sample(index) for index in range(4)]
    model = TASK.model(tiny_encoder(), MASK_CLASSES, OPTIONS)
    images, kept, targets = images_of(samples), some_kept(4, 32), targets_of(TASK, MASK_CLASSES, samples)
    losses = learn(model, images, kept, targets, steps=80, rate=5e-3)
    assert losses[-1] < 0.05 * losses[0]
    with torch.no_grad():
        predictions = model.eval()(images, kept)
    assert predictions.shape == (4, 9, 4 * GRID, 4 * GRID)
    metric = TASK.metric(MASK_CLASSES, OPTIONS)
    metric.update(predictions, [TASK.read_truth(sample, OPTIONS) for sample in samples], [WHOLE] * 4)
    assert metric.compute()["pixel accuracy"] > 0.95
    assert metric.compute()["mIoU"] > 0.75


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_ignored_pixels_change_neither_loss_nor_gradient(smoothing):
    options = TaskOptions(image_size=SIZE, label_smoothing=smoothing)
    model = TASK.model(tiny_encoder(), FEW, options).eval()
    images, kept = images_of([scene_sample(0)] * 2), some_kept(1, 20).expand(2, -1)
    mask = torch.randint(0, 3, (2, SIZE, SIZE), dtype=torch.uint8)
    mask[1] = IGNORED
    both, first = model(images, kept, {"mask": mask})["loss"], model(images[:1], kept[:1], {"mask": mask[:1]})["loss"]
    torch.testing.assert_close(both, first)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_a_batch_in_which_all_is_ignored_teaches_nothing(smoothing):
    model = TASK.model(tiny_encoder(), FEW, TaskOptions(image_size=SIZE, label_smoothing=smoothing))
    mask = torch.full((1, SIZE, SIZE), IGNORED, dtype=torch.uint8)
    loss = model(images_of([scene_sample(0)]), some_kept(1, 20), {"mask": mask})["loss"]
    loss.backward()
    assert loss == 0
    for weight in model.parameters():
        if weight.requires_grad:
            assert weight.grad is not None
            assert torch.equal(weight.grad, torch.zeros_like(weight))


def certain(mask: np.ndarray, values: tuple[int, ...]) -> torch.Tensor:
    """Logits (1, C, H, W) of a model that answers just this mask."""
    return torch.stack([torch.from_numpy(mask == value) for value in values]).float()[None] * 10


def test_a_right_answer_at_another_resolution_is_perfect():
    truth = np.kron(np.array([[0, 3], [9, 0]], np.uint8), np.ones((8, 8), np.uint8))
    metric = TASK.metric(FEW, OPTIONS)
    metric.update(certain(truth[::2, ::2], FEW.ids), [truth], [View(0, 0, 16, 16)])
    assert metric.compute() == pytest.approx({"mIoU": 1.0, "pixel accuracy": 1.0})
    assert metric.by_class() == {0: 1.0, 1: 1.0, 2: 1.0}


def test_only_the_views_box_is_judged():
    said = np.full((4, 4), 3, np.uint8)
    for view, accuracy in [(View(6, 0, 6, 4), 1.0), (View(6, 0, 6, 8), 0.5), (View(2, 4, 4, 2), 0.0)]:
        metric = TASK.metric(FEW, OPTIONS)
        metric.update(certain(said, FEW.ids), [MASK], [view])
        assert metric.compute()["pixel accuracy"] == accuracy


TRUE = np.array([[0, 0, 0, 3], [0, 3, 3, IGNORED]], np.uint8)
SAID = np.array([[0, 0, 9, 3], [3, 3, 0, 9]], np.uint8)


@pytest.mark.parametrize(
    ("among", "iou", "accuracy"),
    [
        (None, (2 / 5 + 2 / 4) / 2, 4 / 7),
        ({0}, 2 / 5, 2 / 4),
        ({1, 2}, 2 / 4, 2 / 3),
        ({2}, np.nan, np.nan),
    ],
)
def test_metrics_over_all_classes_or_some(among, iou, accuracy):
    metric = TASK.metric(FEW, OPTIONS)
    for row in range(2):
        metric.update(certain(SAID[row : row + 1], FEW.ids), [TRUE[row : row + 1]], [View(0, 0, 4, 1)])
    assert metric.compute(among) == pytest.approx({"mIoU": iou, "pixel accuracy": accuracy}, nan_ok=True)
    assert metric.by_class() == pytest.approx({0: 2 / 5, 1: 2 / 4})


def test_the_likeliest_class_is_that_of_all_logits_resized_together():
    torch.manual_seed(0)
    logits, truth = torch.randn(1, 3, 8, 8), np.zeros((30, 20), np.uint8)
    metric = TASK.metric(FEW, OPTIONS)
    metric.update(logits, [truth], [View(0, 0, 20, 30)])
    together = torch.nn.functional.interpolate(logits, (30, 20), mode="bilinear").argmax(dim=1)
    assert metric.compute()["pixel accuracy"] == pytest.approx((together == 0).float().mean().item())
