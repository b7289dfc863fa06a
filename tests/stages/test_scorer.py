"""Scoring in micro-batches: what it depends on, and what happens when memory runs out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from random_maes import DEEPER, random_images, random_mae, random_visible
from torch import Tensor

from stages.density.mae import PRESETS, MaskedAutoencoder
from stages.density.masks import draw_masks
from stages.density.removal import REMOVALS
from stages.density.scorer import DensityScorer, default_micro_batch
from stages.tables import DISTANCES


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("removal", REMOVALS)
def test_a_score_does_not_depend_on_batch_mates_or_micro_batch(removal, distance):
    model, images, visible = random_mae(DEEPER), random_images(DEEPER, 5), random_visible(DEEPER, 5, 5)

    def scores(images: Tensor, visible: Tensor, micro_batch: int) -> Tensor:
        return DensityScorer(model, removal=removal, distance=distance, micro_batch=micro_batch)(images, visible)

    together = scores(images, visible, 5)
    for micro_batch in (1, 2, 3, 100):
        torch.testing.assert_close(scores(images, visible, micro_batch), together, rtol=1e-5, atol=0)
    reversed_ = scores(images.flip(0), visible.flip(0), 2).flip(0)
    torch.testing.assert_close(reversed_, together, rtol=1e-5, atol=0)
    mates = torch.cat([images[:1], torch.zeros_like(images[1:3]), torch.full_like(images[3:], 255)])
    torch.testing.assert_close(scores(mates, visible, 5)[:1], together[:1], rtol=1e-5, atol=0)


def test_no_images_give_no_scores():
    scores = DensityScorer(random_mae(DEEPER))(random_images(DEEPER, 1)[:0], random_visible(DEEPER, 1, 5)[:0])
    assert scores.shape == (0, 5)


def test_masks_of_a_partition_are_scored_whole():
    """Masks of two sizes, as the stage scores them: each size by itself."""
    visible = torch.from_numpy(
        draw_masks(0, "a", 0, masking="partition", n_masks=3, n_patches=16, mask_ratio=0.67).astype(np.int64)
    )
    model, image = random_mae(DEEPER), random_images(DEEPER, 1)
    scored = torch.zeros(16)
    for row in visible:
        shown = row[row >= 0][None]
        scored[shown[0]] = DensityScorer(model)(image, shown)[0]
    assert (scored > 0).all()


def raise_gpu_out_of_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


def raise_cpu_out_of_memory() -> None:
    torch.empty(2**50, dtype=torch.uint8)


def raise_python_out_of_memory() -> None:
    raise MemoryError


OUT_OF_MEMORY = [raise_gpu_out_of_memory, raise_cpu_out_of_memory, raise_python_out_of_memory]


def with_memory_for(scorer: DensityScorer, most: int, fail) -> list[int]:
    """Makes `scorer` fail above `most` images at a time; returns the sizes that it tries, as they come."""
    sizes: list[int] = []
    remove = scorer.remove

    def limited(mae: MaskedAutoencoder, images: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        sizes.append(len(images))
        if len(images) > most:
            fail()
        return remove(mae, images, visible)

    scorer.remove = limited
    return sizes


@pytest.mark.parametrize("fail", OUT_OF_MEMORY)
def test_out_of_memory_halves_the_micro_batch_for_good_and_scores_stay(fail):
    model, images, visible = random_mae(DEEPER), random_images(DEEPER, 11), random_visible(DEEPER, 11, 5)
    expected = DensityScorer(model, micro_batch=11)(images, visible)
    scorer = DensityScorer(model, micro_batch=8)
    sizes = with_memory_for(scorer, 3, fail)
    torch.testing.assert_close(scorer(images, visible), expected, rtol=1e-5, atol=0)
    assert sizes == [8, 4, 2, 2, 2, 2, 2, 1]
    assert scorer.micro_batch == 2
    sizes.clear()
    torch.testing.assert_close(scorer(images[:4], visible[:4]), expected[:4], rtol=1e-5, atol=0)
    assert sizes == [2, 2]


def test_what_is_halved_is_what_did_not_fit_not_what_was_allowed():
    model, images, visible = random_mae(DEEPER), random_images(DEEPER, 6), random_visible(DEEPER, 6, 5)
    scorer = DensityScorer(model, micro_batch=1000)
    sizes = with_memory_for(scorer, 3, raise_gpu_out_of_memory)
    scorer(images, visible)
    assert sizes == [6, 3, 3]


@pytest.mark.parametrize("fail", OUT_OF_MEMORY)
def test_one_image_that_does_not_fit_is_a_memory_error_that_names_the_device(fail):
    scorer = DensityScorer(random_mae(DEEPER), micro_batch=4)
    with_memory_for(scorer, 0, fail)
    with pytest.raises(MemoryError, match="cpu has no memory for one image"):
        scorer(random_images(DEEPER, 2), random_visible(DEEPER, 2, 5))


def test_an_error_that_is_not_about_memory_passes_through_at_once():
    def fail() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    scorer = DensityScorer(random_mae(DEEPER), micro_batch=4)
    sizes = with_memory_for(scorer, 0, fail)
    with pytest.raises(RuntimeError, match="illegal memory access"):
        scorer(random_images(DEEPER, 4), random_visible(DEEPER, 4, 5))
    assert sizes == [4]


@pytest.mark.parametrize("preset", PRESETS)
def test_more_images_are_computed_at_a_time_on_a_gpu_and_always_one_at_least(preset):
    on_cpu, on_gpu = (default_micro_batch(PRESETS[preset], torch.device(device)) for device in ("cpu", "cuda"))
    assert 1 <= on_cpu < on_gpu
