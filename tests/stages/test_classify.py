from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from task_models import (
    CLASSES,
    MASK_CLASSES,
    OPTIONS,
    WHOLE,
    all_kept,
    grey_sample,
    images_of,
    learn,
    scene_sample,
    some_kept,
    targets_of,
    tiny_encoder,
)

from stages.compute.autocast import autocast
from stages.tables import TASKS
from stages.tasks.classify import Classify
from stages.tasks.task import Classes, TaskOptions

TASK = Classify()


@pytest.mark.parametrize(("data", "expected"), [(b"3", 3), (b" 12\n", 12), (b"0", 0)])
def test_the_class_is_read(data, expected):
    truth = TASK.read_truth(grey_sample(cls=data), OPTIONS)
    assert truth == expected
    assert TASK.ids(truth) == {expected}


@pytest.mark.parametrize("data", [b"", b"-1", b"1.5", b"cat", b"\xff", b"1 2"])
def test_what_is_no_class_is_refused(data):
    with pytest.raises(ValueError, match=r"^cls: expected the number of a class, got "):
        TASK.read_truth(grey_sample(cls=data), OPTIONS)


def test_a_sample_without_a_class_is_refused():
    with pytest.raises(ValueError, match=r"^expected a class in the field cls, the sample holds png$"):
        TASK.read_truth(grey_sample(), OPTIONS)


def test_targets_are_ones_at_the_classs_place():
    classes = Classes((2, 5, 9), ("a", "b", "c"))
    assert TASK.targets(5, classes, WHOLE, 64)["classes"].tolist() == [0, 1, 0]
    with pytest.raises(ValueError, match="class 3: expected one of 3"):
        TASK.targets(3, classes, WHOLE, 64)


def test_names_come_from_the_index():
    assert TASK.class_names({"classes": ["cat", "dog"]}) == {0: "cat", 1: "dog"}
    assert TASK.class_names({}) == {}


def test_a_few_scenes_are_learnt():
    samples = [scene_sample(index) for index in range(4)]
    model = TASK.model(tiny_encoder(), CLASSES, OPTIONS)
    batch = images_of(samples), some_kept(4, 16), targets_of(TASK, CLASSES, samples)
    losses = learn(model, *batch, steps=40, rate=1e-2)
    assert losses[0] == pytest.approx(math.log(len(CLASSES)), abs=0.3)
    assert losses[-1] < 0.02


@pytest.mark.parametrize("task", TASKS)
def test_answers_are_not_rounded_to_ties_where_a_model_computes_in_fewer_bits(task):
    """Of bf16's 8 bits, answers of a thousand images or boxes would share a few hundred values."""
    classes = MASK_CLASSES if task == "segment" else CLASSES
    model = TASKS[task].model(tiny_encoder(), classes, OPTIONS).eval()
    with torch.inference_mode(), autocast(torch.device("cpu"), "bf16"):
        answers = model(images_of([scene_sample(index) for index in range(4)]), all_kept(4))
    values = torch.cat([each["scores"] for each in answers]) if task == "detect" else answers
    assert values.dtype == torch.float32
    assert len(values.unique()) > 0.9 * values.numel()
    assert task != "detect" or len(values)


def test_smoothed_labels_leave_a_loss_that_certainty_does_not_take_away():
    targets = {"classes": torch.eye(8)[:1]}
    images, kept = images_of([scene_sample(0)]), some_kept(1, 4)
    losses = []
    for smoothing in (0.0, 0.1):
        model = TASK.model(tiny_encoder(), CLASSES, TaskOptions(image_size=64, label_smoothing=smoothing)).eval()
        head = model.get_submodule("head")
        assert isinstance(head, torch.nn.Linear)
        torch.nn.init.zeros_(head.weight)
        head.bias.data[0] = 20.0
        losses.append(model(images, kept, targets)["loss"].item())
    assert losses[0] == pytest.approx(0.0, abs=1e-6)
    assert losses[1] == pytest.approx(0.1 * 7 / 8 * 20, rel=1e-4)


def test_the_loss_of_mixed_classes_is_the_mixed_loss():
    model = TASK.model(tiny_encoder(), CLASSES, OPTIONS).eval()
    images, kept = images_of([scene_sample(0)]), some_kept(1, 4)
    one, other, mixed = (
        model(images, kept, {"classes": target[None]})["loss"].item()
        for target in (torch.eye(8)[2], torch.eye(8)[5], torch.lerp(torch.eye(8)[5], torch.eye(8)[2], 0.7))
    )
    assert mixed == pytest.approx(0.7 * one + 0.3 * other)


LOGITS = torch.tensor(
    [
        [5.0, 4, 3, 2, 1, 0],  # of class 0: first
        [5.0, 4, 3, 2, 1, 0],  # of class 4: fifth
        [5.0, 4, 3, 2, 1, 0],  # of class 5: sixth
        [1.0, 1, 1, 1, 1, 1],  # of class 0: nothing told apart
    ]
)


@pytest.mark.parametrize(
    ("among", "first", "fifth"),
    [(None, 1 / 4, 2 / 4), ({0}, 1 / 2, 1 / 2), ({4, 5}, 0, 1 / 2), ({4}, 0, 1), ({1}, np.nan, np.nan)],
)
def test_accuracy_over_all_classes_or_some(among, first, fifth):
    metric = TASK.metric(Classes(tuple(range(6)), tuple("abcdef")), OPTIONS)
    metric.update(LOGITS[:2], [0, 4], [WHOLE] * 2)
    metric.update(LOGITS[2:], [5, 0], [WHOLE] * 2)
    assert metric.compute(among) == pytest.approx({"top-1": first, "top-5": fifth}, nan_ok=True)
    assert metric.by_class() == {0: 0.5, 4: 0.0, 5: 0.0}


@pytest.mark.parametrize("n_classes", [2, 4, 5])
def test_of_five_classes_or_fewer_the_five_likeliest_say_nothing(n_classes):
    metric = TASK.metric(Classes(tuple(range(n_classes)), tuple("abcde"[:n_classes])), OPTIONS)
    metric.update(LOGITS[:1, :n_classes], [0], [WHOLE])
    assert metric.compute() == pytest.approx({"top-1": 1, "top-5": np.nan}, nan_ok=True)
