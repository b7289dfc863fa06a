"""The MAE's sizes, patches and pixel targets."""

from __future__ import annotations

import pytest
import torch

from stages.density.mae import PRESETS, MaeConfig, MaskedAutoencoder, patchify, unpatchify


@pytest.mark.parametrize(
    ("preset", "parameters"), [("base", 111_907_840), ("large", 329_541_888), ("huge", 657_074_508)]
)
def test_presets_are_as_large_as_the_published_models(preset, parameters):
    with torch.device("meta"):
        model = MaskedAutoencoder(PRESETS[preset])
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_patches_are_cut_and_put_together_again():
    images = torch.arange(2 * 3 * 16 * 16).view(2, 3, 16, 16)
    patches = patchify(images, 4)
    assert patches.shape == (2, 16, 48)
    assert patches[1, 6].view(4, 4, 3).equal(images[1, :, 4:8, 8:12].permute(1, 2, 0))
    assert unpatchify(patches, 4).equal(images)


@pytest.mark.parametrize("pixel_target", ["raw", "normalized"])
def test_the_pixel_target_is_patches_as_they_are_or_each_with_mean_zero_and_variance_one(pixel_target):
    config = MaeConfig(
        image_size=16,
        patch_size=4,
        width=16,
        heads=1,
        decoder_width=16,
        decoder_heads=1,
        depth=1,
        decoder_depth=1,
        pixel_target=pixel_target,
    )
    images = 3 + torch.randn(2, 3, 16, 16)
    target = MaskedAutoencoder(config).target(images)
    if pixel_target == "raw":
        assert target.equal(patchify(images, 4))
    else:
        torch.testing.assert_close(target.mean(-1), torch.zeros(2, 16), rtol=0, atol=1e-5)
        torch.testing.assert_close(target.var(-1), torch.ones(2, 16), rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"width": 30}, "MAE width: expected a multiple of 4 heads and of 4, got 30"),
        ({"decoder_width": 25}, "MAE decoder_width: expected a multiple of 2 heads and of 4, got 25"),
        ({"image_size": 33}, "MAE image_size: expected a multiple of patch_size 8, got 33"),
    ],
)
def test_an_architecture_that_cannot_be_is_refused(change, message):
    values = {
        "image_size": 32,
        "patch_size": 8,
        "width": 32,
        "heads": 4,
        "decoder_width": 24,
        "decoder_heads": 2,
    }
    with pytest.raises(ValueError, match=message):
        MaeConfig(**{**values, **change})
