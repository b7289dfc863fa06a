"""What an MAE makes of hidden patches, and how that and scores are drawn."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from small_models import SMALL

from stages.density.mae import MaeConfig, MaskedAutoencoder, patchify
from stages.density.reconstruction import draw_reconstructions, reconstruct_pixels
from stages.images.drawing import heat_overlay
from stages.images.page import labelled_grid
from stages.sources.scenes import draw_scene


def architecture(pixel_target: Any) -> MaeConfig:
    return dataclasses.replace(SMALL, pixel_target=pixel_target)


def test_patches_that_are_decoded_alone_are_those_whose_pixels_are_predicted() -> None:
    torch.manual_seed(0)
    model = MaskedAutoencoder(architecture("raw"))
    visible, decoded = torch.tensor([[1, 5, 9, 14]]), torch.tensor([[0, 3, 15]])
    seen: list[torch.Tensor] = []
    model.decoder_blocks[0].register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    predicted, where = model(torch.randn(1, 3, 32, 32), visible, decoded)
    assert torch.equal(where, decoded)
    assert predicted.shape == (1, 3, 192)
    assert torch.equal(seen[0][:, -3:], model.mask_token + model.decoder_pos_embed[:, decoded[0] + 1])
    assert seen[0].shape[1] == 1 + 4 + 3


@pytest.mark.parametrize("target", ["raw", "normalized"])
def test_a_perfect_prediction_reconstructs_the_image(target: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model = MaskedAutoencoder(architecture(target))
    images = torch.from_numpy(np.stack([draw_scene(0, i, 32).image for i in range(3)])).permute(0, 3, 1, 2)

    def predict(pixels: torch.Tensor, visible: torch.Tensor):
        masked = torch.stack([torch.tensor([i for i in range(16) if i not in row]) for row in visible.tolist()])
        return model.target(pixels).gather(1, masked[..., None].expand(-1, -1, 192)), masked

    monkeypatch.setattr(model, "reconstruct", predict)
    hidden, reconstructed = reconstruct_pixels(model, images, 0.75, seed=0)
    assert torch.equal(reconstructed, images)
    same = (patchify(hidden, 8) == patchify(images, 8)).all(dim=-1)
    assert same.sum(dim=1).tolist() == [4, 4, 4]


def test_the_picture_has_a_row_for_each_image_and_says_what_is_denormalised() -> None:
    images = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    raw, normalized = (
        draw_reconstructions(MaskedAutoencoder(architecture(target)), images, 0) for target in ("raw", "normalized")
    )
    assert raw.width == normalized.width > 5 * 160
    assert normalized.height > raw.height > 3 * 160


def test_a_grid_shows_its_images_pixel_by_pixel() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8, 3), dtype=np.uint8)
    picture = np.asarray(labelled_grid(list(images), ["a", "b", "c"], "caption"))
    rows = [y for y in range(len(picture)) if (picture[y, 4:164] == np.repeat(images[0, 0, 0], 20, axis=0)).all()]
    assert len(rows) == 20


def test_a_heat_map_colours_the_lowest_dark_and_the_highest_yellow() -> None:
    grey = np.full((8, 8, 3), 128, dtype=np.uint8)
    heat = heat_overlay(grey, np.array([[0.0, 5.0], [2.5, np.nan]]), strength=1.0)
    assert heat[0, 0].tolist() == [68, 1, 84]
    assert heat[0, 7].tolist() == [253, 231, 37]
    assert heat[7, 7].tolist() == [128, 128, 128]
    assert (heat_overlay(grey, np.full((2, 2), np.nan)) == grey).all()
