"""What `KeptPatches` is made with and looks at: what it takes, and what it refuses in one clear line."""

from __future__ import annotations

import numpy as np
import pytest
import timm
import torch
from torch import nn

from ranker.kept_patches import KeptPatches
from ranker.network import PatchRankingTransformer, RankerConfig
from ranker.patch_ranker import PatchRanker
from ranker.pretrained import RankerCheckpoint

SIZE, PATCH = 32, 8


def a_ranker() -> PatchRanker:
    config = RankerConfig(image_size=16, patch_size=4, width=16, depth=1, heads=2, head="token")
    return PatchRanker(RankerCheckpoint(config, PatchRankingTransformer(config).state_dict(), {}))


def a_vit() -> nn.Module:
    small = {"img_size": SIZE, "patch_size": PATCH, "embed_dim": 24, "depth": 2, "num_heads": 2, "num_classes": 5}
    return timm.create_model("vit_tiny_patch16_224", pretrained=False, **small).eval()


@pytest.mark.parametrize(
    "three",
    [
        [0.1, 0.2, 0.3],
        np.array([0.1, 0.2, 0.3]),
        torch.tensor([0.1, 0.2, 0.3]),
        torch.tensor([[[0.1]], [[0.2]], [[0.3]]]),
    ],
)
def test_what_images_were_normalised_with_is_any_three_numbers(three):
    wrapped = KeptPatches(a_vit(), a_ranker(), 0.5, mean=three, std=three)
    for buffer in (wrapped.mean, wrapped.std):
        assert torch.equal(buffer, torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1))
    wrapped.mean.zero_()
    assert torch.as_tensor(three).sum() > 0.5, "a copy"


@pytest.mark.parametrize("wrong", [0.5, [0.5], [], torch.zeros(4), "abc", ["a", "b", "c"], [[0.1], [0.2, 0.3]]])
def test_what_images_were_normalised_with_is_no_other_thing(wrong):
    for name in ("mean", "std"):
        with pytest.raises(ValueError, match=f"^{name}: expected three numbers, one for each channel, got "):
            KeptPatches(a_vit(), a_ranker(), 0.5, **{name: wrong})


@pytest.mark.parametrize(
    ("wrong", "kind", "message"),
    [
        (
            torch.zeros(2, 3, SIZE, SIZE, dtype=torch.int64),
            ValueError,
            r"expected uint8, or floats .* got torch\.int64",
        ),
        (np.zeros((2, 3, SIZE, SIZE)), TypeError, "images: expected a tensor, got ndarray"),
        (torch.full((2, 3, SIZE, SIZE), torch.nan), ValueError, "images: expected finite values, got NaN or infinity"),
        (torch.full((2, 3, SIZE, SIZE), torch.inf), ValueError, "images: expected finite values, got NaN or infinity"),
    ],
)
def test_images_that_cannot_be_ranked_are_refused(wrong, kind, message):
    wrapped = KeptPatches(a_vit(), a_ranker(), 0.5)
    for use in (wrapped, wrapped.keep):
        with pytest.raises(kind, match=message):
            use(wrong)


@pytest.mark.parametrize("ratio", [0, 1.1, -1, float("nan")])
def test_a_ratio_that_is_none_is_refused(ratio):
    with pytest.raises(ValueError, match=r"ratio: expected a number in \(0, 1\], got"):
        KeptPatches(a_vit(), a_ranker(), ratio)


def test_a_ratio_that_is_no_number_is_refused():
    with pytest.raises(TypeError, match=r"^ratio: expected a number, got '0\.25'"):
        KeptPatches(a_vit(), a_ranker(), "0.25")  # type: ignore[arg-type]
