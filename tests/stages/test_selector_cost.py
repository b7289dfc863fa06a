"""What choosing the patches of an image costs, by what made the scores of a store."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_models import SMALL, SMALL_RANKER
from torch import Tensor

from ranker.network import PatchRankingTransformer
from stages.density.cost import density_flops
from stages.density.scorer import DensityScorer
from stages.tasks import selector_cost as module
from stages.tasks import throughput
from stages.tasks.selector_cost import selector_cost
from storage import ranks, scores
from storage.locations import locate
from storage.patch_store import PatchStore, Settings

RANKS = {f"ranker.{name}": value for name, value in dataclasses.asdict(SMALL_RANKER).items()}
SCORES = {
    **{f"mae.{name}": value for name, value in dataclasses.asdict(SMALL).items()},
    "patches": 16,
    "masks": 9,
    "masks.kind": "partition",
    "masks.ratio": 0.7,
    "removal": "decoder",
    "distance": "l1",
}
"""Four visible patches in every mask."""


def store_of(content: str, settings: Settings) -> PatchStore:
    return PatchStore(locate("nowhere"), content, settings)


class Clock:
    """A time that passes only where a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(throughput, "time", clock)
    return clock


def takes(clock: Clock, seconds: float) -> Callable[[], None]:
    def choose() -> None:
        clock.now += seconds

    return choose


def test_a_selector_without_scores_costs_its_choosing(clock: Clock) -> None:
    assert selector_cost(None, takes(clock, 0.5), "cpu", "fp32", seconds=0.0) == (0.0, 0.5)


def test_ranks_cost_a_ranker_of_their_architecture_on_the_whole_image(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[tuple[int, ...]] = []
    forward = PatchRankingTransformer.forward

    def watched(self: PatchRankingTransformer, images: Tensor) -> Tensor:
        assert self.config == SMALL_RANKER
        sizes.append(tuple(images.shape))
        clock.now += 2.0 * len(images)
        return forward(self, images)

    monkeypatch.setattr(PatchRankingTransformer, "forward", watched)
    store = store_of(ranks.CONTENT, RANKS)
    flops, seconds = selector_cost(store, takes(clock, 0.5), "cpu", "fp32", batch_size=3, seconds=0.0)
    tokens, width = 17, 16
    block = 24 * tokens * width**2 + 4 * tokens**2 * width
    assert flops == 2 * 16 * (3 * 8**2) * width + SMALL_RANKER.depth * block + 2 * width * 16
    assert seconds == 2.5
    assert set(sizes) == {(3, 3, 32, 32), (1, 3, 32, 32)}


@pytest.mark.parametrize("removal", ["decoder", "encoder"])
def test_scores_cost_all_masks_of_a_view(removal: Any, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: set[tuple[int, ...]] = set()

    def watched(self: DensityScorer, images: Tensor, visible: Tensor, decoded: Tensor) -> Tensor:
        assert (images.dtype, tuple(images.shape[1:])) == (torch.uint8, (3, 32, 32))
        assert (visible.diff(dim=1) > 0).all()
        assert decoded.shape == (len(images), 12)
        shown.add(tuple(visible.shape))
        clock.now += 2.0 * len(images)
        return torch.zeros(visible.shape)

    monkeypatch.setattr(DensityScorer, "__call__", watched)
    store = store_of(scores.CONTENT, {**SCORES, "removal": removal})
    flops, seconds = selector_cost(store, takes(clock, 0.5), "cpu", "fp32", batch_size=3, seconds=0.0)
    assert flops == 9 * density_flops(SMALL, 4, removal)
    assert shown == {(3, 4)}
    assert seconds == pytest.approx(9 * 2.0 + 0.5)


def test_scores_of_cells_cost_what_is_decoded(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: list[int] = []

    def watched(self: DensityScorer, images: Tensor, *indices: Tensor) -> Tensor:
        decoded.append(indices[1].shape[1])
        return torch.zeros(indices[0].shape)

    monkeypatch.setattr(DensityScorer, "__call__", watched)
    store = store_of(scores.CONTENT, {**SCORES, "decode": "cells"})
    flops, _ = selector_cost(store, takes(clock, 0.5), "cpu", "fp32", batch_size=3, seconds=0.0)
    assert flops == 9 * density_flops(SMALL, 4, decode="cells")
    assert set(decoded) == {4}


def test_masks_of_unequal_size_count_as_they_are(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three hands of six, five and five: the largest is timed, and time goes with the operations."""
    monkeypatch.setattr(DensityScorer, "__call__", lambda self, images, *indices: takes(clock, len(images))())
    store = store_of(scores.CONTENT, {**SCORES, "masks": 3, "masks.ratio": 0.65})
    flops, seconds = selector_cost(store, takes(clock, 0.0), "cpu", "fp32", batch_size=2, seconds=0.0)
    six, five = density_flops(SMALL, 6), density_flops(SMALL, 5)
    assert flops == pytest.approx(six + 2 * five)
    assert seconds == pytest.approx((six + 2 * five) / six)


@pytest.mark.parametrize(
    ("content", "settings", "precision"),
    [(ranks.CONTENT, RANKS, "fp32"), (ranks.CONTENT, {**RANKS, "ranker.head": "token"}, "bf16")]
    + [(scores.CONTENT, {**SCORES, "distance": distance}, "fp32") for distance in ("l1", "ssim")],
)
def test_what_is_measured_is_a_number_and_leaves_random_numbers_as_they_were(
    content: str, settings: Settings, precision: Any
) -> None:
    state = torch.get_rng_state()
    flops, seconds = selector_cost(store_of(content, settings), lambda: None, "cpu", precision, batch_size=2, seconds=0)
    assert flops is not None
    assert flops > 0
    assert seconds is not None
    assert 0 < seconds < math.inf
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("content", "settings"),
    [
        (ranks.CONTENT, {"patches": 16}),
        (ranks.CONTENT, {name: value for name, value in RANKS.items() if name != "ranker.depth"}),
        (ranks.CONTENT, SCORES),
        (scores.CONTENT, {name: value for name, value in SCORES.items() if name != "masks"}),
        (scores.CONTENT, {name: value for name, value in SCORES.items() if name != "mae.width"}),
        ("heat", RANKS),
    ],
)
def test_of_a_store_that_does_not_tell_what_made_it_nothing_is_known(
    content: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "time_in_turns", lambda *_: pytest.fail("nothing is to be timed"))
    assert selector_cost(store_of(content, settings), lambda: None, "cpu", "fp32") == (None, None)
