"""The ranking model: the published code's numbers, lists of several lengths, and both heads."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from repository import GOLDEN
from torch import Tensor

from ranker.network import SIZES, PatchRankingTransformer, RankerConfig
from ranker.positions import sincos_positions

CLS = RankerConfig(image_size=32, patch_size=8, width=16, depth=2, heads=2)
TOKEN = dataclasses.replace(CLS, head="token")
IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
LISTS = torch.tensor([[[0, 3, 5, 9, 15], [1, 2, 7, -1, -1], [6, -1, -1, -1, -1]], [[4, 8, -1, -1, -1]] * 3])


def random_ranker(config: RankerConfig) -> PatchRankingTransformer:
    """Every parameter that learns is moved, biases and norms too, so that none of them is without effect."""
    torch.manual_seed(0)
    model = PatchRankingTransformer(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn_like(parameter), alpha=0.2)
    return model.eval()


RANKERS = {"cls": random_ranker(CLS), "token": random_ranker(TOKEN)}


@pytest.fixture(params=RANKERS)
def ranker(request: pytest.FixtureRequest) -> PatchRankingTransformer:
    return RANKERS[request.param]


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    if not GOLDEN.exists():
        pytest.skip("the numbers of the published code (../shared/golden) are not here")
    with np.load(GOLDEN) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays}


@pytest.fixture(scope="module")
def golden_ranker(golden: dict[str, Tensor]) -> PatchRankingTransformer:
    size, patch, width, depth, heads, patches = golden["ranker_config"].tolist()
    config = RankerConfig(image_size=size, patch_size=patch, width=width, depth=depth, heads=heads)
    assert config.n_patches == patches
    model = PatchRankingTransformer(config)
    model.load_state_dict(
        {name.removeprefix("ranker."): value for name, value in golden.items() if name.startswith("ranker.")}
    )
    return model.eval()


@torch.no_grad()
def test_scores_of_whole_images_are_the_published_codes(golden, golden_ranker):
    torch.testing.assert_close(golden_ranker(golden["images"]), golden["ranker_full"], rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_scores_of_the_visible_patches_alone_are_the_published_codes(golden, golden_ranker):
    visible = golden["visible"]
    scores = golden_ranker(golden["images"], visible[:, None])[:, 0]
    torch.testing.assert_close(scores, golden["ranker_asym"].gather(1, visible), rtol=1e-5, atol=1e-6)


def test_fixed_positions_are_the_published_codes_and_are_not_trained(golden, golden_ranker):
    config = golden_ranker.config
    torch.testing.assert_close(sincos_positions(config.grid, config.width), golden["ranker.pos_embed"])
    assert not PatchRankingTransformer(config).pos_embed.requires_grad


@torch.no_grad()
def test_every_list_is_scored_as_if_it_were_alone(ranker):
    together = ranker(IMAGES, LISTS)
    assert together.shape == LISTS.shape
    for image, lists in enumerate(LISTS):
        for number, row in enumerate(lists):
            alone = ranker(IMAGES[image : image + 1], row[row >= 0][None, None])
            torch.testing.assert_close(together[image, number, row >= 0], alone[0, 0], rtol=1e-5, atol=1e-6)


def test_gradients_of_a_padded_list_are_those_of_the_list_alone(ranker):
    def gradients(visible: Tensor) -> list[Tensor]:
        scores = ranker(IMAGES[:1], visible)
        wanted = [parameter for parameter in ranker.parameters() if parameter.requires_grad]
        return list(torch.autograd.grad(scores[visible >= 0].square().sum(), wanted))

    padded, alone = gradients(torch.tensor([[[1, 2, 7, -1, -1]]])), gradients(torch.tensor([[[1, 2, 7]]]))
    for one, other in zip(padded, alone, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_a_list_of_nothing_but_padding_is_finite(ranker):
    assert ranker(IMAGES, torch.full((2, 1, 3), -1)).isfinite().all()


@torch.no_grad()
def test_patches_that_are_not_in_a_list_do_not_enter(ranker):
    visible = torch.tensor([[[0, 3, 5, 9, -1]]])
    changed = IMAGES[:1].clone()
    changed[..., 24:, :] = 100.0  # patches 12 to 15
    changed[..., :8, 8:16] = 100.0  # patch 1
    hidden, shown = ranker(changed, visible), ranker(IMAGES[:1], visible)
    assert torch.equal(hidden[visible >= 0], shown[visible >= 0])
    assert not torch.allclose(ranker(changed), ranker(IMAGES[:1]), atol=1e-2)


@torch.no_grad()
def test_all_patches_visible_are_the_whole_image(ranker):
    everything = torch.arange(16).expand(2, 1, 16)
    torch.testing.assert_close(ranker(IMAGES, everything)[:, 0], ranker(IMAGES), rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_the_order_of_a_list_does_not_matter(ranker):
    order = torch.tensor([3, 0, 2, 1, 4])
    row = LISTS[:1, :1]
    torch.testing.assert_close(ranker(IMAGES[:1], row[..., order]), ranker(IMAGES[:1], row)[..., order])


@torch.no_grad()
@pytest.mark.parametrize(("height", "width"), [(32, 32), (48, 48), (16, 40), (8, 8)])
def test_the_token_head_scores_every_patch_of_images_of_other_sizes(height, width):
    images = torch.randn(2, 3, height, width)
    assert RANKERS["token"](images).shape == (2, (height // 8) * (width // 8))


@torch.no_grad()
def test_positions_are_resampled_for_other_sizes():
    """A flat image: what differs between its patches are their positions alone."""
    scores = RANKERS["token"](torch.ones(1, 3, 24, 48))[0].view(3, 6)
    assert scores.flatten().unique().numel() == 18
    own = RANKERS["token"](torch.ones(1, 3, 32, 32))[0].view(4, 4)
    for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        distances = (own - scores[corner]).abs()
        assert distances[corner] < distances.median(), "a corner looks like the same corner"


@torch.no_grad()
def test_the_token_head_takes_lists_of_a_larger_image():
    images, visible = torch.randn(1, 3, 48, 64), torch.arange(48)[None, None]
    torch.testing.assert_close(RANKERS["token"](images, visible)[:, 0], RANKERS["token"](images), rtol=1e-5, atol=1e-6)


def test_the_cls_head_refuses_images_of_another_size():
    with pytest.raises(AssertionError, match="48"):
        RANKERS["cls"](torch.randn(1, 3, 48, 48))


@pytest.mark.parametrize("size", SIZES)
def test_the_sizes_are_of_a_transformer_that_can_be_built(size):
    sizes: dict[str, Any] = SIZES[size]
    with torch.device("meta"):
        model = PatchRankingTransformer(RankerConfig(**sizes))
        assert model(torch.zeros(2, 3, 224, 224)).shape == (2, 196)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 0}, "ranker depth: expected a whole number above 0, got 0"),
        ({"width": 16.0}, r"ranker width: expected a whole number above 0, got 16\.0"),
        ({"heads": 3}, "ranker width: expected a multiple of 3 heads and of 4, got 16"),
        ({"width": 18, "heads": 2}, "ranker width: expected a multiple of 2 heads and of 4, got 18"),
        ({"image_size": 30}, "ranker image_size: expected a multiple of patch_size 8, got 30"),
        ({"head": "mean"}, "ranker head: expected one of cls, token, got 'mean'"),
        ({"norm_eps": 0.0}, r"ranker norm_eps: expected a number above 0 and at most 1, got 0\.0"),
    ],
)
def test_an_architecture_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(CLS, **changes)
