from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from task_models import (
    CLASSES,
    GRID,
    MASK_CLASSES,
    OPTIONS,
    SIZE,
    WHOLE,
    all_kept,
    images_of,
    repaint_dropped,
    scene_sample,
    some_kept,
    targets_of,
    tiny_encoder,
)
from torch import nn

from ranker.positions import sincos_positions
from stages.tasks.classify import Classify
from stages.tasks.detect import Detect
from stages.tasks.kept_views import KeptView
from stages.tasks.multilabel import Multilabel
from stages.tasks.objects import Object
from stages.tasks.segment import Segment
from stages.tasks.token_grid import TokenGrid, decoder_width

SAMPLES = [scene_sample(index) for index in range(2)]
TASKS: dict[str, Any] = {
    "classify": (Classify(), CLASSES),
    "multilabel": (Multilabel(), CLASSES),
    "segment": (Segment(), MASK_CLASSES),
    "detect": (Detect(), CLASSES),
}
each_task = pytest.mark.parametrize("name", TASKS)
dense_task = pytest.mark.parametrize("name", ["segment", "detect"])


def build(name: str):
    task, classes = TASKS[name]
    return task.model(tiny_encoder(), classes, OPTIONS).eval()


def tensors(predictions) -> list[torch.Tensor]:
    if isinstance(predictions, torch.Tensor):
        return [predictions]
    return [values for each in predictions for values in each.values()]


def same(one, other) -> bool:
    return all(a.shape == b.shape and torch.equal(a, b) for a, b in zip(tensors(one), tensors(other), strict=True))


@pytest.mark.parametrize(
    "options",
    [{}, {"reg_tokens": 2}, {"no_embed_class": True}, {"pre_norm": True}, {"fc_norm": True}, {"init_values": 0.1}],
)
def test_with_all_patches_kept_it_is_timms_own_model(options):
    encoder = tiny_encoder(**options).eval()
    with torch.no_grad():
        expected = encoder.vit.forward_features(images_of(SAMPLES))
        cls, tokens = encoder(images_of(SAMPLES), all_kept(2))
    torch.testing.assert_close(cls, expected[:, 0])
    torch.testing.assert_close(tokens, expected[:, -(GRID**2) :])


def test_tokens_come_in_the_order_in_which_patches_are_kept():
    encoder, kept = tiny_encoder().eval(), some_kept(2, 20)
    with torch.no_grad():
        cls, tokens = encoder(images_of(SAMPLES), kept)
        cls_back, tokens_back = encoder(images_of(SAMPLES), kept.flip(1))
    assert tokens.shape == (2, 20, 32)
    torch.testing.assert_close(tokens_back, tokens.flip(1))
    torch.testing.assert_close(cls_back, cls)


def test_blocks_see_no_more_than_the_kept_patches_and_cls():
    encoder, seen = tiny_encoder(), []
    encoder.vit.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape))
    encoder(images_of(SAMPLES), some_kept(2, 5))
    assert seen == [(2, 1 + 5, 32)]


def test_pixels_of_dropped_patches_do_not_change_tokens_and_those_of_kept_ones_do():
    encoder, kept, images = tiny_encoder().eval(), some_kept(2, 20), images_of(SAMPLES)
    with torch.no_grad():
        tokens = encoder(images, kept)[1]
        assert torch.equal(encoder(repaint_dropped(images, kept), kept)[1], tokens)
        assert not torch.equal(encoder(repaint_dropped(images, kept[:, 1:]), kept)[1], tokens)


@pytest.mark.parametrize("options", [{"class_token": False, "global_pool": "avg"}, {"patch_size": (8, 16)}])
def test_other_transformers_are_refused(options):
    with pytest.raises(ValueError, match="expected a vision transformer with a CLS token, for square images"):
        tiny_encoder(**options)


@each_task
def test_no_task_sees_the_pixels_of_dropped_patches(name):
    model, kept, images = build(name), some_kept(2, 20), images_of(SAMPLES)
    with torch.no_grad():
        predictions = model(images, kept)
        assert same(model(repaint_dropped(images, kept), kept), predictions)
        assert not same(model(repaint_dropped(images, kept[:, 1:]), kept), predictions)


@each_task
def test_the_order_of_kept_patches_does_not_matter(name):
    model, kept, images = build(name), some_kept(2, 20), images_of(SAMPLES)
    with torch.no_grad():
        for one, other in zip(tensors(model(images, kept)), tensors(model(images, kept.flip(1))), strict=True):
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@each_task
@pytest.mark.parametrize("kept", [1, GRID**2])
def test_every_weight_gets_a_gradient_at_any_keep_ratio(name, kept):
    """Which workers that train together rely on."""
    task, classes = TASKS[name]
    model = build(name).train()
    model(images_of(SAMPLES), some_kept(2, kept), targets_of(task, classes, SAMPLES))["loss"].backward()
    assert [name for name, weight in model.named_parameters() if weight.requires_grad and weight.grad is None] == []


@each_task
@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float16])
def test_losses_are_finite_and_in_float32_at_low_precision(name, precision):
    task, classes = TASKS[name]
    model, targets, kept = build(name), targets_of(task, classes, SAMPLES), some_kept(2, 20)
    images = images_of(SAMPLES)
    exact = model(images, kept, targets)
    with torch.autocast("cpu", dtype=precision):
        losses = model(images, kept, targets)
        assert all(values.isfinite().all() for values in tensors(model(images, kept)))
    assert losses.keys() == exact.keys()
    for part, loss in losses.items():
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss, exact[part], rtol=0.1, atol=0.1)


@dense_task
def test_the_token_of_dropped_patches_learns_and_stands_in_for_nothing_when_all_are_kept(name):
    task, classes = TASKS[name]
    images, targets = images_of(SAMPLES), targets_of(task, classes, SAMPLES)
    gradients = []
    for kept in (some_kept(2, 20), all_kept(2)):
        model = build(name).train()
        model(images, kept, targets)["loss"].backward()
        gradients.append(float(model.tokens.dropped.grad.abs().sum()))
    assert gradients[0] > 0
    assert gradients[1] == 0


@dense_task
def test_saved_weights_give_the_same_predictions(name):
    model, other = build(name), TASKS[name][0].model(tiny_encoder(1), TASKS[name][1], OPTIONS).eval()
    other.load_state_dict(model.state_dict())
    with torch.no_grad():
        assert same(model(images_of(SAMPLES), some_kept(2, 9)), other(images_of(SAMPLES), some_kept(2, 9)))


@pytest.mark.parametrize("place", [0, 7, 13, 63])
def test_kept_patches_pixels_masks_and_boxes_are_mirrored_together(place):
    patch = SIZE // GRID
    row, column = divmod(place, GRID)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    mask[row * patch : (row + 1) * patch, column * patch : (column + 1) * patch] = 1
    seen = KeptView(WHOLE, np.stack([mask] * 3, axis=2), np.array([place])).mirrored(GRID)
    (mirrored,) = seen.kept
    row, column = divmod(int(mirrored), GRID)
    expected = np.zeros((GRID, GRID), np.uint8)
    expected[row, column] = 1
    expected = np.kron(expected, np.ones((patch, patch), np.uint8))
    assert np.array_equal(seen.pixels[..., 0], expected)
    assert np.array_equal(Segment().targets(mask, MASK_CLASSES, seen.view, SIZE)["mask"], expected)
    box = Object(0, (place % GRID * patch, place // GRID * patch, patch, patch))
    boxes = Detect().targets((box,), CLASSES, seen.view, SIZE)["boxes"]
    assert boxes.tolist() == [[column * patch, row * patch, (column + 1) * patch, (row + 1) * patch]]


def test_tokens_are_put_back_where_their_patches_lay(monkeypatch: pytest.MonkeyPatch) -> None:
    grid, kept = TokenGrid(4, 64), torch.tensor([[5, 0, 15], [2, 3, 1]])
    monkeypatch.setattr(grid, "embed", nn.Identity())
    tokens = torch.randn(2, 3, 64)
    placed = (grid.place(tokens, kept).flatten(2).transpose(1, 2) - sincos_positions(4, 64)[:, 1:]).detach()
    for image, places in enumerate(kept.tolist()):
        for place in range(16):
            expected = tokens[image, places.index(place)] if place in places else grid.dropped.detach()
            torch.testing.assert_close(placed[image, place], expected)


@pytest.mark.parametrize(("width", "expected"), [(32, 64), (128, 64), (192, 96), (384, 192), (768, 256), (1024, 256)])
def test_decoders_are_light(width, expected):
    assert decoder_width(width) == expected
