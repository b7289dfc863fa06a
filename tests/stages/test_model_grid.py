"""Models that see the grid of the ranks at a resolution of their own."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch

from stages.tasks.model_grid import fitting_grid
from storage.dense_scores import PatchGrid

RANKED = PatchGrid(112, 8)
"""14 x 14, as the published ViT-B/16 at 224."""


def grid(ranked: PatchGrid = RANKED, **sizes: Any) -> PatchGrid:
    return fitting_grid(ranked, "ranks", **{"image_size": None, "patch_size": None, "init": None, **sizes})


@pytest.mark.parametrize(
    "sizes", [{"image_size": 224}, {"patch_size": 16}, {"image_size": 224, "patch_size": 16}], ids=str
)
def test_one_of_the_two_sizes_decides_the_other(sizes: dict[str, int]) -> None:
    assert grid(**sizes) == PatchGrid(224, 16)


@pytest.mark.parametrize("init", [None, "some/mae"])
def test_without_sizes_a_model_has_those_of_the_ranks(init: str | None) -> None:
    assert grid(init=init) == RANKED


@pytest.mark.parametrize(
    ("name", "ranked", "expected"),
    [
        ("vit_tiny_patch16_224", RANKED, PatchGrid(224, 16)),
        ("vit_base_patch32_224", RANKED, RANKED),  # 7 x 7 of its own
        ("vit_base_patch32_224", PatchGrid(56, 8), PatchGrid(224, 32)),
        ("vit_small_patch14_reg4_dinov2", PatchGrid(37 * 4, 4), PatchGrid(518, 14)),
        ("resnet10t", RANKED, RANKED),  # is refused where it is built
        ("no_such_model", RANKED, RANKED),
    ],
)
def test_a_model_of_timm_has_its_own_sizes_where_its_grid_is_that_of_the_ranks(
    name: str, ranked: PatchGrid, expected: PatchGrid
) -> None:
    state = torch.get_rng_state()
    assert grid(ranked, init=f"timm:{name}") == expected
    assert torch.equal(torch.get_rng_state(), state)


def test_sizes_that_are_given_win_over_those_of_timm() -> None:
    assert grid(init="timm:vit_tiny_patch16_224", image_size=112) == RANKED


def test_nothing_is_downloaded_to_know_a_grid(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    create = timm.create_model

    def noted(name: str, pretrained: bool = False, **settings: Any) -> Any:
        asked.append(pretrained)
        return create(name, pretrained=pretrained, **settings)

    monkeypatch.setattr(timm, "create_model", noted)
    assert grid(init="timm:vit_tiny_patch16_224").image_size == 224
    assert asked == [False]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        (
            {"image_size": 225},
            "image_size: expected a multiple of 14, for the 14 x 14 patches that ranks has scores of, got 225",
        ),
        ({"image_size": 225, "patch_size": 16}, "image_size: expected a multiple of patch_size 16, got 225"),
        (
            {"image_size": 224, "patch_size": 8},
            "image_size 224, patch_size 8: expected the 14 x 14 patches that ranks has scores of, got 28 x 28",
        ),
    ],
    ids=str,
)
def test_sizes_of_another_grid_are_refused_with_both_grids(sizes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        grid(**sizes)
