"""`tome`: against a merging that walks from token to token."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from vit_methods import VIEWS, frozen_vit, random_images

from stages.methods.tome import NO_PATCH, Groups, TokenMerging, merge


def merged_by_hand(
    tokens: list[np.ndarray], groups: list[list[int]], keys: list[np.ndarray], count: int
) -> tuple[list[np.ndarray], list[list[int]], list[int]]:
    """Tokens, each with the patches that it stands for (the first gives it its name; none for CLS), after one step; and
    the patches that were merged away, the most similar first."""
    first, second = range(0, len(tokens), 2), range(1, len(tokens), 2)
    found = []
    for a in first:
        if groups[a]:
            cosine = {
                b: float(keys[a] @ keys[b] / np.linalg.norm(keys[a]) / np.linalg.norm(keys[b]))
                for b in second
                if groups[b]
            }
            best = max(cosine, key=lambda b: cosine[b])
            found.append((cosine[best], a, best))
    found = sorted(found, key=lambda each: -each[0])[:count]
    gone = [groups[a][0] for _, a, _ in found]
    into: dict[int, list[int]] = {}
    for _, a, b in found:
        into.setdefault(b, []).append(a)
    left = [a for a in first if a not in {a for _, a, _ in found}]
    new_tokens, new_groups = [], []
    for index in [*left, *second]:
        members = [index, *into.get(index, [])]
        sizes = [max(1, len(groups[each])) for each in members]
        new_tokens.append(np.average([tokens[each] for each in members], axis=0, weights=sizes))
        new_groups.append([patch for each in members for patch in groups[each]])
    return new_tokens, new_groups, gone


@pytest.mark.parametrize("prefix", [0, 1, 3])
@pytest.mark.parametrize("count", [1, 5, 99])
def test_merging_step_by_step_is_merging_token_by_token(prefix: int, count: int) -> None:
    generator = torch.Generator().manual_seed(count)
    n_patches = 14
    tokens = torch.randn(2, prefix + n_patches, 6, dtype=torch.float64, generator=generator)
    groups = Groups.begin(2, prefix, n_patches, tokens.device)
    singles: list[list[int]] = [[] for _ in range(prefix)] + [[patch] for patch in range(n_patches)]
    by_hand = [([*row.numpy()], singles) for row in tokens]
    while tokens.shape[1] > prefix + 3:
        keys = torch.randn(2, tokens.shape[1], 4, dtype=torch.float64, generator=generator)
        n_first = len([g for g in by_hand[0][1][::2] if g])
        r = min(count, (tokens.shape[1] - prefix) // 2, n_first)
        tokens, groups, gone = merge(tokens, groups, keys, count)
        for row in range(2):
            expected, stands_for, away = merged_by_hand(*by_hand[row], [*keys[row].numpy()], r)
            by_hand[row] = expected, stands_for
            assert gone[row].tolist() == away
            np.testing.assert_allclose(tokens[row], np.array(expected), rtol=1e-9, atol=1e-12)
            assert groups.patch[row].tolist() == [each[0] if each else NO_PATCH for each in stands_for]
            assert groups.size[row].tolist() == [max(1, len(each)) for each in stands_for]


@torch.no_grad()
def scores_by_hand(method: TokenMerging, image: Tensor) -> list[float]:
    """Of one image, with attention written out and tokens merged one by one."""
    vit = method.model.vit
    tokens = method.model.embed(image[None])[0].double()
    groups: list[list[int]] = [[], *([patch] for patch in range(16))]
    scores, away = [0.0] * 16, 0.0
    for block in vit.double().blocks:
        seen = block.norm1(tokens)
        heads = block.attn.qkv(seen).reshape(len(tokens), 3, 3, 8)
        sizes = torch.tensor([float(max(1, len(group))) for group in groups]).double()
        outputs = []
        for head in range(3):
            query, key, value = (heads[:, part, head] for part in range(3))
            weight = (query @ key.T / math.sqrt(8)).exp() * sizes
            outputs.append(weight / weight.sum(dim=1, keepdim=True) @ value)
        tokens = tokens + block.attn.proj(torch.cat(outputs, dim=1))
        keys = [*heads[:, 1].mean(dim=1).numpy()]
        merged, groups, gone = merged_by_hand([*tokens.numpy()], groups, keys, min(4, (len(tokens) - 1) // 2))
        tokens = torch.from_numpy(np.array(merged))
        for patch in gone:
            scores[patch] = away
            away += 1
        tokens = tokens + block.mlp(block.norm2(tokens))
    for group in groups[1:]:
        scores[group[0]] = away + len(group)
    vit.float()
    return scores


@torch.no_grad()
def test_patches_that_stand_for_most_come_first_then_the_last_that_were_merged_away() -> None:
    images = random_images(4)
    method = TokenMerging(frozen_vit())
    found = method.score(images, VIEWS)
    expected = torch.tensor([scores_by_hand(method, image) for image in images])
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert sorted(found[0].tolist())[:12] == list(range(12)), "4 in each of 3 blocks, one after the other"
    assert int((found[0] - 12).clamp(min=0).sum()) == 16, "the others stand for all"


@torch.no_grad()
def test_registers_and_no_cls_at_all_are_fine_and_each_image_is_looked_at_by_itself() -> None:
    for options in ({"reg_tokens": 4}, {"class_token": False, "global_pool": "avg"}, {"init_values": 0.5}):
        method, images = TokenMerging(frozen_vit(**options)), random_images(4)
        found = method.score(images, VIEWS)
        assert found.shape == (4, 16)
        assert found.isfinite().all()
        torch.testing.assert_close(found, torch.cat([method.score(image[None], VIEWS) for image in images]))


@torch.no_grad()
def test_of_two_halves_that_are_plain_one_patch_each_stands_for_most() -> None:
    """Black and white with a little noise: what is left at the end are few of each, for many."""
    images = random_images(1) // 32
    images[..., 16:] += 240
    found = TokenMerging(frozen_vit(depth=4, spread=0.05)).score(images, VIEWS)[0]
    first, second = found.argsort(descending=True)[:2].tolist()
    assert {first % 4 // 2, second % 4 // 2} == {0, 1}
