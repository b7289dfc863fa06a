"""`PatchRanker` in people's own code."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn
from torchvision.transforms.functional import InterpolationMode, resize

from ranker import PatchRanker
from ranker.network import Head, PatchRankingTransformer, RankerConfig
from ranker.pretrained import RankerCheckpoint, encode_ranker
from ranker.selection import spread_patches


def ranker_of(size: int = 32, patch: int = 8, head: Head = "cls") -> PatchRanker:
    torch.manual_seed(0)
    config = RankerConfig(image_size=size, patch_size=patch, width=16, depth=1, heads=2, head=head)
    return PatchRanker(RankerCheckpoint(config, dict(PatchRankingTransformer(config).state_dict()), {"steps": 3}))


PHOTOGRAPHS = torch.randint(256, (3, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def normalised(photographs: Tensor) -> Tensor:
    mean, std = (torch.tensor(each)[:, None, None] for each in (IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD))
    return (photographs / 255 - mean) / std


def test_it_is_read_from_the_folder_that_it_was_written_to(tmp_path: Path):
    ranker = ranker_of()
    for name, data in encode_ranker(ranker.network, {"loss": "list_mle"}).items():
        (tmp_path / name).write_bytes(data)
    opened = PatchRanker.from_pretrained(str(tmp_path))
    assert opened.config == ranker.config
    assert opened.facts == {"loss": "list_mle"}
    assert torch.equal(opened.rank(PHOTOGRAPHS), ranker.rank(PHOTOGRAPHS))


def test_pixels_and_normalised_floats_are_ranked_alike():
    ranker = ranker_of()
    scores = ranker.rank(PHOTOGRAPHS)
    assert scores.shape == (3, 16)
    assert scores.dtype == torch.float32
    torch.testing.assert_close(ranker.rank(normalised(PHOTOGRAPHS)), scores)
    assert torch.equal(ranker(PHOTOGRAPHS), scores)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_floats_of_any_precision_are_taken(dtype: torch.dtype):
    ranker = ranker_of()
    expected = ranker.rank(PHOTOGRAPHS)
    torch.testing.assert_close(ranker.rank(normalised(PHOTOGRAPHS).to(dtype)), expected, atol=0.05, rtol=0.05)
    low = ranker_of().to(torch.bfloat16)
    for images in (PHOTOGRAPHS, normalised(PHOTOGRAPHS).to(dtype)):
        scores = low.rank(images)
        assert scores.dtype == torch.float32
        torch.testing.assert_close(scores, expected, atol=0.1, rtol=0.1)


def test_images_are_ranked_one_by_one():
    ranker = ranker_of()
    alone = torch.cat([ranker.rank(photograph[None]) for photograph in PHOTOGRAPHS])
    torch.testing.assert_close(ranker.rank(PHOTOGRAPHS), alone)


@pytest.mark.parametrize(("ratio", "count"), [(0.25, 49), (0.5, 98), (0.75, 147), (1, 196)])
def test_the_papers_keep_ratios_keep_its_numbers_of_patches_in_order(ratio: float, count: int):
    ranker = ranker_of(size=28, patch=2)
    photographs = PHOTOGRAPHS[..., :28, :28]
    kept = ranker.keep(photographs, ratio)
    assert kept.shape == (3, count)
    assert kept.dtype == torch.int64
    assert (kept.diff(dim=-1) > 0).all()
    scores = ranker.rank(photographs)
    best = scores.topk(count).values.amin(-1)
    assert torch.equal(scores.gather(1, kept).amin(-1), best)


@pytest.mark.parametrize("ratio", [0, 1.5, -1])
def test_a_ratio_that_is_none_is_refused(ratio: float):
    with pytest.raises(ValueError, match="keep ratio: expected more than 0 and at most 1, got"):
        ranker_of().keep(PHOTOGRAPHS, ratio)


@pytest.mark.parametrize("ratio", ["0.25", None, [0.25], torch.tensor(0.25)])
def test_a_ratio_that_is_no_number_is_refused(ratio: Any):
    with pytest.raises(TypeError, match=r"^keep ratio: expected a number, got .+"):
        ranker_of().keep(PHOTOGRAPHS, ratio)


def test_numbers_of_other_libraries_are_ratios():
    expected = ranker_of().keep(PHOTOGRAPHS, 0.25)
    for ratio in (np.float32(0.25), np.float64(0.25), Fraction(1, 4)):
        assert torch.equal(ranker_of().keep(PHOTOGRAPHS, ratio), expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("images", [PHOTOGRAPHS.numpy(), PHOTOGRAPHS.tolist()])
def test_what_is_no_tensor_is_refused(images: Any):
    for patch_size in (None, 8):
        with pytest.raises(TypeError, match=r"^images: expected a tensor, got (ndarray|list)$"):
            ranker_of().rank(images, patch_size)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("size", "patch"), [(32, None), (32, 8), (64, 16)])
def test_values_that_are_not_finite_are_refused(value: float, dtype: torch.dtype, size: int, patch: int | None):
    images = torch.zeros(3, 3, size, size, dtype=dtype)
    images[1, 2, 5, 6] = value
    with pytest.raises(ValueError, match="images: expected finite values, got NaN or infinity in image 1 of the batch"):
        ranker_of().rank(images, patch)


@pytest.mark.parametrize("head", ["cls", "token"])
@pytest.mark.parametrize(("size", "patch"), [(32, None), (64, 16)])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.bfloat16])
def test_no_images_have_no_scores(head: Head, size: int, patch: int | None, dtype: torch.dtype):
    ranker, images = ranker_of(head=head), torch.zeros(0, 3, size, size, dtype=dtype)
    scores = ranker.rank(images, patch)
    assert (scores.shape, scores.dtype) == ((0, 16), torch.float32)
    for spread in (False, True):
        kept = ranker.keep(images, 0.25, patch, spread=spread)
        assert (kept.shape, kept.dtype) == ((0, 4), torch.int64)
    with pytest.raises(ValueError, match="expected shape"):
        ranker.rank(torch.zeros(0, 4, size, size), patch)


def test_it_can_be_compiled_as_one_program():
    ranker = ranker_of()
    compiled = torch.compile(ranker, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(normalised(PHOTOGRAPHS)), ranker(normalised(PHOTOGRAPHS)))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(3, 32, 32), r"images: expected shape \(B, 3, 32, 32\), got \(3, 32, 32\)"),
        (torch.zeros(2, 32, 32, 3), r"expected shape \(B, 3, 32, 32\), got \(2, 32, 32, 3\)"),
        (torch.zeros(2, 1, 32, 32), r"got \(2, 1, 32, 32\)"),
        (torch.zeros(2, 3, 40, 40), r"got \(2, 3, 40, 40\)"),
        (
            torch.zeros(2, 3, 32, 32, dtype=torch.int64),
            r"expected uint8, or floats that are normalised, got torch\.int",
        ),
        (torch.zeros(2, 3, 32, 32, dtype=torch.bool), r"got torch\.bool"),
    ],
)
def test_images_of_another_shape_or_type_are_refused(images: Tensor, message: str):
    for use in (ranker_of().rank, lambda images: ranker_of().keep(images, 0.5)):
        with pytest.raises(ValueError, match=message):
            use(images)


def test_with_the_token_head_other_sizes_are_ranked():
    ranker = ranker_of(head="token")
    assert ranker.rank(torch.zeros(2, 3, 48, 16, dtype=torch.uint8)).shape == (2, 12)
    assert ranker.keep(torch.zeros(2, 3, 48, 16), 0.5).shape == (2, 6)


@pytest.mark.parametrize("shape", [(2, 3, 36, 32), (2, 3, 32, 4), (2, 3, 0, 32), (2, 4, 32, 32), (3, 32, 32)])
def test_with_the_token_head_sizes_that_are_no_multiples_are_refused(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"expected shape \(B, 3, H, W\) with H and W multiples of 8, got"):
        ranker_of(head="token").rank(torch.zeros(shape))


LARGER = torch.randint(256, (2, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("head", ["cls", "token"])
def test_images_of_a_model_of_another_resolution_are_ranked_in_its_patches(head: Head):
    """Resized as torchvision does."""
    ranker = ranker_of(head=head)
    small = resize(LARGER / 255, [32, 32], InterpolationMode.BICUBIC, antialias=True).clamp(0, 1)
    expected = ranker.rank(normalised(small * 255))
    for images in (LARGER, normalised(LARGER)):
        torch.testing.assert_close(ranker.rank(images, patch_size=16), expected)
        assert ranker.keep(images, 0.25, patch_size=16).tolist() == ranker.keep(normalised(small * 255), 0.25).tolist()
    assert torch.equal(ranker.rank(LARGER[..., :32, :32], patch_size=8), ranker.rank(LARGER[..., :32, :32]))


def test_patches_of_another_shape_and_what_is_left_beside_them_change_no_grid():
    ranker = ranker_of(head="token")
    assert ranker.rank(LARGER, patch_size=(32, 8)).shape == (2, 16)
    assert torch.equal(ranker.rank(LARGER, patch_size=15), ranker.rank(LARGER[..., :60, :60], patch_size=15))


@pytest.mark.parametrize(
    ("shape", "patch", "message"),
    [
        ((2, 3, 64, 64), 8, "64 x 64 pixels in patches of 8 x 8 are 8 x 8 patches: expected the 4 x 4 of the ranker"),
        ((2, 3, 8, 8), 16, r"expected shape \(B, 3, H, W\) of at least one patch of 16 x 16, got \(2, 3, 8, 8\)"),
        ((2, 4, 64, 64), 16, "expected shape"),
        ((3, 64, 64), 16, "expected shape"),
        ((2, 3, 64, 64), 0, "expected shape"),
    ],
)
def test_images_of_another_grid_are_refused_with_both(shape: tuple[int, ...], patch: int, message: str):
    with pytest.raises(ValueError, match=message):
        ranker_of().rank(torch.zeros(shape), patch_size=patch)
    with pytest.raises(ValueError, match=r"got torch\.int64"):
        ranker_of().rank(torch.zeros(2, 3, 64, 64, dtype=torch.int64), patch_size=16)


class Classifier(nn.Module):
    """Looks at the pixels of the best patches."""

    def __init__(self) -> None:
        super().__init__()
        self.ranker = ranker_of()
        self.dropout = nn.Dropout()
        self.scale = nn.Linear(192, 1)

    def forward(self, images: Tensor) -> Tensor:
        kept = self.ranker.keep(images, 0.25)
        patches = nn.functional.unfold(images, 8, stride=8).mT
        patches = patches.gather(1, kept[..., None].expand(-1, -1, patches.shape[-1]))
        return self.scale(patches).mean() + (self.ranker.rank(images) * self.scale.bias).mean()


def test_as_a_part_of_a_model_that_is_trained_it_stays_as_it_is():
    model = Classifier()
    assert not model.ranker.training
    assert model.train().training
    assert not any(module.training for module in model.ranker.modules())
    model.ranker.train()
    assert not model.ranker.training
    assert not model.ranker.network.training


def test_what_it_gives_can_be_used_where_gradients_flow():
    model, images = Classifier().train(), normalised(PHOTOGRAPHS).requires_grad_()
    model(images).backward()
    assert images.grad is not None
    assert images.grad.any()
    assert model.scale.weight.grad is not None
    assert all(parameter.grad is None for parameter in model.ranker.parameters())
    assert not model.ranker.rank(images).requires_grad


def test_patches_that_are_spread_are_of_all_parts_of_a_wide_image_whatever_its_resolution():
    ranker = ranker_of(head="token")
    wide = torch.randint(256, (2, 3, 32, 96), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    expected = spread_patches(ranker.rank(wide), 0.25, columns=12)
    assert torch.equal(ranker.keep(wide, 0.25, spread=True), expected)
    assert not torch.equal(ranker.keep(wide, 0.25), expected)
    squares = expected // 12 // 2 * 6 + expected % 12 // 2
    assert all(len(set(row)) == 12 for row in squares.tolist()), "one of each"
    twice = wide.repeat_interleave(2, -1).repeat_interleave(2, -2)
    assert ranker.keep(twice, 0.25, patch_size=16, spread=True).shape == (2, 12)
    same = spread_patches(ranker.rank(twice, patch_size=16), 0.25, columns=12)
    assert torch.equal(ranker.keep(twice, 0.25, patch_size=(16, 16), spread=True), same)
