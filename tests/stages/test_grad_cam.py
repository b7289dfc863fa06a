"""`grad-cam`: against another library, and against a closed form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from vit_methods import PATCH, SIDE, VIEWS, Asked, frozen_vit, random_images, write_task

from stages.methods.grad_cam import GradCam
from stages.methods.vision_transformer import FrozenViT

GRID = SIDE // PATCH


@pytest.mark.parametrize("pool", ["token", "avg"])
def test_it_is_the_map_of_pytorch_grad_cam(pool: str) -> None:
    """Which makes negative values zeros, and scales each map from 0 to 1."""
    library = pytest.importorskip("pytorch_grad_cam", reason="pip install grad-cam")
    model, images = frozen_vit(global_pool=pool), random_images(4)
    found = GradCam(model, model.vit).score(images, VIEWS)
    model.vit.requires_grad_(True)

    def as_grid(tokens: Tensor) -> Tensor:
        return tokens[:, 1:].unflatten(1, (GRID, GRID)).permute(0, 3, 1, 2)

    with library.GradCAM(model.vit, [model.vit.blocks[-1].norm1], reshape_transform=as_grid) as cam:
        scaled = cam(model.normalise(images), targets=None)
        activations = cam.activations_and_grads.activations[0].numpy()
        gradients = cam.activations_and_grads.gradients[0].numpy()
        weights = cam.get_cam_weights(None, None, None, activations, gradients)
        expected = (weights[:, :, None, None] * activations).sum(axis=1)
    np.testing.assert_allclose(found.numpy().reshape(-1, GRID, GRID), expected, rtol=1e-4, atol=1e-6)
    for map_, whole in zip(found, scaled, strict=True):
        own = map_.clamp(min=0).reshape(GRID, GRID)
        small = whole[PATCH // 2 :: PATCH, PATCH // 2 :: PATCH]  # it blows its map up to the image's pixels
        assert np.argmax(small) == int(own.argmax())


def test_the_map_of_a_linear_classifier_by_hand() -> None:
    """Of what the last norm gives, a: were the block nothing but its residual way, the logit would know nothing of it.
    With attention that is even, values that are a itself and no MLP, CLS gets the mean of all a; the head is linear in
    it, and each patch's gradient is the head's row over the number of tokens."""
    model = frozen_vit(depth=1, num_heads=1, norm_layer=nn.Identity)
    vit, width = model.vit, 24
    with torch.no_grad():
        for module in (vit.blocks[0].attn.qkv, vit.blocks[0].attn.proj, vit.blocks[0].mlp.fc2):
            module.weight.zero_()
            module.bias.zero_()
        vit.blocks[0].attn.qkv.weight[2 * width :] = torch.eye(width)
        vit.blocks[0].attn.proj.weight.copy_(torch.eye(width))
    images = random_images(4)
    tokens = model.embed(images)
    row = vit.head.weight[vit(model.normalise(images)).argmax(dim=1)]
    expected = torch.einsum("bld,bd->bl", tokens[:, 1:], row / tokens.shape[1])
    torch.testing.assert_close(GradCam(model, vit).score(images, VIEWS), expected, rtol=1e-4, atol=1e-6)


def test_each_image_is_looked_at_by_itself_and_under_no_grad() -> None:
    model, images = frozen_vit(), random_images(4)
    method = GradCam(model, model.vit)
    with torch.no_grad():
        alone = torch.cat([method.score(image[None], VIEWS) for image in images])
        together = method.score(images, VIEWS)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-6)
    assert not together.requires_grad
    assert not model.vit.blocks[-1].norm1._forward_hooks


def test_a_classifier_of_train_task_is_looked_through_as_it_predicts(tmp_path: Path) -> None:
    """Its logits move as the map says when what the last block's norm gives moves a little at one patch."""
    model = write_task(tmp_path / "task")
    method = GradCam.load(Asked(model=str(tmp_path / "task")))
    images = random_images(2)
    found = method.score(images, VIEWS)
    pixels, kept = method.model.normalise(images), torch.arange(GRID**2).expand(2, -1)
    norm = model.encoder.vit.blocks[-1].norm1
    seen: list[Tensor] = []
    moved = torch.zeros(2, 1 + GRID**2, 24, dtype=torch.float64)

    def move(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        seen.append(output)
        return output + moved

    model.double()
    norm.register_forward_hook(move)

    def logits() -> Tensor:
        return model.head(model.norm(model.encoder(pixels.double(), kept)[1].mean(dim=1)))  # type: ignore[operator]

    with torch.no_grad():
        rows, best = torch.arange(2), logits().argmax(dim=1)
        slopes = torch.zeros(2, 24, dtype=torch.float64)
        for channel in range(24):  # the mean over patches of the gradient is the slope as all move at once
            for sign in (1, -1):
                moved.zero_()[:, 1:, channel] = sign * 1e-4
                slopes[:, channel] += sign * logits()[rows, best] / 2e-4 / GRID**2
    expected = torch.einsum("bld,bd->bl", seen[0][:, 1:], slopes)
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-6)


def test_a_model_without_classes_is_refused(tmp_path: Path) -> None:
    write_task(tmp_path / "boxes", "segment")
    with pytest.raises(
        ValueError, match=r"^--method grad-cam: expected a classifier, got .*boxes, which has no head of"
    ) as refusal:
        GradCam.load(Asked(model=str(tmp_path / "boxes")))
    assert len(str(refusal.value).splitlines()) == 1
    assert FrozenViT(frozen_vit().vit, "x").classifier is None
