"""What a ranker is trained on: drawn for a key and an epoch alone, whoever asks; and the objective on it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from itertools import islice

import numpy as np
import pytest
import torch
from scored_stores import shards_of, write_scored
from small_models import SMALL_RANKER
from torch import Tensor, nn

from ranker.losses import list_mle, pointwise
from ranker.network import PatchRankingTransformer
from stages.images.decoding import decode_image
from stages.images.normalisation import normalise
from stages.images.views import render
from stages.ranking.lists import ListBatch, RankerLists, ranker_objective
from stages.samples.scored import ScoredSample, Split, SplitShards, held_out, join_scores
from storage.patch_store import PatchStore

TARS = {"a": [f"a{number}" for number in range(5)], "b": [f"b{number}" for number in range(4)]}
N = 9
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[PatchStore, SplitShards]:
    """Nine images with 3 views and 10 masks of 4 or 3 patches each."""
    folder = tmp_path_factory.mktemp("lists")
    store = write_scored(folder, TARS, views=3, masks=10, ratio=0.8)
    return store, held_out(store, join_scores(shards_of(folder), store), Split("key", 1.0, 0), ())


@pytest.fixture(scope="module")
def samples(stored: tuple[PatchStore, SplitShards]) -> dict[str, ScoredSample]:
    store, part = stored
    return {sample.key: sample for shard in part.shards for sample in part.read(store, shard)}


def drawn(
    stored: tuple[PatchStore, SplitShards],
    count: int,
    *,
    lists: int | None = 2,
    sublist: int | None = None,
    seed: int = 0,
    start: int = 0,
    size: int = 3,
    threads: int = 1,
    part: int = 0,
    parts: int = 1,
) -> list[ListBatch]:
    source = RankerLists(*stored, lists=lists, sublist=sublist, seed=seed, threads=threads)
    with closing(source.batches(size, start, part=part, parts=parts)) as batches:
        return list(islice(batches, count))


def joined(batches: list[ListBatch]) -> ListBatch:
    return ListBatch(*(torch.cat(parts) for parts in zip(*batches, strict=True)))


def assert_same(one: ListBatch, other: ListBatch) -> None:
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0, equal_nan=True)


def origin(samples: dict[str, ScoredSample], visible: Tensor) -> tuple[str, int, list[int]]:
    """The key, the view and the masks that lists (M, K) come from."""
    for key, sample in samples.items():
        for view in range(3):
            same = (sample.visible[view][None] == visible.numpy()[:, None]).all(-1)
            if same.any(-1).all():
                return key, view, same.argmax(-1).tolist()
    raise AssertionError("no sample has such masks")


def test_image_masks_and_scores_are_of_one_view_of_one_sample(stored, samples) -> None:
    batch = joined(drawn(stored, 6))
    assert batch.images.shape == (18, 3, 32, 32)
    assert batch.images.dtype == torch.uint8
    assert batch.visible.shape == batch.density.shape == (18, 2, 4)
    assert batch.visible.dtype == torch.int64
    seen = set()
    for image, visible, density in zip(*batch, strict=True):
        key, view, masks = origin(samples, visible)
        sample = samples[key]
        assert len(set(masks)) == 2
        np.testing.assert_array_equal(density, sample.score[view, masks])
        assert torch.equal(density.isnan(), visible < 0)
        pixels = render(decode_image(sample.image), sample.view(view), 32)
        np.testing.assert_array_equal(image.permute(1, 2, 0), pixels)
        seen.add((view, *masks))
    assert len({view for view, *_ in seen}) == 3
    assert len(seen) > 10


def test_each_epoch_shows_every_image_once_and_draws_anew(stored, samples) -> None:
    batch = joined(drawn(stored, 9))
    origins = [origin(samples, visible) for visible in batch.visible]
    epochs = [{key: (view, *masks) for key, view, masks in origins[start : start + N]} for start in (0, N, 2 * N)]
    assert all(epoch.keys() == samples.keys() for epoch in epochs)
    assert sum(epochs[0][key] != epochs[1][key] for key in samples) >= 7


def test_what_is_drawn_belongs_to_seed_key_and_epoch_alone(stored, samples) -> None:
    def found(**settings) -> dict[tuple[str, int], tuple[int, ...]]:
        batch = joined(drawn(stored, **settings))
        start = settings.get("start", 0) * settings["size"]
        origins = [origin(samples, visible) for visible in batch.visible]
        return {(key, (start + n) // N): (view, *masks) for n, (key, view, masks) in enumerate(origins)}

    every = found(count=6, size=3)
    assert found(count=2, size=9, threads=3) == every
    later = found(count=5, size=3, start=1)
    assert later.items() <= every.items()
    assert found(count=6, size=3, seed=1) != every


def test_entered_in_the_middle_the_same_batches_follow(stored) -> None:
    whole = drawn(stored, 8, sublist=2)
    for one, other in zip(whole[5:], drawn(stored, 3, start=5, sublist=2), strict=True):
        assert_same(one, other)


@pytest.mark.parametrize("parts", [2, 3])
def test_several_processes_see_together_what_one_sees(parts: int, stored) -> None:
    alone = drawn(stored, 2, size=3 * parts, sublist=3)
    for part in range(parts):
        for whole, own in zip(alone, drawn(stored, 2, part=part, parts=parts, sublist=3), strict=True):
            assert_same(own, ListBatch(*(each[part::parts] for each in whole)))


@pytest.mark.parametrize(("lists", "expected"), [(1, 1), (10, 10), (None, 10), (99, 10)])
def test_as_many_lists_as_asked_for_or_all(lists: int | None, expected: int, stored, samples) -> None:
    (batch,) = drawn(stored, 1, lists=lists)
    assert batch.visible.shape == (3, expected, 4)
    for visible in batch.visible:
        assert len(set(origin(samples, visible)[2])) == expected


@pytest.mark.parametrize("sublist", [1, 2, 3, 4, 9])
def test_the_loss_sees_a_random_part_of_each_list_and_the_ranker_all_of_it(sublist: int, stored) -> None:
    whole, part = (joined(drawn(stored, 6, lists=None, sublist=each)) for each in (None, sublist))
    assert torch.equal(whole.visible, part.visible)
    lengths = (whole.visible >= 0).sum(-1)
    assert set(lengths.flatten().tolist()) == {3, 4}
    assert torch.equal(part.density.isfinite().sum(-1), lengths.clamp(max=sublist))
    shown = part.density.isfinite()
    assert torch.equal(part.density[shown], whole.density[shown])
    if sublist < 3:
        places = shown[lengths == 4].float().mean(dim=0)
        assert ((places - sublist / 4).abs() < 0.2).all()  # any of them, not the first ones


class PositionsTimes(nn.Module):
    """Scores an image's patches by their position times its brightness, and notes what it was given."""

    def forward(self, images: Tensor, visible: Tensor | None = None) -> Tensor:
        self.images, self.visible = images, visible
        dense = images.mean(dim=(1, 2, 3))[:, None] * torch.arange(16.0)
        if visible is None:
            return dense
        return torch.stack([each[lists.clamp(min=0)] for each, lists in zip(dense, visible, strict=True)])


BATCH = ListBatch(
    torch.stack([torch.full((3, 32, 32), value, dtype=torch.uint8) for value in (10, 200)]),
    torch.tensor([[[0, 3, 7], [1, 2, -1]], [[4, 5, 6], [8, 15, -1]]]),
    torch.tensor([[[0.3, 0.1, 0.2], [0.5, 0.4, torch.nan]], [[0.6, torch.nan, 0.9], [0.7, 0.8, torch.nan]]]),
)


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_objective_compares_each_list_with_the_scores_of_its_patches(symmetric: bool) -> None:
    model = PositionsTimes()
    loss = ranker_objective(model, pointwise, symmetric, CPU)(BATCH)["loss"]
    pixels = normalise(BATCH.images)
    errors = [
        (float(pixels[image].mean()) * int(BATCH.visible[image, mask, place]) - float(density)) ** 2
        for image in range(2)
        for mask in range(2)
        for place, density in enumerate(BATCH.density[image, mask])
        if not density.isnan()
    ]
    assert len(errors) == 9
    assert float(loss) == pytest.approx(np.mean(errors), rel=1e-5)
    torch.testing.assert_close(model.images, pixels)
    assert (model.visible is None) == symmetric


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_mean_goes_over_lists(symmetric: bool) -> None:
    """ListMLE of each list by the formula: the sum over i of log sum_{j >= i} exp(s_j) - s_i."""
    model = PositionsTimes()
    loss = ranker_objective(model, list_mle, symmetric, CPU)(BATCH)["loss"]
    losses = []
    for image in range(2):
        brightness = float(normalise(BATCH.images)[image].mean())
        for visible, density in zip(BATCH.visible[image].tolist(), BATCH.density[image].tolist(), strict=True):
            pairs = [(d, brightness * v) for v, d in zip(visible, density, strict=True) if not np.isnan(d)]
            s = np.array([score for _, score in sorted(pairs, reverse=True)])
            losses.append(sum(np.log(np.exp(s[i:]).sum()) - s[i] for i in range(len(s))))
    assert float(loss) == pytest.approx(np.mean(losses), rel=1e-5)


def gradient_at_hidden_patches(objective: Callable[[ListBatch], dict[str, Tensor]], stored) -> float:
    """How much the loss of an image's single list depends on the patches that it does not show."""
    (batch,) = drawn(stored, 1, lists=1, size=1)
    images = batch.images.float().requires_grad_()
    objective(ListBatch(images, batch.visible, batch.density))["loss"].backward()
    assert images.grad is not None
    grid = images.grad.abs().sum(1)[0].unfold(0, 8, 8).unfold(1, 8, 8).sum((-1, -2)).flatten()
    hidden = [patch for patch in range(16) if patch not in batch.visible.flatten().tolist()]
    return float(grid[hidden].sum())


def test_only_a_symmetric_ranker_looks_at_hidden_patches(stored) -> None:
    torch.manual_seed(0)
    model = PatchRankingTransformer(SMALL_RANKER)
    nn.init.normal_(model.head.weight)
    assert gradient_at_hidden_patches(ranker_objective(model, list_mle, False, CPU), stored) == 0
    assert gradient_at_hidden_patches(ranker_objective(model, list_mle, True, CPU), stored) > 0
