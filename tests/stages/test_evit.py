"""EViT's encoder beside brute force: one image at a time, one token after the other."""

from __future__ import annotations

import math

import pytest
import torch
from dropping_encoders import ALL, dropping_encoder, noise
from task_models import some_kept
from torch import Tensor

from stages.tasks.encoders.dropping import TokenDropping, TokenDroppingEncoder, cls_attention, usual_blocks
from stages.tasks.kept_patches import KeptPatchEncoder


def attention_by_hand(block, x: Tensor) -> Tensor:
    """(n, D) → what CLS pays to each token, mean of heads (n,)."""
    attn, normed = block.attn, block.norm1(x)
    query, key, _ = attn.qkv(normed).chunk(3, dim=-1)
    heads = []
    for head in range(attn.num_heads):
        part = slice(head * attn.head_dim, (head + 1) * attn.head_dim)
        logits = torch.stack([query[0, part] @ each for each in key[:, part]]) / math.sqrt(attn.head_dim)
        heads.append(logits.exp() / logits.exp().sum())
    return torch.stack(heads).mean(dim=0)


def by_hand(encoder: TokenDroppingEncoder, image: Tensor, kept: Tensor) -> tuple[Tensor, dict[int, float]]:
    """All tokens at the end (1 + T, D), and the score of each patch."""
    vit, rate = encoder.vit, encoder.dropping.keep_rate
    embedded = vit.patch_embed(image[None])[0] + vit.pos_embed[0, 1:]
    cls = vit.cls_token[0, 0] + vit.pos_embed[0, 0]
    tokens = [cls, *(embedded[patch] for patch in kept)]
    scores: dict[int, float] = {}
    patches, outlived = [None, *kept.tolist()], 0
    for number, block in enumerate(vit.blocks, start=1):
        x = torch.stack(tokens)
        attention = attention_by_hand(block, x)
        tokens = list((x[None] + block.attn(block.norm1(x[None])))[0])
        count = math.ceil(rate * (len(tokens) - 1))
        drops = number in encoder.dropping.blocks and count < len(tokens) - 1
        if drops or number == len(vit.blocks):
            scores |= {
                patch: outlived + attention[place].item() for place, patch in enumerate(patches) if patch is not None
            }
            outlived += 1
        if drops:
            order = sorted(range(1, len(tokens)), key=lambda place: -attention[place].item())
            fused = sum(attention[place] * tokens[place] for place in order[count:])
            tokens = [tokens[0], *(tokens[place] for place in order[:count]), fused]
            patches = [None, *(patches[place] for place in order[:count]), None]
        tokens = [each + block.mlp(block.norm2(each)) for each in tokens]
    return vit.norm(torch.stack(tokens)), scores


@torch.no_grad()
@pytest.mark.parametrize(("rate", "blocks"), [(0.7, ()), (0.3, (1, 2)), (0.5, (4,)), (0.9, (2, 3, 4))])
def test_kept_and_fused_tokens_and_the_order_are_those_of_brute_force(rate, blocks):
    encoder = dropping_encoder("evit", rate, blocks=blocks)
    images = noise(2)
    cls, tokens = encoder(images, ALL.expand(2, -1))
    order = encoder.order(images)
    for image, found, scores in zip(images, torch.cat([cls[:, None], tokens], dim=1), order, strict=True):
        expected, by_patch = by_hand(encoder, image, ALL)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        assert sorted(by_patch) == ALL.tolist()
        torch.testing.assert_close(scores, torch.tensor([by_patch[patch] for patch in ALL.tolist()]))


@torch.no_grad()
def test_of_kept_patches_no_others_are_seen():
    encoder, kept = dropping_encoder("evit"), some_kept(2, 20)
    cls, tokens = encoder(noise(2), kept)
    for number, image in enumerate(noise(2)):
        expected, _ = by_hand(encoder, image, kept[number])
        torch.testing.assert_close(torch.cat([cls[number, None], tokens[number]]), expected, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_with_a_keep_rate_of_one_it_is_the_plain_transformer():
    encoder = dropping_encoder("evit", 1.0)
    plain = KeptPatchEncoder(encoder.vit)
    for found, expected in zip(encoder(noise(2), some_kept(2, 9)), plain(noise(2), some_kept(2, 9)), strict=True):
        assert torch.equal(found, expected)


def test_as_many_tokens_are_left_as_the_published_code_leaves():
    """196, then ceil(0.7 * 196) and the fused one, and so on: 138 + 1, 98 + 1, 70 + 1."""
    counts = []
    n = 196
    for _ in range(3):
        n = math.ceil(0.7 * n) + 1
        counts.append(n)
    assert counts == [139, 99, 71]
    encoder = dropping_encoder("evit", 0.7)
    n = 64
    for _ in range(3):
        n = math.ceil(0.7 * n) + 1
    assert encoder(noise(1), ALL[None])[1].shape == (1, n, 32)


@pytest.mark.parametrize(
    ("depth", "blocks"), [(12, (4, 7, 10)), (24, (7, 13, 19)), (6, (2, 4, 5)), (4, (2, 3, 4)), (2, (1, 2)), (1, (1,))]
)
def test_tokens_are_dropped_after_each_quarter_of_the_blocks(depth, blocks):
    assert usual_blocks(depth) == blocks
    TokenDropping(encoder="evit", keep_rate=0.7).settled(depth)


@pytest.mark.parametrize("blocks", [(0,), (5,), (2, 2), (3, 2)])
def test_blocks_that_are_not_there_are_refused(blocks):
    with pytest.raises(ValueError, match=r"drop_blocks: expected blocks from 1 to 4, each once and in order, got "):
        dropping_encoder("evit", blocks=blocks)


@torch.no_grad()
def test_attention_is_that_of_heads_with_norms_too():
    """Against scaled_dot_product_attention with values that are ones at a place, which gives the weights themselves."""
    encoder = dropping_encoder("evit")
    attn = encoder.vit.blocks[0].attn
    attn.q_norm, attn.k_norm = torch.nn.LayerNorm(16), torch.nn.LayerNorm(16)
    x = torch.randn(2, 7, 32)
    query, key, _ = attn.qkv(x).reshape(2, 7, 3, 2, 16).permute(2, 0, 3, 1, 4)
    eye = torch.eye(7).expand(2, 2, 7, 7)
    weights = torch.nn.functional.scaled_dot_product_attention(attn.q_norm(query), attn.k_norm(key), eye)
    torch.testing.assert_close(cls_attention(attn, x), weights[:, :, 0].mean(dim=1))


def test_gradients_reach_every_weight():
    encoder = dropping_encoder("evit").train()
    encoder.encode(noise(2), ALL.expand(2, -1)).cls.square().sum().backward()
    without = [name for name, each in encoder.named_parameters() if each.requires_grad and each.grad is None]
    assert not without
