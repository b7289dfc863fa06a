from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from task_models import (
    CLASSES,
    OPTIONS,
    WHOLE,
    grey_sample,
    images_of,
    json_sample,
    learn,
    scene_sample,
    some_kept,
    targets_of,
    tiny_encoder,
)
from timm.loss import AsymmetricLossMultiLabel

from stages.images.views import View
from stages.tasks.asymmetric_loss import asymmetric_loss
from stages.tasks.multilabel import LOSSES, Multilabel
from stages.tasks.task import Classes, TaskOptions

TASK = Multilabel()
FEW = Classes((1, 4, 7), ("a", "b", "c"))


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"categories": [4, 1]}, {1, 4}),
        ({"categories": []}, set()),
        ({"objects": []}, set()),
        ({"objects": [{"category": 4, "bbox": [0, 0, 1, 1]}, {"category": 4, "bbox": [1, 1, 2, 2]}]}, {4}),
        ({"objects": [{"category": 4, "bbox": [0, 0, 1, 1], "iscrowd": 1}]}, {4}),
        ({"categories": [1], "objects": [{"category": 4, "bbox": [0, 0, 1, 1]}]}, {1}),
        ({"categories": [1], "captions": ["a cat"]}, {1}),
    ],
)
def test_categories_are_read(facts, expected):
    assert TASK.ids(TASK.read_truth(json_sample(facts), OPTIONS)) == expected


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({}, "json: expected a list of categories or of objects, found neither"),
        ({"categories": None}, "json: expected a list of categories or of objects, found neither"),
        (b"{", "json: the whole: expected JSON, got something else"),
        (b"\xff", "json: the whole: expected JSON, got something else"),
        ([1], r"json: the whole: expected an object, got \[1\]"),
        ({"categories": 3}, "json: categories: expected a valid array, got 3"),
        ({"categories": [1, "cat"]}, "json: categories.1: expected a valid integer, got 'cat'"),
        ({"categories": [1.0]}, "json: categories.0: expected a valid integer, got 1.0"),
        ({"categories": [True]}, "json: categories.0: expected a valid integer, got True"),
        ({"categories": [-1]}, "json: categories.0: expected at least 0, got -1"),
        ({"categories": [2**40]}, "json: categories.0: expected less than 2147483648, got"),
        ({"objects": [{"bbox": [0, 0, 1, 1]}]}, "json: objects.0.category: expected a value, got none"),
    ],
)
def test_what_are_no_categories_is_refused(facts, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        TASK.read_truth(json_sample(facts), OPTIONS)


def test_a_sample_without_json_is_refused():
    with pytest.raises(ValueError, match=r"^expected objects in the field json, the sample holds cls, png$"):
        TASK.read_truth(grey_sample(cls=b"1"), OPTIONS)


@pytest.mark.parametrize(
    ("info", "expected"), [({"categories": [{"id": 3, "name": "cat"}]}, {3: "cat"}), ({"classes": ["x"]}, {}), ({}, {})]
)
def test_names_come_from_the_index(info, expected):
    assert TASK.class_names(info) == expected


def test_an_index_with_other_categories_is_refused():
    with pytest.raises(ValueError, match=r"info of the index: categories\.0: expected an object, got 'cat'"):
        TASK.class_names({"categories": ["cat"]})


@pytest.mark.parametrize("view", [WHOLE, View(50, 3, 7, 9, flip=True)])
def test_targets_are_those_of_the_whole_image_whatever_the_view_shows(view):
    assert TASK.targets(frozenset({1, 7}), FEW, view, 64)["classes"].tolist() == [1, 0, 1]
    assert TASK.targets(frozenset(), FEW, view, 64)["classes"].tolist() == [0, 0, 0]


def test_a_category_that_is_no_class_is_refused():
    with pytest.raises(ValueError, match="class 2: expected one of 3"):
        TASK.targets(frozenset({1, 2}), FEW, WHOLE, 64)


@pytest.mark.parametrize("loss", LOSSES)
def test_a_few_scenes_are_learnt(loss):
    samples = [scene_sample(index) for index in range(4)]
    model = TASK.model(tiny_encoder(), CLASSES, TaskOptions(image_size=64, multilabel_loss=loss))
    batch = images_of(samples), some_kept(4, 16), targets_of(TASK, CLASSES, samples)
    losses = learn(model, *batch, steps=40, rate=1e-2)
    assert losses[-1] < 0.03 * losses[0]
    metric = TASK.metric(CLASSES, OPTIONS)
    with torch.no_grad():
        predictions = model.eval()(*batch[:2])
    metric.update(predictions, [TASK.read_truth(sample, OPTIONS) for sample in samples], [WHOLE] * 4)
    assert metric.compute() == pytest.approx({"mAP": 1.0, "F1": 1.0})


def direct_asymmetric_loss(logits: np.ndarray, targets: np.ndarray) -> float:
    """Equations 4 to 6 of the paper, one answer at a time."""
    total = 0.0
    for logit, target in zip(logits.ravel(), targets.ravel(), strict=True):
        p = 1 / (1 + np.exp(-logit))
        shifted = max(p - 0.05, 0.0)
        total -= target * np.log(p) + (1 - target) * shifted**4 * np.log(1 - shifted)
    return total / len(logits)


def test_the_asymmetric_loss_is_that_of_the_paper():
    generator = np.random.default_rng(0)
    logits, targets = generator.normal(0, 3, (5, 7)), generator.integers(0, 2, (5, 7))
    expected = direct_asymmetric_loss(logits, targets)
    assert asymmetric_loss(torch.tensor(logits), torch.tensor(targets)).item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("logit", [-6.0, -2.9, -1.0, 0.0, 0.5, 2.0, 8.0])
@pytest.mark.parametrize("target", [0.0, 1.0])
def test_the_weight_of_the_asymmetric_loss_has_no_gradient(logit, target):
    """As in its published code: only the logarithm is derived, by hand here."""
    logits = torch.tensor([[logit, 0.0], [0.0, 0.0]], requires_grad=True)
    asymmetric_loss(logits, torch.tensor([[target, 0.0], [0.0, 0.0]])).backward()
    p = 1 / (1 + math.exp(-logit))
    shifted = max(p - 0.05, 0)
    expected = p - 1 if target else shifted**4 * p * (1 - p) / (1 - shifted)
    assert logits.grad is not None
    assert logits.grad[0, 0].item() == pytest.approx(expected / 2, rel=1e-4)


def test_the_asymmetric_loss_and_its_gradient_are_the_published_codes():
    """What LTRP's AsymmetricLoss (gamma_neg=4, gamma_pos=0, clip=0.05, its weight without gradient) gave in float64."""
    logits = torch.tensor([[-3.0, -1.0, 0.0, 2.0], [1.0, 3.0, -2.0, 0.5]], requires_grad=True)
    value = asymmetric_loss(logits, torch.tensor([[0.0, 1, 0, 0], [0, 0, 1, 1]]))
    value.backward()
    assert value.item() == pytest.approx(3.2882237251612576, rel=1e-5)
    expected = [
        [0.0, -0.36552928931500245, 0.00931960227272727, 0.14781031882907797],
        [0.0663142440547659, 0.15386552887704477, -0.4403985389889412, -0.18877033439907273],
    ]
    assert logits.grad is not None
    assert logits.grad.numpy() == pytest.approx(np.array(expected), rel=1e-4)


def test_of_one_image_the_asymmetric_loss_is_timms():
    logits, targets = torch.randn(1, 9) * 3, (torch.rand(1, 9) < 0.5).float()
    ours = asymmetric_loss(logits, targets)
    torch.testing.assert_close(ours, AsymmetricLossMultiLabel(gamma_neg=4, gamma_pos=0, clip=0.05)(logits, targets))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_the_loss_of_mixed_categories_is_the_mixed_loss(loss):
    logits, one, other = torch.randn(4, 6), (torch.rand(4, 6) < 0.5).float(), (torch.rand(4, 6) < 0.5).float()
    mixed = loss(logits, torch.lerp(other, one, 0.7))
    torch.testing.assert_close(mixed, 0.7 * loss(logits, one) + 0.3 * loss(logits, other))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_extreme_logits_have_finite_losses_and_gradients(loss):
    logits = torch.tensor([[200.0, -200, 200, -200]], requires_grad=True)
    value = loss(logits, torch.tensor([[1.0, 1, 0, 0]]))
    value.backward()
    assert value.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()
    assert logits.grad[0, 1] == -1  # a missed positive is still learnt


# Class 1 (index 0) first and third of four; class 4 in no image; class 7 second alone.
LOGITS = torch.tensor([[4.0, 0.5, -1.0], [3.0, -2.0, 2.0], [2.0, -2.0, 1.0], [-1.0, -2.0, -3.0]])
TRUTHS = [frozenset({1}), frozenset(), frozenset({1, 7}), frozenset()]


@pytest.mark.parametrize(
    ("among", "precision", "f1"),
    [
        (None, ((1 + 2 / 3) / 2 + 1 / 2) / 2, 2 * 3 / (3 + 6)),
        ({0}, (1 + 2 / 3) / 2, 2 * 2 / (2 + 3)),
        ({0, 1}, (1 + 2 / 3) / 2, 2 * 2 / (2 + 4)),
        ({2}, 1 / 2, 2 * 1 / (1 + 2)),
        ({1}, np.nan, np.nan),
    ],
)
def test_metrics_over_all_classes_or_some(among, precision, f1):
    metric = TASK.metric(FEW, OPTIONS)
    metric.update(LOGITS[:3], TRUTHS[:3], [WHOLE] * 3)
    metric.update(LOGITS[3:], TRUTHS[3:], [WHOLE])
    assert metric.compute(among) == pytest.approx({"mAP": precision, "F1": f1}, nan_ok=True)
    assert metric.by_class() == pytest.approx({0: 5 / 6, 2: 1 / 2})


@pytest.mark.parametrize("sure", [25.0, 40.0, 1e4, 1e30, -800.0, -1e30])
def test_very_sure_answers_are_still_told_apart(sure):
    """Where sigmoids are all 1, or all 0."""
    metric = TASK.metric(FEW, OPTIONS)
    higher, lower = torch.tensor(sure), torch.nextafter(torch.tensor(sure), torch.tensor(-torch.inf))
    metric.update(torch.stack([higher, lower])[:, None].expand(2, 3), [frozenset({1, 4, 7}), frozenset()], [WHOLE] * 2)
    assert metric.compute()["mAP"] == 1.0


def direct_average_precision(logits: np.ndarray, present: np.ndarray) -> float:
    """As scikit-learn defines it: the sum over thresholds of the recall gained times the precision there."""
    total, recall = 0.0, 0.0
    for threshold in sorted(set(logits.tolist()), reverse=True):
        said = logits >= threshold
        reached = (said & present).sum() / present.sum()
        total += (reached - recall) * (said & present).sum() / said.sum()
        recall = reached
    return total


@pytest.mark.parametrize("scale", [0.1, 1.0, 30.0, 3000.0])
@pytest.mark.parametrize("rounded", [False, True])
def test_average_precision_is_that_of_the_logits_with_those_that_tie_taken_together(scale, rounded):
    generator = np.random.default_rng(int(scale))
    logits, present = generator.normal(0, scale, (300, 3)), generator.random((300, 3)) < 0.2
    logits = (np.round(logits / scale) * scale if rounded else logits).astype(np.float32)
    metric = TASK.metric(FEW, OPTIONS)
    truths = [frozenset(id_ for id_, there in zip(FEW.ids, row, strict=True) if there) for row in present]
    metric.update(torch.from_numpy(logits), truths, [WHOLE] * 300)
    expected = {index: direct_average_precision(logits[:, index], present[:, index]) for index in range(3)}
    assert metric.by_class() == pytest.approx(expected, abs=1e-6)
    assert len(set(np.round(list(expected.values()), 3))) == 3


def test_nothing_seen_is_not_a_number():
    assert np.isnan(list(TASK.metric(FEW, OPTIONS).compute().values())).all()
