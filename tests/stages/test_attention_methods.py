"""`attention` and `attention-dino`: against attention that timm computes, and votes counted one by one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from vit_methods import VIEWS, frozen_vit, random_images, tiny_vit

from stages.methods.attention import ClsAttention, cls_attention
from stages.methods.attention_dino import DinoAttention, votes
from stages.methods.vision_transformer import FrozenViT


@torch.no_grad()
def attention_by_timm(model: FrozenViT, images: Tensor) -> Tensor:
    """The softmax (B, H, N, N) that timm's own unfused attention hands to its dropout in the last block."""
    attention = model.vit.blocks[-1].attn
    attention.fused_attn = False
    seen: list[Tensor] = []
    hook = attention.attn_drop.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    model.vit(model.normalise(images))
    hook.remove()
    return seen[0]


@pytest.mark.parametrize("registers", [0, 2])
@pytest.mark.parametrize("qk_norm", [False, True])
@torch.no_grad()
def test_cls_attention_is_timms_own(registers: int, qk_norm: bool) -> None:
    model = frozen_vit(reg_tokens=registers, qk_norm=qk_norm)
    images = random_images()
    expected = attention_by_timm(model, images)[:, :, 0, 1 + registers :]
    found = cls_attention(model, images)
    assert found.shape == (3, 3, 16)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(ClsAttention(model).score(images, VIEWS), expected.mean(dim=1), rtol=1e-4, atol=1e-6)


def test_a_head_votes_for_the_fewest_patches_that_hold_its_share() -> None:
    attention = torch.tensor([[0.4, 0.1, 0.3, 0.2], [0.25, 0.25, 0.25, 0.25], [0.0, 0.0, 0.7, 0.1]]).double()
    expected = torch.tensor([[1, 0, 1, 0], [1, 1, 1, 0], [0, 0, 1, 0]]).double()
    torch.testing.assert_close(votes(attention), expected)
    torch.testing.assert_close(
        votes(attention, 0.35), torch.tensor([[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0.0]]).double()
    )


def votes_by_dino(attention: Tensor, share: float) -> Tensor:
    """As its visualize_attention.py finds them: sorted upwards, from where the sum exceeds what may be left."""
    values, indices = torch.sort(attention)
    values = values / values.sum(dim=-1, keepdim=True)
    voted = values.cumsum(dim=-1) > 1 - share
    return voted.gather(-1, indices.argsort(dim=-1)).to(attention.dtype)


def test_votes_are_those_of_dinos_own_rule() -> None:
    attention = torch.rand(50, 6, 49, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) ** 4
    for share in (0.1, 0.6, 0.95):
        torch.testing.assert_close(votes(attention, share), votes_by_dino(attention, share), rtol=0, atol=0)


@torch.no_grad()
def test_more_votes_come_first_and_mean_attention_decides_between_equal_ones() -> None:
    model, images = frozen_vit(spread=0.15), random_images(5)
    scores = DinoAttention(model).score(images, VIEWS)
    attention = attention_by_timm(model, images)[:, :, 0, 1:].double()
    counted, mean = votes_by_dino(attention, 0.6).sum(dim=1), attention.mean(dim=1)
    assert len(counted.unique()) > 2
    for row in range(5):
        expected = sorted(range(16), key=lambda patch: (-counted[row, patch], -mean[row, patch]))
        assert scores[row].argsort(descending=True).tolist() == expected


@torch.no_grad()
def test_each_image_is_looked_at_by_itself() -> None:
    images = random_images(4)
    for method in (ClsAttention(frozen_vit()), DinoAttention(frozen_vit())):
        alone = torch.cat([method.score(image[None], VIEWS) for image in images])
        torch.testing.assert_close(method.score(images, VIEWS), alone, rtol=1e-4, atol=1e-6)


def test_a_transformer_without_a_cls_token_is_refused() -> None:
    vit = tiny_vit(class_token=False, global_pool="avg")
    for kind in (ClsAttention, DinoAttention):
        with pytest.raises(
            ValueError, match=r"^mine: expected a vision transformer with a CLS token, got one without$"
        ):
            kind(FrozenViT(vit, "mine"))
