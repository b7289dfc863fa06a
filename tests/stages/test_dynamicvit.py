"""DynamicViT's encoder: what is masked in training is what is dropped in evaluation."""

from __future__ import annotations

import pytest
import torch
from dropping_encoders import ALL, dropping_encoder, noise
from task_models import some_kept
from torch import Tensor

from stages.tasks.encoders import dynamicvit
from stages.tasks.encoders.dynamicvit import DynamicVitEncoder, masked_softmax, ratio_loss
from stages.tasks.kept_patches import KeptPatchEncoder


@pytest.fixture
def likeliest(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the place of drawn decisions: as many of the likeliest tokens in use as evaluation keeps."""
    counts = iter([44, 31, 21])  # int(64 * 0.7), int(64 * 0.49), int(64 * 0.343)
    dropped = torch.zeros(2, 64, dtype=torch.bool)

    def decide(logs: Tensor, hard: bool) -> Tensor:
        nonlocal dropped
        assert hard
        keep = logs[..., 0].masked_fill(dropped, -torch.inf).argsort(dim=1, descending=True)[:, : next(counts)]
        decided = torch.zeros(logs.shape[:2]).scatter(1, keep, 1.0)
        dropped = decided == 0
        return torch.stack([decided, 1 - decided], dim=2)

    monkeypatch.setattr(dynamicvit, "gumbel_softmax", decide)


@torch.no_grad()
def test_masks_of_training_give_what_dropping_gives_in_evaluation(likeliest: None) -> None:
    encoder = dropping_encoder("dynamicvit")
    seen: list[Tensor] = []
    cls, tokens = encoder(noise(2), ALL.expand(2, -1), lambda patches, need: seen.append(patches))
    masked = encoder.train().encode(noise(2), ALL.expand(2, -1))
    assert masked.used is not None
    assert [patches.shape[1] for patches in seen] == [64, 44, 31]
    assert masked.used.sum(dim=1).tolist() == [21, 21] == [tokens.shape[1]] * 2
    torch.testing.assert_close(masked.cls, cls, atol=1e-4, rtol=1e-4)
    for number in range(2):
        left = masked.tokens[number][masked.used[number] > 0]
        near = torch.cdist(left, tokens[number])  # the same in another order
        assert near.min(dim=1).values.max() < 1e-3
        assert near.min(dim=0).values.max() < 1e-3


@torch.no_grad()
def test_with_a_keep_rate_of_one_it_is_the_plain_transformer() -> None:
    encoder = dropping_encoder("dynamicvit", 1.0)
    found = encoder(noise(2), some_kept(2, 9))
    expected = KeptPatchEncoder(encoder.vit)(noise(2), some_kept(2, 9))
    torch.testing.assert_close(found[0], expected[0])
    # tokens come in the order of their probabilities
    assert torch.cdist(found[1], expected[1]).min(dim=2).values.max() < 1e-3


@torch.no_grad()
def test_the_order_is_by_the_predictor_that_drops_then_by_its_probability() -> None:
    encoder = dropping_encoder("dynamicvit")
    seen: list[tuple[Tensor, Tensor]] = []
    encoder(noise(2), ALL.expand(2, -1), lambda patches, need: seen.append((patches, need)))
    for number, scores in enumerate(encoder.order(noise(2))):
        expected = {}
        for outlived, (patches, need) in enumerate(seen):
            for patch, probability in zip(patches[number].tolist(), need[number].tolist(), strict=True):
                expected[patch] = outlived + probability
        torch.testing.assert_close(scores, torch.tensor([expected[patch] for patch in range(64)]))
        last = set(seen[2][0][number].tolist())
        assert {patch for patch in range(64) if scores[patch] >= 2} == last


def test_a_predictor_sees_a_token_beside_the_mean_of_those_in_use() -> None:
    encoder = dropping_encoder("dynamicvit")
    assert isinstance(encoder, DynamicVitEncoder)
    (predictor, *_), tokens = encoder.score_predictor, torch.randn(1, 5, 32)
    used = torch.tensor([[1.0, 0, 1, 1, 0]])
    features = predictor.get_submodule("in_conv")(tokens)
    mean = features[0, [0, 2, 3], 16:].mean(dim=0)
    expected = predictor.get_submodule("out_conv")(torch.cat([features[0, :, :16], mean.expand(5, -1)], dim=1))
    found = predictor(tokens, used)[0]
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(found.exp().sum(dim=1), torch.ones(5))


def test_a_token_that_was_dropped_is_not_used_again_and_draws_are_as_likely_as_predicted() -> None:
    encoder = dropping_encoder("dynamicvit", depth=2, blocks=(1, 2)).train()
    torch.manual_seed(0)
    with torch.no_grad():
        used = torch.stack([encoder.encode(noise(1), ALL[None]).used[0] for _ in range(300)])  # type: ignore[index]
        prefix = encoder.embed(noise(1), ALL[None])[:, 1:]
        first = encoder.score_predictor[0](prefix, torch.ones(1, 64))[0, :, 0].exp()  # type: ignore[index, operator]
    assert set(used.unique().tolist()) == {0.0, 1.0}
    assert (used.mean(dim=0) <= first + 0.12).all(), "kept by both is no likelier than kept by the first"


def test_a_masked_softmax_is_a_softmax_over_what_is_left_and_itself() -> None:
    torch.manual_seed(0)
    logits, policy = torch.randn(1, 2, 6, 6), torch.tensor([[1.0, 0, 1, 0, 0, 1]])
    weights = masked_softmax(logits, policy)
    for query in range(6):
        left = sorted({0, 2, 5, query})
        expected = torch.zeros(2, 6)
        expected[:, left] = logits[0, :, query, left].softmax(dim=1)
        torch.testing.assert_close(weights[0, :, query], expected, atol=2e-6, rtol=1e-4)


def test_the_loss_of_the_ratio_is_what_is_kept_less_what_is_wanted_squared() -> None:
    first, second = torch.tensor([[1.0, 1, 1, 0], [1.0, 1, 0, 0]]), torch.tensor([[1.0, 0, 0, 0], [0.0, 0, 0, 0]])
    expected = ((0.75 - 0.7) ** 2 + (0.5 - 0.7) ** 2) / 2 + ((0.25 - 0.49) ** 2 + (0 - 0.49) ** 2) / 2
    assert ratio_loss([first, second], [0.7, 0.49]).item() == pytest.approx(expected / 2)
    encoder = dropping_encoder("dynamicvit", 0.5).train()
    assert isinstance(encoder, DynamicVitEncoder)
    assert encoder.keep_ratios == [0.5, 0.25, 0.125]


def test_gradients_of_the_task_reach_the_predictors_through_the_masks() -> None:
    encoder = dropping_encoder("dynamicvit").train()
    torch.manual_seed(0)
    encoder.encode(noise(2), ALL.expand(2, -1)).cls.square().sum().backward()
    for name, each in encoder.named_parameters():
        assert not each.requires_grad or (each.grad is not None and each.grad.abs().sum() > 0), name
